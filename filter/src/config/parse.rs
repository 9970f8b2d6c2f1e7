//! The configuration as it is used.

use contract::answer::AnswerSchema;
use contract::bucket::Salt;

use super::{members, raw, rules};
use crate::decision::cohort::Cohorts;
use crate::decision::identity::Source;
use crate::decision::intercept::Intercept;

/// Which module of the filter reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// The WebAssembly one, whose worker sends a batch in one go.
    Wasm,
    /// The native one, which sends it in pieces.
    Native,
}

impl Module {
    /// A batch's length in bytes where the configuration says nothing. To begin and to end one costs as much as some
    /// requests; a longer one keeps the clients of a worker waiting that sends it in one go.
    #[must_use]
    pub const fn batch_bytes(self) -> usize {
        match self {
            Self::Wasm => 256 * 1024,
            Self::Native => 1024 * 1024,
        }
    }
}

/// Where the scorer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scorer {
    /// Envoy's cluster of live responses.
    pub live_cluster: String,
    /// Envoy's cluster of observations.
    pub observe_cluster: String,
    /// Envoy's cluster of its own admin interface.
    pub admin_cluster: String,
    /// `:authority` of calls.
    pub authority: String,
    /// 1..=60,000 ms.
    pub deadline_ms: u32,
    /// 1..=60,000 ms.
    pub observe_timeout_ms: u32,
}

/// Bounds. Bytes are per worker where they are not per request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Per request: body that is copied to find an identity in it.
    pub identity_body_bytes: usize,
    /// Per request: body that is copied to ask the candidate with.
    pub body_bytes: usize,
    /// Per request: response of the application that is copied.
    pub response_bytes: usize,
    /// Per request: response of the application that waits for the candidate's.
    pub held_bytes: usize,
    /// Per request: response of the candidate.
    pub candidate_bytes: usize,
    /// A batch closes before it becomes larger.
    pub batch_bytes: usize,
    /// Copies of responses, and waiting records.
    pub pending_bytes: usize,
    /// Copies of requests that come, and as much again for responses that wait.
    pub canary_bytes: usize,
    /// Batches under way.
    pub in_flight_bytes: usize,
    /// 1..=10,000 ms.
    pub flush_ms: u32,
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Config {
    /// The deployment's secret; its `Debug` hides it.
    pub salt: Salt,
    /// At least one; those in the body stand last.
    pub identity: Vec<Source>,
    /// Who is in a cohort.
    pub cohorts: Cohorts,
    /// Which requests.
    pub intercept: Intercept,
    /// Media types of responses that may be replaced, in lower case.
    pub response_types: Vec<String>,
    /// The candidate's items may be others than the application's.
    pub any_items: bool,
    /// The application is told in a request header that its response may be replaced.
    pub tell_application: bool,
    /// How responses are read.
    pub answer: AnswerSchema,
    /// The same as JSON, to go with every batch.
    pub answer_json: String,
    /// At most [`MAX_LABELS`], each once.
    pub labels: Vec<String>,
    /// Where the scorer is.
    pub scorer: Scorer,
    /// Bounds.
    pub limits: Limits,
}

/// Most labels: each is three counters in every worker's table and in every scrape.
pub const MAX_LABELS: usize = 256;

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}; {mend}")]
pub struct ConfigError {
    /// The field at fault, e.g. `limits.flush_ms`.
    pub field: String,
    /// What it must be.
    pub rule: String,
    /// What to do.
    pub mend: String,
}

pub(super) fn fault<T>(
    field: impl Into<String>,
    rule: impl Into<String>,
    mend: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError { field: field.into(), rule: rule.into(), mend: mend.into() })
}

impl Config {
    /// Who a user is, or in which cohort, may stand in what another filter of Envoy's left as metadata.
    #[must_use]
    pub fn reads_metadata(&self) -> bool {
        self.identity.iter().any(|source| matches!(source, Source::Jwt(_)))
            || [&self.cohorts.beta, &self.cohorts.opt_out].iter().any(|members| !members.claims.is_empty())
    }

    /// Reads and checks a filter configuration, as `module` does.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn parse(json: &[u8], module: Module) -> Result<Self, ConfigError> {
        let mut deserializer = serde_json::Deserializer::from_slice(json);
        let document: raw::Document = match serde_path_to_error::deserialize(&mut deserializer) {
            Ok(document) => document,
            Err(error) => return Err(unreadable(&error)),
        };
        if deserializer.end().is_err() {
            return fault("configuration", "is one JSON object", "remove what follows its closing brace");
        }
        Self::check(document, module)
    }

    fn check(raw: raw::Document, module: Module) -> Result<Self, ConfigError> {
        let salt = match Salt::new(raw.salt.as_bytes()) {
            Ok(salt) => salt,
            Err(error) => {
                return fault(
                    "salt",
                    format!("must have at least {} bytes and has {}", contract::bucket::MIN_SALT_BYTES, error.0),
                    "take e.g. the output of `openssl rand -hex 16`, the same for all gateways",
                );
            }
        };
        let identity = rules::identity(raw.identity)?;
        let cohorts = members::cohorts(raw.cohorts)?;
        let intercept = rules::intercept(raw.intercept)?;
        if let Err(error) = raw.answer.check() {
            return fault(
                format!("answer.{}", error.field),
                format!("is {:?}, which is not a JSON pointer", error.value),
                format!("begin it with '/', e.g. {:?}", error.example),
            );
        }
        let answer_json = serde_json::to_string(&raw.answer).unwrap_or_default();
        if answer_json.is_empty() || answer_json.len() > usize::from(u16::MAX) {
            return fault("answer", "must fit into 65,535 bytes of JSON", "shorten the list of abstaining labels");
        }
        let response_types = rules::response_types(raw.response_types)?;
        let labels = rules::labels(raw.labels)?;
        let scorer = rules::scorer(raw.scorer)?;
        let limits = rules::limits(&raw.limits, module, raw.identity_body_bytes, &answer_json)?;
        Ok(Self {
            salt,
            identity,
            cohorts,
            intercept,
            response_types,
            any_items: raw.items == raw::Items::Any,
            tell_application: raw.tell_application,
            answer: raw.answer,
            answer_json,
            labels,
            scorer,
            limits,
        })
    }
}

/// The path of the field comes from where reading stopped. A wrong salt is not repeated: the message goes to a log.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> ConfigError {
    let path = error.path().to_string();
    let field = if path == "." { "configuration".to_owned() } else { path };
    let rule = if field.starts_with("salt") { "must be a text".to_owned() } else { error.inner().to_string() };
    ConfigError { field, rule, mend: "correct it in the filter's configuration".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::identity::Pointer;
    use contract::frame::MAX_BATCH_BYTES;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    const SALT: &str = "0123456789abcdef";

    fn with(field: &str, value: Value) -> Result<Config, ConfigError> {
        let mut document = json!({ "salt": SALT });
        let mut at = &mut document;
        for step in field.split('.') {
            at = &mut at[step];
        }
        *at = value;
        Config::parse(document.to_string().as_bytes(), Module::Wasm)
    }

    #[test]
    fn a_salt_is_enough() {
        let config = Config::parse(json!({ "salt": SALT }).to_string().as_bytes(), Module::Wasm).unwrap();
        assert!(!config.any_items && !config.tell_application);
        assert_eq!(config.response_types, ["application/json"]);
        assert_eq!(config.identity, [Source::Header("x-user-id".into())]);
        assert_eq!((config.intercept.method.as_str(), config.intercept.path.as_str()), ("POST", "/ml/suggestions"));
        assert_eq!(config.labels.len(), contract::names::SPENDING_LABELS.len());
        assert!(!format!("{config:?}").contains(SALT));
    }

    #[test]
    fn sources_keep_their_order_and_headers_are_lower_case() {
        let sources = json!([{"header": "X-User-Id"}, {"jwt": {"payload": "p", "claim": "sub"}}, {"body": "/id"}]);
        let config = with("identity", sources).unwrap();
        let jwt = b"metadata\0filter_metadata\0envoy.filters.http.jwt_authn\0p\0sub".to_vec();
        let body = Source::Body(Pointer::parse("/id").unwrap());
        assert_eq!(config.identity, [Source::Header("x-user-id".into()), Source::Jwt(jwt), body]);
    }

    // Each case: the field that is broken, with what, and the field that the message must name.
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
            ("answer.items", json!("items"), "answer.items"),
            ("answer.abstain", json!(vec!["x".repeat(100); 700]), "answer"),
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
            assert!(!error.rule.is_empty() && !error.mend.is_empty(), "{error:?}");
            assert!(!error.to_string().contains("12345678901"), "a salt must not reach the log: {error}");
        }
    }

    #[test]
    fn batches_are_as_long_as_the_module_likes_unless_their_length_is_given() {
        let of = |limits: Value, module| {
            let document = json!({ "salt": SALT, "limits": limits }).to_string();
            Config::parse(document.as_bytes(), module).map(|config| config.limits.batch_bytes)
        };
        for module in [Module::Wasm, Module::Native] {
            assert_eq!(of(json!({}), module), Ok(module.batch_bytes()));
            assert_eq!(of(json!({ "batch_bytes": 5_000 }), module), Ok(5_000));
        }
        // What is under way must hold a batch, however long it came to be.
        let between = Module::Wasm.batch_bytes();
        assert!(between < Module::Native.batch_bytes());
        let few = json!({ "in_flight_bytes": between });
        assert_eq!(of(few.clone(), Module::Wasm), Ok(between));
        let refused = of(few, Module::Native).unwrap_err();
        assert!(refused.field == "limits.in_flight_bytes" && refused.mend.contains("limits.batch_bytes"), "{refused}");
    }

    #[test]
    fn what_is_not_json_or_more_than_one_is_refused() {
        for text in ["", "{", "[]", "null", r#"{"salt":"0123456789abcdef"} x"#] {
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
