//! The first bytes of a connection, which tell TLS from HTTP, and HTTP/1 from HTTP/2.
//!
//! Pingora can do this too, but waits for 24 bytes however long they take.

use std::io;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::{Protocol, Transport};

/// What every HTTP/2 connection begins with: RFC 9113, 3.4.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What every TLS connection begins with, and none of HTTP: a record of the handshake.
const HANDSHAKE: u8 = 22;

/// The head of most requests comes with the first read.
const FIRST_READ: usize = 4096;

/// Waits for the first byte, and tells whether a TLS handshake begins with it. None if the client
/// closes its end before.
pub(super) async fn is_handshake(stream: &TcpStream) -> io::Result<Option<bool>> {
    let mut first = [0];
    let length = stream.peek(&mut first).await?;
    Ok((length > 0).then_some(first[0] == HANDSHAKE))
}

/// Reads until the protocol is known, which the first byte decides for all of HTTP/1. None if the
/// client closes its end before, or speaks another protocol than was agreed on.
pub(super) async fn read(
    transport: &mut Transport,
    agreed: Option<Protocol>,
    received: &mut BytesMut,
) -> io::Result<Option<Protocol>> {
    loop {
        match transport {
            // Without a buffer until there is something to put into it.
            Transport::Plain(socket) => {
                socket.readable().await?;
                received.reserve(FIRST_READ);
            }
            // What the socket has need not be for us. The rest is in a buffer already.
            Transport::Secure(_) => received.reserve(PREFACE.len()),
        }
        if transport.read_buf(received).await? == 0 {
            return Ok(None);
        }
        let protocol = match () {
            () if received.starts_with(PREFACE) => Protocol::Http2,
            () if !PREFACE.starts_with(received) => Protocol::Http1,
            () => continue,
        };
        return Ok(agreed.is_none_or(|agreed| agreed == protocol).then_some(protocol));
    }
}
