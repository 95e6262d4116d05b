//! What gateways say of documents, into the statuses of what the documents come from.

use super::acknowledge::Problems;
use crate::status::{Condition, Content, GatewayStatus, ListenerStatus, Status, Truth};

/// The statuses with what gateways found out: a listener whose port is taken on a node, say.
pub(super) fn told(statuses: &[Status], problems: &Problems) -> Vec<Status> {
    let mut statuses = statuses.to_vec();
    for status in statuses.iter_mut().filter(|_| !problems.is_empty()) {
        if let Content::Gateway(gateway) = &mut status.content {
            let key = status.object.key.to_string();
            amend(gateway, |listener| problems.get(&format!("listener {key}/{}", listener.name)));
        }
    }
    statuses
}

fn amend<'p>(gateway: &mut GatewayStatus, problem: impl Fn(&ListenerStatus) -> Option<&'p String>) {
    let mut found = Vec::new();
    for listener in &mut gateway.listeners {
        if let Some(problem) = problem(listener) {
            let message = format!("listener {}: {problem}", listener.name);
            fail(&mut listener.conditions, &message);
            found.push(message);
        }
    }
    let is_programmed = |listener: &ListenerStatus| {
        listener.conditions.iter().any(|condition| condition.kind == PROGRAMMED && condition.status == Truth::True)
    };
    if !found.is_empty() && !gateway.listeners.iter().any(is_programmed) {
        fail(&mut gateway.conditions, &found.join("; "));
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
    use crate::translate::{Options, translate};

    const GATEWAY: &str = "
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: c}
spec: {controllerName: doppel.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: web, namespace: shop}
spec:
  gatewayClassName: c
  listeners:
    - {name: a, port: 80, protocol: HTTP}
    - {name: b, port: 81, protocol: HTTP}
";

    /// Whether the Gateway and its listeners are programmed.
    fn programmed(documents: &[&str]) -> Vec<bool> {
        let statuses = translate(&Snapshot::from_manifests(GATEWAY).0, &Options::default()).statuses;
        let problems = documents.iter().map(|name| ((*name).to_owned(), "the port is taken".to_owned())).collect();
        let statuses = told(&statuses, &problems);
        let content = statuses.into_iter().find(|status| status.object.kind == "Gateway").unwrap().content;
        let Content::Gateway(gateway) = content else { panic!("{content:?}") };
        let all = std::iter::once(&gateway.conditions).chain(gateway.listeners.iter().map(|l| &l.conditions));
        all.map(|conditions| conditions.iter().find(|c| c.kind == PROGRAMMED).unwrap().status == Truth::True).collect()
    }

    #[test]
    fn a_listener_that_a_gateway_cannot_bind_is_not_programmed() {
        assert_eq!(programmed(&[]), [true, true, true]);
        assert_eq!(programmed(&["listener shop/web/a"]), [true, false, true]);
        assert_eq!(programmed(&["listener shop/web/a", "listener shop/web/b"]), [false, false, false]);
        assert_eq!(programmed(&["listener shop/other/a", "route shop/web"]), [true, true, true]);
    }
}
