//! The two builds of the filter.

/// The build that reads a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Module {
    /// The WebAssembly module, whose worker sends a batch in one go.
    Wasm,
    /// The native module, which sends a batch in chunks.
    Native,
}

impl Module {
    /// The default of `limits.batch_bytes`. Starting and finishing a batch costs as much as some requests; in a worker that
    /// sends it in one go, a longer batch delays the worker's clients.
    #[must_use]
    pub const fn batch_bytes(self) -> usize {
        match self {
            Self::Wasm => 256 * 1024,
            Self::Native => 1024 * 1024,
        }
    }
}
