//! From judgements to an action, in the order of precedence of [`crate`].

use contract::share::Share;

use super::super::checks::rolls_back;
use super::super::decision::{Action, Check, Judgement, Verdict};
use super::super::observation::{Observation, SeenModel};
use super::super::state::{Phase, Stop};
use super::super::words::{count, span};
use super::Guard;

impl Guard {
    pub(super) fn act(
        &mut self,
        now_ms: u64,
        seen: &Observation,
        judgements: &[Judgement],
        reasons: &mut Vec<String>,
    ) -> (Action, Option<Share>) {
        let hold = (Action::Hold, None);
        if let Some(stop) = &self.state.paused {
            reasons.push(format!("paused for {}: {}", span(now_ms.saturating_sub(stop.at_ms)), stop.reason));
            reasons.extend(breaches(judgements).map(|judgement| format!("would act: {}", judgement.reason)));
            return hold;
        }
        if let Some(stop) = &self.state.latched {
            reasons.push(format!("rolled back {} ago: {}", span(now_ms.saturating_sub(stop.at_ms)), stop.reason));
            // Until the gateways have confirmed 0%, also when they differ or one cannot be reached.
            let done = self.state.expected == Some(Share::OFF);
            return if done { hold } else { (Action::Rollback, Some(Share::OFF)) };
        }
        if self.state.phase == Phase::Watching {
            reasons.push("no ramp is under way: watching only".to_owned());
            reasons.extend(breaches(judgements).map(|judgement| judgement.reason.clone()));
            return hold;
        }
        let rails: Vec<String> = breaches(judgements)
            .filter(|judgement| self.is_guardrail(judgement.check))
            .map(|judgement| judgement.reason.clone())
            .collect();
        if !rails.is_empty() {
            let stop = Stop { at_ms: now_ms, reason: rails.join("; ") };
            reasons.extend(rails);
            if self.state.expected == Some(Share::OFF) {
                self.state.frozen = Some(stop);
                return (Action::Freeze, None);
            }
            self.state.latched = Some(stop);
            return (Action::Rollback, Some(Share::OFF));
        }
        if let Some(stop) = &self.state.frozen {
            reasons.push(format!("frozen for {}: {}", span(now_ms.saturating_sub(stop.at_ms)), stop.reason));
            return (Action::Freeze, None);
        }
        if let Some(reason) = self.must_freeze(now_ms, seen, judgements) {
            reasons.push(reason.clone());
            self.state.frozen = Some(Stop { at_ms: now_ms, reason });
            return (Action::Freeze, None);
        }
        self.holds(now_ms, seen, judgements, reasons);
        if !reasons.is_empty() {
            return hold;
        }
        match self.next_step().map(|step| step.share) {
            Some(share) => {
                reasons.push(format!("on to {share}: every check passes"));
                (Action::Advance, Some(share))
            }
            None => {
                reasons.push("at the last step, and every check passes".to_owned());
                hold
            }
        }
    }

    fn is_guardrail(&self, check: Check) -> bool {
        match check {
            Check::Agreement => self.plan.agreement.is_some_and(|rule| rolls_back(rule.on_breach)),
            Check::AcceptRate => self.plan.accept_rate.is_some_and(|rule| rolls_back(rule.on_breach)),
            Check::Fallback => self.plan.fallback.is_some_and(|rule| rolls_back(rule.on_breach)),
            Check::Latency => self.plan.latency.is_some_and(|rule| rolls_back(rule.on_breach)),
            Check::SampleRatio | Check::Availability | Check::Dropped | Check::Noise | Check::F1 | Check::Drift => {
                false
            }
        }
    }

    fn must_freeze(&mut self, now_ms: u64, seen: &Observation, judgements: &[Judgement]) -> Option<String> {
        if let SeenModel::Is(version) = &seen.model {
            // Just after a start or a resume what is read may still be of the model before.
            let settled = now_ms.saturating_sub(self.state.since_ms) >= self.plan.settle_ms;
            match &self.state.model {
                None if !settled => {}
                None => self.state.model = Some(version.clone()),
                Some(model) if model != version => {
                    return Some(format!(
                        "the model changed from {model} to {version} under the ramp: resume if that was meant"
                    ));
                }
                Some(_) => {}
            }
        }
        breaches(judgements)
            .find(|judgement| judgement.check == Check::SampleRatio)
            .map(|judgement| judgement.reason.clone())
    }

    /// Everything that keeps the ramp where it is.
    fn holds(&self, now_ms: u64, seen: &Observation, judgements: &[Judgement], reasons: &mut Vec<String>) {
        reasons.extend(seen.doubts.iter().map(|doubt| format!("no data: {doubt}")));
        if let SeenModel::Differs(how) = &seen.model {
            reasons.push(format!("the scorers serve different models: {how}"));
        }
        let waiting = judgements.iter().filter(|judgement| judgement.needed && judgement.verdict != Verdict::Pass);
        let signals = breaches(judgements).filter(|judgement| !judgement.needed);
        for judgement in waiting.chain(signals) {
            let data = if judgement.verdict == Verdict::NoData { "no data: " } else { "" };
            reasons.push(format!("{}: {data}{}", judgement.check.as_str(), judgement.reason));
        }
        let (minimum_ms, minimum_requests, manual) = match (self.state.phase, self.this_step()) {
            (Phase::Step, Some(step)) => (step.minimum_ms, step.minimum_requests, step.manual),
            _ => (self.plan.baseline.minimum_ms, self.plan.baseline.minimum_requests, false),
        };
        if self.next_step().is_none() {
            return;
        }
        let here_ms = now_ms.saturating_sub(self.state.since_ms);
        if here_ms < minimum_ms {
            reasons.push(format!("{} at this step, {} are asked for", span(here_ms), span(minimum_ms)));
        }
        let requests = seen.dropped.zip(self.state.requests_from).map_or(0.0, |(part, from)| part.all - from);
        if requests < minimum_requests {
            reasons.push(format!(
                "{} requests at this step, {} are asked for",
                count(requests),
                count(minimum_requests)
            ));
        }
        if manual && !self.state.approved {
            reasons.push("this step waits for a human's word".to_owned());
        }
    }
}

fn breaches(judgements: &[Judgement]) -> impl Iterator<Item = &Judgement> {
    judgements.iter().filter(|judgement| judgement.verdict == Verdict::Breach)
}
