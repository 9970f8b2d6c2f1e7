//! Constants of the layout.

/// First bytes of a batch.
pub const MAGIC: [u8; 4] = *b"PRCH";
/// Version of the layout. A reader takes no other.
pub const VERSION: u8 = 3;
/// Path of the scorer's endpoint.
pub const PATH: &str = "/perch/v1/observations";
/// Content type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.perch.observations";
/// Largest batch, in bytes, that a filter sends and a scorer takes.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a record besides its two bodies.
pub const RECORD_OVERHEAD: usize = 4 + FIXED_BYTES;
/// A duration that was not measured.
pub const NOT_TIMED: u32 = 0;

/// Bytes of a record between its length and its bodies.
pub(super) const FIXED_BYTES: usize = 1 + 1 + 2 + 4 + 4 + 4 + 8 + 4 + 4;
/// The user's arm is the candidate.
pub(super) const FLAG_ASSIGNED: u8 = 1;
/// The client was given the candidate response.
pub(super) const FLAG_SERVED: u8 = 2;
/// The client was given the baseline since the candidate failed.
pub(super) const FLAG_FALLBACK: u8 = 4;
/// The request had an identity.
pub(super) const FLAG_BUCKET: u8 = 8;
/// The user is in the beta cohort.
pub(super) const FLAG_BETA: u8 = 16;
/// The user has opted out.
pub(super) const FLAG_OPT_OUT: u8 = 32;
/// There is a candidate response.
pub(super) const FLAG_CANDIDATE: u8 = 64;
