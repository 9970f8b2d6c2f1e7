//! The rule of each field, and the fix for a value that breaks it.

use contract::frame::{self, MAX_BATCH_BYTES, RECORD_OVERHEAD};
use contract::headers;
use contract::json_select::Pointer;
use contract::names::OTHER_LABEL;

use super::effective::{Limits, MAX_LABELS, Scorer};
use super::error::{ConfigError, fault};
use super::module::Module;
use super::raw;
use super::tokens::{claim_property, is_token};
use crate::decision::identity::Source;
use crate::decision::intercept::Intercept;

const MAX_SOURCES: usize = 16;
const MAX_TYPES: usize = 16;
const MIB: usize = 1024 * 1024;

pub(super) fn identity(raw: Vec<raw::Source>) -> Result<Vec<Source>, ConfigError> {
    if raw.is_empty() || raw.len() > MAX_SOURCES {
        return fault(
            "identity",
            format!("must name 1 to {MAX_SOURCES} sources and names {}", raw.len()),
            r#"name the place in which your authentication leaves the identity, e.g. [{"header": "x-user-id"}]"#,
        );
    }
    let mut sources = Vec::with_capacity(raw.len());
    for (at, source) in raw.into_iter().enumerate() {
        let field = |name: &str| format!("identity[{at}].{name}");
        let body_before = matches!(sources.last(), Some(Source::Body(_)));
        let source = match source {
            raw::Source::Header(name) if name.to_ascii_lowercase().starts_with(headers::PREFIX) => {
                return fault(
                    field("header"),
                    format!("is {name:?}, but {}* is removed from what clients send", headers::PREFIX),
                    "give the name of the header that your authentication sets",
                );
            }
            raw::Source::Header(name) if is_token(&name) => Source::Header(name.to_ascii_lowercase()),
            raw::Source::Header(name) => {
                return fault(
                    field("header"),
                    format!("is {name:?}, which is not a header name"),
                    "e.g. \"x-user-id\"",
                );
            }
            raw::Source::Cookie(name) if is_token(&name) => Source::Cookie(name),
            raw::Source::Cookie(name) => {
                return fault(field("cookie"), format!("is {name:?}, which is not a cookie name"), "e.g. \"sid\"");
            }
            raw::Source::Jwt { payload, claim } => {
                let Some(property) = claim_property(&payload, &claim) else {
                    return fault(
                        field("jwt"),
                        "must name payload and claim",
                        r#"e.g. {"payload": "jwt_payload", "claim": "sub"}, payload as in jwt_authn's payload_in_metadata"#,
                    );
                };
                Source::Jwt(property)
            }
            raw::Source::Body(text) => match Pointer::parse(&text).filter(|pointer| !pointer.is_root()) {
                Some(pointer) => Source::Body(pointer.into_owned()),
                None => {
                    let rule = format!("is {text:?}, which is not a JSON pointer into a document");
                    return fault(field("body"), rule, "begin it with '/' and write '~' as ~0, e.g. \"/user_id\"");
                }
            },
        };
        if body_before && !matches!(source, Source::Body(_)) {
            return fault(
                format!("identity[{at}]"),
                "must not follow a source in the body, which is complete last",
                "move the sources in the body to the end",
            );
        }
        sources.push(source);
    }
    Ok(sources)
}

pub(super) fn intercept(raw: raw::Intercept) -> Result<Intercept, ConfigError> {
    if !is_token(&raw.method) || raw.method.bytes().any(|byte| byte.is_ascii_lowercase()) {
        return fault("intercept.method", format!("is {:?}, which is not a method", raw.method), "e.g. \"POST\"");
    }
    if ["HEAD", "OPTIONS", "CONNECT", "TRACE"].contains(&raw.method.as_str()) {
        return fault(
            "intercept.method",
            format!("is {:?}, whose responses have nothing to compare", raw.method),
            "give the method of requests with comparable responses, e.g. \"POST\"",
        );
    }
    let plain = raw.path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'?' && byte != b'#');
    let spelled = raw.path.contains('%') || raw.path.contains("//");
    if !raw.path.starts_with('/') || !plain || spelled || raw.path.len() > 1_024 {
        return fault(
            "intercept.path",
            format!("is {:?}, which is not a path without query, escapes and repeated slashes", raw.path),
            "begin it with '/' and write it plainly, e.g. \"/ml/suggestions\": other spellings are intercepted too",
        );
    }
    Ok(Intercept { method: raw.method, path: raw.path })
}

pub(super) fn response_types(raw: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if raw.is_empty() || raw.len() > MAX_TYPES {
        let rule = format!("must name 1 to {MAX_TYPES} media types and names {}", raw.len());
        return fault("response_types", rule, "e.g. [\"application/json\"]");
    }
    let media = |name: &str| name.split_once('/').is_some_and(|(kind, subtype)| is_token(kind) && is_token(subtype));
    for (at, name) in raw.iter().enumerate() {
        if !media(name) {
            return fault(
                format!("response_types[{at}]"),
                format!("is {name:?}, which is not a media type without parameters"),
                "e.g. \"application/json\"",
            );
        }
    }
    Ok(raw.into_iter().map(|name| name.to_ascii_lowercase()).collect())
}

pub(super) fn labels(raw: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if raw.len() > MAX_LABELS {
        let rule = format!("may name at most {MAX_LABELS} labels and names {}", raw.len());
        return fault("labels", rule, "name the frequent ones; any other label is counted as \"other\"");
    }
    for (at, label) in raw.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if label.is_empty() || label.len() > 64 || !label.bytes().all(plain) {
            return fault(
                format!("labels[{at}]"),
                format!("is {label:?}; a label in a metric has 1 to 64 letters, digits, '_', '-' or '.'"),
                "leave it out: it is then counted as \"other\"",
            );
        }
        if label == OTHER_LABEL {
            let rule = format!("is {label:?}, which stands for all labels that are not in the list");
            return fault(format!("labels[{at}]"), rule, "remove it");
        }
        if raw.iter().take(at).any(|earlier| earlier == label) {
            return fault(format!("labels[{at}]"), format!("is {label:?}, which is in the list already"), "remove it");
        }
    }
    Ok(raw)
}

pub(super) fn scorer(raw: raw::Scorer) -> Result<Scorer, ConfigError> {
    let clusters = [
        ("live_cluster", &raw.live_cluster),
        ("observe_cluster", &raw.observe_cluster),
        ("admin_cluster", &raw.admin_cluster),
    ];
    for (field, name) in clusters {
        if name.is_empty() {
            return fault(format!("scorer.{field}"), "is empty", "name one of Envoy's clusters");
        }
    }
    if raw.authority.is_empty() || !raw.authority.bytes().all(|byte| byte.is_ascii_graphic()) {
        let rule = format!("is {:?}, which is not a host name", raw.authority);
        return fault("scorer.authority", rule, "e.g. \"shadow-scorer\"");
    }
    for (field, ms) in [("deadline_ms", raw.deadline_ms), ("observe_timeout_ms", raw.observe_timeout_ms)] {
        within(&format!("scorer.{field}"), u64::from(ms), 1, 60_000)?;
    }
    Ok(Scorer {
        live_cluster: raw.live_cluster,
        observe_cluster: raw.observe_cluster,
        admin_cluster: raw.admin_cluster,
        authority: raw.authority,
        deadline_ms: raw.deadline_ms,
        observe_timeout_ms: raw.observe_timeout_ms,
    })
}

fn within(field: &str, value: u64, low: u64, high: u64) -> Result<(), ConfigError> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    fault(field, format!("must be {low} to {high} and is {value}"), "choose a value in that range")
}

pub(super) fn limits(
    raw: &raw::Limits,
    module: Module,
    identity_body_bytes: usize,
    response_json: &str,
) -> Result<Limits, ConfigError> {
    let batch_bytes = raw.batch_bytes.unwrap_or(module.batch_bytes());
    let bytes = [
        ("identity_body_bytes", identity_body_bytes, MIB),
        ("limits.body_bytes", raw.body_bytes, MAX_BATCH_BYTES),
        ("limits.response_bytes", raw.response_bytes, MAX_BATCH_BYTES),
        ("limits.held_bytes", raw.held_bytes, MAX_BATCH_BYTES),
        ("limits.candidate_bytes", raw.candidate_bytes, MAX_BATCH_BYTES),
        ("limits.batch_bytes", batch_bytes, MAX_BATCH_BYTES),
        ("limits.pending_bytes", raw.pending_bytes, 256 * MIB),
        ("limits.canary_bytes", raw.canary_bytes, 256 * MIB),
        ("limits.in_flight_bytes", raw.in_flight_bytes, 256 * MIB),
    ];
    for (field, value, most) in bytes {
        within(field, value as u64, 1, most as u64)?;
    }
    within("limits.flush_ms", u64::from(raw.flush_ms), 1, 10_000)?;
    let mut head = Vec::new();
    frame::start(&mut head, response_json);
    let record = raw.response_bytes + raw.candidate_bytes + RECORD_OVERHEAD;
    if head.len() + record > MAX_BATCH_BYTES {
        return fault(
            "limits.response_bytes",
            format!(
                "and limits.candidate_bytes make a record of {record} bytes, more than a batch of {MAX_BATCH_BYTES} holds"
            ),
            "make one of them smaller",
        );
    }
    if raw.pending_bytes < record {
        let rule = format!("must hold at least one record of {record} bytes");
        return fault(
            "limits.pending_bytes",
            rule,
            "make it larger, or limits.response_bytes and limits.candidate_bytes smaller",
        );
    }
    let canary = raw.body_bytes.max(identity_body_bytes).max(raw.held_bytes.saturating_add(raw.candidate_bytes));
    if raw.canary_bytes < canary {
        let rule = format!("must hold the request and the responses of one user, {canary} bytes");
        return fault(
            "limits.canary_bytes",
            rule,
            "make it larger, or limits.body_bytes, limits.held_bytes and limits.candidate_bytes smaller",
        );
    }
    if raw.in_flight_bytes < batch_bytes {
        let rule = format!("must hold at least one batch of {batch_bytes} bytes");
        return fault("limits.in_flight_bytes", rule, "make it larger, or limits.batch_bytes smaller");
    }
    Ok(Limits {
        identity_body_bytes,
        body_bytes: raw.body_bytes,
        response_bytes: raw.response_bytes,
        held_bytes: raw.held_bytes,
        candidate_bytes: raw.candidate_bytes,
        batch_bytes,
        pending_bytes: raw.pending_bytes,
        canary_bytes: raw.canary_bytes,
        in_flight_bytes: raw.in_flight_bytes,
        flush_ms: raw.flush_ms,
    })
}
