//! From the document to the configuration in effect.

use contract::bucket::{MIN_SALT_BYTES, Salt};

use super::effective::Config;
use super::error::{ConfigError, fault};
use super::module::Module;
use super::{cohorts, raw, rules};

impl Config {
    /// Reads and checks a filter configuration for `module`.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn parse(json: &[u8], module: Module) -> Result<Self, ConfigError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let document: raw::Document = match serde_path_to_error::deserialize(&mut deserializer) {
            Ok(document) => document,
            Err(error) => return Err(unreadable(&error)),
        };
        if deserializer.end().is_err() {
            return fault("configuration", "must be one JSON object", "remove what follows its closing brace");
        }
        check(document, module)
    }
}

fn check(raw: raw::Document, module: Module) -> Result<Config, ConfigError> {
    let salt = match Salt::new(raw.salt.as_bytes()) {
        Ok(salt) => salt,
        Err(error) => {
            return fault(
                "salt",
                format!("must have at least {MIN_SALT_BYTES} bytes and has {}", error.0),
                "take e.g. the output of `openssl rand -hex 16`, the same for all gateways",
            );
        }
    };
    let identity = rules::identity(raw.identity)?;
    let cohorts = cohorts::check(raw.cohorts)?;
    let intercept = rules::intercept(raw.intercept)?;
    if let Err(error) = raw.response.check() {
        return fault(
            format!("response.{}", error.field),
            format!("is {:?}, which is not a JSON pointer", error.value),
            format!("begin it with '/' and write '~' as ~0, e.g. {:?}", error.example),
        );
    }
    let response_json = serde_json::to_string(&raw.response).unwrap_or_default();
    if response_json.is_empty() || response_json.len() > usize::from(u16::MAX) {
        return fault("response", "must fit into 65,535 bytes of JSON", "shorten the list of abstaining labels");
    }
    let response_types = rules::response_types(raw.response_types)?;
    let labels = rules::labels(raw.labels)?;
    let scorer = rules::scorer(raw.scorer)?;
    let limits = rules::limits(&raw.limits, module, raw.identity_body_bytes, &response_json)?;
    Ok(Config {
        salt,
        identity,
        cohorts,
        intercept,
        response_types,
        any_items: raw.items == raw::Items::Any,
        arm_request_header: raw.arm_request_header,
        response: raw.response,
        response_json,
        labels,
        scorer,
        limits,
    })
}

/// The error's field is where the parser stopped. A wrong salt is not repeated, since the message is logged.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let path = error.path().to_string();
    let inner = error.inner().to_string();
    let missing = inner.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if path == "." && let Some(field) = missing {
        let fix = match field {
            "labels" => "list the labels that agreement is counted by; with [] all are counted as \"other\"",
            _ => "add it to the filter's configuration",
        };
        return ConfigError { field: field.to_owned(), rule: "is missing".to_owned(), fix: fix.to_owned() };
    }
    let field = if path == "." { "configuration".to_owned() } else { path };
    let rule = if field.starts_with("salt") { "must be a text".to_owned() } else { inner };
    ConfigError { field, rule, fix: "correct it in the filter's configuration".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::identity::Source;
    use contract::frame::MAX_BATCH_BYTES;
    use contract::json_select::Pointer;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const SALT: &str = "0123456789abcdef";
    const LABELS: [&str; 2] = ["coffee", "transportation.fuel"];

    fn with(field: &str, value: Value) -> Result<Config, ConfigError> {
        let mut document = json!({ "salt": SALT, "labels": LABELS });
        let mut at = &mut document;
        for step in field.split('.') {
            at = &mut at[step];
        }
        *at = value;
        Config::parse(document.to_string().as_bytes(), Module::Wasm)
    }

    #[test]
    fn a_salt_and_labels_are_enough() {
        let config = Config::parse(json!({ "salt": SALT, "labels": LABELS }).to_string().as_bytes(), Module::Wasm).unwrap();
        assert!(!config.any_items && !config.arm_request_header);
        assert_eq!(config.response_types, ["application/json"]);
        assert_eq!(config.identity, [Source::Header("x-user-id".into())]);
        assert_eq!((config.intercept.method.as_str(), config.intercept.path.as_str()), ("POST", "/ml/suggestions"));
        assert_eq!(config.labels, LABELS);
        assert!(!format!("{config:?}").contains(SALT));
    }

    #[test]
    fn a_field_that_is_required_is_named_with_what_to_give() {
        for (document, field, fix) in [
            (json!({ "salt": SALT }), "labels", "list the labels"),
            (json!({ "labels": LABELS }), "salt", "add it"),
        ] {
            let error = Config::parse(document.to_string().as_bytes(), Module::Wasm).unwrap_err();
            assert!(error.field == field && error.to_string().contains(&format!("{field}: is missing; {fix}")), "{error}");
        }
    }

    #[test]
    fn sources_keep_their_order_and_headers_are_lower_case() {
        let sources = json!([{"header": "X-User-Id"}, {"jwt": {"payload": "p", "claim": "sub"}}, {"body": "/id"}]);
        let config = with("identity", sources).unwrap();
        let jwt = b"metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0p\0sub".to_vec();
        let body = Source::Body(Pointer::parse("/id").unwrap());
        assert_eq!(config.identity, [Source::Header("x-user-id".into()), Source::Jwt(jwt), body]);
    }

    // Each case: a field, a value that breaks its rule, and the field that the message must name.
    #[test]
    fn each_broken_rule_names_its_field() {
        let cases = [
            ("salt", json!("short"), "salt"),
            ("salt", json!(12_345_678_901_u64), "salt"),
            ("role", json!("observe"), "role"),
            ("items", json!("some"), "items"),
            ("response_types", json!([]), "response_types"),
            ("response_types", json!(["application/json", "text/html; charset=x"]), "response_types[1]"),
            ("typo", json!(1), "typo"),
            ("identity", json!([]), "identity"),
            ("identity", json!([{"header": "x perch"}]), "identity[0].header"),
            ("identity", json!([{"header": "X-Perch-Bucket"}]), "identity[0].header"),
            ("identity", json!([{"cookie": "a=b"}]), "identity[0].cookie"),
            ("identity", json!([{"jwt": {"payload": "", "claim": "sub"}}]), "identity[0].jwt"),
            ("identity", json!([{"body": "id"}]), "identity[0].body"),
            ("identity", json!([{"body": ""}]), "identity[0].body"),
            ("identity", json!([{"body": "/a~"}]), "identity[0].body"),
            ("identity", json!([{"body": "/id"}, {"header": "a"}]), "identity[1]"),
            ("identity", json!([{"query": "a"}]), "identity[0]"),
            ("cohorts.beta", json!([{"header": {"name": "a b", "values": ["x"]}}]), "cohorts.beta[0].header"),
            (
                "cohorts.beta",
                json!([{"header": {"name": "x-perch-cohort", "values": ["x"]}}]),
                "cohorts.beta[0].header",
            ),
            ("cohorts.opt_out", json!([{"header": {"name": "a", "values": []}}]), "cohorts.opt_out[0].values"),
            (
                "cohorts.opt_out",
                json!([{"jwt": {"payload": "p", "claim": "", "values": ["x"]}}]),
                "cohorts.opt_out[0].jwt",
            ),
            ("cohorts.beta", json!([{"pseudonyms": ["user-42"]}]), "cohorts.beta[0].pseudonyms[0]"),
            ("cohorts.alpha", json!([]), "cohorts.alpha"),
            ("identity_body_bytes", json!(0), "identity_body_bytes"),
            ("intercept.method", json!("post"), "intercept.method"),
            ("intercept.method", json!("HEAD"), "intercept.method"),
            ("intercept.path", json!("ml"), "intercept.path"),
            ("intercept.path", json!("/a?b"), "intercept.path"),
            ("intercept.path", json!("/a//b"), "intercept.path"),
            ("intercept.path", json!("/a%2Fb"), "intercept.path"),
            ("response.items", json!("items"), "response.items"),
            ("response.abstain", json!(vec!["x".repeat(100); 700]), "response"),
            ("labels", json!(["a b"]), "labels[0]"),
            ("labels", json!(["a", "a"]), "labels[1]"),
            ("labels", json!(["other"]), "labels[0]"),
            ("labels", json!(vec!["x"; 257]), "labels"),
            ("scorer.live_cluster", json!(""), "scorer.live_cluster"),
            ("scorer.authority", json!("a b"), "scorer.authority"),
            ("scorer.deadline_ms", json!(0), "scorer.deadline_ms"),
            ("scorer.deadline_ms", json!(-1), "scorer.deadline_ms"),
            ("limits.flush_ms", json!(0), "limits.flush_ms"),
            ("limits.hold_ms", json!(1), "limits.hold_ms"),
            ("limits.held_bytes", json!(0), "limits.held_bytes"),
            ("limits.canary_bytes", json!(1_000), "limits.canary_bytes"),
            ("limits.batch_bytes", json!(MAX_BATCH_BYTES + 1), "limits.batch_bytes"),
            ("limits.response_bytes", json!(MAX_BATCH_BYTES), "limits.response_bytes"),
            ("limits.pending_bytes", json!(1_000), "limits.pending_bytes"),
            ("limits.in_flight_bytes", json!(1_000), "limits.in_flight_bytes"),
        ];
        for (field, value, named) in cases {
            let error = with(field, value.clone()).unwrap_err();
            assert_eq!(error.field, named, "{field} = {value}: {error}");
            assert!(!error.rule.is_empty() && !error.fix.is_empty(), "{error:?}");
            assert!(!error.to_string().contains("12345678901"), "a salt must not reach the log: {error}");
        }
    }

    #[test]
    fn the_default_length_of_a_batch_depends_on_the_module() {
        let of = |limits: Value, module| {
            let document = json!({ "salt": SALT, "labels": LABELS, "limits": limits }).to_string();
            Config::parse(document.as_bytes(), module).map(|config| config.limits.batch_bytes)
        };
        for module in [Module::Wasm, Module::Native] {
            assert_eq!(of(json!({}), module), Ok(module.batch_bytes()));
            assert_eq!(of(json!({ "batch_bytes": 5_000 }), module), Ok(5_000));
        }
        // The limit of batches in flight must hold a batch, whichever way its length was set.
        let between = Module::Wasm.batch_bytes();
        assert!(between < Module::Native.batch_bytes());
        let few = json!({ "in_flight_bytes": between });
        assert_eq!(of(few.clone(), Module::Wasm), Ok(between));
        let refused = of(few, Module::Native).unwrap_err();
        assert!(refused.field == "limits.in_flight_bytes" && refused.fix.contains("limits.batch_bytes"), "{refused}");
    }

    #[test]
    fn a_text_that_is_not_one_json_object_is_refused() {
        for text in ["", "{", "[]", "null", r#"{"salt":"0123456789abcdef","labels":[]} x"#] {
            assert!(Config::parse(text.as_bytes(), Module::Wasm).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
            let _ = Config::parse(&bytes, Module::Wasm);
            let _ = with("salt", json!(text));
            let _ = with("identity", json!([{ "header": text }, { "cookie": text }, { "body": text }]));
        }
    }
}
