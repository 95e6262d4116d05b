//! The service of the demo: logs the head of each request and echoes its body, as it arrives.
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

Logs the head of each HTTP/1.1 request to standard output and echoes its body.

  --listen ADDRESS    such as 127.0.0.1:8080; port 0 takes a free one, which the log names
  --name NAME         what to call itself in the log [echo]
  --delay DURATION    wait this long before each answer, such as 2s [0s]";

/// Heads beyond this are refused, in bytes.
const MAX_HEAD: u64 = 256 * 1024;

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
        match answer(&head, &mut reader, &mut writer, &service).await {
            Ok(length) => println!("#{number} complete, {length} bytes of body"),
            Err(error) => return println!("#{number} aborted: {error}"),
        }
        if head.has("connection", "close") {
            return;
        }
    }
}

/// Echoes the body with the framing that it has, and says how long it was.
async fn answer(
    head: &Head,
    reader: &mut (impl AsyncBufRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    service: &Service,
) -> io::Result<u64> {
    let framing = head.framing()?;
    if head.has("expect", "100-continue") {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    tokio::time::sleep(service.delay.as_std()).await;
    let kind = head.value("content-type").map(|kind| format!("content-type: {kind}\r\n")).unwrap_or_default();
    let length = match framing {
        Framing::Length(length) => {
            let answer = format!("HTTP/1.1 200 OK\r\n{kind}content-length: {length}\r\n\r\n");
            writer.write_all(answer.as_bytes()).await?;
            copy(reader, writer, length).await?;
            length
        }
        Framing::Chunked => {
            let answer = format!("HTTP/1.1 200 OK\r\n{kind}transfer-encoding: chunked\r\n\r\n");
            writer.write_all(answer.as_bytes()).await?;
            copy_chunks(reader, writer).await?
        }
    };
    writer.flush().await?;
    Ok(length)
}

async fn copy(
    reader: &mut (impl AsyncBufRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    length: u64,
) -> io::Result<()> {
    let copied = tokio::io::copy_buf(&mut reader.take(length), writer).await?;
    if copied == length { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

/// Chunks and trailers as they come.
async fn copy_chunks(
    reader: &mut (impl AsyncBufRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<u64> {
    let mut total = 0;
    loop {
        let line = line(reader).await?;
        writer.write_all(format!("{line}\r\n").as_bytes()).await?;
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| invalid(format!("{size:?} is not a chunk size")))?;
        if size == 0 {
            break;
        }
        copy(reader, writer, size).await?;
        total += size;
        if !self::line(reader).await?.is_empty() {
            return Err(invalid("a chunk is longer than its size"));
        }
        writer.write_all(b"\r\n").await?;
    }
    loop {
        let trailer = line(reader).await?;
        writer.write_all(format!("{trailer}\r\n").as_bytes()).await?;
        if trailer.is_empty() {
            return Ok(total);
        }
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
