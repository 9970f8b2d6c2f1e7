//! The parts of a disk layer, and the errors of a change of it.

use std::io;
use std::path::{Path, PathBuf};

/// Subdirectory of the layer that Envoy reads.
pub(super) const SUBDIRECTORY: &str = "perch";

/// A disk layer that could not be written.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// There is no link.
    #[error("{} is not the symlink of a disk layer: name that of Envoy's symlink_root (--runtime LINK)", .0.display())]
    NotALink(PathBuf),
    /// A file operation failed; the layer is as it was.
    #[error("writing {} of the runtime's disk layer, which is unchanged", .path.display())]
    Io {
        /// The file, folder or link.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Something in the layer cannot be copied; the layer is unchanged.
    #[error("the disk layer is unchanged, since {} {what}: remove it from the folder behind the link", .path.display())]
    Unusable {
        /// The file, folder or link.
        path: PathBuf,
        /// The reason.
        what: &'static str,
    },
    /// Another program changed the link in between; the layer is as it left it.
    #[error("another program changed the link {} at the same time: try again", .0.display())]
    Moved(PathBuf),
}

/// For `map_err` on a failed file operation on `path`.
pub(super) fn io_fault(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_path_buf();
    move |source| DiskError::Io { path, source }
}
