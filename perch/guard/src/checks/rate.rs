//! Is a share of canary requests too high: those that fell back, those that were slow?
//!
//! The unit is the look (see [`super`]), so one outage of ten seconds is two or three values, not a thousand. For slow
//! answers the rules' own share at the same time is added to what is allowed: if the application itself is slow, a
//! rollback would not help.

use serde::{Deserialize, Serialize};
use stats::bounded::{Bets, Side, lower_bound, upper_bound};
use stats::moments::Moments;

use super::watch::Watch;
use super::{GATE_EVIDENCE, Look, rolls_back};
use crate::decision::{Check, Judgement, Unit, Verdict};
use crate::observation::Part;
use crate::plan::OnBreach;
use crate::words::{count, percent};

/// Looks between two starts within a step.
const RESTART_LOOKS: f64 = 12.0;

/// What a rate is held against.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Which check it is.
    pub check: Check,
    /// What the part is, in words: "canary requests fell back to the rules".
    pub what: &'static str,
    /// 0..1.
    pub at_most: f64,
    /// Chance of a false breach over the ramp.
    pub alpha: f64,
    /// What a breach does.
    pub on_breach: OnBreach,
}

/// Evidence on one rate over a ramp.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    looks: Moments,
    last: Option<Part>,
    from: Moments,
    part_from: Option<Part>,
    rules_from: Option<Part>,
    watch: Watch,
}

impl Default for State {
    /// Nothing seen yet.
    fn default() -> Self {
        Self {
            looks: Moments::NONE,
            last: None,
            from: Moments::NONE,
            part_from: None,
            rules_from: None,
            watch: Watch::new(RESTART_LOOKS),
        }
    }
}

impl State {
    /// Takes in a look's counters.
    fn take(&mut self, part: Part) {
        let new = part.since(self.last.unwrap_or(part));
        self.last = Some(part);
        if let Some(share) = new.share() {
            self.looks.push(share);
        }
    }

    /// A step begins.
    pub fn step(&mut self, now_ms: u64, canary: Option<Part>, rules: Option<Part>) {
        match canary {
            Some(canary) => self.take(canary),
            // What comes until they can be read is of both steps.
            None => self.last = None,
        }
        self.from = self.looks;
        self.part_from = canary;
        self.rules_from = rules;
        self.watch.step(now_ms, self.looks);
    }

    /// The judgement at a step. `rules` is the same part of the rules' answers, where that excuses.
    pub fn judge(&mut self, look: Look, canary: Option<Part>, rules: Option<Part>, limit: &Limit) -> Judgement {
        let none = |reason: &str| Judgement::no_data(limit.check, Unit::Looks, true, reason);
        let Some(canary) = canary else { return none("the canary's counters cannot be read") };
        self.take(canary);
        let at_step = canary.since(*self.part_from.get_or_insert(canary));
        let excuse =
            rules.map(|rules| rules.since(*self.rules_from.get_or_insert(rules))).and_then(Part::share).unwrap_or(0.0);
        let alarm = self.watch.alarm(look.now_ms, self.looks, Side::Above, limit.at_most, limit.alpha);
        let risen = alarm.filter(|test| {
            excuse <= 0.0 || Bets::new(Side::Above, (limit.at_most + excuse).min(1.0)).reaches(test.seen, test.required)
        });
        let Some(value) = at_step.share() else { return none("no canary request at this step yet") };
        let here = self.looks.since(self.from);
        let allowed = limit.at_most + excuse;
        let verdict = match risen {
            Some(_) => Verdict::Breach,
            None if value <= allowed => Verdict::Pass,
            None => Verdict::Open,
        };
        let (shown, required) = risen.map_or((here, GATE_EVIDENCE), |test| (test.seen, test.required));
        let value = risen.and_then(|test| test.seen.mean()).unwrap_or(value);
        let mut judgement = Judgement {
            check: limit.check,
            verdict,
            needed: true,
            value: Some(value),
            lower: look.in_words.then(|| lower_bound(shown, required)),
            upper: look.in_words.then(|| upper_bound(shown, GATE_EVIDENCE)),
            threshold: Some(allowed),
            sample: shown.count,
            unit: Unit::Looks,
            reason: String::new(),
        };
        if look.in_words {
            judgement.reason = words(&judgement, value, allowed, excuse, limit);
        }
        judgement
    }
}

fn words(judgement: &Judgement, value: f64, allowed: f64, excuse: f64, limit: &Limit) -> String {
    let rules = if excuse > 0.0 { format!(" ({} of them for the rules' own)", percent(excuse)) } else { String::new() };
    match judgement.verdict {
        Verdict::Breach => format!(
            "{} of {} over {} looks, at least {}, above {}{rules}{}",
            percent(value),
            limit.what,
            count(judgement.sample),
            percent(judgement.lower.unwrap_or(0.0)),
            percent(allowed),
            if rolls_back(limit.on_breach) { "" } else { "; the plan holds for that" }
        ),
        Verdict::Pass => format!("{} of {}, allowed {}{rules}", percent(value), limit.what, percent(allowed)),
        _ => format!(
            "{} of {}, above {}{rules}, which may still be chance",
            percent(value),
            limit.what,
            percent(allowed)
        ),
    }
}
