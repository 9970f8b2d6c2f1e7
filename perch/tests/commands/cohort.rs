//! `cohort`, and cohorts in the output of `canary explain`.

use contract::share::{BETA_KEY, RUNTIME_KEY};
use serde_json::json;

use crate::run::perch;
use crate::server::Server;

/// user-42 under the salt of the frozen vectors; position 31, so in from 32% on.
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
fn the_cohorts_share_is_set_beside_the_share_and_reset_by_a_rollback() {
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
    assert_eq!((share("share"), share("beta")), (0.0, 0.0), "no user stays on a candidate that was rolled back");
}

#[test]
fn opted_out_users_have_no_share() {
    let gateway = gateway(&[]);
    let ran = perch(&["cohort", "set", "opt_out", "10%", "--gateway", &gateway.url]);
    assert!(ran.code == 2 && ran.err.contains("beta"), "{ran:?}");
}

#[test]
fn explain_shows_the_effect_of_a_cohort() {
    let salt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(salt.path(), SALT).unwrap();
    let file = salt.path().display().to_string();
    let explain = |gateway: &Server, more: &[&str]| {
        perch(&[&["canary", "explain", "user-42", "--salt", &file, "--gateway", &gateway.url], more].concat())
    };
    let ordinary = explain(&gateway(&[]), &[]);
    assert!(
        ordinary.out.starts_with(&format!("bucket {BUCKET}, in the canary from 32% on (whole percentages; ")),
        "{ordinary:?}"
    );
    assert!(ordinary.out.contains("baseline at 10%") && ordinary.out.contains("candidate for beta"), "{ordinary:?}");
    let out = explain(&gateway(&[BUCKET]), &["--json"]);
    assert_eq!(
        (&out.json()["arms"][0]["arm"], &out.json()["arms"][0]["listed"]),
        (&json!("baseline"), &json!("opt_out"))
    );
}

/// A gateway with the native module: its configuration has no role, and another name.
fn native(opt_out: &[&str], salt: &str) -> Server {
    let config = json!({"salt": salt, "cohorts": {"opt_out": [{"pseudonyms": opt_out}]}}).to_string();
    let filter = json!({"name": "perch", "typed_config": {"filter_name": "perch", "filter_config": {"value": config}}});
    let dump =
        json!({"configs": [{"dynamic_listeners": [{"active_state": {"listener": {"http_filters": [filter]}}}]}]});
    Server::gateway_configured(&[(RUNTIME_KEY, "100")], "", &dump)
}

fn explain_by(salt: &str, user: &str, gateway: &Server) -> crate::run::Output {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), salt).unwrap();
    let salt = file.path().display().to_string();
    perch(&["canary", "explain", user, "--json", "--salt", &salt, "--gateway", &gateway.url])
}

#[test]
fn case_13_lists_of_a_native_gateway_are_seen() {
    let gateway = native(&[BUCKET], SALT);
    let cohorts = perch(&["cohort", "get", "--gateway", &gateway.url]);
    assert!(cohorts.out.contains("opt_out  1 pseudonyms"), "{cohorts:?}");
    let arm = &explain_by(SALT, "user-42", &gateway).json()["arms"][0];
    assert_eq!((&arm["arm"], &arm["listed"]), (&json!("baseline"), &json!("opt_out")));
}

#[test]
fn case_11_blanks_are_not_part_of_an_identity() {
    let gateway = native(&[], SALT);
    for user in ["user-42", " user-42 ", "\tuser-42"] {
        assert_eq!(explain_by(SALT, user, &gateway).json()["bucket"], BUCKET, "{user:?}");
    }
    for user in ["", "  ", &"x".repeat(600)] {
        let ran = explain_by(SALT, user, &gateway).json();
        assert_eq!((&ran["bucket"], &ran["arms"][0]["arm"]), (&json!(null), &json!("baseline")), "{user:?}");
    }
}

#[test]
fn case_12_a_lines_end_is_not_part_of_the_salt() {
    let gateway = native(&[], SALT);
    assert_eq!(explain_by(&format!("{SALT}\n"), "user-42", &gateway).json()["arms"][0]["bucket"], BUCKET);
}

#[test]
fn the_salt_in_a_gateways_configuration_is_in_force() {
    let gateway = native(&[BUCKET], SALT);
    // Without a file, and with another deployment's.
    let ran = perch(&["canary", "explain", "user-42", "--gateway", &gateway.url]);
    assert!(
        ran.out.starts_with(&format!("bucket {BUCKET}, in the canary from 32% on (whole percentages; ")),
        "{ran:?}"
    );
    assert!(ran.out.contains("has opted out"), "{ran:?}");
    let other = explain_by("another salt of sixteen", "user-42", &gateway).json();
    assert_ne!(other["bucket"], BUCKET);
    assert_eq!((&other["arms"][0]["bucket"], &other["arms"][0]["arm"]), (&json!(BUCKET), &json!("baseline")));
}
