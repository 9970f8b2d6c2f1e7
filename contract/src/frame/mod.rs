//! The observation batch on the wire, filter → scorer: one definition for both.
//!
//! ```text
//! batch   magic "PRCH" · version u8 · 0 u8 · schema length u16 · schema (JSON of AnswerSchema) · record*
//! record  length u32 (of what follows) · flags u8 · baseline encoding u8 · baseline status u16
//!         · duration µs u32 · baseline duration µs u32 · candidate duration µs u32 · bucket u64
//!         · baseline length u32 · candidate length u32 · baseline · candidate
//! ```
//! Integers are little-endian. Records are appended one by one as requests end ([`append`]), so a batch needs no
//! second pass; [`Batch::parse`] borrows from the received bytes. The reader checks every length before it is used: the
//! scorer takes bytes from the network.

use crate::answer::AnswerSchema;
use crate::bucket::Bucket;
use crate::names::{Arm, Cohort};

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
pub const RECORD_OVERHEAD: usize = 4 + FIXED;

const FIXED: usize = 1 + 1 + 2 + 4 + 4 + 4 + 8 + 4 + 4;
/// The user's arm is the candidate's.
const FLAG_ASSIGNED: u8 = 1;
/// The client was given the candidate's response.
const FLAG_SERVED: u8 = 2;
const FLAG_FALLBACK: u8 = 4;
const FLAG_BUCKET: u8 = 8;
const FLAG_BETA: u8 = 16;
const FLAG_OPT_OUT: u8 = 32;
/// There is a candidate response.
const FLAG_CANDIDATE: u8 = 64;

/// How a body is encoded, from its `content-encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip.
    Gzip,
    /// Brotli.
    Brotli,
    /// zstd.
    Zstd,
    /// deflate (zlib).
    Deflate,
    /// Something else, or several: the scorer cannot read it.
    Unknown,
}

impl Encoding {
    /// From a `content-encoding` value; absent or empty is identity.
    #[must_use]
    pub fn from_header(value: Option<&[u8]>) -> Self {
        let Some(value) = value else { return Self::Identity };
        let value = value.trim_ascii();
        let is = |name: &str| value.eq_ignore_ascii_case(name.as_bytes());
        if value.is_empty() || is("identity") {
            Self::Identity
        } else if is("gzip") || is("x-gzip") {
            Self::Gzip
        } else if is("br") {
            Self::Brotli
        } else if is("zstd") {
            Self::Zstd
        } else if is("deflate") {
            Self::Deflate
        } else {
            Self::Unknown
        }
    }

    const fn code(self) -> u8 {
        match self {
            Self::Identity => 0,
            Self::Gzip => 1,
            Self::Brotli => 2,
            Self::Zstd => 3,
            Self::Deflate => 4,
            Self::Unknown => 255,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Identity,
            1 => Self::Gzip,
            2 => Self::Brotli,
            3 => Self::Zstd,
            4 => Self::Deflate,
            _ => Self::Unknown,
        }
    }
}

/// A duration that was not measured.
pub const NOT_TIMED: u32 = 0;

/// One request with the responses that the gateway knows. Durations are in µs, 1 to [`u32::MAX`], or [`NOT_TIMED`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation<'a> {
    /// The user's arm by the shares.
    pub assigned: Arm,
    /// Whose response the client was given.
    pub served: Arm,
    /// The client was given the baseline since the candidate failed.
    pub fallback: bool,
    /// The user's pseudonym, if the request had an identity.
    pub bucket: Option<Bucket>,
    /// The user's cohort.
    pub cohort: Cohort,
    /// HTTP status of the application's response, and of the client's.
    pub status: u16,
    /// From the request's first byte at the filter until the client's response was passed on whole.
    pub duration_us: u32,
    /// From the request's first byte at the filter to the last of the application's response.
    pub baseline_us: u32,
    /// From the call to the scorer to its whole response.
    pub candidate_us: u32,
    /// Encoding of `baseline`.
    pub encoding: Encoding,
    /// The body of the application's response.
    pub baseline: &'a [u8],
    /// The body of the candidate's response, not encoded; `None` where the gateway has none that was checked.
    pub candidate: Option<&'a [u8]>,
}

impl<'a> Observation<'a> {
    /// Bytes that it takes in a batch.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let candidate = self.candidate.map_or(0, <[u8]>::len);
        RECORD_OVERHEAD.saturating_add(self.baseline.len()).saturating_add(candidate)
    }

    /// The body that the client was given, with its encoding.
    #[must_use]
    pub fn given(&self) -> (Encoding, &'a [u8]) {
        match (self.served, self.candidate) {
            (Arm::Candidate, Some(candidate)) => (Encoding::Identity, candidate),
            _ => (self.encoding, self.baseline),
        }
    }

    /// Returns `true` if the client was given a response with a 2xx status: only those have items.
    #[must_use]
    pub const fn success(&self) -> bool {
        matches!(self.status, 200..=299)
    }
}

/// Starts a batch in `out`, which is cleared.
pub fn start(out: &mut Vec<u8>, schema_json: &str) {
    out.clear();
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0]);
    let length = u16::try_from(schema_json.len()).unwrap_or(0);
    out.extend_from_slice(&length.to_le_bytes());
    if length > 0 {
        out.extend_from_slice(schema_json.as_bytes());
    }
}

/// Appends one observation to a started batch. `false`, and nothing appended, when a body is longer than a `u32` says.
pub fn append(out: &mut Vec<u8>, observation: &Observation<'_>) -> bool {
    let candidate = observation.candidate.unwrap_or_default();
    let (Ok(length), Ok(baseline_length), Ok(candidate_length)) = (
        u32::try_from(observation.encoded_len() - 4),
        u32::try_from(observation.baseline.len()),
        u32::try_from(candidate.len()),
    ) else {
        return false;
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(observation.assigned == Arm::Candidate, FLAG_ASSIGNED)
        | flag(observation.served == Arm::Candidate, FLAG_SERVED)
        | flag(observation.fallback, FLAG_FALLBACK)
        | flag(observation.bucket.is_some(), FLAG_BUCKET)
        | flag(observation.candidate.is_some(), FLAG_CANDIDATE)
        | match observation.cohort {
            Cohort::Ordinary => 0,
            Cohort::Beta => FLAG_BETA,
            Cohort::OptOut => FLAG_OPT_OUT,
        };
    let [low, high] = halves(observation.bucket.map_or(0, |bucket| bucket.0));
    let [status_low, status_high] = observation.status.to_le_bytes();
    let head = [
        length.to_le_bytes(),
        [flags, observation.encoding.code(), status_low, status_high],
        observation.duration_us.to_le_bytes(),
        observation.baseline_us.to_le_bytes(),
        observation.candidate_us.to_le_bytes(),
        low,
        high,
        baseline_length.to_le_bytes(),
        candidate_length.to_le_bytes(),
    ];
    out.reserve(observation.encoded_len());
    out.extend_from_slice(head.as_flattened());
    out.extend_from_slice(observation.baseline);
    out.extend_from_slice(candidate);
    true
}

/// Little-endian.
const fn halves(value: u64) -> [[u8; 4]; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
    [[a, b, c, d], [e, f, g, h]]
}

/// Bytes that are no batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not ours.
    #[error("not an observation batch: it does not start with \"PRCH\"")]
    Magic,
    /// From another release.
    #[error("observation batch of version {0}, this program reads {VERSION}: run filter and scorer of one release")]
    Version(u8),
    /// Cut short, or a length that lies.
    #[error("observation batch is cut short at byte {0}")]
    Short(usize),
    /// The schema is not one.
    #[error("observation batch has an unusable answer schema: {0}")]
    Schema(String),
}

/// A parsed batch; bodies are borrowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// How to read the answers.
    pub schema: AnswerSchema,
    /// The observations, in the order in which their requests ended.
    pub observations: Vec<Observation<'a>>,
}

impl<'a> Batch<'a> {
    /// Parses a whole batch.
    ///
    /// # Errors
    /// See [`FrameError`]; a batch is taken whole or not at all.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let mut reader = Reader { bytes, at: 0 };
        if reader.take(4).map_err(|_| FrameError::Magic)? != MAGIC {
            return Err(FrameError::Magic);
        }
        let version = reader.u8()?;
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        reader.u8()?;
        let schema_length = usize::from(reader.u16()?);
        let schema_json = reader.take(schema_length)?;
        let schema: AnswerSchema = if schema_json.is_empty() {
            AnswerSchema::default()
        } else {
            serde_json::from_slice(schema_json).map_err(|error| FrameError::Schema(error.to_string()))?
        };
        schema.check().map_err(|error| FrameError::Schema(error.to_string()))?;
        let mut observations = Vec::new();
        while reader.at < bytes.len() {
            observations.push(reader.record()?);
        }
        Ok(Self { schema, observations })
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], FrameError> {
        let end = self.at.checked_add(length).ok_or(FrameError::Short(self.at))?;
        let taken = self.bytes.get(self.at..end).ok_or(FrameError::Short(self.at))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| FrameError::Short(at))
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, FrameError> {
        self.array().map(u64::from_le_bytes)
    }

    fn length(&mut self) -> Result<usize, FrameError> {
        let at = self.at;
        usize::try_from(self.u32()?).map_err(|_| FrameError::Short(at))
    }

    fn record(&mut self) -> Result<Observation<'a>, FrameError> {
        let start = self.at;
        let length = self.length()?;
        let flags = self.u8()?;
        let encoding = Encoding::from_code(self.u8()?);
        let status = self.u16()?;
        let duration_us = self.u32()?;
        let baseline_us = self.u32()?;
        let candidate_us = self.u32()?;
        let bucket = self.u64()?;
        let baseline_length = self.length()?;
        let candidate_length = self.length()?;
        let stated = FIXED.checked_add(baseline_length).and_then(|sum| sum.checked_add(candidate_length));
        let candidate_known = flags & FLAG_CANDIDATE != 0;
        // A client cannot have been given a response that is not there.
        let served = flags & FLAG_SERVED != 0;
        if stated != Some(length) || (!candidate_known && (candidate_length > 0 || served)) {
            return Err(FrameError::Short(start));
        }
        let arm = |flag: u8| if flags & flag == 0 { Arm::Baseline } else { Arm::Candidate };
        let baseline = self.take(baseline_length)?;
        let candidate = self.take(candidate_length)?;
        Ok(Observation {
            assigned: arm(FLAG_ASSIGNED),
            served: arm(FLAG_SERVED),
            fallback: flags & FLAG_FALLBACK != 0,
            bucket: (flags & FLAG_BUCKET != 0).then_some(Bucket(bucket)),
            // No filter writes both at once; the careful reading keeps the user away from the candidate.
            cohort: match flags & (FLAG_BETA | FLAG_OPT_OUT) {
                0 => Cohort::Ordinary,
                FLAG_BETA => Cohort::Beta,
                _ => Cohort::OptOut,
            },
            status,
            duration_us,
            baseline_us,
            candidate_us,
            encoding,
            baseline,
            candidate: candidate_known.then_some(candidate),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    struct Parts {
        assigned: bool,
        served: bool,
        fallback: bool,
        bucket: Option<u64>,
        status: u16,
        durations: (u32, u32, u32),
        encoding: u8,
        cohort: Cohort,
        baseline: Vec<u8>,
        candidate: Option<Vec<u8>>,
    }

    prop_compose! {
        fn any_parts()(
            flags: (bool, bool, bool), bucket in proptest::option::of(any::<u64>()), status: u16,
            durations: (u32, u32, u32), encoding in 0_u8..6, cohort in proptest::sample::select(Cohort::ALL),
            baseline in proptest::collection::vec(any::<u8>(), 0..80),
            candidate in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..80)),
        ) -> Parts {
            let served = flags.1 && candidate.is_some();
            Parts { assigned: flags.0, served, fallback: flags.2, bucket, status, durations, encoding, cohort, baseline, candidate }
        }
    }

    fn encoding(code: u8) -> Encoding {
        Encoding::from_code(if code == 5 { 255 } else { code })
    }

    fn arm(candidate: bool) -> Arm {
        if candidate { Arm::Candidate } else { Arm::Baseline }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in proptest::collection::vec(any_parts(), 0..8)) {
            let schema = AnswerSchema { abstain: vec!["unknown".into(), "none".into()], ..AnswerSchema::default() };
            let written: Vec<Observation<'_>> = parts.iter().map(|p| Observation {
                assigned: arm(p.assigned), served: arm(p.served), fallback: p.fallback, bucket: p.bucket.map(Bucket),
                cohort: p.cohort, status: p.status, duration_us: p.durations.0, baseline_us: p.durations.1,
                candidate_us: p.durations.2, encoding: encoding(p.encoding), baseline: &p.baseline,
                candidate: p.candidate.as_deref(),
            }).collect();
            let mut bytes = Vec::new();
            start(&mut bytes, &serde_json::to_string(&schema).unwrap());
            for observation in &written {
                let before = bytes.len();
                prop_assert!(append(&mut bytes, observation));
                prop_assert_eq!(bytes.len() - before, observation.encoded_len());
            }
            let batch = Batch::parse(&bytes).unwrap();
            prop_assert_eq!(batch.observations, written);
            prop_assert_eq!(batch.schema, schema);
        }

        #[test]
        fn cut_anywhere_inside_a_record_it_is_refused(cut in 1_usize..60, parts in any_parts()) {
            let mut bytes = Vec::new();
            start(&mut bytes, "");
            let before = bytes.len();
            let observation = Observation {
                assigned: arm(parts.assigned), served: arm(parts.served), fallback: false, bucket: None,
                cohort: Cohort::Beta, status: 200, duration_us: 1, baseline_us: 1, candidate_us: NOT_TIMED,
                encoding: Encoding::Gzip, baseline: b"0123456789abcdef", candidate: parts.candidate.as_deref(),
            };
            append(&mut bytes, &observation);
            let cut = cut.min(bytes.len() - before - 1);
            prop_assert!(Batch::parse(&bytes[..bytes.len() - cut]).is_err());
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut framed = Vec::new();
            start(&mut framed, "");
            framed.extend_from_slice(&bytes);
            let _ = Batch::parse(&framed);
            let _ = Batch::parse(&bytes);
        }
    }

    #[test]
    fn another_version_says_what_to_do() {
        let error = Batch::parse(b"PRCH\x09\0\0\0").unwrap_err().to_string();
        assert!(error.contains('9') && error.contains("one release"), "{error}");
    }

    #[test]
    fn a_candidate_that_was_served_must_be_there() {
        let mut bytes = Vec::new();
        start(&mut bytes, "");
        let at = bytes.len() + 4;
        let observation = Observation {
            assigned: Arm::Candidate,
            served: Arm::Baseline,
            fallback: true,
            bucket: None,
            cohort: Cohort::Ordinary,
            status: 200,
            duration_us: 1,
            baseline_us: 1,
            candidate_us: 1,
            encoding: Encoding::Identity,
            baseline: b"{}",
            candidate: None,
        };
        append(&mut bytes, &observation);
        assert!(Batch::parse(&bytes).is_ok());
        bytes[at] |= FLAG_SERVED;
        assert!(Batch::parse(&bytes).is_err());
    }
}
