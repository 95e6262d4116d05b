//! What references have in common, whatever they lead to.

use conf::{Name, nearest};

use crate::api::ObjectKey;
use crate::status::Fault;

/// What some references lead to, each once; and, with the reason of the first, what is wrong with the
/// others.
pub(super) fn each_once(resolved: impl IntoIterator<Item = Result<Name, Fault>>) -> (Vec<Name>, Option<Fault>) {
    let mut found: Vec<Name> = Vec::new();
    let mut faults: Vec<Fault> = Vec::new();
    for name in resolved {
        match name {
            Ok(name) if found.contains(&name) => {}
            Ok(name) => found.push(name),
            Err(fault) => faults.push(fault),
        }
    }
    let messages = faults.iter().map(|fault| fault.message.as_str()).collect::<Vec<_>>().join("; ");
    (found, faults.first().map(|first| Fault::new(first.reason, messages)))
}

/// What may be done about an object that does not exist, of those of its kind that do; `otherwise` if
/// none has a name that may have been meant.
pub(super) fn remedy<'k>(key: &ObjectKey, known: impl IntoIterator<Item = &'k ObjectKey>, otherwise: &str) -> String {
    let neighbours = known.into_iter().filter(|other| other.namespace == key.namespace);
    match nearest(&key.name, neighbours.map(|other| other.name.as_str())) {
        Some(near) => format!("is {near} meant?"),
        None => otherwise.to_owned(),
    }
}
