//! A played host: Envoy as far as the two plugins see it, with its order of callbacks, its puttings-off until a callback
//! has returned, and, where a test asks for it, its bad days.

mod host;
mod plan;

pub(crate) use host::{CallSeen, PlayedHost};
pub(crate) use plan::{any_plan, any_step};

use std::collections::BTreeMap;

use contract::answer;
use contract::batch_result::{self, BatchResult};
use contract::frame::Batch;
use contract::names::{Agree, NotCompared};
use filter::plugin::MODEL_DETAILS;
use filter::plugin::host::Flow;
use filter::plugin::worker::Worker;
use host::{Action, Headers};

/// Root context of the observe plugin.
pub(crate) const OBSERVE: u32 = 1;
/// Root context of the model plugin.
pub(crate) const MODEL: u32 = 2;
const OBSERVE_CLUSTER: &str = "perch_scorer_observe";

/// A client's request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    headers: Headers,
    body: Vec<u8>,
    canary: bool,
    /// Only so much of the body comes.
    cut: Option<usize>,
    trailers: bool,
}

impl Request {
    /// From a user, with a body.
    pub(crate) fn of(user: &str, body: &[u8]) -> Self {
        let mut headers = Headers::of(&[(":method", "POST"), (":path", "/ml/suggestions"), ("x-user-id", user)]);
        headers.set("content-length", &body.len().to_string());
        Self { headers, body: body.to_vec(), canary: false, cut: None, trailers: false }
    }

    /// Envoy's matcher runs the model plugin for it.
    pub(crate) fn canary(mut self) -> Self {
        self.canary = true;
        self
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

/// An answer to a call of the filter's.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    headers: Headers,
    body: Vec<u8>,
}

impl Reply {
    /// An answer.
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Self {
        let mut all = Headers::of(headers);
        all.set(":status", &status.to_string());
        Self { headers: all, body: body.to_vec() }
    }

    /// None: the connection broke.
    pub(crate) fn failed() -> Self {
        Self { headers: Headers::default(), body: Vec::new() }
    }
}

/// A gateway with both plugins in one VM.
pub(crate) struct Gateway {
    worker: Worker,
    host: PlayedHost,
    requests: Vec<Sent>,
    next_context: u32,
}

#[derive(Debug)]
struct Sent {
    observe: u32,
    model: Option<u32>,
    over: bool,
}

impl Gateway {
    /// Starts with both plugins configured; `overrides` is merged into the document.
    pub(crate) fn start(overrides: &str) -> Self {
        let mut gateway = Self::bare();
        let mut document: serde_json::Value = serde_json::from_str(overrides).unwrap();
        document["salt"] = "perch-frozen-vectors".into();
        for (root, role) in [(OBSERVE, "observe"), (MODEL, "model")] {
            document["role"] = role.into();
            assert!(gateway.configured(root, &document.to_string()), "{:?}", gateway.host.log());
        }
        gateway
    }

    /// Configures a single plugin: whether it was accepted, and the log.
    pub(crate) fn configure(json: &str) -> (bool, Vec<String>) {
        let mut gateway = Self::bare();
        let accepted = gateway.configured(OBSERVE, json);
        (accepted, gateway.host.log())
    }

    fn bare() -> Self {
        Self { worker: Worker::default(), host: PlayedHost::default(), requests: Vec::new(), next_context: 100 }
    }

    fn configured(&mut self, root: u32, json: &str) -> bool {
        self.host.enter(root);
        self.host.set_chunk(json.as_bytes());
        self.worker.created(root, 0);
        self.worker.configured(&self.host, root, json.len())
    }

    /// Sends a request as far as it goes; its number.
    pub(crate) fn send(&mut self, request: &Request) -> usize {
        let observe = self.context();
        let index = self.requests.len();
        self.requests.push(Sent { observe, model: None, over: false });
        self.host.stream(observe, request.headers.clone());
        self.worker.created(observe, OBSERVE);
        let sent = request.cut.map_or(request.body.as_slice(), |cut| &request.body[..cut]);
        let whole = sent.len() == request.body.len();
        let end = whole && request.body.is_empty() && !request.trailers;
        self.host.enter(observe);
        let flow = self.worker.request_headers(&self.host, observe, end);
        self.after();
        let mut flow = self.flow(observe, flow);
        if !end {
            flow = self.pass_body(observe, sent, whole, request.trailers, flow);
        }
        let bucket = self.bucket(index).is_some();
        if flow == Flow::Continue && request.canary && bucket {
            let model = self.context();
            self.requests[index].model = Some(model);
            self.host.same_stream(model, observe);
            self.worker.created(model, MODEL);
            self.host.enter(model);
            let flow = self.worker.request_headers(&self.host, model, end);
            self.after();
            let flow = self.flow(model, flow);
            if !end {
                self.pass_body(model, sent, whole, request.trailers, flow);
            }
        }
        index
    }

    fn pass_body(&mut self, context: u32, sent: &[u8], whole: bool, trailers: bool, begun: Flow) -> Flow {
        let mut flow = begun;
        let mut chunks: Vec<&[u8]> = sent.chunks(7).collect();
        // As HTTP/1.1 in Envoy: the end comes as an empty chunk of its own.
        if whole && !trailers {
            chunks.push(&[]);
        }
        let last = chunks.len();
        for (at, chunk) in chunks.into_iter().enumerate() {
            let end = whole && !trailers && at + 1 == last;
            self.host.enter(context);
            self.host.set_chunk(chunk);
            let said = self.worker.request_body(&self.host, context, chunk.len(), end);
            self.after();
            flow = self.flow(context, said);
        }
        if whole && trailers {
            self.host.enter(context);
            let said = self.worker.request_trailers(&self.host, context);
            self.after();
            flow = self.flow(context, said);
        }
        flow
    }

    fn flow(&self, context: u32, flow: Flow) -> Flow {
        self.host.set_held(context, flow == Flow::Hold);
        flow
    }

    /// The rules answer.
    pub(crate) fn answer(&mut self, index: usize, status: u16, headers: &[(&str, &str)], body: &[u8]) {
        let mut all = Headers::of(headers);
        all.set(":status", &status.to_string());
        self.deliver(index, all, "via_upstream", body, true);
    }

    /// The answer's first half, and then the stream ends.
    pub(crate) fn break_off(&mut self, index: usize, body: &[u8]) {
        let headers = Headers::of(&[(":status", "200")]);
        self.deliver(index, headers, "via_upstream", &body[..body.len() / 2], false);
        self.end(index);
    }

    fn deliver(&mut self, index: usize, headers: Headers, details: &str, body: &[u8], whole: bool) {
        let (observe, model) = (self.requests[index].observe, self.requests[index].model);
        self.host.answer(observe, headers, details);
        // Answers pass the filters in reverse.
        for context in model.into_iter().chain([observe]) {
            self.host.enter(context);
            // An answer without a body ends with its headers.
            self.worker.answer_headers(&self.host, context, whole && body.is_empty());
            self.after();
        }
        for context in model.into_iter().chain([observe]) {
            for chunk in body.chunks(9) {
                self.host.enter(context);
                self.host.set_chunk(chunk);
                self.worker.answer_body(&self.host, context, chunk.len(), false);
                self.after();
            }
            if whole && !body.is_empty() {
                self.host.enter(context);
                self.host.set_chunk(&[]);
                self.worker.answer_body(&self.host, context, 0, true);
                self.after();
            }
        }
    }

    /// Replies to a call.
    pub(crate) fn reply(&mut self, token: u32, reply: &Reply) {
        let root = self
            .host
            .take_call(token)
            .map_or(MODEL, |call| if call.cluster == OBSERVE_CLUSTER { OBSERVE } else { MODEL });
        self.host.enter(root);
        self.host.set_reply(reply.headers.clone());
        self.host.set_chunk(&reply.body);
        self.worker.call_answered(&self.host, root, token, reply.headers.len(), reply.body.len());
        self.after();
    }

    /// What Envoy put off until the callback had returned.
    fn after(&mut self) {
        for action in self.host.take_actions() {
            match action {
                Action::Resume(context) => self.host.set_held(context, false),
                Action::Respond { context, headers, body } => {
                    self.host.set_held(context, false);
                    let Some(index) = self.requests.iter().position(|sent| sent.model == Some(context)) else {
                        continue;
                    };
                    let mut headers = headers;
                    headers.set(":status", "200");
                    self.host.set_answered(self.requests[index].observe, &body);
                    self.deliver(index, headers, MODEL_DETAILS, &body, true);
                }
            }
        }
    }

    /// Both root contexts tick, if they are set to.
    pub(crate) fn tick(&mut self) {
        for root in [OBSERVE, MODEL] {
            if self.period(root) > 0 {
                self.host.enter(root);
                self.worker.tick(&self.host, root);
                self.after();
            }
        }
    }

    /// The stream is over.
    pub(crate) fn end(&mut self, index: usize) {
        if std::mem::replace(&mut self.requests[index].over, true) {
            return;
        }
        let (observe, model) = (self.requests[index].observe, self.requests[index].model);
        for context in [Some(observe), model].into_iter().flatten() {
            self.host.enter(context);
            self.worker.deleted(&self.host, context);
            self.after();
            self.host.drop_stream(context);
        }
    }

    /// A root context ends.
    pub(crate) fn stop(&mut self, root: u32) {
        self.host.enter(root);
        self.worker.deleted(&self.host, root);
        self.after();
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
    pub(crate) fn moody(&self, statuses: Vec<u32>) {
        self.host.moody(statuses);
    }

    /// Calls that nobody has replied to, oldest first.
    pub(crate) fn calls(&self) -> Vec<CallSeen> {
        self.host.calls()
    }

    /// Is the request held by one of the plugins?
    pub(crate) fn held(&self, index: usize) -> bool {
        let sent = &self.requests[index];
        self.host.held(sent.observe) || sent.model.is_some_and(|model| self.host.held(model))
    }

    /// No request that is not over is held.
    pub(crate) fn nobody_held(&self) -> bool {
        (0..self.requests.len()).all(|index| self.requests[index].over || !self.held(index))
    }

    /// The bucket header that upstreams see.
    pub(crate) fn bucket(&self, index: usize) -> Option<String> {
        self.host.request_header(self.requests[index].observe, "x-perch-bucket")
    }

    /// The `x-perch-` headers that the client sees, sorted.
    pub(crate) fn told(&self, index: usize) -> Vec<(String, String)> {
        self.host.told(self.requests[index].observe)
    }

    /// The body that the model plugin answered with.
    pub(crate) fn answered(&self, index: usize) -> Option<Vec<u8>> {
        self.host.answered(self.requests[index].observe)
    }

    /// How often the root context ticks, in ms; 0 for not at all.
    pub(crate) fn period(&self, root: u32) -> u32 {
        self.host.period(root)
    }

    /// A counter.
    pub(crate) fn count(&self, name: &str) -> u64 {
        *self.host.counters().get(name).unwrap_or_else(|| panic!("no counter {name}"))
    }

    /// All counters.
    pub(crate) fn counters(&self) -> BTreeMap<String, u64> {
        self.host.counters()
    }

    /// Every intercepted request has one outcome, and every None its reason.
    pub(crate) fn assert_accounts(&mut self) {
        self.tick();
        assert_eq!(self.sum("perch_intercepted_total"), self.sum("perch_observation_total."));
        assert_eq!(self.sum("lm_suggest_compare_total.agree.None"), self.sum("perch_not_compared_total."));
    }

    /// Every observation went out in one batch, and every item in it has one verdict.
    pub(crate) fn assert_all_compared(&self) {
        let (observations, items) = self.host.observed();
        assert_eq!(self.sum("perch_observation_total.outcome.observed"), observations);
        assert_eq!(self.sum("lm_suggest_compare_total."), items);
    }

    fn sum(&self, prefix: &str) -> u64 {
        self.counters().iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count).sum()
    }

    /// Ends everything: replies to all calls, lets time pass, ends all streams.
    pub(crate) fn settle(&mut self) {
        self.allow();
        for _ in 0..6 {
            self.tick();
            for call in self.calls() {
                let reply = self.judge(&call);
                self.reply(call.token, &reply);
            }
            self.wait_ms(10_000);
        }
        assert!(self.nobody_held());
        for index in 0..self.requests.len() {
            self.end(index);
        }
        for _ in 0..6 {
            self.tick();
            for call in self.calls() {
                let reply = self.judge(&call);
                self.reply(call.token, &reply);
            }
        }
    }

    /// What a scorer replies that finds each side to agree.
    fn judge(&self, call: &CallSeen) -> Reply {
        if call.cluster != OBSERVE_CLUSTER {
            return Reply::of(504, &[], b"upstream request timeout");
        }
        let batch = Batch::parse(&call.body).unwrap();
        let mut verdict = BatchResult { version: batch_result::VERSION, ..BatchResult::default() };
        for seen in &batch.observations {
            verdict.observations += 1;
            if !(200..=299).contains(&seen.status) {
                continue;
            }
            match answer::read(seen.answer, &batch.schema) {
                Ok(items) => {
                    verdict.agree_true += u32::try_from(items.len()).unwrap();
                    verdict.labels.extend(items.iter().map(|_| batch_result::LabelCount {
                        label: "coffee".into(),
                        agree: Agree::True,
                        items: 1,
                    }));
                }
                Err(_) => *verdict.none.entry(NotCompared::Unreadable).or_default() += 1,
            }
        }
        Reply::of(200, &[("x-perch-scorer", "1")], &serde_json::to_vec(&verdict).unwrap())
    }

    fn context(&mut self) -> u32 {
        self.next_context += 1;
        self.next_context
    }
}
