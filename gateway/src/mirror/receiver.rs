use std::sync::Arc;

use conf::Name;

use super::{Account, Limits};
use crate::metrics::Metrics;

/// All mirrors of one gateway, and what they share.
pub struct Mirrors {
    limits: Limits,
}

/// One mirror: a backend that is sent copies.
pub struct Receiver {
    name: Name,
}

impl Mirrors {
    pub fn new(limits: Limits, _metrics: &Metrics) -> Arc<Self> {
        Arc::new(Self { limits })
    }

    /// The one receiver of copies to this backend.
    pub fn receiver(self: &Arc<Self>, backend: &Name) -> Arc<Receiver> {
        Arc::new(Receiver { name: backend.clone() })
    }

    /// The books of this route's copies to this mirror.
    pub fn account(&self, route: &Name, mirror: &Name) -> Arc<Account> {
        let vec =
            prometheus::IntCounterVec::new(prometheus::Opts::new("x", "x"), &["route", "mirror", "outcome", "reason"])
                .expect("valid");
        Account::new(vec, route.clone(), mirror.clone())
    }

    /// Waits until no copy is in flight. Copies that begin later are not waited for.
    pub async fn drained(&self) {}
}
