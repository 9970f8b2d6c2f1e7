//! The program as an operator meets it: one clear message when it cannot start, and an orderly end.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use shadow_scorer::model::{Caller, Lock};

use crate::scorer::{Place, TOKEN};

fn command(place: &Place, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shadow-scorer"));
    command
        .args(["--listen", listen, "--store", &place.store_url(), "--drain-notice-ms", "0"])
        .arg("--registry")
        .arg(place.registry())
        .env_remove("PERCH_LOG")
        .env_remove("PERCH_LOG_FORMAT")
        .stderr(Stdio::piped());
    command
}

/// Runs it to its end, which must be a failure, and hands out what it said.
fn failure(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "one message: {said}");
    said
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_fix() {
    let place = Place::new().await.with_champion();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let said = failure(&mut command(&place, &address));
    assert!(said.contains(&address) && said.contains("--listen"), "{said}");
}

#[tokio::test]
async fn a_missing_store_is_named_with_the_fix() {
    let place = Place::new().await.with_champion();
    std::fs::remove_file(place.path().join("perch.sqlite")).unwrap();
    let said = failure(&mut command(&place, "127.0.0.1:0"));
    assert!(said.contains("perch.sqlite") && said.contains("rules-backend seed"), "{said}");
}

#[tokio::test]
async fn a_setting_that_cannot_be_honoured_is_named() {
    let place = Place::new().await;
    let said = failure(command(&place, "127.0.0.1:0").args(["--intercept-path", "ml"]));
    assert!(said.contains(r#"\"ml\""#), "{said}");
}

/// A running scorer that is killed if the test fails.
struct Running {
    child: Child,
    lines: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// Reads log lines up to one that holds `wanted`; all of them.
    fn until(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        while !said.contains(wanted) {
            assert!(self.lines.read_line(&mut said).unwrap() > 0, "it ended: {said}");
        }
        said
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_model_cut_in_half_is_refused_and_the_scorer_starts_without_one_and_says_so() {
    let place = Place::new().await.with_champion();
    let model = place.registry().join("v1/model.onnx");
    let whole = std::fs::read(&model).unwrap();
    std::fs::write(&model, &whole[..whole.len() / 2]).unwrap();
    let mut running = Running::start(&mut command(&place, "127.0.0.1:0"));
    let said = running.until(" listening ");
    assert!(said.contains("model_refused alias=champion version=v1 ") && said.contains("model=none"), "{said}");
}

#[tokio::test]
async fn a_termination_signal_ends_it_well() {
    let place = Place::new().await.with_champion();
    let mut running = Running::start(&mut command(&place, "127.0.0.1:0"));
    let said = running.until(" listening ");
    assert!(said.contains("model=v1"), "{said}");
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.child.wait().unwrap().success());
    let mut rest = String::new();
    running.lines.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopping signal=SIGTERM") && rest.contains(" stopped\n"), "{rest}");
}

/// Sends `POST path` with `headers` to `address`; the response's status line.
fn post(address: &str, path: &str, headers: &str, body: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n");
    client.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    response.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_log_line_about_a_request_carries_its_trace_id_where_that_is_well_formed() {
    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let place = Place::new().await.with_champion();
    let mut command = command(&place, "127.0.0.1:0");
    command.args(["--log-format", "json", "--registry-poll-ms", "0", "--token-file"]).arg(place.token_file());
    let mut running = Running::start(&mut command);
    let last = |lines: String| serde_json::from_str::<serde_json::Value>(lines.lines().last().unwrap()).unwrap();
    let started = last(running.until("\"listening\""));
    assert_eq!((&started["level"], &started["model"]), (&"info".into(), &"v1".into()));
    let address = started["address"].as_str().unwrap();

    let status = post(address, contract::frame::PATH, "traceparent: 00-not-a-trace-01\r\n", "not a batch");
    assert!(status.contains("400"), "{status}");
    let failed = last(running.until("request_failed"));
    assert_eq!(
        (&failed["route"], &failed["suppressed"], failed.get("trace_id")),
        (&"observations".into(), &0.into(), None)
    );

    let model = place.registry().join("v1/model.onnx");
    std::fs::write(&model, &std::fs::read(&model).unwrap()[..100]).unwrap();
    let headers = format!("authorization: Bearer {TOKEN}\r\ntraceparent: 00-{ID}-00f067aa0ba902b7-01\r\n");
    let status = post(address, "/ml/v2/model/reload", &headers, "");
    assert!(status.contains("409"), "{status}");
    let refused = last(running.until("model_refused"));
    assert_eq!((&refused["version"], &refused["trace_id"]), (&"v1".into(), &ID.into()), "{refused}");
}

/// The lock is held all the time: what waits for it must not keep the program from ending.
#[tokio::test]
async fn a_termination_signal_ends_it_while_a_change_waits_for_the_registry_case_3b() {
    let place = Place::new().await.with_champion();
    let registry = place.registry().canonicalize().unwrap();
    let _held = Lock::take(&registry, &Caller::without_client()).unwrap();
    let mut command = command(&place, "127.0.0.1:0");
    command.args(["--drain-ms", "0", "--token-file"]).arg(place.token_file());
    let mut running = Running::start(&mut command);
    let said = running.until(" listening ");
    let address = said.split_once("listening address=").unwrap().1.split_once(' ').unwrap().0;
    let mut client = TcpStream::connect(address).unwrap();
    let head = "POST /ml/v2/model/rollback HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n";
    client.write_all(format!("{head}authorization: Bearer {TOKEN}\r\n\r\n").as_bytes()).unwrap();
    let open = format!("/proc/{}/fd", running.child.id());
    let waits = |fd: std::io::Result<std::fs::DirEntry>| {
        fd.is_ok_and(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to == registry.join(".lock")))
    };
    let begun = std::time::Instant::now();
    while !std::fs::read_dir(&open).unwrap().any(waits) {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "it does not wait for the lock");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&running.child), rustix::process::Signal::TERM)
        .unwrap();
    assert!(running.child.wait().unwrap().success());
}
