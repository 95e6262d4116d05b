//! What listeners with protocol HTTPS ask of TLS.

use std::collections::{BTreeMap, BTreeSet};

use conf::{Hostname, Name};

use super::certificate::{Certificates, INVALID_CERTIFICATE_REF};
use super::grant::Referrer;
use super::listener::Listener;
use super::reference;
use crate::api::gateways::{GatewayListeners, GatewayListenersTlsMode as Mode};
use crate::status::Fault;

/// What is asked of TLS and cannot be had.
pub(super) fn fault(spec: &GatewayListeners) -> Option<Fault> {
    let is_passed_through = spec.tls.as_ref().is_some_and(|tls| tls.mode == Some(Mode::Passthrough));
    (spec.protocol == HTTPS && is_passed_through).then(|| {
        let name = &spec.name;
        let message = format!(
            "listener {name}: tls.mode Passthrough leaves protocol {HTTPS} no requests to route; use Terminate"
        );
        Fault::new("UnsupportedValue", message)
    })
}

/// The certificates that the listener's references lead to; and those that lead nowhere.
pub(super) fn certificates(
    spec: &GatewayListeners,
    referrer: Referrer<'_>,
    certificates: &mut Certificates<'_>,
) -> (Vec<Name>, Option<Fault>) {
    let references = spec.tls.as_ref().and_then(|tls| tls.certificate_refs.as_deref()).unwrap_or_default();
    let name = &spec.name;
    if references.is_empty() {
        let message =
            format!("listener {name}: protocol {HTTPS} needs a certificate; name a Secret in tls.certificateRefs");
        return (Vec::new(), Some(Fault::new(INVALID_CERTIFICATE_REF, message)));
    }
    let resolved = references.iter().map(|reference| certificates.resolve(referrer, reference));
    let (found, fault) = reference::each_once(resolved);
    let fault = fault.map(|fault| Fault::new(fault.reason, format!("listener {name}: {}", fault.message)));
    (found, fault)
}

/// Tells each listener of the others of its port whose hosts one connection may be for as well: a
/// client that has shaken hands with one of them may send it requests for another. There may be as
/// many listeners as there are tenants, so that none is compared with all.
pub(super) fn tell_overlaps(listeners: &mut [Listener<'_>]) {
    let mut ports: BTreeMap<i32, Hosts<'_>> = BTreeMap::new();
    for (i, listener) in listeners.iter().enumerate() {
        if listener.spec.protocol == HTTPS && listener.fault.is_none() {
            ports.entry(listener.spec.port).or_default().insert(labels(listener.hostname.as_ref()), i);
        }
    }
    let of_port = |hosts: &Hosts<'_>| {
        let overlap =
            |(labels, i): (&Vec<&str>, &usize)| Some((*i, overlap(*i, &overlapping(labels, hosts), listeners)?));
        hosts.iter().filter_map(overlap).collect::<Vec<_>>()
    };
    let overlaps: Vec<_> = ports.values().flat_map(of_port).collect();
    for (i, overlap) in overlaps {
        listeners[i].overlap = Some(overlap);
    }
}

/// Listeners by the labels of their hostnames, the last label first, so that names below one domain
/// stand together. No two are for the same: they would be at fault.
type Hosts<'l> = BTreeMap<Vec<&'l str>, usize>;

/// Any host is what is below the root.
fn labels(hostname: Option<&Hostname>) -> Vec<&str> {
    hostname.map_or(vec![WILDCARD], |hostname| hostname.as_str().rsplit('.').collect())
}

/// Whose hostnames have hosts in common with this one's, but for itself: wildcards above it and, if
/// it is a wildcard, all that is below.
fn overlapping(labels: &[&str], hosts: &Hosts<'_>) -> BTreeSet<usize> {
    let above = (0..labels.len()).map(|depth| [&labels[..depth], &[WILDCARD]].concat());
    let mut found: BTreeSet<usize> = above.filter_map(|wildcard| hosts.get(&wildcard)).copied().collect();
    if let Some((&WILDCARD, domain)) = labels.split_last() {
        let within = hosts.range(domain.to_vec()..).take_while(|(other, _)| other.starts_with(domain));
        found.extend(within.filter(|(other, _)| other.len() > domain.len()).map(|(_, i)| *i));
    }
    if let Some(itself) = hosts.get(labels) {
        found.remove(itself);
    }
    found
}

fn overlap(listener: usize, others: &BTreeSet<usize>, listeners: &[Listener<'_>]) -> Option<String> {
    let listener = &listeners[listener];
    let name = |other: &usize| match &listeners[*other] {
        other if other.holder == listener.holder => other.spec.name.clone(),
        // Its name may be nobody's business here.
        other => format!("of a listener of a {}", other.holder.kind),
    };
    let mut others: Vec<_> = others.iter().map(name).collect();
    others.dedup();
    (!others.is_empty()).then(|| {
        format!(
            "the hostnames of listener {} and of {} overlap; requests for the one on a connection with the other are answered 421",
            listener.spec.name,
            others.join(", ")
        )
    })
}

const WILDCARD: &str = "*";
pub(super) const HTTPS: &str = "HTTPS";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostnames_overlap_that_have_a_host_in_common() {
        let texts = [
            "",
            "com",
            "a.com",
            "*.com",
            "*.a.com",
            "b.a.com",
            "c.b.a.com",
            "*.b.a.com",
            "aa.com",
            "*.aa.com",
            "x.org",
            "a",
        ];
        let hostnames: Vec<Option<Hostname>> = texts.iter().map(|text| text.parse().ok()).collect();
        let hosts: Hosts<'_> = hostnames.iter().enumerate().map(|(i, host)| (labels(host.as_ref()), i)).collect();
        for (i, one) in hostnames.iter().enumerate() {
            let in_common = |other: &Option<Hostname>| match (one, other) {
                (Some(one), Some(other)) => one.intersection(other).is_some(),
                _ => true,
            };
            let others = hostnames.iter().enumerate().filter(|(j, other)| *j != i && in_common(other));
            let expected: BTreeSet<usize> = others.map(|(j, _)| j).collect();
            assert_eq!(overlapping(&labels(one.as_ref()), &hosts), expected, "{:?}", texts[i]);
        }
    }
}
