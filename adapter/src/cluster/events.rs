//! Events for what a person must act on: conditions that have become bad, and stay so.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

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

/// What a new status of an object gives cause to tell.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// What is worse than in the status before. Several conditions that say the same are one alarm.
    new: Vec<Alarm>,
    /// The messages of everything that is bad.
    standing: BTreeSet<String>,
}

impl Alarms {
    pub(super) fn between(before: &Value, after: &Value) -> Self {
        let before: Vec<_> = bad_conditions(before).collect();
        let mut now: Vec<_> = bad_conditions(after).collect();
        // What is not programmed is so for a reason that another condition has a better word for.
        now.sort_by_key(|alarm| alarm.subject.ends_with("Programmed"));
        let standing = now.iter().map(|alarm| alarm.message.clone()).collect();
        let mut told = BTreeSet::new();
        now.retain(|alarm| !before.contains(alarm) && told.insert(alarm.message.clone()));
        Self { new: now, standing }
    }
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
    waiting: Waiting,
    telling: JoinSet<()>,
}

impl Events {
    pub(super) fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: CONTROLLER_NAME.to_owned(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter), waiting: Waiting::default(), telling: JoinSet::new() }
    }

    pub(super) fn raise(&mut self, object: &ObjectRef, uid: &str, alarms: Alarms) {
        // Classes have no namespace for Events to be in, and whoever installs them is no user.
        if !object.key.namespace.is_empty() {
            self.waiting.raise(object, uid, alarms, Instant::now());
        }
    }

    /// Waits for the next Event that is due and sends it, once the one before is sent.
    pub(super) async fn told(&mut self) {
        if let Some(ended) = self.telling.join_next().await
            && let Err(error) = ended
        {
            std::panic::resume_unwind(error.into_panic());
        }
        super::until(self.waiting.due()).await;
        let Some(Raised { object, uid, alarm, .. }) = self.waiting.0.pop_front() else { return };
        let reference = reference(&object, uid);
        let recorder = self.recorder.clone();
        self.telling.spawn(async move {
            if let Err(error) = recorder.publish(&event(alarm), &reference).await {
                log::warn!("cannot send an Event for {object}: {}", super::answer(&error));
            }
        });
    }
}

/// Alarms that are to be told, in the order in which they are due.
#[derive(Debug, Default)]
struct Waiting(VecDeque<Raised>);

#[derive(Debug)]
struct Raised {
    object: ObjectRef,
    uid: String,
    alarm: Alarm,
    due: Instant,
}

impl Waiting {
    /// Takes new ones, and takes back what is no longer so. Beyond the bound they are only in the statuses.
    fn raise(&mut self, object: &ObjectRef, uid: &str, alarms: Alarms, now: Instant) {
        let Alarms { new, standing } = alarms;
        self.0.retain(|raised| raised.object != *object || standing.contains(&raised.alarm.message));
        let room = MOST_WAITING.saturating_sub(self.0.len());
        let raised = |alarm| Raised { object: object.clone(), uid: uid.to_owned(), alarm, due: now + PATIENCE };
        self.0.extend(new.into_iter().take(room).map(raised));
    }

    fn due(&self) -> Option<Instant> {
        self.0.front().map(|raised| raised.due)
    }
}

fn reference(object: &ObjectRef, uid: String) -> ObjectReference {
    let resource = Kind::named(object.kind).map(Kind::resource);
    ObjectReference {
        api_version: resource.map(|resource| resource.api_version),
        kind: Some(object.kind.to_owned()),
        name: Some(object.key.name.clone()),
        namespace: Some(object.key.namespace.clone()),
        uid: Some(uid),
        ..ObjectReference::default()
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
/// What is well again by then was on its way: an address that a load balancer gave, a Service that was
/// created after the route to it.
const PATIENCE: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::ObjectKey;

    fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": kind, "status": status, "reason": reason, "message": message})
    }

    fn reasons(before: &Value, after: &Value) -> Vec<String> {
        let alarms = Alarms::between(before, after).new;
        alarms.into_iter().map(|alarm| format!("{} {}", alarm.subject, alarm.reason)).collect()
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
    fn what_is_not_programmed_is_told_by_its_cause() {
        let status = json!({"conditions": [
            condition("Programmed", "False", "Invalid", "no Secret"),
            condition("ResolvedRefs", "False", "InvalidCertificateRef", "no Secret"),
        ]});
        assert_eq!(reasons(&Value::Null, &status), ["ResolvedRefs InvalidCertificateRef"]);
    }

    #[test]
    fn what_is_mended_before_it_is_due_is_not_told() {
        let route = |name| ObjectRef::new("HTTPRoute", &ObjectKey::new("shop", name));
        let status = |messages: &[&str]| {
            let bad = messages.iter().map(|message| condition("ResolvedRefs", "False", "BackendNotFound", message));
            json!({"conditions": bad.collect::<Vec<_>>()})
        };
        let begin = Instant::now();
        let mut waiting = Waiting::default();
        let mut raise = |name, before: &[&str], after: &[&str], seconds| {
            let now = begin + Duration::from_secs(seconds);
            waiting.raise(&route(name), "uid", Alarms::between(&status(before), &status(after)), now);
            waiting.0.iter().map(|raised| raised.alarm.message.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(raise("one", &[], &["a", "b"], 0), "a b");
        assert_eq!(raise("two", &[], &["a"], 1), "a b a");
        assert_eq!(raise("one", &["a", "b"], &["b"], 2), "b a");
        assert_eq!(raise("one", &["b"], &["b", "c"], 2), "b a c");
        assert_eq!(waiting.due(), Some(begin + PATIENCE));
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
