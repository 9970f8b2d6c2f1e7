//! Envoy's disk layer: a directory behind a symlink.
//!
//! Envoy reads the layer again when the link is moved, not when a file changes, so a change is a whole new directory
//! and one rename, as a ConfigMap mount does. A reader sees the old directory or the new one.
//!
//! The directory behind the link belongs to its creator: other keys, other tools' folders and links in it are copied as
//! they are, and it is removed afterwards only if an earlier change created it, which its name shows.
//!
//! Several layers are changed together in two steps: [`LayerChange::prepare`] does everything that can fail for a layer
//! and changes nothing, [`LayerChange::carry_out`] moves the link, and [`LayerChange::undo`] moves it back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use contract::share::RUNTIME_LAYER;

use super::copy;
use super::layer::{SUBDIRECTORY, io_fault};

pub use super::layer::DiskError;

/// Names tried for the new directory before giving up: more mean that something else fills the folder.
const NAMES: u32 = 100_000;

/// A change of a layer that is written, but takes effect only when it is carried out. Otherwise it leaves nothing
/// behind.
#[derive(Debug)]
pub struct LayerChange {
    link: PathBuf,
    parent: PathBuf,
    /// The link's target before the change.
    old: PathBuf,
    /// The new directory's name, in `parent`.
    new: String,
    carried_out: bool,
}

impl LayerChange {
    /// Writes a new directory with `values` (key and value) beside everything that the layer behind `link` has.
    ///
    /// # Errors
    /// See [`DiskError`]; nothing is left behind.
    pub fn prepare(link: &Path, values: &[(&str, &str)]) -> Result<Self, DiskError> {
        let not_a_link = || DiskError::NotALink(link.to_path_buf());
        let old = fs::read_link(link).map_err(|_| not_a_link())?;
        let parent = match link.parent().ok_or_else(not_a_link)? {
            parent if parent.as_os_str().is_empty() => Path::new("."),
            parent => parent,
        };
        let parent = fs::canonicalize(parent).map_err(io_fault(parent))?;
        let new = fresh(&parent).map_err(io_fault(&parent))?;
        // From here on the new directory is removed again unless all goes well.
        let change = Self { link: link.to_path_buf(), parent, old, new, carried_out: false };
        change.fill(values)?;
        Ok(change)
    }

    fn fill(&self, values: &[(&str, &str)]) -> Result<(), DiskError> {
        let layer = self.parent.join(&self.new);
        // A link that leads nowhere is a layer without keys.
        if let Ok(old) = fs::canonicalize(self.parent.join(&self.old)) {
            let made_here = |path: &Path| {
                path.parent() == Some(&self.parent)
                    && (path.file_name() == self.link.file_name() || path.file_name().is_some_and(is_layer))
            };
            copy::layer(&old, &layer, &made_here)?;
        }
        let folder = layer.join(SUBDIRECTORY);
        if !folder.is_dir() {
            fs::create_dir(&folder).map_err(io_fault(&folder))?;
        }
        values.iter().try_for_each(|(key, value)| write(&folder, key, value))
    }

    /// Moves the link, so that the change takes effect.
    ///
    /// # Errors
    /// When it cannot be moved, or another program moved it since the change was prepared; the link is then unchanged.
    pub fn carry_out(&mut self) -> Result<(), DiskError> {
        match fs::read_link(&self.link) {
            Ok(now) if now == self.old => {}
            _ => return Err(DiskError::Moved(self.link.clone())),
        }
        let moved = self.point_to(Path::new(&self.new));
        // It may have been moved in spite of an error: then there is something to undo.
        self.carried_out = self.leads_here();
        moved
    }

    /// Moves the link back to where it was, if it was moved.
    ///
    /// # Errors
    /// When it cannot be moved; the change is then still in effect.
    pub fn undo(mut self) -> Result<(), DiskError> {
        if self.carried_out {
            self.point_to(&self.old.clone())?;
            self.carried_out = false;
        }
        Ok(())
    }

    /// The change stays: removes the directory that was behind the link before, if an earlier change made it and no
    /// other link leads to it.
    pub fn keep(self) {
        let mut steps = self.old.components();
        let alone =
            matches!((steps.next(), steps.next()), (Some(std::path::Component::Normal(name)), None) if is_layer(name));
        let directory = self.parent.join(&self.old);
        let plain = fs::symlink_metadata(&directory).is_ok_and(|old| old.is_dir());
        if alone && plain && !self.has_another_link(&directory) {
            // A directory that remains does no harm.
            let _ = fs::remove_dir_all(directory);
        }
    }

    /// Returns `true` if the link leads to the new directory.
    fn leads_here(&self) -> bool {
        fs::read_link(&self.link).is_ok_and(|target| target == Path::new(&self.new))
    }

    /// Returns `true` if something else in the folder is a link to `directory`, or if that cannot be found out.
    fn has_another_link(&self, directory: &Path) -> bool {
        let Ok(entries) = fs::read_dir(&self.parent) else { return true };
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_symlink()).any(|path| {
            path.file_name() != self.link.file_name()
                && fs::canonicalize(&path).is_ok_and(|leads_to| leads_to == directory)
        })
    }

    /// Makes the link lead to `target` in one step, and waits until that is on disk.
    fn point_to(&self, target: &Path) -> Result<(), DiskError> {
        let moved = self.parent.join(format!("{}.link", self.new));
        // Left over by a crash: the name is this change's own.
        let _ = fs::remove_file(&moved);
        symlink(target, &moved).map_err(io_fault(&moved))?;
        fs::rename(&moved, &self.link).map_err(|source| {
            let _ = fs::remove_file(&moved);
            io_fault(&self.link)(source)
        })?;
        File::open(&self.parent).and_then(|folder| folder.sync_all()).map_err(io_fault(&self.parent))
    }
}

impl Drop for LayerChange {
    fn drop(&mut self) {
        if !self.carried_out && !self.leads_here() {
            let _ = fs::remove_dir_all(self.parent.join(&self.new));
        }
    }
}

/// Sets `values` (key and value) in the layer behind `link`; everything else in it stays.
///
/// # Errors
/// See [`DiskError`]; the layer is then unchanged.
pub fn set(link: &Path, values: &[(&str, &str)]) -> Result<(), DiskError> {
    let mut change = LayerChange::prepare(link, values)?;
    change.carry_out()?;
    change.keep();
    Ok(())
}

/// The value of `key` in the layer behind `link`; `None` if it has none.
#[must_use]
pub fn get(link: &Path, key: &str) -> Option<String> {
    let folder = link.join(SUBDIRECTORY);
    let value = spellings(key).into_iter().find_map(|file| fs::read_to_string(folder.join(file)).ok())?;
    Some(value.trim().to_owned())
}

/// Writes a key's file, and removes the same key under its other spellings, of which Envoy would take either.
fn write(folder: &Path, key: &str, value: &str) -> Result<(), DiskError> {
    let file = folder.join(key);
    let mode = fs::metadata(&file).ok().filter(fs::Metadata::is_file).map(|old| old.permissions());
    for spelling in spellings(key) {
        let path = folder.join(&spelling);
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        if found.is_dir() {
            return Err(DiskError::Unusable { path, what: "is a folder with the key's own name" });
        }
        let inside = path.parent().and_then(|parent| fs::canonicalize(parent).ok());
        if !inside.is_some_and(|parent| parent.starts_with(folder)) {
            return Err(DiskError::Unusable {
                path,
                what: "sets the key a second time, behind a link out of the layer",
            });
        }
        fs::remove_file(&path).map_err(io_fault(&path))?;
    }
    let mut out = File::create(&file).map_err(io_fault(&file))?;
    if let Some(mode) = mode {
        out.set_permissions(mode).map_err(io_fault(&file))?;
    }
    out.write_all(value.as_bytes()).and_then(|()| out.sync_all()).map_err(io_fault(&file))
}

/// The files in which Envoy would look for `key`: its name as it is first, then with folders for some or all of its
/// dots.
fn spellings(key: &str) -> Vec<PathBuf> {
    let mut found: Vec<String> = vec![String::new()];
    for (at, part) in key.split('.').enumerate() {
        let separators: &[&str] = if at == 0 { &[""] } else { &[".", "/"] };
        found = separators
            .iter()
            .flat_map(|separator| found.iter().map(move |before| format!("{before}{separator}{part}")))
            .collect();
    }
    found.into_iter().map(PathBuf::from).collect()
}

/// Returns `true` if a directory of that name was made here.
fn is_layer(name: &std::ffi::OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix(RUNTIME_LAYER));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Makes a directory with a name that is not taken.
fn fresh(parent: &Path) -> io::Result<String> {
    for number in 1..NAMES {
        let name = format!("{RUNTIME_LAYER}{number}");
        match fs::create_dir(parent.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "the folder has too many old layers"))
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
