//! A secret that is made once for a deployment and kept in a file for its owner only: the salt, the alert hook's token.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use crate::error::Error;

/// Reads the secret in `file`, and makes one if there is none.
///
/// # Errors
/// When the file cannot be made or read, or others can read it.
pub fn read_or_create(file: &Path) -> Result<String, Error> {
    let doing = |what: &str| format!("{what} the secret {}", file.display());
    if !file.exists() {
        let made = clients::random_hex().map_err(Error::io("drawing a secret"))?;
        let opened = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        match opened {
            Ok(mut out) => out.write_all(made.as_bytes()).map_err(Error::io(doing("writing")))?,
            // Another start was quicker: its secret is the one.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Error::io(doing("creating"))(error)),
        }
    }
    let mode = fs::metadata(file).map_err(Error::io(doing("reading")))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Error::Setting(format!("others can read a secret: `chmod 600 {}`", file.display())));
    }
    Ok(fs::read_to_string(file)
        .map_err(Error::io(doing("reading")))?
        .trim_matches(|letter: char| letter.is_ascii_whitespace())
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("salt");
        let first = read_or_create(&file).unwrap();
        assert_eq!(first.len(), 32);
        assert_eq!(read_or_create(&file).unwrap(), first);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_or_create(&file).unwrap_err().to_string().contains("chmod 600"));
    }
}
