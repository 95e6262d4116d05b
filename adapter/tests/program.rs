//! The program as a whole, with a process of its own in place of the gateway.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

const CASE: &str = include_str!("translate/mirrors_several_in_one_rule/input.yaml");

fn adapter(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_doppel-adapter"));
    command.arg("--from").arg(folder.join("from")).arg("--to").arg(folder.join("to"));
    command
}

fn workplace() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("from")).unwrap();
    std::fs::write(folder.path().join("from/all.yaml"), CASE).unwrap();
    folder
}

/// A process that SIGHUP ends, also where the tests were started to outlive a terminal; after a
/// minute it ends all the same.
fn gateway(pid_file: &Path) -> Child {
    let child = Command::new("env").args(["--default-signal=HUP", "sleep", "60"]).spawn().unwrap();
    std::fs::write(pid_file, format!("{}\n", child.id())).unwrap();
    child
}

#[test]
fn once_it_writes_documents_tells_statuses_and_the_gateway() {
    let folder = workplace();
    let pid_file = folder.path().join("gateway.pid");
    let mut gateway = gateway(&pid_file);
    let output = adapter(folder.path()).arg("--pid-file").arg(&pid_file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let statuses = String::from_utf8(output.stdout).unwrap();
    for kind in ["GatewayClass", "Gateway", "HTTPRoute"] {
        assert!(statuses.contains(&format!("\nkind: {kind}\n")), "{statuses}");
    }
    let mut files: Vec<_> = std::fs::read_dir(folder.path().join("to"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "backend-default_copy.yaml",
        "backend-default_pipy.yaml",
        "backend-default_third.yaml",
        "listeners-default_gateway.yaml",
        "revision.yaml",
        "route-default_route.yaml",
    ];
    assert_eq!(files, expected);
    assert_eq!(gateway.wait().unwrap().signal(), Some(Signal::HUP.as_raw()));
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = adapter(folder.path()).output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("from"), "{output:?}");
}

/// Ends the process that it holds, whatever becomes of the test.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn watching_it_tells_only_what_changes() {
    let folder = workplace();
    let mut child = Watching(adapter(folder.path()).arg("--watch").stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The last object of the first round is the route.
    lines.by_ref().find(|line| line == "kind: HTTPRoute").unwrap();
    std::fs::write(folder.path().join("from/all.yaml"), CASE.replacen("kind: HTTPRoute", "kind: TLSRoute", 1)).unwrap();
    let gone = lines.by_ref().find(|line| line.starts_with("# ")).unwrap();
    assert_eq!(gone, "# HTTPRoute default/route is no longer ours or gone");
    let rest: Vec<_> = lines.by_ref().take_while(|line| !line.contains("attachedRoutes")).collect();
    assert!(!rest.iter().any(|line| line == "kind: GatewayClass"), "{rest:?}");
    assert!(!folder.path().join("to/route-default_route.yaml").exists());
}
