//! Events for what a person must act on: conditions that have become bad.

use std::collections::{BTreeSet, VecDeque};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tokio::task::JoinSet;

use super::kind::Kind;
use crate::api::{CONTROLLER_NAME, ObjectRef};

/// A condition that has become bad, or is so for another reason now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Alarm {
    /// The condition, and the listener that it is of, if of one.
    subject: String,
    reason: String,
    message: String,
}

/// What is worse in one status of an object than in the one before. Several conditions that say the
/// same are one alarm.
pub(super) fn alarms(before: &Value, after: &Value) -> Vec<Alarm> {
    let before: Vec<_> = bad_conditions(before).collect();
    let mut told = BTreeSet::new();
    let is_new = |alarm: &Alarm| !before.contains(alarm);
    bad_conditions(after).filter(is_new).filter(|alarm| told.insert(alarm.message.clone())).collect()
}

fn bad_conditions(status: &Value) -> impl Iterator<Item = Alarm> {
    let items = |value: &Value, field: &str| value[field].as_array().cloned().unwrap_or_default();
    let own = [(String::new(), status.clone())];
    let listeners = items(status, "listeners").into_iter().map(|listener| (text(&listener, "name") + "/", listener));
    let parents = items(status, "parents").into_iter().filter(|parent| parent["controllerName"] == CONTROLLER_NAME);
    let parents = parents.map(|parent| (text(&parent["parentRef"], "name") + "/", parent));
    own.into_iter().chain(listeners).chain(parents).flat_map(move |(subject, holder)| {
        let bad = items(&holder, "conditions").into_iter().filter(is_bad);
        bad.map(move |condition| Alarm {
            subject: format!("{subject}{}", text(&condition, "type")),
            reason: text(&condition, "reason"),
            message: text(&condition, "message"),
        })
    })
}

/// Most conditions are better true. What is only pending needs nobody.
fn is_bad(condition: &Value) -> bool {
    let good = match condition["type"].as_str() {
        Some("Conflicted" | "PartiallyInvalid") => "False",
        _ => "True",
    };
    let status = text(condition, "status");
    ["True", "False"].contains(&status.as_str()) && status != good && condition["reason"] != "Pending"
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

/// Tells alarms to the API server, one after the other: a few say more than thousands.
pub(super) struct Events {
    recorder: Recorder,
    waiting: VecDeque<(Event, ObjectReference)>,
    telling: JoinSet<()>,
}

impl Events {
    pub(super) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: CONTROLLER_NAME.to_owned(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter), waiting: VecDeque::new(), telling: JoinSet::new() }
    }

    /// Beyond the bound they are only in the statuses.
    pub(super) fn raise(&mut self, object: &ObjectRef, uid: &str, alarms: Vec<Alarm>) {
        // Classes have no namespace for Events to be in, and whoever installs them is no user.
        if object.key.namespace.is_empty() {
            return;
        }
        let resource = Kind::named(object.kind).map(Kind::resource);
        let reference = ObjectReference {
            api_version: resource.map(|resource| resource.api_version),
            kind: Some(object.kind.to_owned()),
            name: Some(object.key.name.clone()),
            namespace: Some(object.key.namespace.clone()),
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        };
        let room = MOST_WAITING.saturating_sub(self.waiting.len());
        self.waiting.extend(alarms.into_iter().take(room).map(|alarm| (event(alarm), reference.clone())));
        self.tell();
    }

    /// Waits for the Event that is being sent, then sends the next.
    pub(super) async fn told(&mut self) {
        match self.telling.join_next().await {
            Some(Ok(())) => self.tell(),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => std::future::pending().await,
        }
    }

    fn tell(&mut self) {
        if !self.telling.is_empty() {
            return;
        }
        let Some((event, reference)) = self.waiting.pop_front() else { return };
        let recorder = self.recorder.clone();
        self.telling.spawn(async move {
            if let Err(error) = recorder.publish(&event, &reference).await {
                let object = reference.name.as_deref().unwrap_or_default();
                log::warn!("cannot send an Event for {object}: {}", super::answer(&error));
            }
        });
    }
}

/// With the lengths that the API allows.
fn event(alarm: Alarm) -> Event {
    let cut = |mut text: String, most: usize| {
        text.truncate(text.floor_char_boundary(most));
        text
    };
    Event {
        type_: EventType::Warning,
        reason: cut(alarm.reason, 128),
        note: Some(cut(alarm.message, 1000)),
        action: cut(alarm.subject, 128),
        secondary: None,
    }
}

const MOST_WAITING: usize = 256;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message})
    }

    fn reasons(before: &Value, after: &Value) -> Vec<String> {
        alarms(before, after).into_iter().map(|alarm| format!("{} {}", alarm.subject, alarm.reason)).collect()
    }

    #[test]
    fn what_turns_bad_is_told_once() {
        let good = json!({"conditions": [condition("Accepted", "True", "Accepted", "a")]});
        let bad = json!({
            "conditions": [condition("Accepted", "False", "Invalid", "x"), condition("Programmed", "False", "Pending", "y")],
            "listeners": [
                {"name": "l", "conditions": [
                    condition("Accepted", "False", "PortUnavailable", "taken"),
                    condition("Programmed", "False", "Invalid", "taken"),
                    condition("Conflicted", "False", "NoConflicts", "none"),
                ]},
                {"name": "m", "conditions": [condition("Conflicted", "True", "HostnameConflict", "both")]},
            ],
        });
        let all = ["Accepted Invalid", "l/Accepted PortUnavailable", "m/Conflicted HostnameConflict"];
        assert_eq!(reasons(&good, &bad), all);
        assert_eq!(reasons(&Value::Null, &bad), all);
        assert_eq!(reasons(&bad, &bad), [""; 0]);
        assert_eq!(reasons(&bad, &good), [""; 0]);
        // The API server's own first entry is neither good nor bad.
        let unknown = json!({"conditions": [condition("Accepted", "Unknown", "Pending", "Waiting for controller")]});
        assert_eq!(reasons(&Value::Null, &unknown), [""; 0]);
    }

    #[test]
    fn of_a_route_only_what_we_say_is_told() {
        let entry = |controller: &str| {
            json!({
                "controllerName": controller,
                "parentRef": {"name": "gateway"},
                "conditions": [condition("ResolvedRefs", "False", "BackendNotFound", "no Service")],
            })
        };
        let status = |controller: &str| json!({"parents": [entry(controller)]});
        assert_eq!(reasons(&Value::Null, &status("example.com/other")), [""; 0]);
        assert_eq!(reasons(&Value::Null, &status(CONTROLLER_NAME)), ["gateway/ResolvedRefs BackendNotFound"]);
    }

    #[test]
    fn long_texts_are_cut_where_a_letter_ends() {
        let alarm = Alarm { subject: String::new(), reason: String::new(), message: "é".repeat(600) };
        assert_eq!(event(alarm).note.unwrap(), "é".repeat(500));
    }
}
