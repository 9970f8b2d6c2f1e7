//! The checkout that a program belongs to.

use std::path::{Path, PathBuf};

/// A file that every checkout has.
const MARK: &str = "contract/ports.env";

/// The checkout that this program belongs to: `PERCH_ROOT`, or upwards from the working directory, or from the program's own
/// file. `None` for a program that was installed elsewhere.
#[must_use]
pub fn checkout() -> Option<PathBuf> {
    std::env::var_os("PERCH_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::current_dir().ok().and_then(|dir| upwards(&dir)))
        .or_else(|| std::env::current_exe().ok().and_then(|program| upwards(&program)))
}

/// The checkout that `from` is in.
#[must_use]
pub fn upwards(from: &Path) -> Option<PathBuf> {
    from.ancestors().find(|dir| dir.join(MARK).is_file()).map(Path::to_path_buf)
}
