//! The observation batch on the wire, filter → scorer: one definition for both.
//!
//! ```text
//! batch   magic "PRCH" · version u8 · 0 u8 · schema length u16 · schema (JSON of AnswerSchema) · record*
//! record  length u32 (of what follows) · flags u8 · request encoding u8 · answer encoding u8 · 0 u8
//!         · status u16 · 0 u16 · duration µs u32 · bucket u64 · request length u32 · answer length u32
//!         · request · answer
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
pub const VERSION: u8 = 2;
/// Path of the scorer's endpoint.
pub const PATH: &str = "/perch/v1/observations";
/// Content type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.perch.observations";
/// Largest batch, in bytes, that a filter sends and a scorer takes.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of a record besides its two bodies.
pub const RECORD_OVERHEAD: usize = 4 + FIXED;

const FIXED: usize = 1 + 1 + 1 + 1 + 2 + 2 + 4 + 8 + 4 + 4;
const FLAG_MODEL: u8 = 1;
const FLAG_FALLBACK: u8 = 2;
const FLAG_BUCKET: u8 = 4;
const FLAG_BETA: u8 = 8;
const FLAG_OPT_OUT: u8 = 16;

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

/// [`Observation::duration_us`] of an exchange that was not timed.
pub const NOT_TIMED: u32 = 0;

/// One request with its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation<'a> {
    /// Who answered the client.
    pub arm: Arm,
    /// The user is in the canary, but the rules answered (then `arm` is [`Arm::Baseline`]).
    pub fallback: bool,
    /// The user's pseudonym, if the request had an identity.
    pub bucket: Option<Bucket>,
    /// The user's cohort.
    pub cohort: Cohort,
    /// HTTP status that the client got.
    pub status: u16,
    /// From the request's first byte at the filter to the answer's last, in µs, 1 to [`u32::MAX`]; [`NOT_TIMED`] where
    /// nobody looked at the clock.
    pub duration_us: u32,
    /// Encoding of `request`.
    pub request_encoding: Encoding,
    /// Encoding of `answer`.
    pub answer_encoding: Encoding,
    /// The request's body as the client sent it. Empty where nobody needs it: the user is known, and the rules answered.
    pub request: &'a [u8],
    /// The answer's body as the client got it.
    pub answer: &'a [u8],
}

impl Observation<'_> {
    /// Bytes that it takes in a batch.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        RECORD_OVERHEAD.saturating_add(self.request.len()).saturating_add(self.answer.len())
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
    let (Ok(length), Ok(request), Ok(answer)) = (
        u32::try_from(observation.encoded_len() - 4),
        u32::try_from(observation.request.len()),
        u32::try_from(observation.answer.len()),
    ) else {
        return false;
    };
    let mut flags = 0;
    if observation.arm == Arm::Candidate {
        flags |= FLAG_MODEL;
    }
    if observation.fallback {
        flags |= FLAG_FALLBACK;
    }
    if observation.bucket.is_some() {
        flags |= FLAG_BUCKET;
    }
    flags |= match observation.cohort {
        Cohort::Ordinary => 0,
        Cohort::Beta => FLAG_BETA,
        Cohort::OptOut => FLAG_OPT_OUT,
    };
    let [low, high] = halves(observation.bucket.map_or(0, |bucket| bucket.0));
    let [status_low, status_high] = observation.status.to_le_bytes();
    let head = [
        length.to_le_bytes(),
        [flags, observation.request_encoding.code(), observation.answer_encoding.code(), 0],
        [status_low, status_high, 0, 0],
        observation.duration_us.to_le_bytes(),
        low,
        high,
        request.to_le_bytes(),
        answer.to_le_bytes(),
    ];
    out.reserve(observation.encoded_len());
    out.extend_from_slice(head.as_flattened());
    out.extend_from_slice(observation.request);
    out.extend_from_slice(observation.answer);
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
        let request_encoding = Encoding::from_code(self.u8()?);
        let answer_encoding = Encoding::from_code(self.u8()?);
        self.u8()?;
        let status = self.u16()?;
        self.u16()?;
        let duration_us = self.u32()?;
        let bucket = self.u64()?;
        let request_length = self.length()?;
        let answer_length = self.length()?;
        let said = FIXED.checked_add(request_length).and_then(|sum| sum.checked_add(answer_length));
        if said != Some(length) {
            return Err(FrameError::Short(start));
        }
        Ok(Observation {
            arm: if flags & FLAG_MODEL == 0 { Arm::Baseline } else { Arm::Candidate },
            fallback: flags & FLAG_FALLBACK != 0,
            bucket: (flags & FLAG_BUCKET != 0).then_some(Bucket(bucket)),
            // Both at once is written by nobody; the careful reading keeps the user away from the model.
            cohort: match flags & (FLAG_BETA | FLAG_OPT_OUT) {
                0 => Cohort::Ordinary,
                FLAG_BETA => Cohort::Beta,
                _ => Cohort::OptOut,
            },
            status,
            duration_us,
            request_encoding,
            answer_encoding,
            request: self.take(request_length)?,
            answer: self.take(answer_length)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_observation()(
            model: bool, fallback: bool, bucket in proptest::option::of(any::<u64>()), status: u16, duration_us: u32,
            encodings in (0_u8..6, 0_u8..6), cohort in proptest::sample::select(Cohort::ALL),
            request in proptest::collection::vec(any::<u8>(), 0..80),
            answer in proptest::collection::vec(any::<u8>(), 0..80),
        ) -> (bool, bool, Option<u64>, u16, u32, (u8, u8), Vec<u8>, Vec<u8>, Cohort) {
            (model, fallback, bucket, status, duration_us, encodings, request, answer, cohort)
        }
    }

    fn encoding(code: u8) -> Encoding {
        Encoding::from_code(if code == 5 { 255 } else { code })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(parts in proptest::collection::vec(any_observation(), 0..8)) {
            let schema = AnswerSchema { abstain: vec!["unknown".into(), "none".into()], ..AnswerSchema::default() };
            let written: Vec<Observation<'_>> = parts.iter().map(|p| Observation {
                arm: if p.0 { Arm::Candidate } else { Arm::Baseline }, fallback: p.1, bucket: p.2.map(Bucket), cohort: p.8, status: p.3,
                duration_us: p.4, request_encoding: encoding(p.5.0), answer_encoding: encoding(p.5.1),
                request: &p.6, answer: &p.7,
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
        fn cut_anywhere_inside_a_record_it_is_refused(cut in 1_usize..60) {
            let mut bytes = Vec::new();
            start(&mut bytes, "");
            let observation = Observation {
                arm: Arm::Baseline, fallback: false, bucket: None, cohort: Cohort::Beta, status: 200, duration_us: 1,
                request_encoding: Encoding::Identity, answer_encoding: Encoding::Gzip,
                request: b"0123456789abcdef", answer: b"0123456789abcdef",
            };
            append(&mut bytes, &observation);
            let cut = cut.min(observation.encoded_len() - 1);
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
}
