//! Envoy as far as the filter sees it, with its order of callbacks, and its holding back until a callback has returned:
//! whole requests through a filter, over either fake of Envoy ([`Envoy`]).

use std::collections::BTreeMap;

use contract::batch_result::{self, BatchResult};
use contract::frame::Batch;
use contract::names::{Arm, NotCompared};
use contract::response;

use super::messages::{Headers, Observed, RecordedCall, Request, Response};

pub(crate) const OBSERVE_CLUSTER: &str = "perch_scorer_observe";
pub(crate) const LIVE_CLUSTER: &str = "perch_scorer_live";
pub(crate) const ADMIN_CLUSTER: &str = "perch_admin";
/// Labels that agreement is counted by, unless a test says otherwise.
const LABELS: [&str; 3] = ["groceries", "coffee", "transportation.fuel"];

/// One of Envoy's workers with the filter in it, faked. Streams are known by numbers.
pub(crate) trait Envoy: Sized {
    /// With this configuration of the filter; and whether it was accepted.
    fn start(document: &str) -> (Self, bool);

    /// The share of the canary, in percent, as the filter's next copy of the shares has it.
    fn set_share(&mut self, percent: u32);

    /// A new stream's headers; `end` says that there is no body.
    fn request_headers(&mut self, stream: u32, headers: Headers, end: bool);

    /// A piece of its body.
    fn request_body(&mut self, stream: u32, chunk: &[u8], end: bool);

    /// Its trailers.
    fn request_trailers(&mut self, stream: u32);

    /// The headers of the response, whose trailers are to come later.
    fn response_headers(&mut self, stream: u32, headers: Headers, trailers: Headers, end: bool);

    /// A piece of its body.
    fn response_body(&mut self, stream: u32, chunk: &[u8], end: bool);

    /// Its trailers.
    fn response_trailers(&mut self, stream: u32);

    /// Returns `true` if the response waits.
    fn is_waiting(&self, stream: u32) -> bool;

    /// Headers, body and trailers that the client was given.
    fn given(&self, stream: u32) -> (Headers, Vec<u8>, Headers);

    /// Headers of the request that the application was sent.
    fn request(&self, stream: u32) -> Headers;

    /// The stream is over.
    fn end(&mut self, stream: u32);

    /// Replies to a call.
    fn reply(&mut self, token: u32, reply: &Response);

    /// Calls that have no reply, oldest first.
    fn calls(&self) -> Vec<RecordedCall>;

    /// A tick, if the filter wants any.
    fn tick(&mut self);

    /// The configuration ends.
    fn stop(&mut self);

    /// Time passes.
    fn wait_ms(&self, ms: u64);

    /// From here on that kind of call of the filter's is refused with that status of proxy-wasm.
    fn refuse(&self, refused: Option<(&'static str, u32)>);

    /// The counters, by name.
    fn counters(&self) -> BTreeMap<String, u64>;

    /// Lines of the log.
    fn log(&self) -> Vec<String>;

    /// What was in the batches.
    fn observed(&self) -> Observed;
}

/// A gateway with the filter in it.
pub(crate) struct Gateway<E> {
    pub(crate) envoy: E,
    requests: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    stream: u32,
    /// What the application was sent.
    passed: Vec<u8>,
    /// The application's response has come whole.
    whole: bool,
    over: bool,
}

impl<E: Envoy> Gateway<E> {
    /// Starts with the filter configured and its first copy of the shares; `overrides` is merged into the document,
    /// `share` is the canary's in percent.
    pub(crate) fn start(overrides: &str, share: u32) -> Self {
        let mut gateway = Self::without_shares(overrides);
        gateway.tick();
        gateway.set_share(share);
        gateway
    }

    /// Starts with the filter configured, before it knows a share.
    pub(crate) fn without_shares(overrides: &str) -> Self {
        let mut document: serde_json::Value = serde_json::from_str(overrides).unwrap();
        document["salt"] = "perch-frozen-vectors".into();
        if document.get("labels").is_none() {
            document["labels"] = serde_json::json!(LABELS);
        }
        let (envoy, accepted) = E::start(&document.to_string());
        assert!(accepted, "{:?}", envoy.log());
        Self { envoy, requests: Vec::new() }
    }

    /// Configures the filter: whether it was accepted, and the log.
    pub(crate) fn configure(json: &str) -> (bool, Vec<String>) {
        let (envoy, accepted) = E::start(json);
        (accepted, envoy.log())
    }

    /// The share of the canary, in percent.
    pub(crate) fn set_share(&mut self, percent: u32) {
        self.envoy.set_share(percent);
    }

    /// Sends a request as far as it goes; its number.
    pub(crate) fn send(&mut self, request: &Request) -> usize {
        let stream = 100 + u32::try_from(self.requests.len()).unwrap();
        self.requests.push(Sent { stream, passed: Vec::new(), whole: false, over: false });
        let sent = request.cut.map_or(request.body.as_slice(), |cut| &request.body[..cut]);
        let whole = sent.len() == request.body.len();
        let end = whole && request.body.is_empty() && !request.trailers;
        self.envoy.request_headers(stream, request.headers.clone(), end);
        if !end {
            let mut chunks: Vec<&[u8]> = sent.chunks(7).collect();
            // As HTTP/1.1 in Envoy: the end comes as an empty chunk of its own.
            if whole && !request.trailers {
                chunks.push(&[]);
            }
            let last = chunks.len();
            for (at, chunk) in chunks.into_iter().enumerate() {
                self.envoy.request_body(stream, chunk, whole && !request.trailers && at + 1 == last);
                self.requests.last_mut().unwrap().passed.extend_from_slice(chunk);
            }
            if whole && request.trailers {
                self.envoy.request_trailers(stream);
            }
        }
        self.requests.len() - 1
    }

    /// The rest of a request that was cut, in one piece.
    pub(crate) fn send_rest(&mut self, index: usize, rest: &[u8]) {
        self.envoy.request_body(self.requests[index].stream, rest, true);
    }

    /// The application responds.
    pub(crate) fn respond(&mut self, index: usize, response: &Response) {
        self.begin(index, response);
        self.pass(index, &response.body, true, response.trailers.is_some());
    }

    /// The application's response begins, and half of its body comes.
    pub(crate) fn respond_half(&mut self, index: usize, response: &Response) {
        self.begin(index, response);
        self.pass(index, &response.body[..response.body.len() / 2], false, false);
    }

    fn begin(&mut self, index: usize, response: &Response) {
        // A response without a body ends with its headers.
        let end = response.body.is_empty() && response.trailers.is_none();
        let trailers = response.trailers.clone().unwrap_or_default();
        self.envoy.response_headers(self.requests[index].stream, response.headers.clone(), trailers, end);
    }

    fn pass(&mut self, index: usize, body: &[u8], whole: bool, trailers: bool) {
        self.requests[index].whole = whole;
        let stream = self.requests[index].stream;
        let mut chunks: Vec<&[u8]> = body.chunks(9).collect();
        let ends = whole && !trailers && !chunks.is_empty();
        if ends {
            chunks.push(&[]);
        }
        let last = chunks.len();
        for (at, chunk) in chunks.into_iter().enumerate() {
            self.envoy.response_body(stream, chunk, ends && at + 1 == last);
        }
        if whole && trailers {
            self.envoy.response_trailers(stream);
        }
    }

    /// Replies to a call.
    pub(crate) fn reply(&mut self, token: u32, reply: &Response) {
        self.envoy.reply(token, reply);
    }

    /// A tick, if the filter wants any.
    pub(crate) fn tick(&mut self) {
        self.envoy.tick();
    }

    /// The stream is over.
    pub(crate) fn end(&mut self, index: usize) {
        if !std::mem::replace(&mut self.requests[index].over, true) {
            self.envoy.end(self.requests[index].stream);
        }
    }

    /// The configuration ends.
    pub(crate) fn stop(&mut self) {
        self.envoy.stop();
    }

    /// Time passes.
    pub(crate) fn wait_ms(&self, ms: u64) {
        self.envoy.wait_ms(ms);
    }

    /// From here on the host refuses that kind of call with that status.
    pub(crate) fn refuse(&self, kind: &'static str, status: u32) {
        self.envoy.refuse(Some((kind, status)));
    }

    /// The host refuses nothing any more.
    pub(crate) fn allow(&self) {
        self.envoy.refuse(None);
    }

    /// Calls to the scorer that have no reply, oldest first.
    pub(crate) fn calls(&self) -> Vec<RecordedCall> {
        self.envoy.calls().into_iter().filter(|call| call.cluster != ADMIN_CLUSTER).collect()
    }

    /// Calls to a cluster that have no reply, oldest first.
    pub(crate) fn calls_to(&self, cluster: &str) -> Vec<RecordedCall> {
        self.envoy.calls().into_iter().filter(|call| call.cluster == cluster).collect()
    }

    /// Returns `true` if the response waits.
    pub(crate) fn is_waiting(&self, index: usize) -> bool {
        !self.requests[index].over && self.envoy.is_waiting(self.requests[index].stream)
    }

    /// What the application was sent of the request's body.
    pub(crate) fn passed(&self, index: usize) -> &[u8] {
        &self.requests[index].passed
    }

    /// A header of the request that the application was sent.
    pub(crate) fn request_header(&self, index: usize, name: &str) -> Option<String> {
        self.envoy.request(self.requests[index].stream).get(name)
    }

    /// Headers, body and trailers that the client was given.
    pub(crate) fn given(&self, index: usize) -> (Headers, Vec<u8>, Headers) {
        self.envoy.given(self.requests[index].stream)
    }

    /// The `x-perch-` headers that the client was given, sorted.
    pub(crate) fn ours(&self, index: usize) -> Vec<(String, String)> {
        let mut ours: Vec<_> =
            self.given(index).0.texts().into_iter().filter(|(name, _)| name.starts_with("x-perch-")).collect();
        ours.sort();
        ours
    }

    /// A counter.
    pub(crate) fn count(&self, name: &str) -> u64 {
        *self.envoy.counters().get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// All counters.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.envoy.counters()
    }

    /// The batch that was sent last, which gets a result that fits.
    pub(crate) fn batch<T>(&mut self, see: impl FnOnce(Batch<'_>) -> T) -> T {
        self.tick();
        let call = self.calls_to(OBSERVE_CLUSTER).pop().expect("a batch");
        let seen = see(Batch::parse(&call.body).unwrap());
        let reply = judge(&call);
        self.reply(call.token, &reply);
        seen
    }

    /// Every intercepted request has one outcome, and every None its reason.
    pub(crate) fn assert_accounts(&mut self) {
        self.tick();
        assert_eq!(self.sum("perch_intercepted_total"), self.sum("perch_observation_total."));
        assert_eq!(self.sum("lm_suggest_compare_total.agree.None"), self.sum("perch_not_compared_total."));
    }

    /// Every observation went out in one batch, and every item in it is counted once.
    pub(crate) fn assert_all_compared(&self) {
        let Observed { observations, items } = self.envoy.observed();
        assert_eq!(self.sum("perch_observation_total.outcome.observed"), observations);
        assert_eq!(self.sum("lm_suggest_compare_total.") + self.sum("perch_compare_abstained_total."), items);
    }

    pub(crate) fn sum(&self, prefix: &str) -> u64 {
        self.counters().iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
    }

    /// Ends everything: replies to all calls, lets time pass, ends all streams.
    pub(crate) fn settle(&mut self) {
        self.allow();
        self.reply_to_all();
        let waits = |sent: &Sent| sent.whole && !sent.over && self.envoy.is_waiting(sent.stream);
        assert!(!self.requests.iter().any(waits), "no whole response waits");
        for index in 0..self.requests.len() {
            self.end(index);
        }
        self.reply_to_all();
    }

    fn reply_to_all(&mut self) {
        for _ in 0..6 {
            self.tick();
            for call in self.envoy.calls() {
                let reply = judge(&call);
                self.reply(call.token, &reply);
            }
            self.wait_ms(10_000);
        }
    }
}

/// What a scorer replies to a batch that finds both responses to agree; a live call is late.
pub(crate) fn judge(call: &RecordedCall) -> Response {
    if call.cluster != OBSERVE_CLUSTER {
        return Response::of(504, &[], b"upstream request timeout");
    }
    let batch = Batch::parse(&call.body).unwrap();
    let mut result = BatchResult { version: batch_result::VERSION, ..BatchResult::default() };
    for seen in &batch.observations {
        result.observations += 1;
        if !seen.success() {
            continue;
        }
        if seen.assigned == Arm::Baseline {
            result.available += 1;
        }
        match response::read(seen.given().1, &batch.schema) {
            Ok(items) => result.agree_true += u32::try_from(items.len()).unwrap(),
            Err(_) => *result.not_compared.entry(NotCompared::Unreadable).or_default() += 1,
        }
    }
    Response::of(200, &[("x-perch-scorer", "1")], &serde_json::to_vec(&result).unwrap())
}
