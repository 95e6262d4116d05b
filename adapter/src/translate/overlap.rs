//! Listeners of one port that a client may take for one another, having shaken hands with one of them:
//! their hostnames, or their certificates, are for hosts in common. There may be as many listeners as
//! there are tenants, so that none is compared with all.

use std::collections::{BTreeMap, BTreeSet};

use conf::Hostname;

use super::certificate::Certificates;
use super::https::HTTPS;
use super::listener::Listener;
use crate::status::Fault;

/// Tells each listener of the others. "If a controller supports checking for both possible reasons and
/// finds that both are true, it SHOULD set the OverlappingCertificates Reason."
pub(super) fn tell(listeners: &mut [Listener<'_>], certificates: &Certificates<'_>) {
    let mut ports: BTreeMap<i32, Port<'_>> = BTreeMap::new();
    for (i, listener) in listeners.iter().enumerate() {
        if listener.spec.protocol == HTTPS && listener.fault.is_none() {
            let port = ports.entry(listener.spec.port).or_default();
            port.hostnames.insert(labels(listener.hostname.as_ref()), i);
            for name in &listener.certificates {
                certificates.hosts(name).iter().for_each(|host| port.certified.note(host, i));
            }
        }
    }
    let of_port = |port: &Port<'_>| {
        let overlap = |(labels, i): (&Vec<&str>, &usize)| {
            let hosts = listeners[*i].certificates.iter().flat_map(|name| certificates.hosts(name));
            let certified = hosts.filter_map(|host| port.certified.other(host, *i)).min();
            Some((*i, overlap(*i, certified, &overlapping(labels, &port.hostnames), listeners)?))
        };
        port.hostnames.iter().filter_map(overlap).collect::<Vec<_>>()
    };
    let overlaps: Vec<_> = ports.values().flat_map(of_port).collect();
    for (i, overlap) in overlaps {
        listeners[i].overlap = Some(overlap);
    }
}

/// The listeners of one port.
#[derive(Default)]
struct Port<'l> {
    hostnames: Hosts<'l>,
    certified: Certified<'l>,
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

/// Listeners by what their certificates are for. A wildcard of a certificate stands for one label.
#[derive(Default)]
struct Certified<'c> {
    named: BTreeMap<&'c str, FirstTwo>,
    /// By the domain of hosts, those of wildcards aside.
    within: BTreeMap<&'c str, FirstTwo>,
}

/// Of many listeners as many as it takes to find one that is not a given one.
#[derive(Clone, Copy, Default)]
struct FirstTwo([Option<usize>; 2]);

impl<'c> Certified<'c> {
    fn note(&mut self, host: &'c str, listener: usize) {
        self.named.entry(host).or_default().note(listener);
        if let Some((label, domain)) = host.split_once('.')
            && label != WILDCARD
        {
            self.within.entry(domain).or_default().note(listener);
        }
    }

    /// The first other whose certificates are for a host that this name stands for.
    fn other(&self, host: &str, listener: usize) -> Option<usize> {
        let others = match host.split_once('.') {
            Some((WILDCARD, domain)) => self.within.get(domain),
            Some((_, domain)) => self.named.get(&*format!("{WILDCARD}.{domain}")),
            None => None,
        };
        [self.named.get(host), others].into_iter().flatten().filter_map(|found| found.other_than(listener)).min()
    }
}

impl FirstTwo {
    /// Listeners are noted in their order.
    fn note(&mut self, listener: usize) {
        match &mut self.0 {
            [first @ None, _] => *first = Some(listener),
            [Some(first), second @ None] if *first != listener => *second = Some(listener),
            _ => {}
        }
    }

    fn other_than(&self, listener: usize) -> Option<usize> {
        self.0.into_iter().flatten().find(|found| *found != listener)
    }
}

/// What a listener is told of one whose certificates overlap with its own, and of those whose hostnames
/// do.
fn overlap(
    listener: usize,
    certified: Option<usize>,
    hostnames: &BTreeSet<usize>,
    listeners: &[Listener<'_>],
) -> Option<Fault> {
    let listener = &listeners[listener];
    let name = |other: usize| match &listeners[other] {
        other if other.holder == listener.holder => other.spec.name.clone(),
        // Its name may be nobody's business here.
        other => format!("a listener of a {}", other.holder.kind),
    };
    let of_certificates = certified.map(|other| {
        format!("certificates of listener {} and of {} are for the same hosts", listener.spec.name, name(other))
    });
    let mut others: Vec<_> = hostnames.iter().map(|other| name(*other)).collect();
    others.dedup();
    let of_hostnames = (!others.is_empty())
        .then(|| format!("the hostnames of listener {} and of {} overlap", listener.spec.name, others.join(", ")));
    let reason = match (&of_certificates, &of_hostnames) {
        (Some(_), _) => "OverlappingCertificates",
        (None, Some(_)) => "OverlappingHostnames",
        (None, None) => return None,
    };
    let what: Vec<_> = [of_certificates, of_hostnames].into_iter().flatten().collect();
    let message = format!("{}; requests for the one on a connection with the other are answered 421", what.join("; "));
    Some(Fault::new(reason, message))
}

const WILDCARD: &str = "*";

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

    #[test]
    fn certificates_overlap_that_are_for_a_host_in_common() {
        let names = ["a.com", "*.a.com", "b.a.com", "c.b.a.com", "*.b.a.com", "*.x.org", "a", "*.com"];
        let mut certified = Certified::default();
        names.iter().enumerate().for_each(|(i, name)| certified.note(name, i));
        let found = |name: &str| {
            let at = names.iter().position(|other| *other == name).unwrap();
            certified.other(name, at).map(|other| names[other])
        };
        for (name, other) in [
            ("a.com", Some("*.com")),
            ("*.com", Some("a.com")),
            ("*.a.com", Some("b.a.com")),
            ("b.a.com", Some("*.a.com")),
            ("c.b.a.com", Some("*.b.a.com")),
            ("*.b.a.com", Some("c.b.a.com")),
            ("*.x.org", None),
            ("a", None),
        ] {
            assert_eq!(found(name), other, "{name}");
        }
        // Several with the same.
        for i in [8, 8, 9] {
            certified.note("*.x.org", i);
        }
        assert_eq!([5, 8, 9].map(|i| certified.other("*.x.org", i)), [Some(8), Some(5), Some(5)]);
        assert_eq!(certified.other("y.x.org", 5), Some(8));
    }
}
