//! The access log: one row per request, as text or JSON.
//!
//! A request only appends its row to a buffer in memory; a thread of its own writes what is there.
//! The buffer is bounded: when the reader of the log stalls, rows are dropped and counted, and no
//! request waits.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use conf::Name;
use http::Version;
use jiff::Timestamp;
use prometheus::IntCounter;

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Off,
    /// `key=value`, with quotes where a value has spaces or quotes itself.
    Text,
    /// One JSON object per line.
    Json,
}

/// What is told about one request, once it has ended.
#[derive(Clone, Copy, Debug)]
pub struct Row<'r> {
    /// None where none was found, as are `route` and `rule`.
    pub listener: Option<&'r Name>,
    pub route: Option<&'r Name>,
    /// Its index in the route.
    pub rule: Option<usize>,
    pub client: SocketAddr,
    pub method: &'r str,
    pub host: &'r str,
    /// With the query.
    pub path: &'r str,
    pub version: Version,
    /// Of the answer, if one began.
    pub status: Option<u16>,
    /// Of the bodies.
    pub request_bytes: u64,
    pub response_bytes: u64,
    pub duration: Duration,
    pub backend: Option<&'r Name>,
    pub endpoint: Option<SocketAddr>,
    /// How often the request was sent to a backend.
    pub attempts: u32,
    /// How many copies were started.
    pub mirrors: u32,
    pub error: Option<&'r str>,
}

/// Where rows go. Clones write to the same log.
#[derive(Clone)]
pub struct AccessLog {
    format: Format,
    queue: Arc<Queue>,
}

struct Queue {
    rows: Mutex<Rows>,
    changed: Condvar,
    dropped: IntCounter,
}

#[derive(Default)]
struct Rows {
    waiting: Vec<u8>,
    writing: bool,
    closed: bool,
}

/// How many bytes of rows may wait to be written.
const LIMIT: usize = 1 << 20;

/// How long [`AccessLog::close`] waits for a reader that has stalled.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl AccessLog {
    /// A log that is written to `sink`. `dropped` counts the rows that found no room.
    pub fn new(format: Format, sink: impl Write + Send + 'static, dropped: IntCounter) -> io::Result<Self> {
        let queue = Arc::new(Queue { rows: Mutex::default(), changed: Condvar::new(), dropped });
        if format != Format::Off {
            let queue = queue.clone();
            thread::Builder::new().name("access-log".into()).spawn(move || queue.write_to(sink))?;
        }
        Ok(Self { format, queue })
    }

    /// A log that keeps nothing.
    pub fn off() -> Self {
        let dropped = IntCounter::new("off", "Never registered.").expect("the name is a constant");
        Self::new(Format::Off, io::sink(), dropped).expect("without a thread there is nothing to fail")
    }

    /// Whether rows are wanted at all.
    pub fn is_on(&self) -> bool {
        self.format != Format::Off
    }

    /// Hands a row over. Never waits for the reader of the log.
    pub fn write(&self, row: &Row<'_>) {
        let line = match self.format {
            Format::Off => return,
            Format::Text => row.to_text(Timestamp::now()),
            Format::Json => row.to_json(Timestamp::now()),
        };
        self.queue.push(&line);
    }

    /// Writes what is waiting; later rows are dropped. Blocks, for two seconds at most.
    pub fn close(&self) {
        self.queue.close();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut rows = self.lock();
        if rows.closed || rows.waiting.len() + line.len() > LIMIT {
            self.dropped.inc();
            return;
        }
        let idle = rows.waiting.is_empty() && !rows.writing;
        rows.waiting.extend_from_slice(line);
        drop(rows);
        if idle {
            self.changed.notify_all();
        }
    }

    /// The writer's thread: takes all that is waiting at once, until the log is closed and empty.
    fn write_to(&self, mut sink: impl Write) {
        let mut batch = Vec::new();
        let mut rows = self.lock();
        loop {
            if rows.waiting.is_empty() {
                if rows.closed {
                    return;
                }
                rows = self.changed.wait(rows).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            std::mem::swap(&mut batch, &mut rows.waiting);
            rows.writing = true;
            drop(rows);
            if sink.write_all(&batch).and_then(|()| sink.flush()).is_err() {
                let lost = batch.iter().filter(|byte| **byte == b'\n').count();
                self.dropped.inc_by(lost as u64);
            }
            batch.clear();
            rows = self.lock();
            rows.writing = false;
            self.changed.notify_all();
        }
    }

    fn close(&self) {
        let mut rows = self.lock();
        rows.closed = true;
        self.changed.notify_all();
        let unwritten = |rows: &mut Rows| rows.writing || !rows.waiting.is_empty();
        // Off has no writer, but nothing waits there either.
        let _ = self.changed.wait_timeout_while(rows, CLOSE_TIMEOUT, unwritten);
    }
}

#[derive(Clone, Copy)]
enum Value<'r> {
    Text(&'r str),
    Number(u64),
    Address(SocketAddr),
    Duration(Duration),
}

impl<'r> Row<'r> {
    /// Every field under the name it is written with; those without a value are left out.
    fn fields(&self) -> impl Iterator<Item = (&'static str, Value<'r>)> + use<'r> {
        let Self { listener, route, rule, client, method, host, path, version, status, .. } = *self;
        let Self { request_bytes, response_bytes, duration, backend, endpoint, attempts, mirrors, error, .. } = *self;
        let name = |name: Option<&'r Name>| name.map(|name| Value::Text(name.as_str()));
        [
            ("client", Some(Value::Address(client))),
            ("listener", name(listener)),
            ("route", name(route)),
            ("rule", rule.map(|rule| Value::Number(rule as u64))),
            ("method", Some(Value::Text(method))),
            ("host", Some(Value::Text(host))),
            ("path", Some(Value::Text(path))),
            ("version", Some(Value::Text(version_text(version)))),
            ("status", status.map(|status| Value::Number(status.into()))),
            ("request_bytes", Some(Value::Number(request_bytes))),
            ("response_bytes", Some(Value::Number(response_bytes))),
            ("duration_ms", Some(Value::Duration(duration))),
            ("backend", name(backend)),
            ("endpoint", endpoint.map(Value::Address)),
            ("attempts", Some(Value::Number(attempts.into()))),
            ("mirrors", Some(Value::Number(mirrors.into()))),
            ("error", error.map(Value::Text)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }

    fn to_text(self, time: Timestamp) -> Vec<u8> {
        let mut line = Vec::with_capacity(LINE);
        put(&mut line, format_args!("time={time:.3}"));
        for (key, value) in self.fields() {
            put(&mut line, format_args!(" {key}="));
            match value {
                Value::Text(text) if needs_quotes(text) => put(&mut line, format_args!("{text:?}")),
                Value::Text(text) => line.extend_from_slice(text.as_bytes()),
                other => put_plain(&mut line, other),
            }
        }
        line.push(b'\n');
        line
    }

    fn to_json(self, time: Timestamp) -> Vec<u8> {
        let mut line = Vec::with_capacity(LINE);
        put(&mut line, format_args!("{{\"time\":\"{time:.3}\""));
        for (key, value) in self.fields() {
            put(&mut line, format_args!(",\"{key}\":"));
            match value {
                Value::Text(text) => {
                    serde_json::to_writer(&mut line, text).expect("text is JSON, and memory takes it");
                }
                Value::Address(address) => put(&mut line, format_args!("\"{address}\"")),
                other => put_plain(&mut line, other),
            }
        }
        line.extend_from_slice(b"}\n");
        line
    }
}

/// Room for most rows.
const LINE: usize = 512;

fn put_plain(line: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Text(text) => put(line, format_args!("{text}")),
        Value::Number(number) => put(line, format_args!("{number}")),
        Value::Address(address) => put(line, format_args!("{address}")),
        Value::Duration(duration) => put(line, format_args!("{:.3}", duration.as_secs_f64() * 1e3)),
    }
}

fn put(line: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    line.write_fmt(text).expect("memory takes it");
}

fn needs_quotes(text: &str) -> bool {
    text.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\\')
}

fn version_text(version: Version) -> &'static str {
    match version {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    }
}

impl FromStr for Format {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        match text {
            "off" => Ok(Self::Off),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(FormatError(text.into())),
        }
    }
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of off, text, json")]
pub struct FormatError(String);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn counter() -> IntCounter {
        IntCounter::new("dropped", "rows").unwrap()
    }

    fn check(row: &Row<'_>, text: &str, json: &str) {
        let time: Timestamp = "2026-11-25T22:07:10.1234Z".parse().unwrap();
        assert_eq!(String::from_utf8(row.to_text(time)).unwrap(), text);
        let line = row.to_json(time);
        assert_eq!(String::from_utf8(line.clone()).unwrap(), json);
        serde_json::from_slice::<serde_json::Value>(&line).unwrap();
    }

    fn bare<'r>() -> Row<'r> {
        Row {
            listener: None,
            route: None,
            rule: None,
            client: "192.0.2.1:1".parse().unwrap(),
            method: "GET",
            host: "",
            path: "/",
            version: Version::HTTP_2,
            status: None,
            request_bytes: 0,
            response_bytes: 0,
            duration: Duration::ZERO,
            backend: None,
            endpoint: None,
            attempts: 0,
            mirrors: 0,
            error: None,
        }
    }

    #[test]
    fn a_row_is_one_line_of_text_or_json() {
        let name: Name = "shop/cart".parse().unwrap();
        let row = Row {
            listener: Some(&name),
            route: Some(&name),
            rule: Some(2),
            client: "[::1]:4000".parse().unwrap(),
            method: "POST",
            host: "shop.example",
            path: "/cart?id=1",
            version: Version::HTTP_11,
            status: Some(201),
            request_bytes: 11,
            response_bytes: 42,
            duration: Duration::from_micros(1500),
            backend: Some(&name),
            endpoint: Some("127.0.0.1:80".parse().unwrap()),
            attempts: 1,
            mirrors: 2,
            error: None,
        };
        check(
            &row,
            "time=2026-11-25T22:07:10.123Z client=[::1]:4000 listener=shop/cart route=shop/cart rule=2 method=POST \
             host=shop.example path=/cart?id=1 version=HTTP/1.1 status=201 request_bytes=11 response_bytes=42 \
             duration_ms=1.500 backend=shop/cart endpoint=127.0.0.1:80 attempts=1 mirrors=2\n",
            concat!(
                r#"{"time":"2026-11-25T22:07:10.123Z","client":"[::1]:4000","listener":"shop/cart","#,
                r#""route":"shop/cart","rule":2,"method":"POST","host":"shop.example","path":"/cart?id=1","#,
                r#""version":"HTTP/1.1","status":201,"request_bytes":11,"response_bytes":42,"duration_ms":1.500,"#,
                r#""backend":"shop/cart","endpoint":"127.0.0.1:80","attempts":1,"mirrors":2}"#,
                "\n"
            ),
        );
    }

    #[test]
    fn what_a_client_sends_cannot_forge_a_row() {
        check(
            &Row { host: "a b\"", path: "/\n\u{1b}[31m", error: Some("x=\\"), ..bare() },
            "time=2026-11-25T22:07:10.123Z client=192.0.2.1:1 method=GET host=\"a b\\\"\" path=\"/\\n\\u{1b}[31m\" version=HTTP/2 \
             request_bytes=0 response_bytes=0 duration_ms=0.000 attempts=0 mirrors=0 error=\"x=\\\\\"\n",
            concat!(
                r#"{"time":"2026-11-25T22:07:10.123Z","client":"192.0.2.1:1","method":"GET","host":"a b\"","path":"/\n\u001b[31m","#,
                r#""version":"HTTP/2","request_bytes":0,"response_bytes":0,"duration_ms":0.000,"attempts":0,"#,
                r#""mirrors":0,"error":"x=\\"}"#,
                "\n"
            ),
        );
    }

    /// Tells what is written to it, and takes nothing before it may.
    struct Sink {
        written: mpsc::Sender<Vec<u8>>,
        may_write: mpsc::Receiver<()>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).unwrap();
            // An error means that the test lets everything through from now on.
            let _ = self.may_write.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn rows_beyond_the_bound_are_dropped_and_counted_and_the_rest_is_written_at_close() {
        let (written, lines) = mpsc::channel();
        let (go, may_write) = mpsc::channel();
        let dropped = counter();
        let log = AccessLog::new(Format::Text, Sink { written, may_write }, dropped.clone()).unwrap();
        log.write(&bare());
        let first = lines.recv().unwrap();
        let fits = LIMIT / first.len();
        for _ in 0..fits + 3 {
            log.write(&bare());
        }
        assert_eq!(dropped.get(), 3);
        drop(go);
        log.close();
        assert_eq!(lines.recv().unwrap().len(), fits * first.len());
        log.write(&bare());
        assert_eq!(dropped.get(), 4, "a row after the end");
    }

    #[test]
    fn a_log_that_is_off_keeps_nothing() {
        let log = AccessLog::off();
        log.write(&bare());
        log.close();
        assert_eq!(log.queue.dropped.get(), 0);
    }
}
