//! A backend that remembers what reached it, and answers as a test says.

mod h1;
mod h2;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

pub use self::h2::H2Habits;
pub(crate) use self::h2::{pairs, send};
use crate::{Body, End, Framing, Guard, Head, Receipt, Reply, Script, Shaken, Step, eventually, soon};

/// A backend on a free port. It ends when dropped, connections included.
pub struct Echo {
    address: SocketAddr,
    memory: Memory,
    task: AbortHandle,
}

impl Echo {
    /// One that speaks HTTP/1.1 and gives every body back.
    pub async fn start() -> Self {
        Self::scripted(|_, _| Step::echo()).await
    }

    /// Like [`Echo::h2c`], at an address that another left.
    pub async fn h2c_at(address: SocketAddr, script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        let listener = eventually("the address to be free", async || TcpListener::bind(address).await.ok()).await;
        let script: MakeScript = Arc::new(script);
        Self::serve_at(listener, move |stream, connection, memory| {
            h2::serve(stream.into(), H2Habits::default(), connection, memory, script.clone())
        })
    }

    /// One that speaks HTTP/1.1 and answers every request with its name.
    pub async fn named(name: &'static str) -> Self {
        Self::scripted(move |_, _| vec![Step::ReadAll, Step::Reply(Reply::text(name))]).await
    }

    /// One that speaks HTTP/1.1. The script is made from the number of the request, counted from
    /// 0, and its head.
    pub async fn scripted(script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        Self::scripted_by(Arc::new(script)).await
    }

    pub(crate) async fn scripted_by(script: MakeScript) -> Self {
        Self::serve(move |stream, connection, memory| h1::serve(stream.into(), connection, memory, script.clone()))
            .await
    }

    /// Like [`Echo::scripted`], for HTTP/2 with prior knowledge.
    pub async fn h2c(script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        Self::h2c_by(H2Habits::default(), Arc::new(script)).await
    }

    pub(crate) async fn h2c_by(habits: H2Habits, script: MakeScript) -> Self {
        Self::serve(move |stream, connection, memory| {
            h2::serve(stream.into(), habits, connection, memory, script.clone())
        })
        .await
    }

    /// Like [`Echo::scripted`], for clients that shake hands with this guard first.
    pub async fn guarded(guard: &Guard, script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        Self::guarded_by(guard, None, Arc::new(script)).await
    }

    /// Like [`Echo::guarded`], for HTTP/2.
    pub async fn guarded_h2(guard: &Guard, script: impl Fn(usize, &Head) -> Script + Send + Sync + 'static) -> Self {
        Self::guarded_by(guard, Some(H2Habits::default()), Arc::new(script)).await
    }

    pub(crate) async fn guarded_by(guard: &Guard, http2: Option<H2Habits>, script: MakeScript) -> Self {
        let guard = guard.clone().offering(if http2.is_some() { "h2" } else { "http/1.1" });
        Self::serve(move |stream, connection, memory| {
            let (guard, script) = (guard.clone(), script.clone());
            async move {
                let shaken = guard.shake(stream).await;
                let Ok((stream, shaken)) = shaken else { return };
                memory.0.send_modify(|memory| memory.handshakes.push(shaken));
                match http2 {
                    Some(habits) => h2::serve(stream.into(), habits, connection, memory, script).await,
                    None => h1::serve(stream.into(), connection, memory, script).await,
                }
            }
        })
        .await
    }

    /// One that accepts connections and never reads a byte from them.
    pub async fn never_reads() -> Self {
        Self::serve(|stream, _, _| async move {
            let _open = stream;
            std::future::pending().await
        })
        .await
    }

    async fn serve<F>(serve: impl Fn(TcpStream, usize, Memory) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::serve_at(TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a free port"), serve)
    }

    fn serve_at<F>(listener: TcpListener, serve: impl Fn(TcpStream, usize, Memory) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().expect("a bound socket has an address");
        let memory = Memory::default();
        let remembered = memory.clone();
        let accept = async move {
            // Dropped with this task, which ends them all.
            let mut connections = JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                remembered.0.send_modify(|memory| memory.connections += 1);
                connections.spawn(serve(stream, connection, remembered.clone()));
            }
        };
        let task = tokio::spawn(accept).abort_handle();
        Self { address, memory, task }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it accepted so far.
    pub fn connections(&self) -> usize {
        self.memory.0.borrow().connections
    }

    /// Those that came to a good end so far.
    pub fn handshakes(&self) -> Vec<Shaken> {
        self.memory.0.borrow().handshakes.clone()
    }

    /// What it received so far.
    pub fn receipts(&self) -> Vec<Receipt> {
        self.memory.0.borrow().receipts.clone()
    }

    pub fn count(&self) -> usize {
        self.memory.0.borrow().receipts.len()
    }

    /// What it received, once that fulfils the condition.
    pub async fn until(&self, what: &str, condition: impl Fn(&[Receipt]) -> bool) -> Vec<Receipt> {
        let mut memory = self.memory.0.subscribe();
        let fulfilled = memory.wait_for(|memory| condition(&memory.receipts));
        match tokio::time::timeout(crate::PATIENCE, fulfilled).await {
            Ok(memory) => memory.expect("the echo holds the sender").receipts.clone(),
            Err(_) => panic!("waited {:?} for {what}; the echo has {:#?}", crate::PATIENCE, self.receipts()),
        }
    }

    /// What it received, once so many requests ended, completely or not.
    pub async fn ended(&self, requests: usize) -> Vec<Receipt> {
        let has_ended = |receipt: &&Receipt| receipt.is_complete() || receipt.is_aborted();
        let ended = |receipts: &[Receipt]| receipts.iter().filter(has_ended).count();
        self.until(&format!("{requests} requests to end"), |receipts| ended(receipts) >= requests).await
    }

    /// The only request that it received, once it ended.
    pub async fn only(&self) -> Receipt {
        let mut receipts = self.ended(1).await;
        assert_eq!(receipts.len(), 1, "{receipts:#?}");
        receipts.remove(0)
    }

    /// Waits until so many connections were accepted.
    pub async fn accepted(&self, connections: usize) {
        let mut memory = self.memory.0.subscribe();
        let accepted = memory.wait_for(|memory| memory.connections >= connections);
        soon("connections to be accepted", accepted).await.expect("the echo holds the sender");
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes a script of the number of a request, counted from 0, and its head.
pub type MakeScript = Arc<dyn Fn(usize, &Head) -> Script + Send + Sync>;

#[derive(Clone, Default)]
struct Memory(Arc<watch::Sender<Remembered>>);

#[derive(Default)]
struct Remembered {
    connections: usize,
    handshakes: Vec<Shaken>,
    receipts: Vec<Receipt>,
}

impl Memory {
    fn begin(&self, connection: usize, head: Head, framing: Framing) -> Entry {
        let mut number = 0;
        self.0.send_modify(|memory| {
            number = memory.receipts.len();
            let body = Body::default();
            let receipt = Receipt { connection, head, framing, body, trailers: Vec::new(), end: End::Open };
            memory.receipts.push(receipt);
        });
        Entry { memory: self.clone(), number }
    }
}

/// The receipt that a request in progress writes.
struct Entry {
    memory: Memory,
    number: usize,
}

impl Entry {
    fn update(&self, update: impl FnOnce(&mut Receipt)) {
        self.memory.0.send_modify(|memory| update(&mut memory.receipts[self.number]));
    }

    fn complete(&self, trailers: Vec<(String, String)>) {
        self.update(|receipt| {
            receipt.trailers = trailers;
            receipt.end = End::Complete;
        });
    }

    fn is_complete(&self) -> bool {
        self.memory.0.borrow().receipts[self.number].is_complete()
    }

    /// Before the steps that are left of a script: if none of them reads, nobody will see how the request ends.
    fn before(&self, steps: &[Step]) {
        let reads = |step: &Step| matches!(step, Step::Read(_) | Step::ReadAll | Step::Sip(..) | Step::Tunnel);
        if !steps.iter().any(reads) {
            self.update(|receipt| {
                if receipt.end == End::Open {
                    receipt.end = End::Unread;
                }
            });
        }
    }

    fn abort(&self, kind: std::io::ErrorKind) {
        self.update(|receipt| {
            if receipt.end == End::Open {
                receipt.end = End::Aborted(kind);
            }
        });
    }

    /// The body so far, as an answer: itself, or its length and checksum where it was not kept.
    fn echoed(&self) -> Vec<u8> {
        let memory = self.memory.0.borrow();
        let body = &memory.receipts[self.number].body;
        if body.bytes.len() as u64 == body.length {
            body.bytes.clone()
        } else {
            format!("{} {:08x}", body.length, body.checksum).into_bytes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, H2Client, Pattern};

    #[tokio::test]
    async fn bytes_and_framing_are_remembered() {
        let echo = Echo::start().await;
        let mut client = Client::connect(echo.address()).await;
        let head = "POST /a?b HTTP/1.1\r\nhOsT:  x\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(client.exchange(format!("{head}abc")).await.text(), "abc");
        let chunked = "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\nT: 1\r\n\r\n";
        assert_eq!(client.exchange(chunked).await.text(), "abc");
        let receipts = echo.receipts();
        assert_eq!(receipts[0].head.text(), head);
        assert_eq!(receipts[0].framing, Framing::Length(3));
        assert_eq!(receipts[1].framing, Framing::Chunked);
        assert_eq!(receipts[1].trailers, [("T".to_owned(), "1".to_owned())]);
        assert_eq!([receipts[0].connection, receipts[1].connection], [0, 0]);
        assert!(receipts.iter().all(Receipt::is_complete));
    }

    #[tokio::test]
    async fn what_is_cut_off_is_aborted() {
        let echo = Echo::start().await;
        for reset in [false, true] {
            let mut client = Client::connect(echo.address()).await;
            client.send("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nab").await;
            echo.until("the body", |receipts| receipts.last().is_some_and(|receipt| receipt.body.length == 2)).await;
            if reset {
                client.reset()
            } else {
                client.close()
            }
            echo.ended(1 + usize::from(reset)).await;
        }
        assert!(echo.receipts().iter().all(Receipt::is_aborted));
    }

    #[tokio::test]
    async fn streams_of_http2_are_remembered() {
        let echo = Echo::h2c(|number, _| if number == 0 { Step::echo() } else { Step::status(503) }).await;
        let mut client = H2Client::connect(echo.address()).await;
        let body = Pattern::new(300_000);
        let answer = client.post("/a?b", body.bytes()).await;
        assert_eq!((answer.status, answer.body), (200, body.body()));
        assert_eq!(client.get("/").await.status, 503);
        let mut upload = client.start(H2Client::request("POST", "/"), false).await;
        upload.send("abc").await;
        echo.until("the body", |receipts| receipts.get(2).is_some_and(|receipt| receipt.body.length == 3)).await;
        upload.reset();
        let receipts = echo.ended(3).await;
        assert_eq!((receipts[0].target(), receipts[0].framing), ("/a?b".to_owned(), Framing::Http2(None)));
        assert!(receipts[1].is_complete() && receipts[2].is_aborted());
    }

    #[tokio::test]
    async fn a_script_fails_early_answers_and_resets() {
        let early = |number: usize, _: &Head| match number {
            0 => vec![Step::Reply(Reply::status(413)), Step::Close],
            _ => vec![Step::Read(2), Step::Reset],
        };
        let echo = Echo::scripted(early).await;
        let mut client = Client::connect(echo.address()).await;
        let head = "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(client.exchange(head).await.status, 413);
        client.ended().await;
        let mut client = Client::connect(echo.address()).await;
        client.send(format!("{head}ab")).await;
        assert!(client.maybe_answer().await.is_none());
        assert_eq!(echo.receipts()[1].body.text(), "ab");
    }

    #[tokio::test]
    async fn nobody_answers_where_nobody_should() {
        let (address, _bound) = crate::refusing();
        let error = TcpStream::connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    }
}
