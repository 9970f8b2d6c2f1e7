//! Envoy: the port over its host functions ([`abi`]), where its data lands ([`memory`]), and what it calls
//! ([`exports`]). The only modules with `unsafe`; each use says beside it why it holds.

mod abi;
mod exports;
mod memory;
