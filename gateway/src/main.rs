//! Flags, runtime and signals; everything else is in the library.

mod cli;
mod log;
mod pid_file;

use std::process::ExitCode;

use ::log::{error, info, warn};
use anyhow::Context;
use clap::Parser;
use gateway::app::{Gateway, Settings};
use gateway::offline::Offline;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

use cli::{Cli, Command, Explain, Serve};
use pid_file::PidFile;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { command, serve } = Cli::parse();
    let done = match command {
        Some(Command::Explain(explain)) => self::explain(&explain),
        None if serve.check => check(serve),
        None => self::serve(&serve),
    };
    done.unwrap_or_else(|error| {
        eprintln!("doppel-gateway: {error:#}");
        ExitCode::FAILURE
    })
}

fn check(serve: Serve) -> anyhow::Result<ExitCode> {
    let offline = Offline::read(serve.settings().config)?;
    let problems = offline.problems();
    for problem in &problems {
        println!("{problem}");
    }
    if problems.is_empty() {
        println!("no problems: {}", offline.summary());
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}

fn explain(explain: &Explain) -> anyhow::Result<ExitCode> {
    let offline = Offline::read(explain.config.clone())?;
    for problem in offline.problems() {
        eprintln!("{problem}");
    }
    print!("{}", offline.explain(explain.listener.as_ref(), &explain.request()?)?);
    Ok(ExitCode::SUCCESS)
}

fn serve(serve: &Serve) -> anyhow::Result<ExitCode> {
    log::start(serve.log_level);
    use_small_pages();
    take_low_ports();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(serve.threads())
        .enable_all()
        .build()
        .context("cannot start threads")?
        .block_on(run(serve))
}

async fn run(serve: &Serve) -> anyhow::Result<ExitCode> {
    // First of all: a SIGHUP that comes before would end the process.
    let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
    let mut stop = Stop::install().context("cannot handle SIGTERM and SIGINT")?;
    let _pid_file = match &serve.pid_file {
        Some(path) => {
            let file = PidFile::write(path.clone());
            Some(file.with_context(|| format!("cannot write the process id to {}", path.display()))?)
        }
        None => None,
    };
    let mut settings = serve.settings();
    fit(&mut settings, raise_file_limit());

    let mut gateway = tokio::select! {
        gateway = Gateway::start(settings) => gateway?,
        () = stop.ordered() => return Ok(ExitCode::SUCCESS),
    };
    loop {
        tokio::select! {
            _ = hangup.recv() => gateway.request_reload(),
            () = stop.ordered() => break,
            reason = gateway.failed() => {
                error!("{reason}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    tokio::select! {
        () = gateway.shutdown() => Ok(ExitCode::SUCCESS),
        () = stop.ordered() => {
            warn!("stopped before everything had ended");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The signals that end the program.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn install() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns with the next of them.
    async fn ordered(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => info!("SIGTERM received"),
            _ = self.interrupt.recv() => info!("SIGINT received"),
        }
    }
}

/// The allocator asks for pages of 2 MiB, of which a gateway with a few routes would have four.
#[cfg(target_os = "linux")]
fn use_small_pages() {
    // Without them it works as well, and an old system has none to turn off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(not(target_os = "linux"))]
fn use_small_pages() {}

/// Every connection takes a file, with its way to the backend two; many systems allow 1024 unless a
/// program asks for more.
///
/// Returns how many there may be; none if there is no limit.
fn raise_file_limit() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: before.maximum, maximum: before.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(error) => {
            warn!("cannot raise the number of files that may be open: {error}");
            before.current
        }
    }
}

/// Keeps clients from taking the files that mirrors, the admin address and a reload need: a quarter, and
/// of the rest half is for connections and half for requests.
fn fit(settings: &mut Settings, files: Option<u64>) {
    let Some(room) = files.and_then(|files| usize::try_from(files / 8 * 3).ok()) else { return };
    let limits = [("connections", &mut settings.max_connections), ("requests", &mut settings.proxy.max_requests)];
    for (name, limit) in limits {
        if *limit > room {
            warn!("no more than {room} {name} at once, because only {} files may be open", files.unwrap_or_default());
            *limit = room;
        }
    }
}

/// Puts CAP_NET_BIND_SERVICE into effect where it is permitted and no more, which is how a file that
/// is marked with it starts. Called before there are other threads, which inherit it.
#[cfg(target_os = "linux")]
fn take_low_ports() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let needed = CapabilitySet::NET_BIND_SERVICE;
    let Ok(mut sets) = capabilities(None) else { return };
    if !sets.permitted.contains(needed) || sets.effective.contains(needed) {
        return;
    }
    sets.effective.insert(needed);
    if let Err(error) = set_capabilities(None, sets) {
        warn!("cannot make use of CAP_NET_BIND_SERVICE, for ports below 1024: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn take_low_ports() {}
