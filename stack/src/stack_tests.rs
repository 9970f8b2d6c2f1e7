//! `stack up` and its like with real processes: scripts take the place of the parts' programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;
use crate::checkout::Checkout;
use crate::ports::Ports;

/// Answers every request with 200, wherever `--listen` says.
const PROGRAM: &str = r#"#!/usr/bin/env python3
import http.server, sys
host, port = sys.argv[sys.argv.index("--listen") + 1].rsplit(":", 1)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"#;

struct Machine {
    folder: TempDir,
    builder: Builder,
}

impl Machine {
    /// One on which a stack of rules backend and scorer can be started.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut builder = Builder::new().unwrap().no_gateway();
        builder = builder.dir(folder.path().join("state")).ports(Ports::free().unwrap());
        builder.checkout = Checkout::of(folder.path(), folder.path());
        let machine = Self { folder, builder };
        ["rules-backend", "shadow-scorer"].iter().for_each(|name| machine.install(name, PROGRAM));
        machine
    }

    fn install(&self, name: &str, text: &str) {
        let file = self.folder.path().join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// What `make up` does: the parts that it started, and the result.
    async fn up(&self) -> (Vec<Part>, Result<(), Error>) {
        let mut stack = self.builder.clone().prepare().unwrap();
        let missing = stack.missing();
        let started = stack.start_missing().await;
        if started.is_ok() {
            stack.leave_running();
        }
        (missing, started)
    }

    fn pid(&self, part: Part) -> Option<u32> {
        self.builder.clone().prepare().unwrap().left_running(part).map(|process| process.pid())
    }

    /// The part dies, and leaves its pid file.
    fn dies(&self, part: Part) {
        let mut process = self.builder.clone().prepare().unwrap().left_running(part).unwrap();
        process.signal(Signal::KILL);
        while process.running() {
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Ok(stack) = self.builder.clone().prepare() {
            let _ = stack.stop_left_running();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn up_starts_what_is_missing_and_leaves_the_rest_running() {
    let machine = Machine::new();
    let (started, done) = machine.up().await;
    assert_eq!((started, done.is_ok()), (vec![Part::Rules, Part::Scorer], true));
    let rules = machine.pid(Part::Rules);

    let (started, done) = machine.up().await;
    assert_eq!((started, done.is_ok()), (vec![], true), "everything runs already");

    machine.dies(Part::Scorer);
    let (started, done) = machine.up().await;
    assert_eq!((started, done.is_ok()), (vec![Part::Scorer], true));
    assert!(machine.pid(Part::Scorer).is_some() && machine.pid(Part::Rules) == rules);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_expects_the_parts_that_up_was_told_to_start() {
    let machine = Machine::new();
    let expected = |builder: &Builder| builder.clone().prepare().unwrap().expected_parts();
    let with_guard = machine.builder.clone().guard(true);
    assert_eq!(expected(&with_guard), [Part::Rules, Part::Scorer, Part::Console], "nothing was started yet");

    machine.up().await.1.unwrap();
    assert_eq!(expected(&with_guard), [Part::Rules, Part::Scorer], "the guard was left out");
    machine.dies(Part::Scorer);
    assert_eq!(expected(&with_guard), [Part::Rules, Part::Scorer], "a part that died is still expected");

    let mut less = machine.builder.clone().scorer_at(([127, 0, 0, 1], 1).into()).prepare().unwrap();
    less.start_missing().await.unwrap();
    less.leave_running();
    assert_eq!(expected(&with_guard), [Part::Rules], "the newest `up` counts");

    let _ = machine.builder.clone().prepare().unwrap().stop_left_running();
    assert_eq!(expected(&with_guard), [Part::Rules, Part::Scorer, Part::Console]);
}

/// `make status` with programs in place of `stack` and `perch` that exit with these codes: its output and result.
fn make_status(stack: u8, perch: u8) -> (String, bool) {
    let folder = tempfile::tempdir().unwrap();
    for (name, code) in [("stack", stack), ("perch", perch)] {
        let program = folder.path().join(name);
        fs::write(&program, format!("#!/bin/sh\necho {name} {code}\nexit {code}\n")).unwrap();
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut make = std::process::Command::new("make");
    make.arg("-C").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).arg("status");
    make.arg(format!("BIN={}", folder.path().display())).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
    let output = make.output().unwrap();
    (String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(), output.status.success())
}

#[test]
fn make_status_shows_the_rollout_also_when_a_part_is_down() {
    for (stack, perch) in [(0, 0), (1, 0), (0, 2), (3, 2)] {
        let (output, success) = make_status(stack, perch);
        assert!(output.contains(&format!("stack {stack}\nperch {perch}\n")), "{output}");
        assert_eq!(success, stack == 0 && perch == 0, "{output}");
        let first = if stack == 0 { perch } else { stack };
        assert!(success || output.contains(&format!("Error {first}")), "{output}");
    }
}

#[test]
fn a_share_at_start_costs_no_other_key_of_the_layer() {
    let machine = Machine::new();
    let stack = machine.builder.clone().prepare().unwrap();
    let layer = stack.runtime_link().join("perch");
    for (key, value) in [(contract::share::RUNTIME_KEY, "50"), (contract::share::OBSERVE_KEY, "10")] {
        fs::write(layer.join(key), value).unwrap();
    }
    stack.clear_persisted_share().unwrap();
    stack.clear_persisted_share().unwrap();
    assert!(!layer.join(contract::share::RUNTIME_KEY).exists());
    assert_eq!(fs::read_to_string(layer.join(contract::share::OBSERVE_KEY)).unwrap(), "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_before_goes_on_when_a_part_does_not_start() {
    let machine = Machine::new();
    machine.up().await.1.unwrap();
    let rules = machine.pid(Part::Rules);
    machine.dies(Part::Scorer);
    machine.install("shadow-scorer", "#!/bin/sh\necho no model >&2\nexit 1\n");
    let error = machine.up().await.1.unwrap_err().to_string();
    assert!(error.contains("no model"), "{error}");
    assert_eq!(machine.pid(Part::Rules), rules);
}
