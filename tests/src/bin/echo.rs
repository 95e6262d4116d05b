//! The service of the demo: logs each request and echoes its body, as it arrives.
//!
//! HTTP/1.1 by hand, because a log of what arrived should show it as it arrived: header lines in
//! their order and case, which HTTP libraries do not keep.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const USAGE: &str = "usage: doppel-echo --listen ADDRESS [--name NAME] [--delay DURATION]

Logs HTTP/1.1 requests to standard output and echoes their bodies.

  --listen ADDRESS    such as 127.0.0.1:8080; port 0 takes a free one, which the log names
  --name NAME         what to call itself in the log [echo]
  --delay DURATION    wait this long before each answer, such as 2s [0s]";

/// Heads beyond this are refused, in bytes.
const MAX_HEAD: u64 = 256 * 1024;

/// How much of a body the log shows, in bytes.
const LOGGED_BODY: usize = 64;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let settings = match Settings::parse(std::env::args().skip(1)) {
        Ok(settings) => settings,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let address = settings.listen;
    match serve(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot listen on {address}: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Settings {
    listen: SocketAddr,
    name: String,
    delay: conf::Duration,
}

impl Settings {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut listen, mut name, mut delay) = (None, "echo".to_owned(), conf::Duration::from_millis(0));
        while let Some(flag) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--listen" => {
                    let address = value()?;
                    listen = Some(address.parse().map_err(|_| format!("{address:?} is not an address and port"))?);
                }
                "--name" => name = value()?,
                "--delay" => delay = value()?.parse::<conf::Duration>().map_err(|error| error.to_string())?,
                _ => return Err(format!("unknown argument {flag:?}")),
            }
        }
        Ok(Self { listen: listen.ok_or("--listen is missing")?, name, delay })
    }
}

/// Until a signal ends the process.
async fn serve(settings: Settings) -> io::Result<()> {
    let listener = TcpListener::bind(settings.listen).await?;
    println!("{} listens on {}", settings.name, listener.local_addr()?);
    let service = Arc::new(Service { delay: settings.delay, requests: AtomicU64::new(0) });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                connections.spawn(connection(stream, service.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Service {
    delay: conf::Duration,
    requests: AtomicU64,
}

async fn connection(mut stream: TcpStream, service: Arc<Service>) {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    loop {
        let head = match Head::read(&mut reader).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(error) => return println!("no request: {error}"),
        };
        let number = service.requests.fetch_add(1, Ordering::Relaxed) + 1;
        // One write each, so that logs of requests at the same time do not mix.
        println!("#{number} {}", head.lines.join("\n   "));
        let mut echo = Echo { reader: &mut reader, writer: &mut writer, length: 0, beginning: Vec::new() };
        match echo.answer(&head, service.delay).await {
            Ok(()) => println!("#{number} complete, {} bytes of body: {:?}", echo.length, echo.beginning()),
            Err(error) => return println!("#{number} aborted after {} bytes of body: {error}", echo.length),
        }
        if head.has("connection", "close") {
            return;
        }
    }
}

/// One request's body on its way back.
struct Echo<'a, R, W> {
    reader: &'a mut R,
    writer: &'a mut W,
    length: u64,
    beginning: Vec<u8>,
}

impl<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin> Echo<'_, R, W> {
    /// With the framing that the request has.
    async fn answer(&mut self, head: &Head, delay: conf::Duration) -> io::Result<()> {
        let framing = head.framing()?;
        if head.has("expect", "100-continue") {
            self.writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        tokio::time::sleep(delay.as_std()).await;
        let mut answer = "HTTP/1.1 200 OK\r\n".to_owned();
        if let Some(kind) = head.value("content-type") {
            answer += &format!("content-type: {kind}\r\n");
        }
        answer += &match framing {
            Framing::Length(length) => format!("content-length: {length}\r\n\r\n"),
            Framing::Chunked => "transfer-encoding: chunked\r\n\r\n".to_owned(),
        };
        self.writer.write_all(answer.as_bytes()).await?;
        match framing {
            Framing::Length(length) => self.copy(length).await,
            Framing::Chunked => self.copy_chunks().await,
        }
    }

    async fn copy(&mut self, length: u64) -> io::Result<()> {
        let end = self.length + length;
        while self.length < end {
            let available = self.reader.fill_buf().await?;
            let taken = available.len().min(usize::try_from(end - self.length).unwrap_or(usize::MAX));
            if taken == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let logged = taken.min(LOGGED_BODY - self.beginning.len());
            self.beginning.extend_from_slice(&available[..logged]);
            self.writer.write_all(&available[..taken]).await?;
            self.reader.consume(taken);
            self.length += taken as u64;
        }
        Ok(())
    }

    /// Chunks and trailers as they come.
    async fn copy_chunks(&mut self) -> io::Result<()> {
        loop {
            let size = self.copy_line().await?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(|_| invalid(format!("{size:?} is not a chunk size")))?;
            if size == 0 {
                break;
            }
            self.copy(size).await?;
            if !self.copy_line().await?.is_empty() {
                return Err(invalid("a chunk is longer than its size"));
            }
        }
        while !self.copy_line().await?.is_empty() {}
        Ok(())
    }

    async fn copy_line(&mut self) -> io::Result<String> {
        let line = line(self.reader).await?;
        self.writer.write_all(format!("{line}\r\n").as_bytes()).await?;
        Ok(line)
    }

    fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.beginning).into_owned()
    }
}

/// The lines of a request before its body, the request line first.
struct Head {
    lines: Vec<String>,
}

enum Framing {
    Length(u64),
    Chunked,
}

impl Head {
    /// `None` at the end of the connection.
    async fn read(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<Self>> {
        if reader.fill_buf().await?.is_empty() {
            return Ok(None);
        }
        let mut reader = reader.take(MAX_HEAD);
        let mut lines = Vec::new();
        loop {
            match line(&mut reader).await? {
                line if line.is_empty() => return Ok(Some(Self { lines })),
                line => lines.push(line),
            }
        }
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let fields = self.lines.iter().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(move |(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Whether a header is a list with `word` in it.
    fn has(&self, name: &str, word: &str) -> bool {
        self.values(name).flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(word))
    }

    fn framing(&self) -> io::Result<Framing> {
        match (self.has("transfer-encoding", "chunked"), self.value("content-length")) {
            (true, None) => Ok(Framing::Chunked),
            (true, Some(_)) => Err(invalid("both Transfer-Encoding and Content-Length")),
            (false, None) => Ok(Framing::Length(0)),
            (false, Some(length)) => match length.parse() {
                Ok(length) => Ok(Framing::Length(length)),
                Err(_) => Err(invalid(format!("{length:?} is not a Content-Length"))),
            },
        }
    }
}

/// One line without its end. A connection that ends within one is an error.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut line = Vec::new();
    reader.take(MAX_HEAD).read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn invalid(message: impl Into<String>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message.into())
}
