//! `cohort`, and what `canary explain` tells of it.

use contract::switch::{BETA_KEY, RUNTIME_KEY};
use serde_json::json;

use crate::run::perch;
use crate::server::Server;

/// user-42 under the salt of the frozen vectors; position 31, so in from 32 % on.
const SALT: &str = "perch-frozen-vectors";
const BUCKET: &str = "cc343e210017e385";

fn gateway(opt_out: &[&str]) -> Server {
    let cohorts = json!({
        "beta": [{"header": {"name": "x-user-group", "values": ["staff"]}}],
        "opt_out": [{"pseudonyms": opt_out}],
    });
    let plugin = json!({"role": "observe", "salt": SALT, "cohorts": cohorts}).to_string();
    let dump = json!({"configs": [{"http_filters": [{"configuration": {"value": plugin}}]}]});
    Server::gateway_configured(&[(RUNTIME_KEY, "10"), (BETA_KEY, "50")], "", &dump)
}

#[test]
fn shares_and_members_are_shown_and_the_salt_is_not() {
    let gateway = gateway(&[BUCKET]);
    let ran = perch(&["cohort", "get", "--gateway", &gateway.url]);
    for expected in ["share 10%, beta 50%", "header x-user-group is staff", "1 pseudonyms"] {
        assert!(ran.out.contains(expected), "{expected}: {ran:?}");
    }
    let json = perch(&["cohort", "get", "--json", "--gateway", &gateway.url]);
    assert_eq!(json.json()["gateways"][0]["beta"], 0.5);
    assert!(!json.out.contains(SALT) && !ran.out.contains(SALT));
}

#[test]
fn the_cohorts_share_is_set_beside_the_share_and_off_takes_it_along() {
    let gateway = gateway(&[]);
    let ran = perch(&["cohort", "set", "beta", "100%", "--gateway", &gateway.url]);
    assert!(ran.code == 0 && ran.out.contains("50% → 100%"), "{ran:?}");
    let share = |key: &str| {
        let get = perch(&["cohort", "get", "--json", "--gateway", &gateway.url]);
        get.json()["gateways"][0][key].as_f64().unwrap()
    };
    assert_eq!((share("share"), share("beta")), (0.1, 1.0));
    let off = perch(&["rollback", "--reason", "a test", "--gateway", &gateway.url]);
    assert_eq!(off.code, 0, "{off:?}");
    assert_eq!((share("share"), share("beta")), (0.0, 0.0), "nobody stays on a model that was rolled back");
}

#[test]
fn who_has_opted_out_has_no_share() {
    let gateway = gateway(&[]);
    let ran = perch(&["cohort", "set", "opt_out", "10%", "--gateway", &gateway.url]);
    assert!(ran.code == 2 && ran.err.contains("beta"), "{ran:?}");
}

#[test]
fn explain_tells_what_a_cohort_changes() {
    let salt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(salt.path(), SALT).unwrap();
    let file = salt.path().display().to_string();
    let explain = |gateway: &Server, more: &[&str]| {
        perch(&[&["canary", "explain", "user-42", "--salt", &file, "--gateway", &gateway.url], more].concat())
    };
    let ordinary = explain(&gateway(&[]), &[]);
    assert!(ordinary.out.starts_with(&format!("bucket {BUCKET}, joins at 32%\n")), "{ordinary:?}");
    assert!(ordinary.out.contains("rule at 10%") && ordinary.out.contains("model in the beta cohort"), "{ordinary:?}");
    let out = explain(&gateway(&[BUCKET]), &["--json"]);
    assert_eq!((&out.json()["arms"][0]["arm"], &out.json()["arms"][0]["listed"]), (&json!("rule"), &json!("opt_out")));
}
