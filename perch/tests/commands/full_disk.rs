//! The program on a full disk: its actions, its files and its messages.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use contract::share::{BETA_KEY, RUNTIME_KEY};
use serde_json::json;

use crate::run::{Output, perch};
use crate::server::{Server, plain};

/// A plan whose steps take seconds.
const PLAN: &str = "
steps: [10%, {share: 50%, manual: true}]
minimum_time: 1s
minimum_requests: 10
settle_time: 1s
baseline: {agreement: 0.9, minimum_time: 1s, minimum_requests: 10}
latency: {on_breach: off}
signals: {f1_at_least: null, drift_at_most: null}
";

/// A gateway and a scorer. Every scrape of the gateway counts 200 more requests.
struct System {
    server: Server,
    share: Arc<Mutex<String>>,
    failing: Arc<AtomicBool>,
}

impl System {
    fn at(share: &str) -> Self {
        let share = Arc::new(Mutex::new(share.to_owned()));
        let failing = Arc::new(AtomicBool::new(false));
        let counts = Arc::new(Mutex::new([0_u32; 4]));
        let scrapes = Arc::new(AtomicU32::new(0));
        let (held, fails) = (Arc::clone(&share), Arc::clone(&failing));
        let server = Server::start(move |request| {
            if let Some((_, value)) = request.line.split_once(&format!("POST /runtime_modify?{RUNTIME_KEY}=")) {
                value.clone_into(&mut held.lock().unwrap());
            }
            let value = held.lock().unwrap().clone();
            if request.line.starts_with("GET /stats/prometheus") {
                assert!(
                    request.line.ends_with("?filter=(wasm%7Cdynamicmodules)custom"),
                    "case 8: Envoy reports only the series that are requested"
                );
                let canary = 2 * value.parse::<u32>().unwrap();
                let fallbacks = if fails.load(Ordering::SeqCst) { canary * 3 / 5 } else { 0 };
                let mut counts = counts.lock().unwrap();
                for (count, more) in
                    counts.iter_mut().zip([200, 200 - canary + fallbacks, canary - fallbacks, fallbacks])
                {
                    *count += more;
                }
                let [all, rule, model, fallback] = *counts;
                return plain(&format!(
                    "perch_observation_total{{outcome=\"observed\"}} {all}\n\
                     lm_suggest_source_total{{source=\"rule\"}} {rule}\nlm_suggest_source_total{{source=\"model\"}} {model}\n\
                     lm_ml_fallback_total{{reason=\"reset\"}} {fallback}\n\
                     lm_ml_predict_requests_total{{available=\"True\"}} {all}\n\
                     lm_ml_predict_requests_total{{available=\"False\"}} 0\n"
                ));
            }
            if request.line == "GET /metrics" {
                let all = 200 * scrapes.fetch_add(1, Ordering::SeqCst);
                return plain(&format!(
                    "perch_scorer_judged_requests_total {all}\nperch_scorer_request_agreement_total {all}\n\
                     perch_scorer_request_agreement_squares_total {all}\n"
                ));
            }
            let (share, beta) = (json!({"final_value": value}), json!({"final_value": "0"}));
            plain(&json!({"entries": {RUNTIME_KEY: share, BETA_KEY: beta}}).to_string())
        });
        Self { server, share, failing }
    }

    fn share(&self) -> String {
        self.share.lock().unwrap().clone()
    }

    fn until(&self, share: &str) {
        let end = Instant::now() + Duration::from_secs(90);
        while self.share() != share {
            assert!(Instant::now() < end, "the share is {} and not {share}", self.share());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// `perch` with a file size limit of 0, which acts as a full disk.
fn on_full_disk(arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_perch")]).args(arguments);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PERCH_")) {
        command.env_remove(name);
    }
    command
}

fn ran(mut command: Command) -> Output {
    let output = command.current_dir(std::env::temp_dir()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Output { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// A running guard; ended when dropped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pid = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn case_6c_the_message_states_what_was_done() {
    let system = System::at("10");
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().display().to_string();
    let at = ["--gateway", &system.server.url, "--folder", &folder, "--as", "ada"];
    assert_eq!(perch(&[&["canary", "set", "10%"], &at[..]].concat()).code, 0);
    let log = || std::fs::read_to_string(format!("{folder}/audit_log.jsonl")).unwrap();
    let before = log();

    let set = ran(on_full_disk(&[&["canary", "set", "50%"], &at[..]].concat()));
    assert!(set.code == 1 && set.err.contains("no gateway was changed"), "{set:?}");
    assert_eq!(system.share(), "10");
    let less = ran(on_full_disk(&[&["canary", "set", "5%"], &at[..]].concat()));
    assert!(less.code == 1 && less.err.contains("the share is 5% on every gateway, but"), "{less:?}");
    assert_eq!(system.share(), "5");
    let back = ran(on_full_disk(&[&["rollback"], &at[..]].concat()));
    assert!(back.code == 1 && back.err.contains("the share is 0% on every gateway, but"), "{back:?}");
    assert_eq!(system.share(), "0");
    let order = ran(on_full_disk(&["ramp", "pause", "--wait", "1", "--folder", &folder]));
    assert!(order.code == 1 && order.err.contains("the command was not written to the audit log"), "{order:?}");
    assert_eq!(log(), before, "no part of an entry is left");
}

#[test]
fn case_6a_a_guard_on_a_full_disk_rolls_back() {
    let system = System::at("0");
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("guard").display().to_string();
    let plan = place.path().join("plan.yaml").display().to_string();
    std::fs::write(&plan, PLAN).unwrap();
    let url = &system.server.url;
    let guard = [
        "guard",
        "--gateway",
        url,
        "--scorer",
        url,
        "--folder",
        &folder,
        "--listen",
        "127.0.0.1:0",
        "--interval",
        "1",
        "--name",
        "g1",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_perch"));
    command.args(guard);
    let running = Running::start(command);
    let started = perch(&["ramp", "start", "--plan", &plan, "--folder", &folder, "--as", "ada"]);
    assert_eq!(started.code, 0, "{started:?}");
    system.until("10");
    drop(running);

    system.failing.store(true, Ordering::SeqCst);
    let _running = Running::start(on_full_disk(&guard));
    system.until("0");
}
