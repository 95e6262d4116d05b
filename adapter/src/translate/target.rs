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

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use proptest::prelude::*;

    use super::*;

    fn entrance(gateway: usize) -> Entrance {
        Entrance { gateway: ObjectKey::new("default", &format!("g{gateway}")), port: 80 }
    }

    /// Services as they are once these targets have been written into them.
    fn snapshot(targets: &BTreeMap<Entrance, u16>) -> Snapshot {
        let mut text = String::new();
        for (Entrance { gateway, port }, target) in targets {
            let name = &gateway.name;
            writeln!(
                text,
                "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}-doppel, namespace: default, labels: {{app.kubernetes.io/managed-by: doppel}}, \
                 ownerReferences: [{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, name: {name}, uid: u}}]}}, \
                 spec: {{ports: [{{port: {port}, targetPort: {target}}}]}}}}"
            )
            .unwrap();
        }
        let (snapshot, warnings) = Snapshot::from_manifests(&text);
        assert_eq!(warnings, []);
        snapshot
    }

    fn allocate_for(snapshot: &Snapshot, gateways: &BTreeSet<usize>) -> BTreeMap<Entrance, u16> {
        let mut targets = allocate(snapshot, gateways.iter().map(|gateway| entrance(*gateway)));
        targets.retain(|entrance, _| gateways.iter().any(|gateway| *entrance == self::entrance(*gateway)));
        targets
    }

    /// Two whose look begins at the same place.
    fn rivals() -> (usize, usize) {
        let mut homes = BTreeMap::new();
        (0..).find_map(|gateway| Some((homes.insert(home(&entrance(gateway)), gateway)?, gateway))).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Among Gateways that come and go, rivals among them, each port leads to one of its own and
        /// stays where it is.
        #[test]
        fn nobody_shares_a_port_or_is_renumbered(steps in prop::collection::vec((0..40_usize, any::<bool>()), 1..30)) {
            let (one, other) = rivals();
            let pick = |gateway: usize| match gateway { 0 => one, 1 => other, gateway => gateway };
            let mut gateways = BTreeSet::new();
            let mut targets = BTreeMap::new();
            for (gateway, comes) in steps {
                if comes { gateways.insert(pick(gateway)); } else { gateways.remove(&pick(gateway)); }
                let next = allocate_for(&snapshot(&targets), &gateways);
                prop_assert_eq!(next.len(), gateways.len());
                prop_assert_eq!(next.values().collect::<BTreeSet<_>>().len(), gateways.len(), "{:?}", next);
                for (entrance, target) in &next {
                    prop_assert!(RANGE.contains(target));
                    prop_assert!(targets.get(entrance).is_none_or(|before| before == target), "{:?}", entrance);
                }
                targets = next;
            }
        }
    }

    #[test]
    fn a_port_is_free_once_no_service_leads_to_it() {
        let (one, other) = rivals();
        let first = allocate_for(&Snapshot::default(), &BTreeSet::from([one]));
        let second = allocate_for(&snapshot(&first), &BTreeSet::from([other]));
        assert_ne!(first[&entrance(one)], second[&entrance(other)]);
        let later = allocate_for(&Snapshot::default(), &BTreeSet::from([other]));
        assert_eq!(first[&entrance(one)], later[&entrance(other)]);
    }

    #[test]
    fn of_two_services_that_claim_a_port_the_one_nearer_to_its_place_has_it() {
        let rightful = entrance(1);
        let target = home(&rightful);
        let snapshot = snapshot(&BTreeMap::from([(entrance(0), target), (rightful.clone(), target)]));
        let targets = allocate_for(&snapshot, &BTreeSet::from([0, 1]));
        assert_eq!(targets[&rightful], target);
        assert_ne!(targets[&entrance(0)], target);
    }

    #[test]
    fn when_all_ports_are_taken_the_rest_have_none() {
        let targets = allocate(&Snapshot::default(), (0..=usize::from(COUNT)).map(entrance));
        assert_eq!(targets.values().collect::<BTreeSet<_>>().len(), usize::from(COUNT));
        assert!(!targets.contains_key(&entrance(usize::from(COUNT))), "the last to come has one");
    }
}
