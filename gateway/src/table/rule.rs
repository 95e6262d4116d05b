use std::sync::Arc;
use std::time::Duration;

use conf::{Cors, Fraction, HeaderModifier, Name, Redirect, Rewrite};

use super::BackendId;
use super::balance::{Backends, SAMPLES, Sequence};
use crate::metrics::Requests;
use crate::mirror::{Account, Receiver};

/// One rule of a route, ready to serve from: what happens to a request that it matches.
pub struct Rule {
    pub route: Name,
    /// Its place among the rules of the route, from 0.
    pub index: usize,
    pub name: Option<Name>,
    pub(super) filters: Option<Box<Filters>>,
    pub backends: Backends,
    pub timeouts: Timeouts,
    pub retry: Option<Box<conf::Retry>>,
    /// The counters of the route.
    pub requests: Arc<Requests>,
    pub(super) samples: Sequence<SAMPLES>,
}

impl Rule {
    pub fn filters(&self) -> &Filters {
        Filters::of(self.filters.as_deref())
    }

    /// Uniform over all of `u64`; one draw per request decides all its mirrors, so that smaller
    /// samples lie within larger ones. Even among every second or third request, and among those
    /// that went to the same backend.
    pub fn draw(&self) -> u64 {
        self.samples.draw()
    }
}

/// What is done to requests, and to their answers, on the way. Most rules and backends have none, and
/// of thousands each byte counts.
pub struct Filters {
    pub request_headers: Option<Box<HeaderModifier>>,
    pub response_headers: Option<Box<HeaderModifier>>,
    pub redirect: Option<Box<Redirect>>,
    pub rewrite: Option<Box<Rewrite>>,
    pub cors: Option<Arc<Cors>>,
    pub mirrors: Vec<Mirror>,
}

impl Filters {
    pub(super) const NONE: Self = Self {
        request_headers: None,
        response_headers: None,
        redirect: None,
        rewrite: None,
        cors: None,
        mirrors: Vec::new(),
    };

    pub(super) fn of(filters: Option<&Self>) -> &Self {
        static NONE: Filters = Filters::NONE;
        filters.unwrap_or(&NONE)
    }
}

pub struct Mirror {
    pub fraction: Fraction,
    pub destination: MirrorDestination,
    /// Where every decision about a copy is counted.
    pub account: Arc<Account>,
}

pub enum MirrorDestination {
    Backend(BackendId, Arc<Receiver>),
    /// Why it leads nowhere, for people.
    Invalid(String),
}

/// A limit that is not there is `None`; `0s` of a document is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the end of the answer, retries included.
    pub request: Option<Duration>,
    /// For each attempt at a backend, from its choice to the end of its answer.
    pub backend_request: Option<Duration>,
}

impl Timeouts {
    pub(super) fn new(document: conf::Timeouts) -> Self {
        let conf::Timeouts { request, backend_request } = document;
        let limit = |duration: Option<conf::Duration>| duration.filter(|d| !d.is_zero()).map(conf::Duration::as_std);
        Self { request: limit(request), backend_request: limit(backend_request) }
    }
}
