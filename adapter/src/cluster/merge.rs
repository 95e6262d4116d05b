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
        Some(Content::Route(route)) => {
            merged.insert("parents".to_owned(), parents(present, &to_values(&route.parents), now));
        }
        Some(content @ (Content::Gateway(_) | Content::GatewayClass(_))) => whole(&mut merged, present, content, now),
        None if present.get("parents").is_some() => {
            merged.insert("parents".to_owned(), parents(present, &[], now));
        }
        None => {}
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

/// Whether a status has entries of ours for parents.
pub(super) fn has_parents_of_ours(present: &Value) -> bool {
    present.get("parents").and_then(Value::as_array).is_some_and(|parents| parents.iter().any(is_ours))
}

/// Of an object that is ours as a whole, all fields that we know; conditions of types that we do
/// not speak of are somebody else's.
fn whole(merged: &mut Map<String, Value>, present: &Value, content: &Content, now: &str) {
    let mut wanted = fields(content);
    if matches!(content, Content::Gateway(_)) {
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

/// Others' entries stay where they are, and ours too, so that controllers do not push each other
/// about; new ones come last.
fn parents(present: &Value, wanted: &[Value], now: &str) -> Value {
    let before = present.get("parents").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut merged = Vec::new();
    let mut kept = BTreeSet::new();
    for entry in before {
        if !is_ours(entry) {
            merged.push(entry.clone());
            continue;
        }
        let again = wanted.iter().position(|wanted| wanted["parentRef"] == entry["parentRef"]);
        if let Some(again) = again.filter(|i| kept.insert(*i)) {
            merged.push(parent(Some(entry), &wanted[again], now));
        }
    }
    let new = wanted.iter().enumerate().filter(|(i, _)| !kept.contains(i));
    merged.extend(new.map(|(_, wanted)| parent(None, wanted, now)));
    Value::Array(merged)
}

fn parent(before: Option<&Value>, wanted: &Value, now: &str) -> Value {
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

/// The types of conditions on Gateways and GatewayClasses that are a controller's to set.
const OUR_CONDITIONS: [&str; 5] =
    ["Accepted", "InsecureFrontendValidationMode", "Programmed", "ResolvedRefs", "SupportedVersion"];
