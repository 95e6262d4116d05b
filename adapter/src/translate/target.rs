//! Ports of the gateway pods: in service mode, each port of each Gateway leads to one of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::ObjectKey;
use crate::hash::fnv1a;
use crate::owned;
use crate::snapshot::Snapshot;

/// A port of a Gateway, which listeners of it share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entrance {
    pub(super) gateway: ObjectKey,
    pub(super) port: i32,
}

/// The target ports of `wanted`, without those for which none is left.
///
/// What the Services in the snapshot say stays as it is, so that nobody is renumbered by others who
/// come and go. Ports that are no longer wanted count as taken until their Service is changed or
/// gone: until then, requests for their old owner still arrive there. Others begin to look at a
/// place that their name alone decides, so that adapters which know nothing of each other agree.
pub(super) fn allocate(snapshot: &Snapshot, wanted: impl Iterator<Item = Entrance>) -> BTreeMap<Entrance, u16> {
    let mut claims: Vec<_> = claims(snapshot).collect();
    // Whoever may edit a namespace may edit its Services. Of two that claim one port, the one that
    // is nearer to where it would have looked has it.
    claims.sort_by_cached_key(|(entrance, target)| (distance(home(entrance), *target), entrance.clone()));
    let (mut targets, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (entrance, target) in claims {
        if taken.insert(target) {
            targets.entry(entrance).or_insert(target);
        }
    }
    for entrance in wanted {
        if targets.contains_key(&entrance) {
            continue;
        }
        let home = home(&entrance);
        if let Some(target) = (0..COUNT).map(|step| at(home, step)).find(|target| !taken.contains(target)) {
            taken.insert(target);
            targets.insert(entrance, target);
        }
    }
    targets
}

/// What the Services of Gateways say, whether or not those are still there.
fn claims(snapshot: &Snapshot) -> impl Iterator<Item = (Entrance, u16)> {
    snapshot.services.iter().flat_map(|(key, service)| {
        let gateway = owned::gateway(&service.metadata).map(|name| ObjectKey::new(&key.namespace, name));
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        gateway.into_iter().flat_map(move |gateway| {
            ports.clone().filter_map(move |port| {
                let Some(IntOrString::Int(target)) = port.target_port else { return None };
                let target = u16::try_from(target).ok().filter(|target| RANGE.contains(target))?;
                Some((Entrance { gateway: gateway.clone(), port: port.port }, target))
            })
        })
    })
}

fn home(entrance: &Entrance) -> u16 {
    let text = format!("{}:{}", entrance.gateway, entrance.port);
    let place = fnv1a(text.as_bytes()) % u64::from(COUNT);
    RANGE.start() + u16::try_from(place).expect("what is left of a division by a u16 is one")
}

fn at(home: u16, step: u16) -> u16 {
    RANGE.start() + (home - RANGE.start() + step) % COUNT
}

/// How many steps lead from one to the other.
fn distance(home: u16, target: u16) -> u16 {
    (target + COUNT - home) % COUNT
}

/// Below the node ports of Kubernetes and the ephemeral ports of Linux.
pub(super) const RANGE: RangeInclusive<u16> = 20_000..=29_999;
const COUNT: u16 = *RANGE.end() - *RANGE.start() + 1;
