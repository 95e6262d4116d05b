//! Connections to backends: what is asked of Pingora for each.

use std::net::SocketAddr;
use std::time::Duration;

use pingora_core::protocols::tls::{ALPN, CustomALPN};
use pingora_core::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};

use super::Settings;
use crate::tls::Bond;

/// Streams at once on one HTTP/2 connection to a backend.
const H2_STREAMS: usize = 128;

/// The peer for one attempt that has `left` to go, over connections that rest on `bond` if there is to
/// be TLS. Pingora's time-outs are each for one wait, so
/// that they alone do not keep a limit; they end most requests in order before the hard limit does.
pub(super) fn peer(
    endpoint: SocketAddr,
    protocol: conf::Protocol,
    bond: Option<&Bond>,
    settings: &Settings,
    left: Option<Duration>,
) -> HttpPeer {
    let mut peer = HttpPeer::new(endpoint, false, String::new());
    let options = &mut peer.options;
    let connect = left.map_or(settings.connect_timeout, |left| left.min(settings.connect_timeout));
    options.connection_timeout = Some(connect);
    options.total_connection_timeout = Some(connect);
    options.read_timeout = left;
    options.write_timeout = left;
    options.idle_timeout = Some(settings.backend_idle_timeout);
    // Those that are passed on go by way of tunnels.
    options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
    if protocol == conf::Protocol::H2c {
        options.set_http_version(2, 2);
        options.max_h2_streams = H2_STREAMS;
    }
    if protocol == conf::Protocol::Http || bond.is_some() {
        // Only for Pingora: what it has no name for, it leaves to the connector.
        options.alpn = ALPN::Custom(CustomALPN::new(b"ours".to_vec()));
    }
    peer.group_key = bond.map_or(0, Bond::number);
    peer
}

/// Makes it a connection that no other request has used or will.
pub(super) fn keep_apart(peer: &mut HttpPeer) {
    peer.group_key = !peer.group_key;
    peer.options.idle_timeout = Some(Duration::ZERO);
}

pub(super) fn is_kept_apart(peer: &HttpPeer) -> bool {
    peer.options.idle_timeout == Some(Duration::ZERO)
}
