//! What a status becomes: what is there already, with what is ours replaced by what we want to say.
//! Pure; it knows neither the API server nor when to ask it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::api::CONTROLLER_NAME;
use crate::status::Content;

/// The status that an object should have, if that is another than it has. `wanted` is none for an
/// object that we have nothing to say about any more; `now` is the time, as RFC 3339 has it.
pub(super) fn merge(present: &Value, wanted: Option<&Content>, now: &str) -> Option<Value> {
    let mut merged = present.as_object().cloned().unwrap_or_default();
    match wanted {
        Some(Content::Route(route)) => PARENTS.merge(&mut merged, &to_values(&route.parents), now),
        Some(Content::Policy(policy)) => ANCESTORS.merge(&mut merged, &to_values(&policy.ancestors), now),
        Some(content @ (Content::Gateway(_) | Content::ListenerSet(_) | Content::GatewayClass(_))) => {
            whole(&mut merged, present, content, now)
        }
        None => {
            for entries in [PARENTS, ANCESTORS].iter().filter(|entries| present.get(entries.field).is_some()) {
                entries.merge(&mut merged, &[], now);
            }
        }
    }
    let merged = Value::Object(merged);
    let nothing = present.is_null() && merged == json!({});
    (merged != *present && !nothing).then_some(merged)
}

/// The change from one status to another as a JSON merge patch: fields that are gone are null.
pub(super) fn patch(present: &Value, mut merged: Value) -> Value {
    if let (Some(before), Some(after)) = (present.as_object(), merged.as_object_mut()) {
        let gone: Vec<_> = before.keys().filter(|key| !after.contains_key(*key)).cloned().collect();
        after.retain(|key, value| before.get(key) != Some(value));
        after.extend(gone.into_iter().map(|key| (key, Value::Null)));
    }
    merged
}

/// Whether a status has entries of ours beside those of others.
pub(super) fn has_entries_of_ours(present: &Value) -> bool {
    [PARENTS, ANCESTORS].iter().any(|entries| entries.of(present).iter().any(is_ours))
}

/// A list of a status that controllers share: each has entries of its own.
struct Entries {
    field: &'static str,
    /// What an entry is about.
    reference: &'static str,
    /// How many the API server takes.
    most: usize,
}

const PARENTS: Entries = Entries { field: "parents", reference: "parentRef", most: 32 };
const ANCESTORS: Entries = Entries { field: "ancestors", reference: "ancestorRef", most: 16 };

impl Entries {
    fn of<'v>(&self, status: &'v Value) -> &'v [Value] {
        status.get(self.field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// Others' entries stay where they are, and ours too, so that controllers do not push each other
    /// about; new ones come last.
    fn merge(&self, status: &mut Map<String, Value>, wanted: &[Value], now: &str) {
        let before = status.remove(self.field);
        let before = before.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let mut merged = Vec::new();
        let mut kept = BTreeSet::new();
        for entry in before {
            if !is_ours(entry) {
                merged.push(entry.clone());
                continue;
            }
            let again = wanted.iter().position(|wanted| wanted[self.reference] == entry[self.reference]);
            if let Some(again) = again.filter(|i| kept.insert(*i)) {
                merged.push(entry_after(Some(entry), &wanted[again], now));
            }
        }
        let room = self.most.saturating_sub(merged.len());
        let new = wanted.iter().enumerate().filter(|(i, _)| !kept.contains(i)).take(room);
        merged.extend(new.map(|(_, wanted)| entry_after(None, wanted, now)));
        status.insert(self.field.to_owned(), Value::Array(merged));
    }
}

/// Of an object that is ours as a whole, all fields that we know; conditions of types that we do
/// not speak of are somebody else's.
fn whole(merged: &mut Map<String, Value>, present: &Value, content: &Content, now: &str) {
    let mut wanted = fields(content);
    if matches!(content, Content::Gateway(_) | Content::ListenerSet(_)) {
        let before = present.get("listeners");
        for listener in wanted.get_mut("listeners").and_then(Value::as_array_mut).into_iter().flatten() {
            let before =
                before.and_then(Value::as_array).and_then(|all| all.iter().find(|b| b["name"] == listener["name"]));
            listener["conditions"] = conditions(before, listener["conditions"].take(), now, |_| false);
        }
        // Present only where there are some.
        merged.remove("addresses");
    }
    let is_foreign = |kind: &str| !OUR_CONDITIONS.contains(&kind);
    let ours = wanted.remove("conditions").unwrap_or_default();
    merged.insert("conditions".to_owned(), conditions(Some(present), ours, now, is_foreign));
    merged.extend(wanted);
}

fn entry_after(before: Option<&Value>, wanted: &Value, now: &str) -> Value {
    let mut entry = wanted.clone();
    entry["conditions"] = conditions(before, entry["conditions"].take(), now, |_| false);
    entry
}

fn is_ours(entry: &Value) -> bool {
    entry["controllerName"] == CONTROLLER_NAME
}

/// A condition's time tells when its status last changed, whatever else about it does.
fn conditions(before: Option<&Value>, wanted: Value, now: &str, keep: impl Fn(&str) -> bool) -> Value {
    let before = before.and_then(|before| before.get("conditions")).and_then(Value::as_array);
    let before = before.map_or(&[][..], Vec::as_slice);
    let Value::Array(mut wanted) = wanted else { return json!([]) };
    let mut merged = Vec::new();
    for present in before {
        if let Some(i) = wanted.iter().position(|wanted| wanted["type"] == present["type"]) {
            let mut condition = wanted.remove(i);
            let is_same = condition["status"] == present["status"] && present["lastTransitionTime"].is_string();
            condition["lastTransitionTime"] = if is_same { present["lastTransitionTime"].clone() } else { now.into() };
            merged.push(condition);
        } else if present["type"].as_str().is_some_and(&keep) {
            merged.push(present.clone());
        }
    }
    merged.extend(wanted.into_iter().map(|mut condition| {
        condition["lastTransitionTime"] = now.into();
        condition
    }));
    Value::Array(merged)
}

fn to_values(items: &[impl serde::Serialize]) -> Vec<Value> {
    match serde_json::to_value(items) {
        Ok(Value::Array(values)) => values,
        _ => unreachable!("a slice of plain structs is an array"),
    }
}

fn fields(content: &Content) -> Map<String, Value> {
    match serde_json::to_value(content) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a status is a map with text keys"),
    }
}

/// The types of conditions on GatewayClasses, Gateways and ListenerSets that are a controller's to set.
const OUR_CONDITIONS: [&str; 5] =
    ["Accepted", "InsecureFrontendValidationMode", "Programmed", "ResolvedRefs", "SupportedVersion"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::http_route::ParentRef;
    use crate::status::{
        Address, Condition, Feature, GatewayClassStatus, GatewayStatus, ListenerStatus, ParentStatus, RouteStatus,
        Truth,
    };

    const BEFORE: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-02-02T00:00:00Z";

    fn condition(kind: &'static str, status: Truth, message: &str) -> Condition {
        Condition { kind, status, reason: kind, message: message.to_owned(), observed_generation: Some(1) }
    }

    fn parent(name: &str, conditions: Vec<Condition>) -> ParentStatus {
        let parent_ref = ParentRef {
            group: "gateway.networking.k8s.io".to_owned(),
            kind: "Gateway".to_owned(),
            namespace: None,
            name: name.to_owned(),
            section_name: None,
            port: None,
        };
        ParentStatus { parent_ref, controller_name: CONTROLLER_NAME, conditions }
    }

    fn route(parents: &[&str]) -> Content {
        let conditions = || vec![condition("Accepted", Truth::True, "attached")];
        Content::Route(RouteStatus { parents: parents.iter().map(|name| parent(name, conditions())).collect() })
    }

    fn gateway(truth: Truth, message: &str, listeners: &[&'static str], addresses: &[&str]) -> Content {
        let address = |value: &&str| Address { kind: "IPAddress", value: (*value).to_owned() };
        let listener = |name: &&str| ListenerStatus {
            name: (*name).to_owned(),
            supported_kinds: Vec::new(),
            attached_routes: 0,
            conditions: vec![condition("Programmed", Truth::True, "configured")],
        };
        Content::Gateway(GatewayStatus {
            addresses: addresses.iter().map(address).collect(),
            attached_listener_sets: 0,
            conditions: vec![condition("Accepted", truth, message)],
            listeners: listeners.iter().map(listener).collect(),
        })
    }

    /// The status after it was written.
    fn written(present: &Value, wanted: Option<&Content>, now: &str) -> Value {
        merge(present, wanted, now).expect("there should be a difference")
    }

    fn names(status: &Value) -> Vec<String> {
        let name =
            |entry: &Value| format!("{} {}", entry["controllerName"], entry["parentRef"]["name"]).replace('"', "");
        status["parents"].as_array().unwrap().iter().map(name).collect()
    }

    #[test]
    fn what_is_as_wanted_is_not_written_again() {
        let contents = [
            route(&["a", "b"]),
            gateway(Truth::True, "valid", &["x", "y"], &["192.0.2.1"]),
            Content::GatewayClass(GatewayClassStatus {
                conditions: vec![condition("Accepted", Truth::True, "served")],
                supported_features: vec![Feature { name: "Gateway" }],
            }),
        ];
        for content in contents {
            let status = written(&Value::Null, Some(&content), BEFORE);
            assert_eq!(merge(&status, Some(&content), NOW), None);
        }
        assert_eq!(merge(&Value::Null, None, NOW), None);
    }

    #[test]
    fn the_time_of_a_condition_changes_with_its_status_alone() {
        let time = |status: &Value| status["conditions"][0]["lastTransitionTime"].clone();
        let first = written(&Value::Null, Some(&gateway(Truth::True, "valid", &["x"], &[])), BEFORE);
        let reworded = written(&first, Some(&gateway(Truth::True, "still valid", &["x"], &[])), NOW);
        assert_eq!(
            (time(&reworded), reworded["conditions"][0]["message"].clone()),
            (json!(BEFORE), json!("still valid"))
        );
        let turned = written(&first, Some(&gateway(Truth::False, "not valid", &["x"], &[])), NOW);
        assert_eq!(time(&turned), NOW);
        // What a listener's conditions say has not changed.
        assert_eq!(turned["listeners"], first["listeners"]);
    }

    #[test]
    fn entries_of_others_stay_what_and_where_they_are() {
        let other = json!({"controllerName": "example.com/other", "parentRef": {"name": "o", "unknown": 1}});
        let mut status = written(&Value::Null, Some(&route(&["a", "b"])), BEFORE);
        status["parents"].as_array_mut().unwrap().insert(1, other.clone());
        assert_eq!(merge(&status, Some(&route(&["b", "a"])), NOW), None);

        let ours = format!("{CONTROLLER_NAME} ");
        let fewer = written(&status, Some(&route(&["b", "c"])), NOW);
        assert_eq!(names(&fewer), ["example.com/other o".to_owned(), format!("{ours}b"), format!("{ours}c")]);
        assert_eq!(fewer["parents"][0], other);
        let none = written(&status, None, NOW);
        assert_eq!(none["parents"], json!([other]));
        assert!(has_entries_of_ours(&status) && !has_entries_of_ours(&none));
    }

    #[test]
    fn of_a_gateway_foreign_conditions_stay_and_old_ones_of_ours_go() {
        let status = json!({
            "conditions": [
                {"type": "Accepted", "status": "Unknown", "reason": "Pending", "lastTransitionTime": "1970-01-01T00:00:00Z"},
                {"type": "Programmed", "status": "Unknown", "reason": "Pending"},
                {"type": "example.com/Audited", "status": "True"},
            ],
            "addresses": [{"type": "IPAddress", "value": "192.0.2.9"}],
            "listeners": [{"name": "gone"}],
        });
        let merged = written(&status, Some(&gateway(Truth::True, "valid", &["x"], &[])), NOW);
        let kinds: Vec<_> = merged["conditions"].as_array().unwrap().iter().map(|c| c["type"].clone()).collect();
        assert_eq!(kinds, ["Accepted", "example.com/Audited"]);
        assert_eq!(merged["conditions"][0]["lastTransitionTime"], NOW);
        assert_eq!(merged.get("addresses"), None);
        assert_eq!(merged["listeners"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_patch_holds_what_changes_and_nulls_what_goes() {
        let before = json!({"same": [1], "other": 1, "gone": 1});
        let after = json!({"same": [1], "other": 2, "new": 3});
        assert_eq!(patch(&before, after.clone()), json!({"other": 2, "new": 3, "gone": null}));
        assert_eq!(patch(&Value::Null, after.clone()), after);
    }
}
