//! What the black-box tests are made of: a [`World`] is a running gateway, made from documents of a
//! [`Setup`] or from Kubernetes [`Manifests`], an
//! [`Echo`] is a backend that remembers what reached it byte by byte, and the clients put any bytes
//! on the wire. A [`Case`] puts a gateway to the mirror contract. Everything is on loopback with ports of its own, so that tests run side by side;
//! everything waits for conditions, never for time to pass.

mod authority;
mod client;
mod contract;
mod echo;
mod fuzz;
mod grpc;
mod mangle;
mod manifests;
mod metrics;
mod patience;
mod pattern;
mod receipt;
mod script;
mod setup;
mod stream;
mod tls;
mod unreachable;
mod wire;
mod world;

pub use authority::{Authority, Guard, Shaken};
pub use client::{Answer, Call, Client, Ending, H2Answer, H2Client, H2Upload, MARK, Outcome};
pub use contract::{
    Case, Evidence, Flaw, Invariant, LIMIT, Left, Mirror, Peer, Report, Run, Speech, Violation, connections_to,
    violations,
};
pub use echo::{Echo, H2Habits, MakeScript};
pub use fuzz::fuzz;
pub use grpc::message;
pub use mangle::{mangled, texts};
pub use manifests::Manifests;
pub use metrics::{MirrorAccount, Scrape};
pub use patience::{PATIENCE, eventually, soon};
pub use pattern::Pattern;
pub use receipt::{Body, End, Receipt};
pub use script::{Gate, Reply, ReplyBody, Script, Step};
pub use setup::{MIRRORED, Setup};
pub use tls::{Agreed, Dialer, Identity};
pub use unreachable::{full_backlog, refusing};
pub use wire::{Framing, Head};
pub use world::World;
