//! Tees that are wrong on purpose, each in one way that was seen in the field or suggests itself:
//! what the contract's check is worth is what it says of them.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

use super::case::{LIMIT, name};
use crate::wire::{BodyReader, Wire};
use crate::{Framing, Head, MirrorAccount, Scrape};

/// What is wrong with a tee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    None,
    /// The second piece of a body is left out of the copy.
    DropsAChunk,
    /// It is sent twice.
    DoublesAChunk,
    /// What a client breaks off ends in order at the mirror.
    EndsTheCutOffInOrder,
    /// The copy has another `Host`.
    ChangesTheCopy,
    /// The primary's request has a header more.
    ChangesTheRequest,
    CopiesTwice,
    /// The client's connection waits for the mirror's answer before its next request.
    HoldsTheConnection,
    /// A piece that the mirror does not take keeps the next one from the primary.
    HandsOnBackPressure,
    /// A mirror that refuses fails the request.
    FailsWithTheMirror,
    /// A copy that ended is in no book.
    ForgetsACopy,
    /// What was broken off is booked as completed.
    BooksTheAbortedAsCompleted,
    KeepsConnections,
    KeepsTasks,
}

/// A relay for HTTP/1.1, as plain as can be.
pub(super) struct WrongTee {
    address: SocketAddr,
    tee: Arc<Tee>,
    accepting: AbortHandle,
}

struct Tee {
    flaw: Flaw,
    primary: SocketAddr,
    mirrors: Vec<SocketAddr>,
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    routed: u64,
    open: i64,
    account: MirrorAccount,
    kept: Vec<Wire>,
}

impl WrongTee {
    pub(super) async fn start(flaw: Flaw, primary: SocketAddr, mirrors: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let tee = Arc::new(Tee { flaw, primary, mirrors, books: Mutex::default() });
        let serving = tee.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let tee = serving.clone();
                tee.books().open += 1;
                tokio::spawn(async move {
                    // However a client's connection ends, it ends.
                    let _ = tee.serve(Wire::new(stream)).await;
                    tee.books().open -= 1;
                });
            }
        });
        Self { address, tee, accepting: accepting.abort_handle() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the gateway tells on its metrics page, as far as a case asks.
    pub(super) fn scrape(&self) -> Scrape {
        let books = self.tee.books();
        let mirror = name(0);
        let outcome = |outcome: &str, count: u64| {
            format!("doppel_mirror_requests_total{{mirror=\"{mirror}\",outcome=\"{outcome}\",reason=\"\"}} {count}\n")
        };
        let MirrorAccount { started, completed, failed, aborted, in_flight, .. } = books.account;
        let page = format!(
            "doppel_requests_total{{route=\"route\"}} {}\ndoppel_connections_open {}\n\
             doppel_mirror_in_flight{{mirror=\"{mirror}\"}} {in_flight}\n",
            books.routed, books.open
        );
        let outcomes = [("started", started), ("completed", completed), ("failed", failed), ("aborted", aborted)];
        Scrape::parse(&(page + &outcomes.map(|(name, count)| outcome(name, count)).concat()))
    }
}

impl Drop for WrongTee {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Tee {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == flaw && !self.mirrors.is_empty()
    }

    async fn serve(self: &Arc<Self>, mut client: Wire) -> io::Result<()> {
        while let Some(head) = client.head().await? {
            self.books().routed += 1;
            let copies = self.begin_copies(&head);
            if self.has(Flaw::FailsWithTheMirror) && TcpStream::connect(self.mirrors[0]).await.is_err() {
                return client.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
            }
            let (senders, copying): (Vec<_>, Vec<_>) = copies.into_iter().unzip();
            self.relay(&mut client, &head, senders).await?;
            if self.has(Flaw::HoldsTheConnection) {
                for copy in copying {
                    let _ = copy.await;
                }
            }
        }
        Ok(())
    }

    /// The request to the primary, piece by piece, and its answer back.
    async fn relay(&self, client: &mut Wire, head: &Head, copies: Vec<mpsc::Sender<Bytes>>) -> io::Result<()> {
        let mut primary = Wire::new(TcpStream::connect(self.primary).await?);
        let mut bytes = head.bytes.clone();
        if self.has(Flaw::ChangesTheRequest) {
            insert(&mut bytes, "X-Mirrored: 1\r\n");
        }
        primary.write(&bytes).await?;
        let framing = head.request_framing();
        let mut body = BodyReader::new(framing);
        while let Some(piece) = client.chunk(&mut body).await? {
            for copy in &copies {
                match self.flaw {
                    Flaw::HandsOnBackPressure => drop(copy.send(piece.clone()).await),
                    _ => drop(copy.try_send(piece.clone())),
                }
            }
            primary.write(&framed(framing, &piece)).await?;
        }
        for copy in &copies {
            let _ = copy.send(Bytes::new()).await;
        }
        if framing == Framing::Chunked {
            primary.write(LAST).await?;
        }
        let Some(answer) = primary.head().await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
        client.write(&answer.bytes).await?;
        let mut body = BodyReader::new(answer.answer_framing(head.word(0) == "HEAD"));
        while let Some(piece) = primary.chunk(&mut body).await? {
            client.write(&piece).await?;
        }
        Ok(())
    }

    /// The copies of a request. Each is sent pieces of the body; one that is empty is the end.
    fn begin_copies(self: &Arc<Self>, head: &Head) -> Vec<(mpsc::Sender<Bytes>, JoinHandle<()>)> {
        let times = if self.flaw == Flaw::CopiesTwice { 2 } else { 1 };
        let begin = |mirror: &SocketAddr| {
            let room = if self.flaw == Flaw::HandsOnBackPressure { 1 } else { 1 << 20 };
            let (sender, pieces) = mpsc::channel(room);
            let mut books = self.books();
            books.account.started += 1;
            books.account.in_flight += 1;
            (sender, tokio::spawn(self.clone().copy(*mirror, head.clone(), pieces)))
        };
        self.mirrors.iter().cycle().take(times * self.mirrors.len()).map(begin).collect()
    }

    async fn copy(self: Arc<Self>, mirror: SocketAddr, head: Head, mut pieces: mpsc::Receiver<Bytes>) {
        let was_whole = self.send_copy(mirror, &head, &mut pieces).await;
        {
            let mut books = self.books();
            books.account.in_flight -= 1;
            match was_whole {
                Ok(true) if self.flaw == Flaw::ForgetsACopy => {}
                Ok(true) => books.account.completed += 1,
                Ok(false) if self.flaw == Flaw::BooksTheAbortedAsCompleted => books.account.completed += 1,
                Ok(false) => books.account.aborted += 1,
                Err(_) => books.account.failed += 1,
            }
        }
        if self.flaw == Flaw::KeepsTasks {
            std::future::pending().await
        }
    }

    /// Whether the whole request was sent, and answered.
    async fn send_copy(&self, mirror: SocketAddr, head: &Head, pieces: &mut mpsc::Receiver<Bytes>) -> io::Result<bool> {
        let framing = head.request_framing();
        let mut wire = Wire::new(TcpStream::connect(mirror).await?);
        let mut bytes = head.bytes.clone();
        if self.flaw == Flaw::ChangesTheCopy {
            bytes = head.text().replace("a.test", "a.test-shadow").into_bytes();
        }
        timeout(LIMIT, wire.write(&bytes)).await??;
        for number in 0.. {
            let Some(piece) = pieces.recv().await else {
                if self.flaw == Flaw::EndsTheCutOffInOrder && framing == Framing::Chunked {
                    wire.write(LAST).await?;
                    break;
                }
                return Ok(false);
            };
            if piece.is_empty() {
                if framing == Framing::Chunked {
                    wire.write(LAST).await?;
                }
                break;
            }
            let times = match self.flaw {
                Flaw::DropsAChunk if number == 1 => 0,
                Flaw::DoublesAChunk if number == 1 => 2,
                _ => 1,
            };
            for _ in 0..times {
                timeout(LIMIT, wire.write(&framed(framing, &piece))).await??;
            }
        }
        timeout(LIMIT, wire.head()).await??;
        if self.flaw == Flaw::KeepsConnections {
            self.books().kept.push(wire);
        }
        Ok(true)
    }
}

const LAST: &[u8] = b"0\r\n\r\n";

fn framed(framing: Framing, piece: &Bytes) -> Bytes {
    match framing {
        Framing::Chunked => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat().into(),
        _ => piece.clone(),
    }
}

fn insert(head: &mut Vec<u8>, header: &str) {
    let end = head.len() - 2;
    head.splice(end..end, header.bytes());
}
