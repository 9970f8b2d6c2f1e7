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
    /// A digest of the filter's configuration, salt included.
    pub plugin: String,
}

impl GatewaySettings {
    /// Reads them from a configuration dump; of the salt only a digest is kept.
    #[must_use]
    pub fn of(url: &str, dump: &Value, share: Option<&str>) -> Self {
        let mut hasher = Sha256::new();
        let plain = |mut document: serde_json::Map<String, Value>| {
            // Earlier releases of the WebAssembly module had two filters with one configuration.
            document.remove("role");
            serde_json::to_string(&document).unwrap_or_default()
        };
        let documents: BTreeSet<String> = configuration::documents(dump).into_iter().map(plain).collect();
        documents.iter().for_each(|document| hasher.update(document));
        let plugin = hasher.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { url: url.to_owned(), share: share.unwrap_or_default().to_owned(), plugin }
    }
}

/// Checks that all gateways hold the same share and the same filter configuration, salt included.
#[must_use]
pub fn alike(gateways: &[GatewaySettings]) -> Vec<Finding> {
    let Some(first) = gateways.first() else { return Vec::new() };
    let differ = |part: fn(&GatewaySettings) -> &str| {
        let others: Vec<&str> =
            gateways.iter().filter(|other| part(other) != part(first)).map(|other| other.url.as_str()).collect();
        (!others.is_empty()).then(|| format!("{} differ from {}", others.join(", "), first.url))
    };
    let finding = |check, fault: Option<String>, fine: &str, fix: &str| match fault {
        None => Finding::ok(check, "", fine),
        Some(fault) => Finding::of(Level::Error, check, "", fault, fix),
    };
    vec![
        finding(
            "one share",
            differ(|one| &one.share),
            "every gateway holds the same share",
            "set it on all of them with `perch canary set`",
        ),
        finding(
            "one salt",
            differ(|one| &one.plugin),
            "every gateway has the same filter configuration",
            "give all gateways the same configuration: a user changes arms between gateways with different salts",
        ),
    ]
}

/// Checks a clock; `seconds` is the clock of `place` minus this machine's.
#[must_use]
pub fn clock(place: &str, seconds: Option<i64>) -> Finding {
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
            "synchronise both with a time server; otherwise evidence after a change of the share has wrong requests",
        ),
    }
}

/// Checks the scorer's `/readyz`.
#[must_use]
pub fn scorer(place: &str, ready: &Value, ours: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(if ready.get("ready") == Some(&Value::Bool(true)) {
        Finding::ok("scorer", place, "it is ready")
    } else {
        Finding::of(Level::Error, "scorer", place, "it is draining", "start another one, or wait for its restart")
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
            format!("{version} with frame {of_frame}, but perch is {ours} with frame {}", frame::VERSION),
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
        let same = alike(&[gateway("a", "0123456789abcdef", "10"), gateway("b", "0123456789abcdef", "10")]);
        assert!(same.iter().all(|finding| finding.level == Level::Ok), "{same:?}");
        let differ = alike(&[gateway("a", "0123456789abcdef", "10"), gateway("b", "another salt of 16", "20")]);
        assert!(differ.iter().all(|finding| finding.level == Level::Error && finding.found.contains("b differ")));
        assert!(!format!("{differ:?}").contains("0123456789abcdef"));
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
        assert_eq!(wasm.plugin, native.plugin);
    }

    #[test]
    fn a_clock_that_is_off_is_reported_with_its_direction() {
        assert_eq!(clock("s", Some(3)).level, Level::Ok);
        assert!(clock("s", Some(-90)).found.contains("90 s behind"));
        assert_eq!(clock("s", None).level, Level::Unknown);
    }

    #[test]
    fn another_release_is_an_error() {
        let ready = json!({"ready": true, "model": "v1", "version": "9.9.9", "frame": frame::VERSION});
        let findings = scorer("s", &ready, "0.1.0");
        assert_eq!(findings[2].level, Level::Error);
        let same = json!({"ready": true, "model": "v1", "version": "0.1.0", "frame": frame::VERSION});
        assert!(scorer("s", &same, "0.1.0").iter().all(|finding| finding.level == Level::Ok));
    }
}
