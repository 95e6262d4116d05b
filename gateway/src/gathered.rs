//! Small writes that are sent together, and with the large one that follows them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection of which what is written may wait until [`Self::poll_send`].
pub(crate) struct Gathered<S> {
    stream: S,
    unsent: BytesMut,
}

/// Writes that fit into this many bytes together are gathered. What is larger goes out with what
/// is waiting in one call, without being copied.
const GATHERED: usize = 8 << 10;

impl<S> Gathered<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, unsent: BytesMut::new() }
    }

    pub(crate) fn stream(&self) -> &S {
        &self.stream
    }

    /// What waits to be sent.
    pub(crate) fn unsent(&self) -> &BytesMut {
        &self.unsent
    }

    /// Lets these bytes wait behind those that do, however many there are.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// An idle connection keeps no buffer.
    fn forget(&mut self, sent: usize) {
        self.unsent.advance(sent);
        if self.unsent.is_empty() {
            self.unsent = BytesMut::new();
        }
    }
}

impl<S: AsyncRead + Unpin> Gathered<S> {
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> Gathered<S> {
    pub(crate) fn poll_write(&mut self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    pub(crate) fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if self.unsent.len() + length <= GATHERED {
            parts.iter().for_each(|part| self.unsent.extend_from_slice(part));
            return Poll::Ready(Ok(length));
        }
        if let [part] = parts {
            while !self.unsent.is_empty() {
                let both = [IoSlice::new(&self.unsent), IoSlice::new(part)];
                let sent = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, &both))?;
                let gathered = sent.min(self.unsent.len());
                self.forget(gathered);
                if sent > gathered {
                    return Poll::Ready(Ok(sent - gathered));
                }
            }
        } else {
            ready!(self.poll_send(context))?;
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    /// Sends what waits.
    pub(crate) fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(context, &self.unsent)) {
                Ok(sent) => self.forget(sent),
                Err(error) => {
                    self.unsent = BytesMut::new();
                    return Poll::Ready(Err(error));
                }
            }
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
