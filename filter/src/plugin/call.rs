//! Calls to the scorer for canary users, and what their responses lead to.

use contract::headers;
use contract::names::{Arm, FallbackReason};

use super::filter::Filter;
use super::host::{Call, CallResponse, Level, Log, Map, Messages, Refused, StreamHost};
use super::replacement::Flow;
use super::stream::{CanaryStream, LiveCall, Stream};
use crate::decision::canary::CanaryOutcome;
use crate::decision::candidate;
use crate::decision::heads::ResponseHead;
use crate::log_line::log_line;
use crate::metrics::Stat;
use crate::pairs;

impl Filter {
    /// Sends the request's whole body to the candidate, if the exchange needs its response. The deadline starts now.
    pub(super) fn call_candidate(&mut self, host: &impl StreamHost, context: u32, stream: &mut Stream, body: &[u8]) {
        let Some(bucket) = stream.exchange.bucket() else { return };
        let Some(canary) = stream.canary.as_mut().filter(|canary| canary.canary.needs_call()) else { return };
        pairs::append(&mut canary.call_headers, headers::BUCKET.as_bytes(), &bucket.digits());
        let call = Call {
            cluster: &self.config.scorer.live_cluster,
            headers: &canary.call_headers,
            body,
            timeout_ms: self.config.scorer.deadline_ms,
        };
        let at_ns = host.now_ns();
        let made = host.call(&call).map_err(|refused| self.not_sent(host, refused));
        if let Ok(token) = made {
            self.calls.push(LiveCall { token, stream: context, at_ns });
        }
        canary.canary.called(made, at_ns);
    }

    /// Envoy did not take the call: there is no such cluster, no healthy host, or a circuit breaker is open, and it
    /// does not say which. Where calls are under way and the scorer responded to the last one, a healthy host exists.
    fn not_sent(&self, host: &impl Log, refused: Refused) -> FallbackReason {
        const BAD_ARGUMENT: u32 = 2;
        if refused.0 == BAD_ARGUMENT {
            let line = log_line(
                "live_cluster_missing",
                &[
                    ("cluster", &self.config.scorer.live_cluster),
                    ("effect", &"canary users are given the baseline"),
                    ("fix", &"define the cluster in Envoy, or name another in scorer.live_cluster"),
                ],
            );
            host.log(Level::Error, &line);
        } else if self.reached && !self.calls.is_empty() {
            return FallbackReason::Overloaded;
        }
        FallbackReason::Refused
    }

    /// The scorer's response, if there is one, to a call for `stream`, whose client may be gone. Returns how the
    /// application's response goes on, where it does now.
    pub fn live_call_over(
        &mut self,
        host: &impl StreamHost,
        call: LiveCall,
        response: Option<&impl CallResponse>,
        stream: Option<&mut Stream>,
    ) -> Option<Flow> {
        let limit = self.config.limits.candidate_bytes;
        let schema = &self.config.response;
        let scratch = &mut self.scratch;
        let read = response.and_then(|response| {
            let read = |headers: pairs::Pairs<'_>| {
                let head = ResponseHead::read(headers);
                let length = response.length();
                let mut body = Vec::new();
                if length <= limit && (response.body(length, &mut body).is_err() || body.len() != length) {
                    return (head.scorer, Err(FallbackReason::Reset));
                }
                (head.scorer, candidate::judge(&head, body, length, limit, schema))
            };
            response.headers(scratch, read).ok()
        });
        let now_ns = host.now_ns();
        let (reached, judged) = read.unwrap_or_else(|| {
            // Envoy also breaks a call off when its time is up in the middle of the response. Its timers count from
            // when its event loop last looked at the clock, so the last tenth of the time counts as late too.
            let nearly_ns = u64::from(self.config.scorer.deadline_ms) * 900_000;
            let late = now_ns.saturating_sub(call.at_ns) >= nearly_ns;
            (false, Err(if late { FallbackReason::Deadline } else { FallbackReason::Reset }))
        });
        self.reached = reached;
        let stream = stream?;
        let canary = stream.canary.as_mut()?;
        if canary.canary.under_way().is_none_or(|(token, _)| token != call.token) {
            return None;
        }
        // A response that waits for the application's takes room like one that waits for the scorer's.
        let judged = judged.and_then(|candidate| {
            if self.waiting.take(candidate.body.len()) { Ok(candidate) } else { Err(FallbackReason::Overloaded) }
        });
        if !canary.canary.call_over(judged, now_ns) || host.act_for(call.stream).is_err() {
            return None;
        }
        Some(self.goes_on(host, stream))
    }

    /// The end of what is known of a canary user's request: counts its fate.
    pub(super) fn canary_over(&mut self, stream: &mut Stream) -> Option<Box<CanaryStream>> {
        let mut canary = stream.canary.take()?;
        // Who the user is was never known: there was no arm.
        stream.exchange.bucket()?;
        self.waiting.give(stream_bytes(&canary));
        match canary.canary.finish() {
            CanaryOutcome::Candidate => self.counters.count(Stat::Predict(true)),
            CanaryOutcome::Fallback(reason) => {
                self.counters.count(Stat::Predict(false));
                self.counters.count(Stat::Fallback(reason));
            }
            CanaryOutcome::PassedThrough(reason) => self.counters.count(Stat::PassedThrough(reason)),
        }
        self.pool.put(std::mem::take(&mut canary.call_headers));
        Some(canary)
    }

    /// The headers of a response that is not replaced.
    pub(super) fn write_baseline(host: &impl Messages, stream: &Stream, known_absent: bool) {
        let arm = Arm::Baseline.as_str().as_bytes();
        let _ = if known_absent {
            host.add_header(Map::Response, headers::ARM, arm)
        } else {
            host.set_header(Map::Response, headers::ARM, arm)
        };
        if let Some(CanaryOutcome::Fallback(reason)) = stream.canary.as_ref().and_then(|canary| canary.canary.outcome())
        {
            let _ = host.set_header(Map::Response, headers::FALLBACK, reason.as_str().as_bytes());
        }
    }
}

/// Bytes of both responses that count towards the limit of waiting responses.
fn stream_bytes(canary: &CanaryStream) -> usize {
    canary.canary.waiting_bytes() + canary.canary.candidate().map_or(0, |(candidate, _)| candidate.body.len())
}
