//! Copies a runtime layer's directory with everything in it: other keys, folders of other tools, links.
//!
//! A link stays a link. One that is relative and leads out of the directory is written out in full where the copy
//! is in another folder, so that it leads to where it led. Nothing but files, folders and links can be copied, and
//! only so many of them: a runtime's values are a few bytes each, and a link to `/` would otherwise copy a whole
//! machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use super::layer::{DiskError, SUBDIRECTORY, io_fault};

/// Entries of a layer, at most.
const MOST_ENTRIES: u32 = 10_000;
/// Bytes in a layer's files, at most.
const MOST_BYTES: u64 = 64 * 1024 * 1024;
/// Folders in folders, at most.
const DEEPEST: usize = 16;

/// Copies the content of the directory `from` (without links in its path) into the directory `to`, without the paths
/// that `leave_out` names.
///
/// # Errors
/// When something cannot be read or written, is neither file, folder nor link, or there is too much of it.
pub(super) fn layer(from: &Path, to: &Path, leave_out: &dyn Fn(&Path) -> bool) -> Result<(), DiskError> {
    if !from.is_dir() {
        return Err(DiskError::Unusable { path: from.to_path_buf(), what: "is not a folder" });
    }
    let mut copy = Copy { moved: from.parent() != to.parent(), leave_out, entries: 0, bytes: 0 };
    copy.folder(from, to, 0)?;
    // The folder that Envoy reads must be the copy's own, or a new value would be written to where its link leads.
    let (read, new) = (from.join(SUBDIRECTORY), to.join(SUBDIRECTORY));
    if read.is_symlink() {
        fs::remove_file(&new).map_err(io_fault(&new))?;
        fs::create_dir(&new).map_err(io_fault(&new))?;
        // A link that leads nowhere is a folder without keys.
        if let Ok(read) = fs::canonicalize(read) {
            Copy { moved: true, ..copy }.folder(&read, &new, 0)?;
        }
    }
    Ok(())
}

struct Copy<'a> {
    /// The copy is in another folder than the original.
    moved: bool,
    leave_out: &'a dyn Fn(&Path) -> bool,
    entries: u32,
    bytes: u64,
}

impl Copy<'_> {
    fn folder(&mut self, from: &Path, to: &Path, depth: usize) -> Result<(), DiskError> {
        let unusable = |path: &Path, what| Err(DiskError::Unusable { path: path.to_path_buf(), what });
        if depth > DEEPEST {
            return unusable(from, "is too deep inside the layer");
        }
        for entry in fs::read_dir(from).map_err(io_fault(from))? {
            let entry = entry.map_err(io_fault(from))?;
            let (path, copy) = (entry.path(), to.join(entry.file_name()));
            if (self.leave_out)(&path) {
                continue;
            }
            self.entries += 1;
            let found = fs::symlink_metadata(&path).map_err(io_fault(&path))?;
            if found.is_file() {
                self.bytes = self.bytes.saturating_add(found.len());
            }
            if self.entries > MOST_ENTRIES || self.bytes > MOST_BYTES {
                return unusable(from, "is part of more than a runtime's layer holds (10,000 entries, 64 MiB)");
            }
            if found.is_symlink() {
                let target = fs::read_link(&path).map_err(io_fault(&path))?;
                symlink(self.target(target, from, depth), &copy).map_err(io_fault(&copy))?;
            } else if found.is_dir() {
                fs::create_dir(&copy).map_err(io_fault(&copy))?;
                self.folder(&path, &copy, depth + 1)?;
                fs::set_permissions(&copy, found.permissions()).map_err(io_fault(&copy))?;
            } else if found.is_file() {
                fs::copy(&path, &copy).map_err(io_fault(&path))?;
            } else {
                return unusable(&path, "is neither a file, a folder nor a link");
            }
        }
        Ok(())
    }

    /// The target of a copied link in `folder`, which is `depth` folders inside the layer.
    fn target(&self, target: PathBuf, folder: &Path, depth: usize) -> PathBuf {
        let up = target.components().take_while(|step| *step == Component::ParentDir).count();
        if !self.moved || target.is_absolute() || up <= depth {
            return target;
        }
        let mut full = folder.to_path_buf();
        for _ in 0..up {
            full.pop();
        }
        full.extend(target.components().skip(up));
        full
    }
}
