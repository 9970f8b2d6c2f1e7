//! The filter's configuration in a gateway, found in the `/config_dump` of Envoy's admin interface.
//!
//! It is one JSON document in the form that Envoy was given: the text of a `StringValue`, a `BytesValue` or a `Struct`,
//! in the configuration of a WebAssembly plugin or of a dynamic module's filter, once or (in releases whose WebAssembly
//! module had two filters) twice. It is recognised by its content, wherever it is: an object with a `salt`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use contract::bucket::{Salt, SaltTooShort};
use serde_json::{Map, Value};

/// States of listeners that do not serve.
const NOT_SERVING: [&str; 3] = ["draining_state", "error_state", "warming_state"];
/// The field by which a document is recognised.
const SALT: &str = "salt";
/// Beginnings of a JSON object in base64: `{"`, `{ `, and a brace with a line's end.
const PACKED: [&str; 4] = ["eyJ", "eyA", "ewo", "ew0"];

/// The filter's configuration; `None` if no filter of Perch is configured. Of two, that of the filter which finds the
/// user.
#[must_use]
pub fn of_config_dump(dump: &Value) -> Option<Map<String, Value>> {
    let mut found = documents(dump);
    let finds_the_user = |document: &Map<String, Value>| document.get("role").is_none_or(|role| role == "observe");
    let at = found.iter().position(finds_the_user).unwrap_or_default();
    (at < found.len()).then(|| found.swap_remove(at))
}

/// The salt of a gateway's pseudonyms; `None` if no filter of Perch is configured.
///
/// # Errors
/// When it is shorter than the filter accepts.
pub fn salt(dump: &Value) -> Option<Result<Salt, SaltTooShort>> {
    let document = of_config_dump(dump)?;
    document.get(SALT).and_then(Value::as_str).map(|salt| Salt::new(salt.as_bytes()))
}

/// Every configuration of a filter of Perch, in the dump's order.
#[must_use]
pub fn documents(dump: &Value) -> Vec<Map<String, Value>> {
    let mut found = Vec::new();
    search(dump, &mut found);
    found
}

fn search(at: &Value, found: &mut Vec<Map<String, Value>>) {
    match at {
        Value::Object(fields) if fields.get(SALT).is_some_and(Value::is_string) => found.push(fields.clone()),
        Value::Object(fields) => {
            let serving = fields.iter().filter(|(name, _)| !NOT_SERVING.contains(&name.as_str()));
            serving.for_each(|(_, value)| search(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| search(item, found)),
        Value::String(text) => found.extend(document(text)),
        _ => {}
    }
}

fn document(text: &str) -> Option<Map<String, Value>> {
    let unpacked = PACKED.iter().any(|beginning| text.starts_with(beginning)).then(|| STANDARD.decode(text).ok());
    let unpacked = unpacked.flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    let text = unpacked.as_deref().unwrap_or(text).trim_start();
    if !text.starts_with('{') || !text.contains(SALT) {
        return None;
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) if fields.get(SALT).is_some_and(Value::is_string) => Some(fields),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "0123456789abcdef";

    fn found(dump: &Value) -> Option<u64> {
        of_config_dump(dump)?.get("mark")?.as_u64()
    }

    #[test]
    fn case_13_it_is_found_wherever_envoy_was_given_it() {
        let plain = json!({"salt": SECRET, "mark": 7});
        let role = |role: &str, mark: u64| json!({"salt": SECRET, "role": role, "mark": mark}).to_string();
        let wasm = |text: &str| json!({"typed_config": {"config": {"configuration": {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text}}}});
        let native =
            |config: Value| json!({"name": "perch", "typed_config": {"filter_name": "perch", "filter_config": config}});
        let listener = |filters: Value| {
            json!({"configs": [{"bootstrap": {"note": "{ no salt"}}, {"dynamic_listeners": [
                {"active_state": {"listener": {"filter_chains": [{"filters": [{"typed_config": {"http_filters": filters}}]}]}}},
            ]}]})
        };
        for filters in [
            json!([wasm(&plain.to_string())]),
            // The two filters of earlier releases, in either order.
            json!([wasm(&role("observe", 7)), wasm(&role("model", 8))]),
            json!([wasm(&role("model", 8)), wasm(&role("observe", 7))]),
            json!([native(
                json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": plain.to_string()})
            )]),
            json!([native(json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": plain}))]),
            json!([native(
                json!({"@type": "type.googleapis.com/google.protobuf.BytesValue", "value": STANDARD.encode(plain.to_string())})
            )]),
            json!([native(plain.clone())]),
        ] {
            assert_eq!(found(&listener(filters.clone())), Some(7), "{filters}");
        }
        assert_eq!(found(&listener(json!([{"name": "router"}]))), None);
    }

    #[test]
    fn a_draining_listener_is_ignored() {
        let state = |mark: u64| json!({"listener": json!({"salt": SECRET, "mark": mark}).to_string()});
        let dump = json!({"dynamic_listeners": [{"draining_state": state(1), "active_state": state(2)}]});
        assert_eq!(found(&dump), Some(2));
    }
}
