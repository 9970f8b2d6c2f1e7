//! The guard as a program and its operators' commands, against a scripted gateway.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contract::share::{BETA_KEY, RUNTIME_KEY};

use crate::run::{perch, perch_of};
use crate::server::{Server, plain};

/// An Envoy that accepts a share, and has no beta cohort.
struct Gateway {
    server: Server,
    share: Arc<Mutex<String>>,
}

impl Gateway {
    fn at(share: &str) -> Self {
        let share = Arc::new(Mutex::new(share.to_owned()));
        let held = Arc::clone(&share);
        let server = Server::start(move |request| {
            if let Some((_, value)) = request.line.split_once(&format!("POST /runtime_modify?{RUNTIME_KEY}=")) {
                value.clone_into(&mut held.lock().unwrap());
            }
            let value = held.lock().unwrap().clone();
            let (share, beta) = (serde_json::json!({"final_value": value}), serde_json::json!({"final_value": "0"}));
            plain(&serde_json::json!({"entries": {RUNTIME_KEY: share, BETA_KEY: beta}}).to_string())
        });
        Self { server, share }
    }

    fn share(&self) -> String {
        self.share.lock().unwrap().clone()
    }
}

/// A running guard; ended when dropped.
struct Running(Child);

impl Running {
    fn start(gateway: &Gateway, folder: &str, listen: &str) -> Self {
        let url = &gateway.server.url;
        let mut command = Command::new(env!("CARGO_BIN_EXE_perch"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PERCH_")) {
            command.env_remove(name);
        }
        command.args(["guard", "--gateway", url, "--scorer", url, "--folder", folder, "--listen", listen]).args([
            "--interval",
            "1",
            "--name",
            "g1",
            "--log-format",
            "json",
        ]);
        Self(command.stderr(Stdio::piped()).spawn().unwrap())
    }

    /// SIGTERM; its exit code and its log.
    fn end(mut self) -> (i32, String) {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let code = self.0.wait().unwrap().code().unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut self.0.stderr.take().unwrap(), &mut text).unwrap();
        (code, text)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What is served at `path` once anything is.
fn served(address: &str, path: &str) -> String {
    use std::io::{Read as _, Write as _};
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        if let Ok(mut stream) = std::net::TcpStream::connect(address) {
            write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
            let mut text = String::new();
            let read = stream.read_to_string(&mut text);
            if read.is_ok() && text.contains("perch_guard_leader") {
                return text;
            }
        }
        assert!(Instant::now() < end, "nothing at {address}{path}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn the_audit_log_has_the_actor_of_a_change_and_the_reason_of_a_rollback() {
    let gateway = Gateway::at("0");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    let at = ["--gateway", &gateway.server.url, "--folder", &folder, "--as", "ada"];

    let set = perch(&[&["canary", "set", "10%", "--reason", "week one"], &at[..]].concat());
    assert!(set.code == 0 && set.out.starts_with("0% → 10% on 1 gateway"), "{set:?}");
    assert!(set.out.contains("no disk layer was named"), "{set:?}");
    assert_eq!(gateway.share(), "10");

    let back = perch(&[&["rollback", "--reason", "wrong labels"], &at[..]].concat());
    assert!(back.code == 0 && back.out.starts_with("0% on every gateway"), "{back:?}");
    assert_eq!(gateway.share(), "0");

    let status = perch(&["ramp", "status", "--folder", &folder]);
    assert!(status.out.contains("ada rolled back: wrong labels"), "{status:?}");
    assert!(status.out.contains("ada set the share from 10% to 0%: wrong labels"), "{status:?}");
    let log = std::fs::read_to_string(format!("{folder}/audit_log.jsonl")).unwrap();
    assert_eq!(log.lines().count(), 3, "{log}");

    let gone = perch(&["rollback", "--gateway", "http://127.0.0.1:1", "--gateway", &gateway.server.url]);
    assert!(gone.code == 1 && gone.err.contains("http://127.0.0.1:1"), "{gone:?}");
}

#[test]
fn the_guard_accepts_and_rejects_commands_and_ends_on_a_signal() {
    let gateway = Gateway::at("0");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    let listen = free_address();
    let guard = Running::start(&gateway, &folder, &listen);
    assert!(served(&listen, "/metrics").contains("\nperch_guard_leader 1"));

    let order = |what: &[&str]| perch(&[&["ramp"], what, &["--folder", &folder, "--as", "ada"]].concat());
    let started = order(&["start", "--reason", "the new model"]);
    assert!(started.code == 0 && started.out == "started\n", "{started:?}");
    assert_eq!(order(&["pause", "--reason", "lunch"]).code, 0);
    let status = perch(&["status", "--gateway", &gateway.server.url, "--folder", &folder]);
    assert!(status.out.contains("paused") && status.out.contains("ada: lunch"), "{status:?}");
    *gateway.share.lock().unwrap() = "10".to_owned();
    let refused = order(&["start"]);
    assert!(refused.code == 1 && refused.err.contains("a rollout starts from 0%"), "{refused:?}");

    let (code, log) = guard.end();
    assert_eq!(code, 0, "{log}");
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        lines.iter().any(|line| line["event"] == "evaluated" && line["reasons"].as_str().unwrap().contains("paused")),
        "{log}"
    );
    let silent = order(&["resume", "--wait", "1"]);
    assert!(silent.code == 1 && silent.err.contains("no guard accepted the command"), "{silent:?}");
}

#[test]
fn a_plan_is_printed_with_defaults_and_rejected_with_the_fix() {
    let default = perch(&["ramp", "plan"]);
    assert!(default.code == 0 && default.out.contains("minimum_time: 48h"), "{default:?}");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "steps: [50%, 10%]\n").unwrap();
    let bad = perch(&["ramp", "plan", &file.path().display().to_string()]);
    assert!(bad.code == 1 && bad.err.contains("steps[1]") && bad.err.contains("rise"), "{bad:?}");
}

#[test]
fn another_deployments_share_is_not_written_to_this_machine() {
    let checkout = tempfile::tempdir().unwrap();
    let runtime = checkout.path().join(".perch/run/runtime");
    std::fs::create_dir_all(runtime.join("perch-layer-0/perch")).unwrap();
    std::fs::create_dir_all(checkout.path().join(".perch/guard")).unwrap();
    std::os::unix::fs::symlink("perch-layer-0", runtime.join("current")).unwrap();
    let held = || std::fs::read_to_string(runtime.join("current/perch").join(RUNTIME_KEY)).ok();

    let other = Gateway::at("0");
    let set = perch_of(checkout.path(), &[], &["canary", "set", "50%", "--gateway", &other.server.url]);
    assert!(
        set.code == 0 && set.out.contains("no disk layer was named") && set.out.contains("in no audit log"),
        "{set:?}"
    );
    assert_eq!((other.share().as_str(), held()), ("50", None));

    let own = Gateway::at("0");
    let port = own.server.url.rsplit_once(':').unwrap().1;
    let set = perch_of(checkout.path(), &[("PERCH_ADMIN_PORT", port)], &["canary", "set", "50%"]);
    assert!(set.code == 0 && !set.out.contains("was named"), "{set:?}");
    assert_eq!((own.share().as_str(), held().as_deref()), ("50", Some("50")));
    assert!(checkout.path().join(".perch/guard/audit_log.jsonl").is_file());
}
