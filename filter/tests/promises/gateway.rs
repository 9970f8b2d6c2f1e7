//! A fake host: Envoy as far as the filter sees it, with its order of callbacks, its holding back until a callback has
//! returned, and, where a test asks for it, any status for any call.

mod host;
mod plan;

pub(crate) use host::{CallSeen, FakeHost, Headers};
pub(crate) use plan::{any_plan, any_step};

use std::collections::BTreeMap;

use contract::answer;
use contract::batch_result::{self, BatchResult};
use contract::frame::Batch;
use contract::names::{Arm, NotCompared};
use contract::switch::{BETA_KEY, OBSERVE_KEY, RUNTIME_KEY};
use filter::plugin::host::Flow;
use filter::plugin::worker::Worker;

/// The filter's root context.
pub(crate) const ROOT: u32 = 1;
pub(crate) const OBSERVE_CLUSTER: &str = "perch_scorer_observe";
pub(crate) const LIVE_CLUSTER: &str = "perch_scorer_live";
pub(crate) const ADMIN_CLUSTER: &str = "perch_admin";

/// A client's request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    headers: Headers,
    body: Vec<u8>,
    /// Only so much of the body comes.
    cut: Option<usize>,
    trailers: bool,
}

impl Request {
    /// From a user, with a body.
    pub(crate) fn of(user: &str, body: &[u8]) -> Self {
        let mut headers = Headers::of(&[(":method", "POST"), (":path", "/ml/suggestions"), ("x-user-id", user)]);
        headers.set("content-length", &body.len().to_string());
        Self { headers, body: body.to_vec(), cut: None, trailers: false }
    }

    /// With a further header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.set(name, value);
        self
    }

    /// Without one.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    /// Only so much of the body comes.
    pub(crate) fn cut(mut self, length: usize) -> Self {
        self.cut = Some(length);
        self
    }

    /// The body ends with trailers.
    pub(crate) fn trailed(mut self) -> Self {
        self.trailers = true;
        self
    }
}

/// A response, of the application or to a call of the filter's.
#[derive(Debug, Clone)]
pub(crate) struct Response {
    headers: Headers,
    body: Vec<u8>,
    trailers: Option<Headers>,
}

impl Response {
    /// One.
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut all = Headers::of(headers);
        all.set(":status", &status.to_string());
        Self { headers: all, body: body.to_vec(), trailers: None }
    }

    /// JSON with a status of 200.
    pub(crate) fn json(body: &[u8]) -> Self {
        Self::of(200, &[("content-type", "application/json")], body)
    }

    /// With a further header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.set(name, value);
        self
    }

    /// With trailers.
    pub(crate) fn trailed(mut self, trailers: &[(&str, &str)]) -> Self {
        self.trailers = Some(Headers::of(trailers));
        self
    }

    /// None: the connection broke.
    pub(crate) fn failed() -> Self {
        Self { headers: Headers::default(), body: Vec::new(), trailers: None }
    }
}

/// A gateway with the filter in a VM.
pub(crate) struct Gateway {
    worker: Worker,
    host: FakeHost,
    requests: Vec<Sent>,
}

#[derive(Debug)]
struct Sent {
    context: u32,
    /// What the application was sent.
    passed: Vec<u8>,
    held: bool,
    /// The application's response has come whole.
    whole: bool,
    over: bool,
}

impl Gateway {
    /// Starts with the filter configured and its first copy of the shares; `overrides` is merged into the document,
    /// `share` is the canary's in percent.
    pub(crate) fn start(overrides: &str, share: u32) -> Self {
        let mut gateway = Self::without_shares(overrides);
        gateway.tick();
        gateway.tell_shares(share);
        gateway
    }

    /// Starts with the filter configured, before it knows a share.
    pub(crate) fn without_shares(overrides: &str) -> Self {
        let mut gateway = Self::bare();
        let mut document: serde_json::Value = serde_json::from_str(overrides).unwrap();
        document["salt"] = "perch-frozen-vectors".into();
        assert!(gateway.configured(&document.to_string()), "{:?}", gateway.host.log());
        gateway
    }

    /// Configures the filter: whether it was accepted, and the log.
    pub(crate) fn configure(json: &str) -> (bool, Vec<String>) {
        let mut gateway = Self::bare();
        let accepted = gateway.configured(json);
        (accepted, gateway.host.log())
    }

    fn bare() -> Self {
        Self { worker: Worker::default(), host: FakeHost::default(), requests: Vec::new() }
    }

    fn configured(&mut self, json: &str) -> bool {
        self.host.enter(ROOT);
        self.host.set_chunk(json.as_bytes());
        self.worker.created(ROOT, 0);
        self.worker.configured(&self.host, ROOT, json.len())
    }

    /// The admin interface answers what the filter has asked, if it has.
    pub(crate) fn tell_shares(&mut self, share: u32) {
        let entry = |key: &str, value: u32| format!(r#""{key}":{{"final_value":"{value}"}}"#);
        let entries = [entry(RUNTIME_KEY, share), entry(BETA_KEY, 0), entry(OBSERVE_KEY, 100)].join(",");
        let listing = format!(r#"{{"layers":[],"entries":{{{entries}}}}}"#);
        if let Some(call) = self.calls_to(ADMIN_CLUSTER).pop() {
            self.reply(call.token, &Response::of(200, &[], listing.as_bytes()));
        }
    }

    /// Sends a request as far as it goes; its number.
    pub(crate) fn send(&mut self, request: &Request) -> usize {
        let context = 100 + u32::try_from(self.requests.len()).unwrap();
        self.requests.push(Sent { context, passed: Vec::new(), held: false, whole: false, over: false });
        self.host.stream(context, request.headers.clone());
        self.worker.created(context, ROOT);
        let sent = request.cut.map_or(request.body.as_slice(), |cut| &request.body[..cut]);
        let whole = sent.len() == request.body.len();
        let end = whole && request.body.is_empty() && !request.trailers;
        self.host.enter(context);
        self.worker.request_headers(&self.host, context, end);
        if !end {
            let mut chunks: Vec<&[u8]> = sent.chunks(7).collect();
            // As HTTP/1.1 in Envoy: the end comes as an empty chunk of its own.
            if whole && !request.trailers {
                chunks.push(&[]);
            }
            let last = chunks.len();
            for (at, chunk) in chunks.into_iter().enumerate() {
                self.host.enter(context);
                self.host.set_chunk(chunk);
                let end = whole && !request.trailers && at + 1 == last;
                self.worker.request_body(&self.host, context, chunk.len(), end);
                self.requests.last_mut().unwrap().passed.extend_from_slice(chunk);
            }
            if whole && request.trailers {
                self.host.enter(context);
                self.worker.request_trailers(&self.host, context);
            }
        }
        self.requests.len() - 1
    }

    /// The rest of a request that was cut, in one piece.
    pub(crate) fn send_rest(&mut self, index: usize, rest: &[u8]) {
        let context = self.requests[index].context;
        self.host.enter(context);
        self.host.set_chunk(rest);
        self.worker.request_body(&self.host, context, rest.len(), true);
    }

    /// The application responds.
    pub(crate) fn respond(&mut self, index: usize, response: &Response) {
        self.begin(index, response);
        self.pass(index, &response.body.clone(), true, response.trailers.is_some());
    }

    /// The application's response begins, and half of its body comes.
    pub(crate) fn respond_half(&mut self, index: usize, response: &Response) {
        self.begin(index, response);
        self.pass(index, &response.body[..response.body.len() / 2], false, false);
    }

    fn begin(&mut self, index: usize, response: &Response) {
        let context = self.requests[index].context;
        self.host.respond(context, response.headers.clone(), response.trailers.clone().unwrap_or_default());
        self.host.enter(context);
        // A response without a body ends with its headers.
        let end = response.body.is_empty() && response.trailers.is_none();
        let flow = self.worker.response_headers(&self.host, context, end);
        self.flows(index, flow);
    }

    fn pass(&mut self, index: usize, body: &[u8], whole: bool, trailers: bool) {
        self.requests[index].whole = whole;
        let context = self.requests[index].context;
        let mut chunks: Vec<&[u8]> = body.chunks(9).collect();
        let ends = whole && !trailers && !chunks.is_empty();
        if ends {
            chunks.push(&[]);
        }
        let last = chunks.len();
        for (at, chunk) in chunks.into_iter().enumerate() {
            self.host.enter(context);
            let length = self.host.comes(context, chunk);
            // What does not wait is shown by itself, what waits with all that came.
            let flow = self.worker.response_body(&self.host, context, length, ends && at + 1 == last);
            self.flows(index, flow);
        }
        if whole && trailers {
            self.host.enter(context);
            let flow = self.worker.response_trailers(&self.host, context);
            self.flows(index, flow);
        }
    }

    fn flows(&mut self, index: usize, flow: Flow) {
        let context = self.requests[index].context;
        self.requests[index].held = flow == Flow::Hold;
        if let Flow::Replace(replacement) = &flow {
            self.host.enter(context);
            replacement.apply(&self.host);
        }
        if flow != Flow::Hold {
            self.host.goes(context);
        }
    }

    /// Replies to a call.
    pub(crate) fn reply(&mut self, token: u32, reply: &Response) {
        self.host.take_call(token);
        self.host.enter(ROOT);
        self.host.set_reply(reply.headers.clone());
        self.host.set_chunk(&reply.body);
        let goes_on = self.worker.call_over(&self.host, ROOT, token, reply.headers.len(), reply.body.len());
        if let Some((context, flow)) = goes_on {
            let index = self.requests.iter().position(|sent| sent.context == context).unwrap();
            assert!(self.requests[index].held, "what goes on must have waited");
            self.flows(index, flow);
        }
    }

    /// The root context ticks, if it is set to.
    pub(crate) fn tick(&mut self) {
        if self.period() > 0 {
            self.host.enter(ROOT);
            self.worker.tick(&self.host, ROOT);
        }
    }

    /// The stream is over.
    pub(crate) fn end(&mut self, index: usize) {
        if std::mem::replace(&mut self.requests[index].over, true) {
            return;
        }
        let context = self.requests[index].context;
        self.host.enter(context);
        self.worker.deleted(&self.host, context);
        self.host.drop_stream(context);
    }

    /// The root context ends.
    pub(crate) fn stop(&mut self) {
        self.host.enter(ROOT);
        self.worker.deleted(&self.host, ROOT);
    }

    /// Time passes.
    pub(crate) fn wait_ms(&self, ms: u64) {
        self.host.wait_ms(ms);
    }

    /// From here on the host refuses that kind of call with that status.
    pub(crate) fn refuse(&self, kind: &'static str, status: u32) {
        self.host.refuse(Some((kind, status)));
    }

    /// The host refuses nothing any more.
    pub(crate) fn allow(&self) {
        self.host.refuse(None);
    }

    /// Every host call returns the next of these statuses, over and over.
    pub(crate) fn statuses(&self, statuses: Vec<u32>) {
        self.host.moody(statuses);
    }

    /// Calls to the scorer that have no reply, oldest first.
    pub(crate) fn calls(&self) -> Vec<CallSeen> {
        self.host.calls().into_iter().filter(|call| call.cluster != ADMIN_CLUSTER).collect()
    }

    /// Calls to a cluster that have no reply, oldest first.
    pub(crate) fn calls_to(&self, cluster: &str) -> Vec<CallSeen> {
        self.host.calls().into_iter().filter(|call| call.cluster == cluster).collect()
    }

    /// Returns `true` if the response waits.
    pub(crate) fn held(&self, index: usize) -> bool {
        self.requests[index].held
    }

    /// What the application was sent of the request's body.
    pub(crate) fn passed(&self, index: usize) -> &[u8] {
        &self.requests[index].passed
    }

    /// A header of the request that the application was sent.
    pub(crate) fn request_header(&self, index: usize, name: &str) -> Option<String> {
        self.host.request_headers(self.requests[index].context).get(name)
    }

    /// Headers, body and trailers that the client was given.
    pub(crate) fn given(&self, index: usize) -> (Headers, Vec<u8>, Headers) {
        self.host.given(self.requests[index].context)
    }

    /// The `x-perch-` headers that the client was given, sorted.
    pub(crate) fn ours(&self, index: usize) -> Vec<(String, String)> {
        let mut ours: Vec<_> =
            self.given(index).0.texts().into_iter().filter(|(name, _)| name.starts_with("x-perch-")).collect();
        ours.sort();
        ours
    }

    /// How often the root context ticks, in ms; 0 for not at all.
    pub(crate) fn period(&self) -> u32 {
        self.host.period()
    }

    /// A counter.
    pub(crate) fn count(&self, name: &str) -> u64 {
        *self.host.counters().get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// All counters.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.host.counters()
    }

    /// Lines of the log.
    pub(crate) fn log(&self) -> Vec<String> {
        self.host.log()
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
        let (observations, items) = self.host.observed();
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
        assert!(self.requests.iter().all(|sent| sent.over || !sent.held || !sent.whole), "no whole response waits");
        for index in 0..self.requests.len() {
            self.end(index);
        }
        self.reply_to_all();
    }

    fn reply_to_all(&mut self) {
        for _ in 0..6 {
            self.tick();
            for call in self.host.calls() {
                let reply = judge(&call);
                self.reply(call.token, &reply);
            }
            self.wait_ms(10_000);
        }
    }
}

/// What a scorer replies to a batch that finds both responses to agree; a live call is late.
pub(crate) fn judge(call: &CallSeen) -> Response {
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
        match answer::read(seen.given().1, &batch.schema) {
            Ok(items) => result.agree_true += u32::try_from(items.len()).unwrap(),
            Err(_) => *result.not_compared.entry(NotCompared::Unreadable).or_default() += 1,
        }
    }
    Response::of(200, &[("x-perch-scorer", "1")], &serde_json::to_vec(&result).unwrap())
}
