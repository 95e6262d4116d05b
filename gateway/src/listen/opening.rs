//! The first bytes of a connection, which tell HTTP/1 and HTTP/2 apart.
//!
//! Pingora can do this too, but waits for 24 bytes however long they take.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    /// With prior knowledge, without TLS.
    Http2,
}

/// What every HTTP/2 connection begins with: RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The head of most requests comes with the first read.
const FIRST_READ: usize = 4096;

/// Reads until the protocol is known, which the first byte decides for all of HTTP/1. None if the
/// client closes its end before.
pub(super) async fn read(incoming: &mut OwnedReadHalf, received: &mut BytesMut) -> io::Result<Option<Protocol>> {
    loop {
        // Without a buffer until there is something to put into it.
        AsRef::<TcpStream>::as_ref(incoming).readable().await?;
        received.reserve(FIRST_READ);
        if incoming.read_buf(received).await? == 0 {
            return Ok(None);
        }
        if received.starts_with(PREFACE) {
            return Ok(Some(Protocol::Http2));
        }
        if !PREFACE.starts_with(received) {
            return Ok(Some(Protocol::Http1));
        }
    }
}
