use std::time::Duration;

use crate::{Call, MirrorAccount, Outcome, Receipt};

/// What was seen of the same calls to a gateway without mirrors and to one with them.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// Each with its number in [`crate::MARK`].
    pub calls: Vec<Call>,
    pub alone: Run,
    pub mirrored: Run,
    /// How much longer the calls may take with mirrors: noise.
    pub allowance: Duration,
    pub mirrors: Vec<Mirror>,
    pub left: Left,
}

/// What came of the calls.
#[derive(Clone, Debug)]
pub struct Run {
    /// In the order of the calls.
    pub outcomes: Vec<Outcome>,
    /// What the primary got.
    pub originals: Vec<Receipt>,
    /// How many requests the gateway says it had for the route.
    pub routed: u64,
    /// From the first byte to the last answer.
    pub elapsed: Duration,
}

/// What came of one mirror's copies.
#[derive(Clone, Debug)]
pub struct Mirror {
    pub name: String,
    /// None where nobody was there to remember them.
    pub copies: Option<Vec<Receipt>>,
    pub account: MirrorAccount,
}

/// What is there once everything has ended that was not there before the first call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Left {
    pub in_flight: u64,
    pub queue_bytes: u64,
    /// Connections to mirrors that the gateway holds a descriptor of.
    pub sockets: usize,
    pub tasks: usize,
}

impl Left {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
