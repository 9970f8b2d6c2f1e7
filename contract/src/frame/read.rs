//! Reads a batch.

use super::encoding::Encoding;
use super::layout::{
    FIXED_BYTES, FLAG_ASSIGNED, FLAG_BETA, FLAG_BUCKET, FLAG_CANDIDATE, FLAG_FALLBACK, FLAG_OPT_OUT, FLAG_SERVED,
    MAGIC, VERSION,
};
use super::observation::Observation;
use crate::bucket::Bucket;
use crate::names::{Arm, Cohort};
use crate::response::ResponseSchema;

/// Why bytes are not a batch that this program can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The magic bytes are missing.
    #[error("not an observation batch: it does not start with \"PRCH\"")]
    Magic,
    /// The layout is of another release.
    #[error("observation batch of version {0}, this program reads {VERSION}: run filter and scorer of one release")]
    Version(u8),
    /// The batch is cut short, or a length in it is wrong.
    #[error("observation batch is cut short at byte {0}")]
    Short(usize),
    /// The schema cannot be used.
    #[error("observation batch has an unusable response schema: {0}")]
    Schema(String),
}

/// A parsed batch; bodies are borrowed.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// How to read the responses.
    pub schema: ResponseSchema,
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
        let schema: ResponseSchema = if schema_json.is_empty() {
            ResponseSchema::default()
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
        let stated = FIXED_BYTES.checked_add(baseline_length).and_then(|sum| sum.checked_add(candidate_length));
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
