//! The filter's configuration as this deployment gives it: the salt, the application's labels, and what a caller
//! overrides. The filter's own defaults apply to everything else, so that they stand in one place.

use std::path::Path;
use std::sync::LazyLock;

use contract::bucket::MIN_SALT_BYTES;
use serde_json::{Map, Value, json};

use crate::error::Error;
use crate::secret;

/// The labels of the demo application.
pub static LABELS: LazyLock<Vec<String>> =
    // A test reads the file, so it is a list of texts.
    LazyLock::new(|| {
        serde_json::from_str(include_str!("../../examples/suggestions/labels.json")).unwrap_or_default()
    });

/// The configuration's document.
#[must_use]
pub fn document(salt: &str, overrides: &Value) -> Value {
    let mut document = json!({ "salt": salt, "labels": *LABELS });
    merge(&mut document, overrides);
    document
}

/// A JSON merge patch (RFC 7396): objects are merged, `null` removes, anything else replaces.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    if let Value::Object(target) = target {
        for (key, value) in patch {
            if value.is_null() {
                target.remove(key);
            } else {
                merge(target.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }
}

/// The deployment's salt, made once and kept in `file` for its owner only. `PERCH_SALT` overrides it, for deployments
/// that keep secrets elsewhere. Blanks and line ends around it are ignored, so that a secret made with `echo` is the same
/// salt.
///
/// # Errors
/// When the file cannot be made or read, can be read by others, or holds too short a salt.
pub fn salt(file: &Path) -> Result<String, Error> {
    let variable = std::env::var("PERCH_SALT").ok();
    let salt = match from_variable(variable.as_deref()) {
        Some(salt) => salt.to_owned(),
        None => secret::read_or_create(file)?,
    };
    if salt.len() < MIN_SALT_BYTES {
        return Err(Error::Setting(format!(
            "the salt ({} or PERCH_SALT) has {} bytes, at least {MIN_SALT_BYTES} are needed: delete the file to get \
             a new \
             one, which re-buckets all users",
            file.display(),
            salt.len()
        )));
    }
    Ok(salt)
}

/// The salt in the variable, if there is one.
fn from_variable(variable: Option<&str>) -> Option<&str> {
    variable.map(|salt| salt.trim_matches(|letter: char| letter.is_ascii_whitespace())).filter(|salt| !salt.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_12_a_lines_end_is_no_part_of_the_salt() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("salt");
        std::fs::write(&file, "a-salt-of-sixteen-bytes\n").unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(
            from_variable(Some("a-salt-of-sixteen-bytes\n")),
            Some(secret::read_or_create(&file).unwrap().as_str())
        );
        assert_eq!((from_variable(Some(" \n")), from_variable(None)), (None, None));
    }

    #[test]
    fn a_patch_merges_removes_and_replaces() {
        let patch = json!({"limits": {"body_bytes": 10}, "identity": [{"cookie": "sid"}], "salt": null});
        let document = document("0123456789abcdef", &patch);
        let labels = &*LABELS;
        assert_eq!(document, json!({"labels": labels, "limits": {"body_bytes": 10}, "identity": [{"cookie": "sid"}]}));
        assert!(labels.iter().any(|label| label == "transportation.fuel"), "{labels:?}");
    }
}
