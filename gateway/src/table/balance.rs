use std::sync::Arc;

use super::{BackendId, Filters};

/// The backends of a rule, with their weights.
#[derive(Default)]
pub struct Backends {
    choices: Vec<Arc<Choice>>,
}

impl Backends {
    /// One of them, by weight; `None` without any, and when every weight is 0.
    pub fn choose(&self) -> Option<&Arc<Choice>> {
        self.choices.first()
    }
}

pub struct Choice {
    pub target: ChoiceTarget,
    /// After those of the rule.
    pub filters: Filters,
}

#[derive(Debug)]
pub enum ChoiceTarget {
    Backend(BackendId),
    /// Why it leads nowhere, for people; the request gets 500.
    Invalid(String),
}
