//! The registry on disk: version folders and alias files.
//!
//! An alias (`champion`, `challenger`, `previous`) is a file of one line, the version's name, replaced by rename, so
//! that a reader sees the old or the new and nothing between. A program that changes aliases holds the folder's lock
//! ([`super::lock`]); readers need none.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::lock::Lock;
use super::manifest::MANIFEST;
use super::refusal::Refusal;

/// The newest versions, kept whether an alias names them or not.
pub const KEPT: usize = 3;
/// Bytes of an alias: a version's name and a line's end.
const MOST_ALIAS: u64 = 1_024;
/// File that names the champion which a rollback led to, so that a repeated rollback finds its work done.
const ROLLED_BACK_TO: &str = "rolled_back_to";

/// A name that points at a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alias {
    /// Answers clients, and is what observations are compared with.
    Champion,
    /// Judged on the same observations; answers nobody.
    Challenger,
    /// The champion before this one: where going back goes.
    Previous,
}

impl Alias {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Champion, Self::Challenger, Self::Previous];

    /// The file's name, and the label value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Champion => "champion",
            Self::Challenger => "challenger",
            Self::Previous => "previous",
        }
    }
}

/// The registry's folder.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The registry at `root`, which need not be there yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of `version`.
    ///
    /// # Errors
    /// [`Refusal::Name`] for an invalid version name, so that no alias leads out of the registry.
    pub fn version(&self, version: &str) -> Result<PathBuf, Refusal> {
        let good = !version.is_empty()
            && version.len() <= 128
            && !version.starts_with('.')
            && version.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && version != ROLLED_BACK_TO
            && Alias::ALL.iter().all(|alias| alias.as_str() != version);
        if good { Ok(self.root.join(version)) } else { Err(Refusal::Name(version.to_owned())) }
    }

    /// The version that `alias` names; `None` when it names none.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn alias(&self, alias: Alias) -> io::Result<Option<String>> {
        self.read(alias.as_str())
    }

    /// Lets `alias` name `version`, or nothing.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn set_alias(&self, lock: &Lock, alias: Alias, version: Option<&str>) -> io::Result<()> {
        self.write(lock, alias.as_str(), version)
    }

    /// The version that the last rollback made the champion; `None` when a deployment followed it, or there was none.
    ///
    /// # Errors
    /// When the file is there but cannot be read.
    pub fn rolled_back_to(&self) -> io::Result<Option<String>> {
        self.read(ROLLED_BACK_TO)
    }

    /// Notes the version that a rollback made the champion; `None` after a deployment.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn set_rolled_back_to(&self, lock: &Lock, version: Option<&str>) -> io::Result<()> {
        self.write(lock, ROLLED_BACK_TO, version)
    }

    fn read(&self, name: &str) -> io::Result<Option<String>> {
        let file = match File::open(self.root.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        if file.take(MOST_ALIAS + 1).read_to_string(&mut text)? as u64 > MOST_ALIAS {
            let message = format!("{name} has more than {MOST_ALIAS} bytes, it should name one version");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(Some(text.trim().to_owned()).filter(|version| !version.is_empty()))
    }

    fn write(&self, _held: &Lock, name: &str, version: Option<&str>) -> io::Result<()> {
        let path = self.root.join(name);
        match version {
            Some(version) => {
                let draft = self.root.join(format!(".{name}.new"));
                let mut file = File::create(&draft)?;
                writeln!(file, "{version}")?;
                file.sync_all()?;
                fs::rename(draft, path)
            }
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// Every version that has a manifest, the newest first (by when the manifest was written, then by name).
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn versions(&self) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            if self.version(&name).is_err() {
                continue;
            }
            if let Ok(written) = fs::metadata(entry.path().join(MANIFEST)).and_then(|file| file.modified()) {
                found.push((written, name));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found.into_iter().map(|(_, name)| name).collect())
    }

    /// Removes versions beyond the newest [`KEPT`] that no alias names. What was removed.
    ///
    /// # Errors
    /// When the folder cannot be read or written.
    pub fn prune(&self, _held: &Lock) -> io::Result<Vec<String>> {
        let mut named = Vec::new();
        for alias in Alias::ALL {
            named.extend(self.alias(alias)?);
        }
        let versions = self.versions()?;
        let old = versions.into_iter().skip(KEPT).filter(|version| !named.contains(version));
        let mut removed = Vec::new();
        for version in old {
            fs::remove_dir_all(self.root.join(&version))?;
            removed.push(version);
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::Caller;

    fn with_versions(names: &[&str]) -> (tempfile::TempDir, Folder) {
        let root = tempfile::tempdir().unwrap();
        for (age, name) in names.iter().enumerate() {
            fs::create_dir(root.path().join(name)).unwrap();
            let manifest = File::create(root.path().join(name).join(MANIFEST)).unwrap();
            let written = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000 - age as u64);
            manifest.set_modified(written).unwrap();
        }
        let folder = Folder::new(root.path());
        (root, folder)
    }

    #[test]
    fn an_alias_comes_back_and_goes() {
        let (_root, folder) = with_versions(&["v1"]);
        assert_eq!(folder.alias(Alias::Champion).unwrap(), None);
        let lock = Lock::take(folder.root(), &Caller::without_client()).unwrap();
        folder.set_alias(&lock, Alias::Champion, Some("v1")).unwrap();
        assert_eq!(folder.alias(Alias::Champion).unwrap().as_deref(), Some("v1"));
        folder.set_alias(&lock, Alias::Champion, None).unwrap();
        folder.set_alias(&lock, Alias::Champion, None).unwrap();
        assert_eq!(folder.alias(Alias::Champion).unwrap(), None);
    }

    #[test]
    fn the_last_three_and_what_an_alias_names_are_kept() {
        let (_root, folder) = with_versions(&["v6", "v5", "v4", "v3", "v2", "v1"]);
        let lock = Lock::take(folder.root(), &Caller::without_client()).unwrap();
        folder.set_alias(&lock, Alias::Previous, Some("v2")).unwrap();
        assert_eq!(folder.prune(&lock).unwrap(), ["v3", "v1"]);
        assert_eq!(folder.versions().unwrap(), ["v6", "v5", "v4", "v2"]);
    }

    #[test]
    fn no_alias_leads_out_of_the_registry() {
        let folder = Folder::new("models/registry");
        for bad in ["", "..", "../x", "/etc", "a/b", ".hidden", "champion", "rolled_back_to", "a b"] {
            assert!(matches!(folder.version(bad), Err(Refusal::Name(name)) if name == bad), "{bad:?}");
        }
        assert!(folder.version("20261124T2201-a1b2").is_ok());
    }

    #[test]
    fn a_registry_that_is_not_there_has_no_versions() {
        let folder = Folder::new("does/not/exist");
        assert_eq!(folder.versions().unwrap(), Vec::<String>::new());
        assert_eq!(folder.alias(Alias::Champion).unwrap(), None);
    }
}
