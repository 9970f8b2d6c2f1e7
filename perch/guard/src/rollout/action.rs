//! From check results to an action, in the order of precedence of [`crate`].

use contract::share::Share;

use super::super::checks::rolls_back;
use super::super::decision::{APPROVAL_REQUIRED, Action, Check, CheckOutcome, CheckResult};
use super::super::format::{count, span};
use super::super::snapshot::{ServingModel, SystemSnapshot};
use super::super::state::{Phase, Stop};
use super::Guard;

impl Guard {
    pub(super) fn act(
        &mut self,
        now_ms: u64,
        snapshot: &SystemSnapshot,
        checks: &[CheckResult],
        reasons: &mut Vec<String>,
    ) -> (Action, Option<Share>) {
        let hold = (Action::Hold, None);
        if let Some(stop) = &self.state.paused {
            reasons.push(format!("paused for {}: {}", span(now_ms.saturating_sub(stop.at_ms)), stop.reason));
            reasons.extend(breaches(checks).map(|result| format!("would act: {}", result.reason)));
            return hold;
        }
        if let Some(stop) = &self.state.latched {
            reasons.push(format!("rolled back {} ago: {}", span(now_ms.saturating_sub(stop.at_ms)), stop.reason));
            // Repeated until every gateway has confirmed 0%, also when gateways differ or one cannot be reached.
            let done = self.state.expected == Some(Share::OFF);
            return if done { hold } else { (Action::Rollback, Some(Share::OFF)) };
        }
        if self.state.phase == Phase::Watching {
            reasons.push("no rollout is in progress: the guard only watches".to_owned());
            reasons.extend(breaches(checks).map(|result| result.reason.clone()));
            return hold;
        }
        let guardrails: Vec<String> = breaches(checks)
            .filter(|result| self.is_guardrail(result.check))
            .map(|result| result.reason.clone())
            .collect();
        if !guardrails.is_empty() {
            let stop = Stop { at_ms: now_ms, reason: guardrails.join("; ") };
            reasons.extend(guardrails);
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
        if let Some(reason) = self.freeze_reason(now_ms, snapshot, checks) {
            reasons.push(reason.clone());
            self.state.frozen = Some(Stop { at_ms: now_ms, reason });
            return (Action::Freeze, None);
        }
        self.add_hold_reasons(now_ms, snapshot, checks, reasons);
        if !reasons.is_empty() {
            return hold;
        }
        match self.next_step().map(|step| step.share) {
            Some(share) => {
                reasons.push("every check passes".to_owned());
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

    fn freeze_reason(&mut self, now_ms: u64, snapshot: &SystemSnapshot, checks: &[CheckResult]) -> Option<String> {
        if let ServingModel::Known(version) = &snapshot.model {
            // Just after a start or a resume the metrics may still name the previous model.
            let settled = now_ms.saturating_sub(self.state.since_ms) >= self.plan.settle_ms;
            match &self.state.model {
                None if !settled => {}
                None => self.state.model = Some(version.clone()),
                Some(model) if model != version => {
                    return Some(format!(
                        "the model changed from {model} to {version} during the rollout: run `perch ramp resume` if \
                         that was intended"
                    ));
                }
                Some(_) => {}
            }
        }
        breaches(checks).find(|result| result.check == Check::SampleRatio).map(|result| result.reason.clone())
    }

    /// Adds every reason that keeps the rollout at its step.
    fn add_hold_reasons(
        &self,
        now_ms: u64,
        snapshot: &SystemSnapshot,
        checks: &[CheckResult],
        reasons: &mut Vec<String>,
    ) {
        reasons.extend(snapshot.data_gaps.iter().map(|data_gap| format!("no data: {data_gap}")));
        if let ServingModel::Differs(how) = &snapshot.model {
            reasons.push(format!("the scorers serve different models: {how}"));
        }
        let waiting = checks.iter().filter(|result| result.blocks_advance && result.outcome != CheckOutcome::Pass);
        let signals = breaches(checks).filter(|result| !result.blocks_advance);
        for result in waiting.chain(signals) {
            let data = if result.outcome == CheckOutcome::NoData { "no data: " } else { "" };
            reasons.push(format!("{}: {data}{}", result.check.as_str(), result.reason));
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
            reasons.push(format!("{} at this step, the plan requires {}", span(here_ms), span(minimum_ms)));
        }
        let requests = snapshot.dropped.zip(self.state.requests_from).map_or(0.0, |(part, from)| part.all - from);
        if requests < minimum_requests {
            reasons.push(format!(
                "{} requests at this step, the plan requires {}",
                count(requests),
                count(minimum_requests)
            ));
        }
        if manual && !self.state.approved {
            reasons.push(APPROVAL_REQUIRED.to_owned());
        }
    }
}

fn breaches(checks: &[CheckResult]) -> impl Iterator<Item = &CheckResult> {
    checks.iter().filter(|result| result.outcome == CheckOutcome::Breach)
}
