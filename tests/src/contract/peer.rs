use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::echo::{H2Habits, MakeScript};
use crate::{Authority, Echo, Guard, Head, MARK, Script, Step, full_backlog, refusing};

/// Who is at the other end: a backend in the making, started anew each time it is needed.
#[derive(Clone)]
pub enum Peer {
    /// Speaks HTTP/1.1.
    Http1(MakeScript),
    /// The same with another script each time, so that nothing is left of what it remembers.
    Fresh(Arc<dyn Fn() -> MakeScript + Send + Sync>),
    /// Speaks HTTP/2 with prior knowledge.
    Http2(H2Habits, MakeScript),
    /// The same with TLS, which it proves who it is by; for the first three.
    Guarded(Box<Peer>),
    /// Is said to speak HTTP/2, and speaks HTTP/1.1.
    Mistaken(MakeScript),
    /// Accepts connections and never reads a byte.
    NeverReads,
    /// Has no ear for connections.
    Refuses,
    /// Lets connections wait for ever.
    Unreachable,
}

impl Peer {
    pub fn http1(script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        Self::Http1(Arc::new(script))
    }

    pub fn http2(script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        Self::Http2(H2Habits::default(), Arc::new(script))
    }

    /// Gives every body back, over HTTP/1.1.
    pub fn echo() -> Self {
        Self::http1(|_, _| Step::echo())
    }

    pub fn h2_echo() -> Self {
        Self::http2(|_, _| Step::echo())
    }

    /// Speaks HTTP/1.1 and fails the first attempts at each call like this, before it gives the body
    /// back.
    pub fn failing(attempts: usize, how: impl Fn() -> Script + Clone + Send + Sync + 'static) -> Self {
        Self::Fresh(Arc::new(move || {
            let (how, seen) = (how.clone(), Mutex::new(HashMap::new()));
            Arc::new(move |_, head| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let times = seen.entry(head.header(MARK)).or_insert(0);
                *times += 1;
                if *times <= attempts { how() } else { Step::echo() }
            })
        }))
    }

    /// With TLS.
    pub fn guarded(self) -> Self {
        Self::Guarded(Box::new(self))
    }

    pub(crate) async fn start(&self) -> Station {
        let is_h2c = matches!(self, Self::Http2(..) | Self::Mistaken(_));
        let tls = None;
        let echo = match self {
            Self::Http1(script) | Self::Mistaken(script) => Echo::scripted_by(script.clone()).await,
            Self::Http2(habits, script) => Echo::h2c_by(*habits, script.clone()).await,
            Self::Fresh(make) => Echo::scripted_by(make()).await,
            Self::NeverReads => Echo::never_reads().await,
            Self::Guarded(peer) => return peer.start_guarded().await,
            Self::Refuses => {
                let (address, kept) = refusing();
                return Station { address, is_h2c, tls, remembers: false, echo: None, _kept: Box::new(kept) };
            }
            Self::Unreachable => {
                let (address, kept) = full_backlog().await;
                return Station { address, is_h2c, tls, remembers: false, echo: None, _kept: Box::new(kept) };
            }
        };
        let remembers = !matches!(self, Self::NeverReads | Self::Mistaken(_));
        Station { address: echo.address(), is_h2c, tls, remembers, echo: Some(echo), _kept: Box::new(()) }
    }
}

impl Peer {
    async fn start_guarded(&self) -> Station {
        let authority = Authority::new();
        let guard = Guard::new(&authority.identity(&[GUARDED]));
        let (http2, script) = match self {
            Self::Http1(script) => (None, script.clone()),
            Self::Fresh(make) => (None, make()),
            Self::Http2(habits, script) => (Some(*habits), script.clone()),
            _ => panic!("only peers that speak have something to guard"),
        };
        let echo = Echo::guarded_by(&guard, http2, script).await;
        Station {
            address: echo.address(),
            is_h2c: http2.is_some(),
            tls: Some(authority),
            remembers: true,
            echo: Some(echo),
            _kept: Box::new(()),
        }
    }
}

/// Whom peers with TLS say they are.
pub(crate) const GUARDED: &str = "guarded.test";

/// A peer that is there. It ends when dropped.
pub(crate) struct Station {
    pub(crate) address: SocketAddr,
    pub(crate) is_h2c: bool,
    /// Who says of it that it is [`GUARDED`]; none without TLS.
    pub(crate) tls: Option<Authority>,
    /// Whether what the echo has received is all that was sent to it.
    pub(crate) remembers: bool,
    pub(crate) echo: Option<Echo>,
    /// What makes it be there as it is.
    _kept: Box<dyn Any + Send>,
}
