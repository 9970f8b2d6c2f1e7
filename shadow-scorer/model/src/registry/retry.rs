//! When a refused version is tried again.
//!
//! A folder that is still being copied looks like a damaged one, and so does one that cannot be read for a moment. So a
//! refused version is tried again as soon as one of its files has another length or time, and, where the reason may
//! pass by itself ([`Refusal::is_transient`]), after a pause that doubles from [`FIRST`] to [`LONGEST`].

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use super::outcome::RefusedVersion;
use crate::manifest::{MANIFEST, MODEL, REFERENCE};
use crate::refusal::Refusal;

const FIRST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);

/// Length and time of each file of a version; `None` for one that is not there.
pub(super) type Stamp = [Option<(u64, Option<SystemTime>)>; 3];

/// What the files in a version's folder look like from outside.
pub(super) fn stamp(folder: &Path) -> Stamp {
    [MANIFEST, MODEL, REFERENCE].map(|file| {
        let about = fs::metadata(folder.join(file)).ok()?;
        Some((about.len(), about.modified().ok()))
    })
}

/// The next attempt at what is refused.
#[derive(Debug, Default)]
pub(super) struct Retry {
    /// When it is due by itself; `None` when only a change of the files is a reason.
    at: Option<Instant>,
    pause: Duration,
    /// Each refused version with its files as they were before they were read.
    stamps: Vec<(String, Stamp)>,
}

impl Retry {
    /// Returns `true` if what is refused should be tried again at `now`.
    pub(super) fn is_due(&self, now: Instant, stamp_of: impl Fn(&str) -> Option<Stamp>) -> bool {
        self.at.is_some_and(|at| now >= at)
            || self.stamps.iter().any(|(version, before)| stamp_of(version).is_some_and(|seen| seen != *before))
    }

    /// Plans the next attempt after one at `now` that ended with `refused`; `again` when the one before ended alike.
    pub(super) fn plan(&mut self, now: Instant, refused: &[RefusedVersion], stamps: Vec<(String, Stamp)>, again: bool) {
        self.pause = if again { (self.pause * 2).clamp(FIRST, LONGEST) } else { FIRST };
        let is_transient = refused.iter().any(|refused| Refusal::is_transient(refused.reason));
        self.at = is_transient.then(|| now + self.pause);
        self.stamps = stamps;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Alias;

    fn refused(reason: &'static str) -> Vec<RefusedVersion> {
        let (version, message) = ("v2".to_owned(), String::new());
        vec![RefusedVersion { alias: Alias::Champion, version, reason, message, at: SystemTime::UNIX_EPOCH }]
    }

    #[test]
    fn what_is_transient_is_tried_at_doubling_pauses_case_a5() {
        let mut retry = Retry::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for attempt in 0..8 {
            retry.plan(now, &refused("missing"), Vec::new(), attempt > 0);
            let at = retry.at.unwrap();
            assert!(!retry.is_due(at - Duration::from_millis(1), |_| None) && retry.is_due(at, |_| None));
            pauses.push(at.duration_since(now).as_secs());
            now = at;
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
    }

    #[test]
    fn what_does_not_pass_by_itself_waits_for_other_files_case_a10() {
        let mut retry = Retry::default();
        let now = Instant::now();
        let before = [None; 3];
        retry.plan(now, &refused("graph"), vec![("v2".to_owned(), before)], false);
        let later = now + Duration::from_secs(86_400);
        assert!(!retry.is_due(later, |_| Some(before)));
        assert!(retry.is_due(later, |_| Some([Some((7, None)), None, None])));
    }
}
