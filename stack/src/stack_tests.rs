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
