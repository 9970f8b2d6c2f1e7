//! The filter's configuration as this deployment gives it: the salt, and whatever a caller overrides. Everything else is
//! left to the filter's own defaults, so that they stand in one place.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use contract::bucket::MIN_SALT_BYTES;
use serde_json::{Map, Value, json};

use crate::error::Error;

/// The configuration's document without `role`, which each plugin adds.
#[must_use]
pub fn document(salt: &str, overrides: &Value) -> Value {
    let mut document = json!({ "salt": salt });
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
/// that keep secrets elsewhere.
///
/// # Errors
/// When the file cannot be made or read, can be read by others, or holds too short a salt.
pub fn salt(file: &Path) -> Result<String, Error> {
    let salt = match std::env::var("PERCH_SALT") {
        Ok(salt) if !salt.is_empty() => salt,
        _ => kept(file)?,
    };
    if salt.len() < MIN_SALT_BYTES {
        return Err(Error::Setting(format!(
            "the salt ({} or PERCH_SALT) has {} bytes, at least {MIN_SALT_BYTES} are needed: delete the file to get a new \
             one, which deals all users anew",
            file.display(),
            salt.len()
        )));
    }
    Ok(salt)
}

fn kept(file: &Path) -> Result<String, Error> {
    let doing = |what: &str| format!("{what} the salt {}", file.display());
    if !file.exists() {
        let made = random_hex()?;
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        match opened {
            Ok(mut out) => out.write_all(made.as_bytes()).map_err(Error::io(doing("writing")))?,
            // Another start was quicker: its salt is the one.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(doing("creating"))(error)),
        }
    }
    let mode = fs::metadata(file).map_err(Error::io(doing("reading")))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::Setting(format!("others can read the salt: `chmod 600 {}`", file.display())));
    }
    Ok(fs::read_to_string(file).map_err(Error::io(doing("reading")))?.trim().to_owned())
}

/// 32 hex digits from the kernel.
fn random_hex() -> Result<String, Error> {
    use std::fmt::Write as _;
    use std::io::Read as _;

    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(Error::io("reading /dev/urandom"))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_merges_removes_and_replaces() {
        let patch = json!({"limits": {"body_bytes": 10}, "identity": [{"cookie": "sid"}], "salt": null});
        let document = document("0123456789abcdef", &patch);
        assert_eq!(document, json!({"limits": {"body_bytes": 10}, "identity": [{"cookie": "sid"}]}));
    }

    #[test]
    fn the_salt_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("salt");
        let first = kept(&file).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(kept(&file).unwrap(), first);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(kept(&file).unwrap_err().to_string().contains("chmod 600"));
    }
}
