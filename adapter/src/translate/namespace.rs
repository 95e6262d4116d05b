//! Which namespaces others are let in from.

use std::collections::BTreeMap;

use crate::api::gateways::{
    GatewayAllowedListenersNamespacesSelector, GatewayListenersAllowedRoutesNamespacesSelector,
};
use crate::api::{Namespace, ObjectKey};
use crate::snapshot::ByKey;

/// Those whose labels fulfil all that is demanded.
pub(super) struct Selector<'s> {
    labels: Vec<(&'s str, &'s str)>,
    expressions: Vec<Expression<'s>>,
}

struct Expression<'s> {
    key: &'s str,
    operator: &'s str,
    values: &'s [String],
}

/// The API has one type of selector, the generated types one for each place where it stands.
macro_rules! from_generated {
    ($($generated:ty),+) => {$(
        impl<'s> From<&'s $generated> for Selector<'s> {
            fn from(selector: &'s $generated) -> Self {
                let labels = selector.match_labels.iter().flatten();
                let expressions = selector.match_expressions.iter().flatten();
                Self {
                    labels: labels.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
                    expressions: expressions
                        .map(|expression| Expression {
                            key: &expression.key,
                            operator: &expression.operator,
                            values: expression.values.as_deref().unwrap_or_default(),
                        })
                        .collect(),
                }
            }
        }
    )+};
}

from_generated!(GatewayAllowedListenersNamespacesSelector, GatewayListenersAllowedRoutesNamespacesSelector);

impl Selector<'_> {
    /// An operator that is none holds never.
    pub(super) fn selects(&self, namespace: &str, namespaces: &ByKey<Namespace>) -> bool {
        let object = namespaces.get(&ObjectKey::new("", namespace)).map(|object| &**object);
        let present = labels(namespace, object);
        let equal = self.labels.iter().all(|(key, value)| present.get(key) == Some(value));
        equal
            && self.expressions.iter().all(|expression| {
                let label = present.get(expression.key);
                let is_listed = label.is_some_and(|label| expression.values.iter().any(|value| value == label));
                match expression.operator {
                    "In" => is_listed,
                    "NotIn" => !is_listed,
                    "Exists" => label.is_some(),
                    "DoesNotExist" => label.is_none(),
                    _ => false,
                }
            })
    }
}

/// Every namespace has its name as a label, which the API server sees to and files do not.
fn labels<'n>(name: &'n str, namespace: Option<&'n Namespace>) -> BTreeMap<&'n str, &'n str> {
    let given = namespace.and_then(|namespace| namespace.metadata.labels.as_ref());
    let mut labels: BTreeMap<_, _> = given.into_iter().flatten().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    labels.insert("kubernetes.io/metadata.name", name);
    labels
}
