//! What the headers of a request and of its answer say to "observe".

use contract::frame::Encoding;
use contract::headers;
use contract::names::{Arm, Outcome};

use crate::config::Config;
use crate::decision::cohort::Named;
use crate::decision::heads::{AnswerHead, RequestHead};
use crate::decision::identity::{self, Search};
use crate::pairs::Pairs;
use crate::plugin::host::Host;
use crate::plugin::{FALLBACK_NOTE, MODEL_DETAILS};

/// What a request's headers say.
pub(super) struct Begun {
    pub(super) unsampled: bool,
    pub(super) encoding: Encoding,
    pub(super) length: Option<usize>,
    pub(super) search: Search,
    pub(super) said: Said,
}

impl Begun {
    /// # Errors
    /// Why the request is not intercepted.
    pub(super) fn read(host: &impl Host, config: &Config, headers: Pairs<'_>) -> Result<Self, Outcome> {
        let head = RequestHead::read(headers);
        if let Some(skipped) = config.intercept.passes(&head) {
            return Err(skipped);
        }
        let property = |path: &[u8], out: &mut Vec<u8>| host.property(path, out).is_ok();
        Ok(Self {
            unsampled: head.unsampled,
            encoding: Encoding::from_header(head.content_encoding),
            length: head.content_length,
            search: identity::in_headers(&config.identity, headers, &config.salt, property),
            said: Said {
                named: config.cohorts.named(headers, property),
                forged_bucket: head.bucket.is_some(),
                forged_cohort: head.cohort,
            },
        })
    }
}

/// What an answer's headers say.
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) encoding: Encoding,
    pub(super) length: Option<usize>,
    pub(super) arm: Arm,
    pub(super) fallback: bool,
    /// Some header has our prefix.
    pub(super) ours: bool,
    /// Headers with our prefix that none of us wrote.
    pub(super) strange: Vec<Vec<u8>>,
}

impl Told {
    pub(super) fn read(host: &impl Host, headers: Pairs<'_>) -> Self {
        let head = AnswerHead::read(headers);
        let (arm, fallback) = believed(host, &head);
        let kept = |name: &[u8]| match arm {
            Arm::Candidate => name == headers::ARM.as_bytes() || name == headers::MODEL_VERSION.as_bytes(),
            Arm::Baseline => fallback && name == headers::FALLBACK.as_bytes(),
        };
        let strange = |name: &[u8]| name.starts_with(headers::PREFIX.as_bytes()) && !kept(name);
        let strange = if head.ours {
            headers.iter().filter(|(name, _)| strange(name)).map(|(name, _)| name.to_vec()).collect()
        } else {
            Vec::new()
        };
        Self {
            status: head.status,
            encoding: head.encoding,
            length: head.content_length,
            arm,
            fallback,
            ours: head.ours,
            strange,
        }
    }
}

/// What a request's headers say besides who the user is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    /// Cohorts that name the user.
    pub(super) named: Named,
    /// The client sent a bucket header of its own, which must go if we have none.
    pub(super) forged_bucket: bool,
    /// The same of a cohort header.
    pub(super) forged_cohort: bool,
}

/// Who answered, and whether the rules answered for the model: as the model plugin left word, whatever headers say.
fn believed(host: &impl Host, head: &AnswerHead<'_>) -> (Arm, bool) {
    let mut word = Vec::new();
    if head.arm == Some(Arm::Candidate.as_str().as_bytes())
        && host.property(b"response\0code_details", &mut word).is_ok()
        && word == MODEL_DETAILS.as_bytes()
    {
        return (Arm::Candidate, false);
    }
    word.clear();
    let fallback = head.fallback.is_some()
        && host.property(FALLBACK_NOTE.as_bytes(), &mut word).is_ok()
        && head.fallback == Some(word.as_slice());
    (Arm::Baseline, fallback)
}
