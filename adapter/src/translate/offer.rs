//! What Gateways offer to routes. Routes see nothing else of a Gateway, so that those of one which
//! offers the same as before need not be translated again.

use std::collections::BTreeMap;
use std::ops::Range;

use conf::{Hostname, Name};

use crate::api::ObjectRef;
use crate::api::gateways::GatewayListenersAllowedRoutesNamespaces as Namespaces;

/// What one Gateway offers.
#[derive(Debug, PartialEq)]
pub(super) struct Offer {
    /// All listeners of the Gateway.
    pub(super) listeners: Vec<Offered>,
    /// Where those of the Gateway itself and of its ListenerSets are among them.
    pub(super) positions: BTreeMap<ObjectRef, Range<usize>>,
}

/// A listener as routes see it.
#[derive(Debug, PartialEq)]
pub(super) struct Offered {
    /// That of its document.
    pub(super) name: Name,
    /// What routes call it.
    pub(super) section: String,
    pub(super) port: i32,
    pub(super) hostname: Option<Hostname>,
    pub(super) kinds: Vec<&'static str>,
    pub(super) namespaces: Option<Namespaces>,
    pub(super) is_served: bool,
}

impl Offer {
    pub(super) fn positions(&self, holder: &ObjectRef) -> Range<usize> {
        self.positions.get(holder).cloned().unwrap_or_default()
    }
}
