//! The program as it is started: flags, exit codes, signals.

use std::fs;
use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doppel-gateway"));
    command.env_remove("RUST_LOG");
    command
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

const GOOD: &str = "\
listener: {name: web, address: '127.0.0.1:0'}
---
route:
  name: shop
  listeners: [web]
  rules:
  - matches: [{path: {prefix: /cart}}]
    backends: [{backend: cart}]
---
backend: {name: cart}
";

fn output(arguments: &[&str], config: &Path) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = program().args(arguments).arg("--config").arg(config).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn check_tells_all_problems_and_fails_if_there_are_any() {
    let good = directory(&[("a.yaml", GOOD)]);
    let told = (
        Some(0),
        "no problems: 1 listener, 1 route, 1 backend, 0 certificate, 0 authorities, 0 revision\n".into(),
        String::new(),
    );
    assert_eq!(output(&["--check"], good.path()), told);

    let bad = directory(&[("a.yaml", &GOOD.replace("backend: {name: cart}", "backend: {nam: cart}")), ("b.yaml", "x")]);
    let (code, stdout, _) = output(&["--check"], bad.path());
    let told: Vec<_> = stdout.lines().map(|line| line.strip_prefix(bad.path().to_str().unwrap()).unwrap()).collect();
    assert_eq!(code, Some(1));
    let [unknown, not_a_map, dangling] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(*unknown, "/a.yaml:10:11: unknown field nam; is name meant?");
    assert!(not_a_map.starts_with("/b.yaml:1:1: "), "{not_a_map}");
    assert_eq!(*dangling, "/a.yaml:3:1: route shop: rules[0].backends[0]: there is no backend cart");

    let (code, _, stderr) = output(&["--check"], Path::new("/nowhere/at/all"));
    assert_eq!(code, Some(1));
    assert!(stderr.starts_with("doppel-gateway: cannot read /nowhere/at/all: "), "{stderr}");
}

#[test]
fn explain_tells_which_rule_answers() {
    let good = directory(&[("a.yaml", GOOD)]);
    let (code, stdout, stderr) = output(&["explain", "http://any/cart/1"], good.path());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(stdout.contains("shop"), "{stdout}");
    let (code, _, stderr) = output(&["explain", "--listener", "wep", "http://any/"], good.path());
    assert_eq!((code, stderr.as_str()), (Some(1), "doppel-gateway: there is no listener wep; is web meant?\n"));
}

/// A running program.
struct Running {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Running {
    fn start(arguments: &[&str], config: &Path) -> Self {
        let mut command = program();
        command.args(arguments).arg("--config").arg(config).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, log }
    }

    /// What follows `text` in the next line of the log that has it.
    fn logs(&mut self, text: &str) -> String {
        let line = self.log.find_map(|line| line.unwrap().split_once(text).map(|(_, rest)| rest.to_owned()));
        line.unwrap_or_else(|| panic!("the program has ended without logging {text:?}"))
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn ends(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn sighup_reloads_and_sigterm_ends() {
    let config = directory(&[("a.yaml", GOOD)]);
    let pid_file = config.path().join("pid");
    let arguments = ["--admin", "127.0.0.1:0", "--threads", "2", "--pid-file", pid_file.to_str().unwrap()];
    let mut running = Running::start(&arguments, config.path());
    let admin: SocketAddr = running.logs("the admin address is http://").trim_end_matches('/').parse().unwrap();
    let web: SocketAddr = running.logs("listening on ").parse().unwrap();
    running.logs("revisions: none; 0 problems");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), format!("{}\n", running.child.id()));
    assert!(get(admin, "/readyz").starts_with("HTTP/1.1 200"));
    assert!(get(web, "/elsewhere").starts_with("HTTP/1.1 404"));
    assert!(get(web, "/cart").starts_with("HTTP/1.1 503"));

    fs::write(config.path().join("b.yaml"), "revision: {name: test, revision: '7'}\n").unwrap();
    running.signal(Signal::HUP);
    running.logs("revisions: test=7; 0 problems");
    assert!(get(admin, "/config").contains("\"test\": \"7\""));

    running.signal(Signal::TERM);
    assert_eq!(running.ends().code(), Some(0));
    assert!(!pid_file.exists());
}

#[test]
fn a_second_signal_ends_at_once_what_the_first_lets_end() {
    // Never answers.
    let backend = TcpListener::bind("127.0.0.1:0").unwrap();
    let cart = format!("backend: {{name: cart, endpoints: ['{}']}}", backend.local_addr().unwrap());
    let config = directory(&[("a.yaml", &GOOD.replace("backend: {name: cart}", &cart))]);
    let mut running = Running::start(&["--drain-timeout", "1h"], config.path());
    let web: SocketAddr = running.logs("listening on ").parse().unwrap();
    let mut client = TcpStream::connect(web).unwrap();
    client.write_all(b"GET /cart HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
    let _request = backend.accept().unwrap();

    running.signal(Signal::TERM);
    running.logs("draining, for 3600s at most");
    assert!(running.child.try_wait().unwrap().is_none());
    running.signal(Signal::INT);
    assert_eq!(running.ends().code(), Some(1));
}

#[test]
fn the_access_log_is_written_to_its_end() {
    let config = directory(&[("a.yaml", GOOD)]);
    let mut command = program();
    command.args(["--access-log", "json", "--config"]).arg(config.path());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap()).lines();
    let stdout = child.stdout.take().unwrap();
    let mut running = Running { child, log };
    let web: SocketAddr = running.logs("listening on ").parse().unwrap();
    for number in 0..10 {
        assert!(get(web, &format!("/cart?{number}")).starts_with("HTTP/1.1 503"));
    }
    running.signal(Signal::TERM);
    assert_eq!(running.ends().code(), Some(0));
    let rows: Vec<serde_json::Value> =
        BufReader::new(stdout).lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let mut told: Vec<_> = rows.iter().map(|row| (row["path"].as_str().unwrap(), row["status"].as_u64())).collect();
    // Each is written when its request has ended, which is after the client has its answer.
    told.sort_unstable();
    let expected: Vec<_> = (0..10).map(|number| format!("/cart?{number}")).collect();
    assert_eq!(told, expected.iter().map(|path| (path.as_str(), Some(503))).collect::<Vec<_>>());
}
