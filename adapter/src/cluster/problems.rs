//! What gateways say of documents, into the statuses of what the documents come from.

use std::sync::Arc;

use super::acknowledge::Problems;
use crate::status::{Condition, Content, ListenerStatus, Status, Truth};
use crate::translate::listener_name;

/// The statuses with what gateways found out: a listener whose port is taken on a node, say.
pub(super) fn told(statuses: &[Status], problems: &Problems) -> Vec<Status> {
    let mut statuses = statuses.to_vec();
    for status in statuses.iter_mut().filter(|_| !problems.is_empty()) {
        if !matches!(*status.content, Content::Gateway(_) | Content::ListenerSet(_)) {
            continue;
        }
        let (conditions, listeners) = match Arc::make_mut(&mut status.content) {
            Content::Gateway(gateway) => (&mut gateway.conditions, &mut gateway.listeners),
            Content::ListenerSet(set) => (&mut set.conditions, &mut set.listeners),
            Content::GatewayClass(_) | Content::Route(_) | Content::Policy(_) => continue,
        };
        let holder = &status.object;
        let problem = |name: &str| problems.get(&format!("listener {}", listener_name(holder, name)));
        amend(conditions, listeners, problem);
    }
    statuses
}

/// `problem` is that of a listener by its name.
fn amend<'p>(
    conditions: &mut [Condition],
    listeners: &mut [ListenerStatus],
    problem: impl Fn(&str) -> Option<&'p String>,
) {
    let mut found = Vec::new();
    for listener in &mut *listeners {
        if let Some(problem) = problem(&listener.name) {
            let message = format!("listener {}: {problem}", listener.name);
            fail(&mut listener.conditions, &message);
            found.push(message);
        }
    }
    let is_programmed = |listener: &ListenerStatus| {
        listener.conditions.iter().any(|condition| condition.kind == PROGRAMMED && condition.status == Truth::True)
    };
    if !found.is_empty() && !listeners.iter().any(is_programmed) {
        fail(conditions, &found.join("; "));
    }
}

fn fail(conditions: &mut [Condition], message: &str) {
    let holds = |condition: &&mut Condition| condition.kind == PROGRAMMED && condition.status == Truth::True;
    if let Some(condition) = conditions.iter_mut().find(holds) {
        condition.status = Truth::False;
        condition.reason = "Invalid";
        condition.message = message.to_owned();
    }
}

const PROGRAMMED: &str = "Programmed";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Snapshot;
    use crate::testing::CLASS;
    use crate::translate::{Options, translate};

    const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: doppel
  listeners:
    - {name: a, port: 80, protocol: HTTP}
    - {name: b, port: 81, protocol: HTTP}
  allowedListeners: {namespaces: {from: Same}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: web, namespace: shop}
spec:
  parentRef: {name: web}
  listeners:
    - {name: a, port: 82, protocol: HTTP}
";

    /// Whether the object of this kind and its listeners are programmed.
    fn programmed(kind: &str, documents: &[&str]) -> Vec<bool> {
        let statuses =
            translate(&Snapshot::from_manifests(&(CLASS.to_owned() + GATEWAY)).0, &Options::default()).statuses;
        let problems = documents.iter().map(|name| ((*name).to_owned(), "the port is taken".to_owned())).collect();
        let statuses = told(&statuses, &problems);
        let content = statuses.into_iter().find(|status| status.object.kind == kind).unwrap().content;
        let (conditions, listeners) = match &*content {
            Content::Gateway(gateway) => (&gateway.conditions, &gateway.listeners),
            Content::ListenerSet(set) => (&set.conditions, &set.listeners),
            other => panic!("{other:?}"),
        };
        let all = std::iter::once(conditions).chain(listeners.iter().map(|listener| &listener.conditions));
        all.map(|conditions| conditions.iter().find(|c| c.kind == PROGRAMMED).unwrap().status == Truth::True).collect()
    }

    #[test]
    fn a_listener_that_a_gateway_cannot_bind_is_not_programmed() {
        let programmed = |documents: &[&str]| programmed("Gateway", documents);
        assert_eq!(programmed(&[]), [true, true, true]);
        assert_eq!(programmed(&["listener shop/web/a"]), [true, false, true]);
        assert_eq!(programmed(&["listener shop/web/a", "listener shop/web/b"]), [false, false, false]);
        assert_eq!(programmed(&["listener shop/other/a", "route shop/web"]), [true, true, true]);
    }
    #[test]
    fn a_listener_set_is_told_of_its_own_listeners() {
        let programmed = |document: &str| programmed("ListenerSet", &[document]);
        assert_eq!(programmed("listener shop/web/a"), [true, true]);
        assert_eq!(programmed("listener listenerset/shop/web/a"), [false, false]);
    }
}
