//! Envoy's disk layer: a directory behind a symlink.
//!
//! Envoy reads the layer again when the link is moved, not when a file changes, so a change is a whole new directory and
//! one rename, which is also what a ConfigMap mount does. A reader sees the old directory or the new one.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Subdirectory of the layer that Envoy is told to read.
const SUBDIRECTORY: &str = "perch";
/// Names tried for the new directory before giving up: more mean that somebody else fills the folder.
const NAMES: u32 = 100_000;

/// A disk layer that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// There is no link.
    #[error("{} is not the link of a runtime's disk layer: name the one that Envoy's symlink_root names", .0.display())]
    NotALink(PathBuf),
    /// A file operation failed; the layer is as it was.
    #[error("could not write the runtime's disk layer {} (it is as it was)", .path.display())]
    Io {
        /// What was worked on.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Sets `key` to `value` in the layer behind `link`; its other keys stay.
///
/// # Errors
/// See [`DiskError`]; the layer is then unchanged.
pub fn set(link: &Path, key: &str, value: &str) -> Result<(), DiskError> {
    let fault = |path: &Path| {
        let path = path.to_path_buf();
        move |source| DiskError::Io { path, source }
    };
    let old = fs::read_link(link).map_err(|_| DiskError::NotALink(link.to_path_buf()))?;
    let parent = link.parent().ok_or_else(|| DiskError::NotALink(link.to_path_buf()))?;
    let old_layer = parent.join(&old).join(SUBDIRECTORY);

    let new = fresh(parent).map_err(fault(parent))?;
    let layer = parent.join(&new).join(SUBDIRECTORY);
    fs::create_dir(&layer).map_err(fault(&layer))?;
    if let Ok(entries) = fs::read_dir(&old_layer) {
        for entry in entries.flatten().filter(|entry| entry.file_name() != key) {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                fs::copy(entry.path(), layer.join(entry.file_name())).map_err(fault(&layer))?;
            }
        }
    }
    let file = layer.join(key);
    let mut out = File::create(&file).map_err(fault(&file))?;
    out.write_all(value.as_bytes()).and_then(|()| out.sync_all()).map_err(fault(&file))?;

    let moved = parent.join(format!("{new}.link"));
    symlink(&new, &moved).map_err(fault(&moved))?;
    fs::rename(&moved, link).map_err(fault(link))?;
    // The link's move must be on disk before the old directory goes; what is left over by a crash does no harm.
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(fault(parent))?;
    let _ = fs::remove_dir_all(parent.join(old));
    Ok(())
}

/// The value of `key` in the layer behind `link`; `None` where it has none.
#[must_use]
pub fn get(link: &Path, key: &str) -> Option<String> {
    fs::read_to_string(link.join(SUBDIRECTORY).join(key)).ok().map(|value| value.trim().to_owned())
}

/// Makes a directory with a name that is not taken.
fn fresh(parent: &Path) -> io::Result<String> {
    for number in 1..NAMES {
        let name = number.to_string();
        match fs::create_dir(parent.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "the folder is full of old layers"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("0/perch")).unwrap();
        let link = dir.path().join("current");
        symlink("0", &link).unwrap();
        (dir, link)
    }

    #[test]
    fn a_key_is_set_beside_the_others_and_old_directories_go() {
        let (dir, link) = layer();
        set(&link, "a.b", "1").unwrap();
        set(&link, "share", "10").unwrap();
        set(&link, "share", "50").unwrap();
        assert_eq!(get(&link, "share").as_deref(), Some("50"));
        assert_eq!(get(&link, "a.b").as_deref(), Some("1"));
        let directories = fs::read_dir(dir.path()).unwrap().flatten().filter(|e| e.file_type().unwrap().is_dir());
        assert_eq!(directories.count(), 1, "one layer, and nothing left over");
    }

    #[test]
    fn what_is_no_link_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let error = set(&dir.path().join("nothing"), "share", "1").unwrap_err();
        assert!(error.to_string().contains("nothing"), "{error}");
    }
}
