//! What a disk layer consists of, and how a change of it can fail.

use std::io;
use std::path::{Path, PathBuf};

/// Subdirectory of the layer that Envoy is told to read.
pub(super) const SUBDIRECTORY: &str = "perch";

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
    /// Something in the layer cannot be carried over; the layer is as it was.
    #[error("the runtime's disk layer was left as it was, since {} {what}: take it out of the folder behind the link", .path.display())]
    Unusable {
        /// What stands in the way.
        path: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Something else moved the link in between; the layer is as that left it.
    #[error("{} was moved by something else at the same time: try again", .0.display())]
    Moved(PathBuf),
}

/// For `map_err` on a failed file operation on `path`.
pub(super) fn io_fault(path: &Path) -> impl FnOnce(io::Error) -> DiskError {
    let path = path.to_path_buf();
    move |source| DiskError::Io { path, source }
}
