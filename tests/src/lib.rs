//! What the black-box tests are made of: a [`World`] is a running gateway made from manifests, an
//! [`Echo`] is a backend that remembers what reached it byte by byte, and the clients put any bytes
//! on the wire. Everything is on loopback with ports of its own, so that tests run side by side;
//! everything waits for conditions, never for time to pass.

mod client;
mod echo;
mod metrics;
mod patience;
mod pattern;
mod receipt;
mod script;
mod setup;
mod unreachable;
mod wire;
mod world;

pub use client::{Answer, Client, H2Answer, H2Client, H2Upload};
pub use echo::Echo;
pub use metrics::{MirrorAccount, Scrape};
pub use patience::{PATIENCE, eventually, soon};
pub use pattern::Pattern;
pub use receipt::{Body, End, Receipt};
pub use script::{Gate, Reply, ReplyBody, Script, Step};
pub use setup::{MIRRORED, Setup};
pub use unreachable::{full_backlog, refusing};
pub use wire::{Framing, Head};
pub use world::World;
