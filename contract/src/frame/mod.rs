//! The observation frame: how a batch of observations travels from filter to scorer.
//!
//! ```text
//! batch   magic "PRCH" · version u8 · 0 u8 · schema length u16 · schema (JSON of ResponseSchema) · record*
//! record  length u32 (of what follows) · flags u8 · baseline encoding u8 · baseline status u16
//!         · duration µs u32 · baseline duration µs u32 · candidate duration µs u32 · bucket u64
//!         · baseline length u32 · candidate length u32 · baseline · candidate
//! ```
//! Integers are little-endian. Records are appended one by one as requests end ([`append`]), so a batch needs no second
//! pass; [`Batch::parse`] borrows from the received bytes. The reader checks every length before it uses it, since a scorer
//! takes bytes from the network.
//!
//! ```
//! use contract::frame::{self, Batch, Encoding, Observation};
//! use contract::names::{Arm, Cohort};
//!
//! let observation = Observation {
//!     assigned: Arm::Candidate,
//!     served: Arm::Candidate,
//!     fallback: false,
//!     bucket: None,
//!     cohort: Cohort::Ordinary,
//!     status: 200,
//!     duration_us: 12_000,
//!     baseline_us: 9_000,
//!     candidate_us: 11_000,
//!     encoding: Encoding::Identity,
//!     baseline: br#"{"items":[]}"#,
//!     candidate: Some(br#"{"items":[{"txn_id":"88"}]}"#),
//! };
//! let mut bytes = Vec::new();
//! frame::start(&mut bytes, "");
//! assert!(frame::append(&mut bytes, &observation));
//!
//! let batch = Batch::parse(&bytes).unwrap();
//! assert_eq!(batch.observations, [observation]);
//! assert_eq!(batch.observations[0].given().1, observation.candidate.unwrap());
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | `layout` | version, path, sizes and flags |
//! | `encoding` | content encodings of bodies |
//! | `observation` | one request with its responses |
//! | `write` | starting a batch and appending to it |
//! | `read` | parsing a batch |

mod encoding;
mod layout;
mod observation;
mod read;
mod write;

pub use self::encoding::Encoding;
pub use self::layout::{CONTENT_TYPE, MAGIC, MAX_BATCH_BYTES, NOT_TIMED, PATH, RECORD_OVERHEAD, VERSION};
pub use self::observation::Observation;
pub use self::read::{Batch, FrameError};
pub use self::write::{append, start};

#[cfg(test)]
mod tests {
    use super::layout::FLAG_SERVED;
    use super::*;
    use crate::bucket::Bucket;
    use crate::names::{Arm, Cohort};
    use crate::response::ResponseSchema;
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
            let schema = ResponseSchema { abstain: vec!["unknown".into(), "none".into()], ..ResponseSchema::default() };
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
