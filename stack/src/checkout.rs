//! Paths: the repository, what `setup` put into `.perch/`, and what cargo built.

use std::path::{Path, PathBuf};

use clients::checkout::{checkout, upwards};

use crate::error::Error;

/// The repository and the programs in it.
#[derive(Debug, Clone)]
pub struct Checkout {
    root: PathBuf,
    programs: PathBuf,
}

impl Checkout {
    /// Finds the repository: `PERCH_ROOT`, or upwards from the working directory, or where this crate was built.
    /// Programs are taken from beside the running one, so that a debug build starts debug builds.
    ///
    /// # Errors
    /// When no repository is found.
    pub fn find() -> Result<Self, Error> {
        let root = checkout().or_else(|| upwards(Path::new(env!("CARGO_MANIFEST_DIR")))).ok_or_else(|| {
            Error::Setting("no Perch checkout found: run this inside one, or set PERCH_ROOT to it".into())
        })?;
        let programs = beside_this_program().unwrap_or_else(|| root.join("target/release"));
        Ok(Self { root, programs })
    }

    /// A repository at `root` with its programs in `programs`.
    #[cfg(test)]
    pub(crate) fn of(root: &Path, programs: &Path) -> Self {
        Self { root: root.to_path_buf(), programs: programs.to_path_buf() }
    }

    /// The repository.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the repository.
    #[must_use]
    pub fn file(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// `.perch/`, which holds everything that setup and the stack make at run time.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.root.join(".perch")
    }

    /// The filter's module: `PERCH_FILTER`, or the WebAssembly one where the build puts it.
    #[must_use]
    pub fn filter(&self) -> PathBuf {
        std::env::var_os("PERCH_FILTER").map_or_else(|| self.wasm_filter(), PathBuf::from)
    }

    /// The filter's WebAssembly module, where the build puts it.
    #[must_use]
    pub fn wasm_filter(&self) -> PathBuf {
        self.root.join("target/perch_filter.wasm")
    }

    /// The filter's native module, where the build puts it.
    #[must_use]
    pub fn native_filter(&self) -> PathBuf {
        self.root.join("target/libperch_filter.so")
    }

    /// The WebAssembly module that fails after Envoy has called it within one of its own calls, as
    /// `setup/build-filter fault-injection` makes it for tests.
    #[must_use]
    pub fn fault_injection_wasm_filter(&self) -> PathBuf {
        self.root.join("target/perch_filter_fault_injection.wasm")
    }

    /// The native module whose callbacks fail now and then: `setup/build-filter fault-injection` puts it there, for
    /// tests.
    #[must_use]
    pub fn fault_injection_filter(&self) -> PathBuf {
        self.root.join("target/libperch_filter_fault_injection.so")
    }

    /// Envoy: `PERCH_ENVOY`, or where setup puts it.
    #[must_use]
    pub fn envoy(&self) -> PathBuf {
        std::env::var_os("PERCH_ENVOY").map_or_else(|| self.state().join("bin/envoy"), PathBuf::from)
    }

    /// A program of the workspace, e.g. `shadow-scorer`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// `path`, if a file is there.
    pub(crate) fn existing(what: &str, path: PathBuf, fix: &str) -> Result<PathBuf, Error> {
        if path.is_file() { Ok(path) } else { Err(Error::Missing { what: what.into(), path, fix: fix.into() }) }
    }
}

/// `target/PROFILE`: tests run from `target/PROFILE/deps`, programs from `target/PROFILE`.
fn beside_this_program() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let dir = program.parent()?;
    let dir = if dir.ends_with("deps") { dir.parent()? } else { dir };
    Some(dir.to_path_buf())
}
