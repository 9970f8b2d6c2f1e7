//! Checks across programs: gateways that must be configured alike, clocks, versions.

use std::collections::BTreeSet;

use canary::configuration;
use contract::frame;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Finding, Level};

/// Largest difference of two clocks, in seconds: a response's date has whole seconds, and it took some time.
const MAX_CLOCK_DIFFERENCE: i64 = 5;

/// What must be the same on every gateway, read from one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Its admin address.
    pub url: String,
    /// The share as its runtime holds it.
    pub share: String,
    /// A digest of the filter's configuration without the salt.
    pub configuration_digest: String,
    /// A digest of the salt.
    pub salt_digest: String,
}

impl GatewaySettings {
    /// Reads them from a configuration dump; of the salt only a digest is kept.
    #[must_use]
    pub fn of(url: &str, dump: &Value, share: Option<&str>) -> Self {
        let (mut documents, mut salts) = (BTreeSet::new(), BTreeSet::new());
        for mut document in configuration::documents(dump) {
            // Earlier releases of the WebAssembly module had two filters with one configuration.
            document.remove("role");
            salts.insert(document.remove("salt").unwrap_or_default().to_string());
            documents.insert(Value::Object(document).to_string());
        }
        Self {
            url: url.to_owned(),
            share: share.unwrap_or_default().to_owned(),
            configuration_digest: digest(&documents),
            salt_digest: digest(&salts),
        }
    }
}

fn digest(texts: &BTreeSet<String>) -> String {
    let mut hasher = Sha256::new();
    texts.iter().for_each(|text| hasher.update(text));
    hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

/// Checks that all gateways hold the same share, and that their filters have the same configuration and salt.
#[must_use]
pub fn check_same_settings(gateways: &[GatewaySettings]) -> Vec<Finding> {
    let Some(first) = gateways.first() else { return Vec::new() };
    let differ = |part: fn(&GatewaySettings) -> &str| {
        let others: Vec<&str> =
            gateways.iter().filter(|other| part(other) != part(first)).map(|other| other.url.as_str()).collect();
        (!others.is_empty()).then(|| others.join(", "))
    };
    let finding = |check, what: &str, others: Option<String>, fine: &str, fix: &str| match others {
        None => Finding::ok(check, "", fine),
        Some(others) => {
            let found = format!("{what} of {others} differs from that of {}", first.url);
            Finding::of(Level::Error, check, "", found, fix)
        }
    };
    let mut findings = vec![
        finding(
            "same share",
            "the share",
            differ(|one| &one.share),
            "every gateway holds the same share",
            "set it on all of them with `perch canary set`",
        ),
        finding(
            "same configuration",
            "the filter's configuration",
            differ(|one| &one.configuration_digest),
            "the filter's configuration is the same on every gateway",
            "give the filter the same configuration on all gateways",
        ),
    ];
    if let Some(others) = differ(|one| &one.salt_digest) {
        let fix = "give the filter the same salt on all gateways: with different ones a user changes arms between them";
        findings.push(finding("same salt", "the filter's salt", Some(others), "", fix));
    }
    findings
}

/// Checks a clock; `seconds` is the clock of `place` minus this machine's.
#[must_use]
pub fn check_clock(place: &str, seconds: Option<i64>) -> Finding {
    match seconds {
        None => Finding::of(
            Level::Unknown,
            "clock",
            place,
            "its responses carry no date",
            "compare `date` on both machines",
        ),
        Some(seconds) if seconds.abs() <= MAX_CLOCK_DIFFERENCE => {
            Finding::ok("clock", place, "it agrees with this machine's")
        }
        Some(seconds) => Finding::of(
            Level::Error,
            "clock",
            place,
            format!("it is {} s {} this machine's", seconds.abs(), if seconds > 0 { "ahead of" } else { "behind" }),
            "synchronise both clocks (NTP): the guard counts requests since a time, and a wrong clock counts the wrong \
             ones",
        ),
    }
}

/// Checks the scorer's `/readyz`.
#[must_use]
pub fn check_scorer(place: &str, ready: &Value, ours: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(if ready.get("ready") == Some(&Value::Bool(true)) {
        Finding::ok("scorer", place, "it is ready")
    } else {
        let reason = ready.get("reason").and_then(Value::as_str).unwrap_or("its /readyz gives no reason");
        let fix = "fix the cause that it names; if it is shutting down, start another one, or wait for its restart";
        Finding::of(Level::Error, "scorer", place, format!("it is not ready: {reason}"), fix)
    });
    findings.push(match ready.get("model").and_then(Value::as_str) {
        Some(model) => Finding::ok("model", place, format!("{model} is serving")),
        None => Finding::of(
            Level::Error,
            "model",
            place,
            "no model is loaded",
            "`perch model status` shows the reason; `make ml-train` trains one",
        ),
    });
    let version = ready.get("version").and_then(Value::as_str);
    let of_frame = ready.get("frame").and_then(Value::as_u64);
    findings.push(if version == Some(ours) && of_frame == Some(frame::VERSION.into()) {
        Finding::ok("version", place, format!("{ours}, the same as perch"))
    } else {
        let (version, of_frame) =
            (version.unwrap_or("unknown"), of_frame.map_or("unknown".to_owned(), |n| n.to_string()));
        Finding::of(
            Level::Error,
            "version",
            place,
            format!(
                "release {version}, observation frame {of_frame}; perch is release {ours}, observation frame {}",
                frame::VERSION
            ),
            "run perch, scorer and filter of the same release",
        )
    });
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn gateway(url: &str, salt: &str, share: &str) -> GatewaySettings {
        let dump = json!({"a": [{"value": json!({"salt": salt}).to_string()}]});
        GatewaySettings::of(url, &dump, Some(share))
    }

    #[test]
    fn gateways_that_differ_are_named_and_their_salt_is_not() {
        let a = gateway("a", "0123456789abcdef", "10");
        let levels = |b: &GatewaySettings| {
            let findings = check_same_settings(&[a.clone(), b.clone()]);
            assert!(!format!("{findings:?}").contains("0123456789abcdef"), "{findings:?}");
            let of_b = |finding: &Finding| finding.found.contains("of b differs from that of a");
            assert!(findings.iter().all(|finding| (finding.level == Level::Error) == of_b(finding)), "{findings:?}");
            findings.into_iter().map(|finding| (finding.check, finding.level)).collect::<Vec<_>>()
        };
        let (ok, error) = (Level::Ok, Level::Error);
        let same = gateway("b", "0123456789abcdef", "10");
        assert_eq!(levels(&same), [("same share", ok), ("same configuration", ok)]);
        let other_share = gateway("b", "0123456789abcdef", "20");
        assert_eq!(levels(&other_share), [("same share", error), ("same configuration", ok)]);
        let other_salt = gateway("b", "another salt of 16", "10");
        let of_salt = [("same share", ok), ("same configuration", ok), ("same salt", error)];
        assert_eq!(levels(&other_salt), of_salt);
        let dump = json!({"value": json!({"salt": "0123456789abcdef", "limits": {}}).to_string()});
        let other_limits = GatewaySettings::of("b", &dump, Some("10"));
        assert_eq!(levels(&other_limits), [("same share", ok), ("same configuration", error)], "and the same salt");
    }

    #[test]
    fn two_builds_of_one_configuration_are_alike() {
        let document = |role: Option<&str>| {
            let mut document = json!({"salt": "0123456789abcdef", "cohorts": {"beta": []}});
            if let Some(role) = role {
                document["role"] = role.into();
            }
            json!({"value": document.to_string()})
        };
        let wasm = GatewaySettings::of("a", &json!([document(Some("observe")), document(Some("model"))]), Some("10"));
        let native = GatewaySettings::of("b", &json!([document(None)]), Some("10"));
        assert_eq!(wasm.configuration_digest, native.configuration_digest);
    }

    #[test]
    fn a_clock_that_is_off_is_reported_with_its_direction() {
        assert_eq!(check_clock("s", Some(3)).level, Level::Ok);
        assert!(check_clock("s", Some(-90)).found.contains("90 s behind"));
        assert_eq!(check_clock("s", None).level, Level::Unknown);
    }

    #[test]
    fn a_scorer_that_is_not_ready_is_reported_with_its_reason() {
        let of = |ready: Value| check_scorer("s", &ready, "0.1.0").swap_remove(0);
        let full = of(json!({"ready": false, "reason": "the store takes no writes: disk full", "model": "v1"}));
        assert_eq!(
            (full.level, full.found.as_str()),
            (Level::Error, "it is not ready: the store takes no writes: disk full")
        );
        assert!(of(json!({"error": "unknown path"})).found.contains("gives no reason"));
    }

    #[test]
    fn another_release_is_an_error() {
        let ready = json!({"ready": true, "model": "v1", "version": "9.9.9", "frame": frame::VERSION});
        let findings = check_scorer("s", &ready, "0.1.0");
        assert_eq!(findings[2].level, Level::Error);
        let same = json!({"ready": true, "model": "v1", "version": "0.1.0", "frame": frame::VERSION});
        assert!(check_scorer("s", &same, "0.1.0").iter().all(|finding| finding.level == Level::Ok));
    }
}
