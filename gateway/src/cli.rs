//! What the user wrote: flags and commands. [`Settings`] is what the program runs on.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration as StdDuration;

use clap::{Args, Parser, Subcommand};
use conf::{Duration, Name};
use gateway::access_log::Format;
use gateway::app::Settings;
use gateway::mirror::Limits;
use gateway::proxy;
use http::{HeaderName, HeaderValue, Method, Uri};
use log::LevelFilter;

/// HTTP gateway with traffic mirroring. Serves what documents say, which are written by hand or by
/// doppel-adapter.
///
/// SIGHUP reads the documents that changed and makes them live, without a request noticing. SIGTERM
/// and SIGINT let requests end and stop; a second one stops at once.
///
/// Durations are written like 10s, 250ms, 1h30m; sizes like 65536, 64KiB, 16MiB.
#[derive(Debug, Parser)]
#[command(name = "doppel-gateway", version, subcommand_negates_reqs = true, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell which rule answers a request, and why, without sending one.
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// A file of documents, or a directory whose .yaml and .yml files are read.
    #[arg(long, value_name = "FILE-or-DIR", required = true)]
    pub(crate) config: Option<PathBuf>,

    /// Report all problems of the configuration and exit: with 0 if there are none, with 1 otherwise.
    #[arg(long)]
    pub(crate) check: bool,

    /// Where to answer /livez, /readyz, /metrics and /config; nowhere by default.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<SocketAddr>,

    /// Threads that serve; by default as many as there are processors.
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// A file to write the process id to, once SIGHUP is safe to send; removed at the end.
    #[arg(long, value_name = "FILE")]
    pub(crate) pid_file: Option<PathBuf>,

    /// How long requests may take to end after SIGTERM or SIGINT.
    #[arg(long, value_name = "DURATION", default_value_t = duration(Settings::new("").drain_timeout))]
    drain_timeout: Duration,

    /// How long connecting to a backend may take.
    #[arg(long, value_name = "DURATION", default_value_t = duration(proxy::Settings::default().connect_timeout))]
    connect_timeout: Duration,

    /// How long an idle connection to a backend is kept. Below what backends keep theirs, or requests
    /// are lost to connections that close as they are sent.
    #[arg(long, value_name = "DURATION", default_value_t = duration(proxy::Settings::default().backend_idle_timeout))]
    backend_idle_timeout: Duration,

    /// How long an idle HTTP/1.1 connection of a client is kept; 0s for ever.
    #[arg(long, value_name = "DURATION", default_value_t = duration(proxy::Settings::default().client_idle_timeout))]
    client_idle_timeout: Duration,

    /// How long neither a request nor its answer may move on before it is given up; 0s for ever.
    /// WebSocket tunnels may be silent.
    #[arg(long, value_name = "DURATION", default_value_t = duration(proxy::Settings::default().request_idle_timeout))]
    request_idle_timeout: Duration,

    /// How long the head of an HTTP/1 request may be; a longer one gets 431.
    #[arg(long, value_name = "SIZE", default_value_t = Size(proxy::Settings::default().head_bytes))]
    request_head_bytes: Size,

    /// How long the head of an HTTP/1 request may take, from its first byte.
    #[arg(long, value_name = "DURATION", default_value_t = duration(proxy::Settings::default().head_timeout))]
    request_head_timeout: Duration,

    /// Requests under way at once; more get 503, and are counted.
    #[arg(long, value_name = "N", default_value_t = proxy::Settings::default().max_requests)]
    max_requests: usize,

    /// Connections of clients at once; more are closed, and counted.
    #[arg(long, value_name = "N", default_value_t = Settings::new("").max_connections)]
    max_connections: usize,

    /// How long the metrics of a route or a mirror are shown after it is gone, and the last request
    /// with it.
    #[arg(long, value_name = "DURATION", default_value_t = duration(Settings::new("").metrics_linger))]
    metrics_linger: Duration,

    /// One row per request on the standard output: off, text or json.
    #[arg(long, value_name = "FORMAT", default_value = "off")]
    access_log: Format,

    /// Log level of the standard error: off, error, warn, info, debug or trace. RUST_LOG, if it is
    /// set, replaces it, in the syntax of env_logger.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LevelFilter,

    #[command(flatten)]
    mirror: Mirror,
}

/// The numbers that bound what mirroring may cost, for the whole process.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits of mirroring")]
struct Mirror {
    /// Body bytes that may wait for one copy; a copy that falls further behind is broken off.
    #[arg(long, value_name = "SIZE", default_value_t = Size(limits().copy_bytes))]
    mirror_copy_bytes: Size,

    /// Body bytes that may wait for all copies to one mirror.
    #[arg(long, value_name = "SIZE", default_value_t = Size(limits().mirror_bytes))]
    mirror_bytes: Size,

    /// Body bytes that may wait for all copies.
    #[arg(long, value_name = "SIZE", default_value_t = Size(limits().process_bytes))]
    mirror_process_bytes: Size,

    /// Copies to one mirror at the same time.
    #[arg(long, value_name = "N", default_value_t = limits().in_flight)]
    mirror_in_flight: usize,

    /// How long a client may send nothing of its body before its copy gives way to a new one, if there
    /// is no place for that.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().silence))]
    mirror_silence: Duration,

    /// Idle connections that are kept to mirrors.
    #[arg(long, value_name = "N", default_value_t = limits().idle_connections)]
    mirror_idle_connections: usize,

    /// How long an idle connection to a mirror is kept.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().idle))]
    mirror_idle: Duration,

    /// How long connecting to a mirror may take.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().connect))]
    mirror_connect: Duration,

    /// How long a mirror may accept no byte of a body before its copy is given up.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().write_idle))]
    mirror_write_idle: Duration,

    /// How long a mirror may take to begin its answer, from the end of the body.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().response_head))]
    mirror_response_head: Duration,

    /// How much of a mirror's answer is read, so that its connection can be used again.
    #[arg(long, value_name = "SIZE", default_value_t = Size(limits().drain_bytes))]
    mirror_drain_bytes: Size,

    /// How long a mirror's answer is read.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().drain))]
    mirror_drain: Duration,

    /// Failed connects in a row after which a mirror's endpoint is paused.
    #[arg(long, value_name = "N", default_value_t = limits().failures)]
    mirror_failures: u32,

    /// How long a mirror's endpoint is paused at first; each failed probe doubles it.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().pause_min))]
    mirror_pause_min: Duration,

    /// How long a mirror's endpoint is paused at most before it is probed again.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().pause_max))]
    mirror_pause_max: Duration,

    /// How often one mirror's trouble is logged at most.
    #[arg(long, value_name = "DURATION", default_value_t = duration(limits().warn))]
    mirror_warn: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A file of documents, or a directory whose .yaml and .yml files are read.
    #[arg(long, value_name = "FILE-or-DIR")]
    pub(crate) config: PathBuf,

    /// The method of the request.
    #[arg(long, short = 'X', value_name = "METHOD", default_value = "GET")]
    method: Method,

    /// A header of the request; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE")]
    headers: Vec<HeaderText>,

    /// The listener that the request comes in on; by default those with the port of the URL, or else
    /// all.
    #[arg(long, value_name = "NAME")]
    pub(crate) listener: Option<Name>,

    /// The URL of the request: http://shop.example/cart?id=1.
    url: Uri,
}

impl Serve {
    /// What the program runs on.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = Settings::new(self.config.clone().expect("clap requires it"));
        settings.admin = self.admin;
        settings.drain_timeout = self.drain_timeout.as_std();
        settings.max_connections = self.max_connections;
        settings.metrics_linger = self.metrics_linger.as_std();
        settings.access_log = self.access_log;
        settings.proxy.threads = self.threads();
        settings.proxy.connect_timeout = self.connect_timeout.as_std();
        settings.proxy.backend_idle_timeout = self.backend_idle_timeout.as_std();
        settings.proxy.client_idle_timeout = self.client_idle_timeout.as_std();
        settings.proxy.request_idle_timeout = self.request_idle_timeout.as_std();
        settings.proxy.head_bytes = self.request_head_bytes.0;
        settings.proxy.head_timeout = self.request_head_timeout.as_std();
        settings.proxy.max_requests = self.max_requests;
        settings.mirror = self.mirror.limits();
        settings
    }

    pub(crate) fn threads(&self) -> usize {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.map_or_else(processors, NonZeroUsize::get)
    }
}

impl Mirror {
    fn limits(&self) -> Limits {
        Limits {
            copy_bytes: self.mirror_copy_bytes.0,
            mirror_bytes: self.mirror_bytes.0,
            process_bytes: self.mirror_process_bytes.0,
            in_flight: self.mirror_in_flight,
            silence: self.mirror_silence.as_std(),
            idle_connections: self.mirror_idle_connections,
            idle: self.mirror_idle.as_std(),
            connect: self.mirror_connect.as_std(),
            write_idle: self.mirror_write_idle.as_std(),
            response_head: self.mirror_response_head.as_std(),
            drain_bytes: self.mirror_drain_bytes.0,
            drain: self.mirror_drain.as_std(),
            failures: self.mirror_failures,
            pause_min: self.mirror_pause_min.as_std(),
            pause_max: self.mirror_pause_max.as_std(),
            warn: self.mirror_warn.as_std(),
        }
    }
}

impl Explain {
    /// The request to explain.
    pub(crate) fn request(&self) -> anyhow::Result<http::request::Parts> {
        let mut request = http::Request::builder().method(&self.method).uri(&self.url);
        for HeaderText(name, value) in &self.headers {
            request = request.header(name, value);
        }
        Ok(request.body(())?.into_parts().0)
    }
}

fn limits() -> Limits {
    Limits::default()
}

fn duration(duration: StdDuration) -> Duration {
    Duration::from_millis(duration.as_millis().try_into().unwrap_or(u32::MAX))
}

/// A number of bytes: `65536`, `64KiB`, `16MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(usize);

const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let with_unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
        let (number, shift) = with_unit.unwrap_or((text, 0));
        let size = number.parse::<usize>().ok().and_then(|number| number.checked_mul(1 << shift));
        size.map(Self).ok_or_else(|| format!("{text:?} is not a size such as 65536, 64KiB or 16MiB"))
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let fits = |(_, shift): &&(&str, u32)| self.0 > 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.iter().find(fits) {
            Some((unit, shift)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

/// `name: value`, as it stands in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HeaderText(HeaderName, HeaderValue);

impl FromStr for HeaderText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?} is not NAME: VALUE"))?;
        let name = name.trim().parse().map_err(|_| format!("{name:?} is not a header name"))?;
        let value = value.trim().parse().map_err(|_| format!("{value:?} is not a header value"))?;
        Ok(Self(name, value))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(flags: &str) -> Result<Cli, String> {
        Cli::try_parse_from(["doppel-gateway"].into_iter().chain(flags.split_whitespace())).map_err(|e| e.to_string())
    }

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_flags_everything_is_as_by_default() {
        let settings = parse("--config x").unwrap().serve.settings();
        let mut expected = Settings::new("x");
        expected.proxy.threads = std::thread::available_parallelism().unwrap().get();
        assert_eq!(format!("{settings:?}"), format!("{expected:?}"));
    }

    #[test]
    fn flags_change_what_they_name() {
        let flags = "--config x --drain-timeout 1m --threads 3 --access-log json --mirror-copy-bytes 64KiB --mirror-idle 250ms --admin [::1]:9";
        let settings = parse(flags).unwrap().serve.settings();
        assert_eq!(settings.drain_timeout, StdDuration::from_secs(60));
        assert_eq!((settings.proxy.threads, settings.access_log), (3, Format::Json));
        assert_eq!((settings.mirror.copy_bytes, settings.mirror.idle), (65536, StdDuration::from_millis(250)));
        assert_eq!(settings.admin, Some("[::1]:9".parse().unwrap()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_with_the_reason() {
        for (flags, reason) in [
            ("", "--config"),
            ("--config x --threads 0", "zero"),
            ("--config x --access-log xml", "\"xml\" is not one of off, text, json"),
            ("--config x --mirror-bytes 1kb", "\"1kb\" is not a size such as"),
            ("--config x --drain-timeout 5", "\"5\" is not a duration such as"),
            ("explain --config x -H nothing http://a/", "\"nothing\" is not NAME: VALUE"),
        ] {
            let message = parse(flags).unwrap_err();
            assert!(message.contains(reason), "{flags}: {message}");
        }
    }

    #[test]
    fn a_command_needs_none_of_the_other_flags() {
        let cli = parse("explain --config x -X POST -H Host:a.example -H x:y:z /cart?id=1").unwrap();
        let Some(Command::Explain(explain)) = cli.command else { panic!("{cli:?}") };
        let request = explain.request().unwrap();
        assert_eq!((request.method, request.uri.to_string()), (Method::POST, "/cart?id=1".into()));
        assert_eq!(
            (&request.headers["host"], &request.headers["x"]),
            (&"a.example".parse().unwrap(), &"y:z".parse().unwrap())
        );
    }

    #[test]
    fn sizes_round_trip() {
        for (text, bytes) in
            [("0", 0), ("1", 1), ("1000", 1000), ("64KiB", 65536), ("16MiB", 16 << 20), ("2GiB", 2 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)));
            assert_eq!(Size(bytes).to_string(), text);
        }
    }
}
