//! A request on its way to the application. It passes on at once, always; its body is copied as it passes where
//! somebody needs it.

use contract::bucket::Bucket;
use contract::headers;
use contract::names::{Arm, Cohort, IdentitySource, PassedThrough};
use contract::trace::{MAX_TRACESTATE_BYTES, TRACEPARENT, TRACESTATE, TraceId};

use super::filter::Filter;
use super::host::{Body, Map, Messages, StreamHost};
use super::stream::{CanaryStream, Stream, Upload};
use crate::config::Config;
use crate::decision::canary::Canary;
use crate::decision::cohort::CohortMatch;
use crate::decision::exchange::Exchange;
use crate::decision::heads::RequestHead;
use crate::decision::identity::{self, Search};
use crate::decision::shares::ShareCopy;
use crate::decision::uploads::NoCopy;
use crate::metrics::Stat;
use crate::pairs::{self, Pairs};
use contract::frame::Encoding;

/// Request headers that the scorer gets besides the bucket and the trace context: what it needs to read the body, and
/// what ties logs together. Cookies and credentials stay behind.
const PASSED_ON: [&[u8]; 4] = [b"content-type", b"content-encoding", b"accept", b"x-request-id"];

/// The headers of the trace context, where it is well formed: one `traceparent` that names a trace, and with it
/// `tracestate` up to [`MAX_TRACESTATE_BYTES`].
fn trace_context(request: Pairs<'_>) -> impl Iterator<Item = (&[u8], &[u8])> {
    let values = move |name: &'static str| {
        request.iter().filter(move |(other, _)| *other == name.as_bytes()).map(|(_, value)| value)
    };
    let mut parents = values(TRACEPARENT);
    let is_known = match (parents.next(), parents.next()) {
        (Some(value), None) => TraceId::from_traceparent(value).is_some(),
        _ => false,
    };
    let state_fits = is_known && values(TRACESTATE).map(<[u8]>::len).sum::<usize>() <= MAX_TRACESTATE_BYTES;
    let is_passed_on = move |name: &[u8]| {
        (is_known && name == TRACEPARENT.as_bytes()) || (state_fits && name == TRACESTATE.as_bytes())
    };
    request.iter().filter(move |(name, _)| is_passed_on(name))
}

/// What a request's headers say.
struct RequestFacts {
    sampled: bool,
    length: Option<usize>,
    user: Option<(Bucket, Cohort, Arm)>,
    from: IdentitySource,
    /// The user may be found in the body; what the headers say of cohorts.
    body: Option<CohortMatch>,
    /// Of the call to the scorer, where there may be one.
    call_headers: Option<Vec<u8>>,
    acceptable: bool,
}

impl RequestFacts {
    /// # Errors
    /// Gives `spare` back where the request is not intercepted.
    fn read(
        host: &impl Messages,
        config: &Config,
        shares: &ShareCopy,
        request: Pairs<'_>,
        mut spare: Vec<u8>,
    ) -> Result<Self, Vec<u8>> {
        let head = RequestHead::read(request);
        if !config.intercept.takes(&head) {
            return Err(spare);
        }
        let property = |path: &[u8], out: &mut Vec<u8>| host.property(path, out).is_ok();
        let named = config.cohorts.matches(request, property);
        let encoded =
            head.content_encoding.is_some_and(|value| Encoding::from_header(Some(value)) != Encoding::Identity);
        let small = head.content_length.is_none_or(|length| length <= config.limits.identity_body_bytes);
        let (user, from, body) = match identity::in_headers(&config.identity, request, &config.salt, property) {
            Search::Found(bucket, from) => {
                let cohort = config.cohorts.of(bucket, named);
                (Some((bucket, cohort, shares.arm(bucket, cohort))), from, None)
            }
            Search::NeedsBody if small && !encoded => (None, IdentitySource::Missing, Some(named)),
            Search::NeedsBody | Search::Missing => (None, IdentitySource::Missing, None),
        };
        let may_be_asked = user.is_some_and(|(_, _, arm)| arm == Arm::Candidate) || (body.is_some() && shares.any());
        let call_headers = if may_be_asked {
            let mut passed: Vec<(&[u8], &[u8])> = Vec::with_capacity(3 + PASSED_ON.len() + 2);
            passed.extend([
                (b":method".as_slice(), head.method),
                (b":path", head.path),
                (b":authority", config.scorer.authority.as_bytes()),
            ]);
            passed.extend(request.iter().filter(|(name, _)| PASSED_ON.contains(name)));
            passed.extend(trace_context(request));
            pairs::write(&mut spare, &passed);
            Some(std::mem::take(&mut spare))
        } else {
            None
        };
        Ok(Self {
            sampled: shares.observes(head.request_id),
            length: head.content_length,
            user,
            from,
            body,
            call_headers,
            acceptable: head.accepts_identity(),
        })
    }
}

impl Filter {
    /// Reads a request's headers; with `end` there is no body. `context` is the stream's number. Returns `None` for a
    /// request that the filter does not intercept.
    pub fn request_headers(&mut self, host: &impl StreamHost, context: u32, end: bool) -> Option<Stream> {
        let spare = self.pool.take();
        let (config, shares) = (&self.config, &self.shares);
        let read = host.headers(Map::Request, &mut self.scratch, |headers| {
            RequestFacts::read(host, config, shares, headers, spare)
        });
        let begun = match read.ok()? {
            Ok(begun) => begun,
            Err(spare) => {
                self.pool.put(spare);
                return None;
            }
        };
        if self.counters.asleep() {
            self.counters.wake(host, true);
        }
        self.counters.count(Stat::Intercepted);
        let now_ns = (self.to_time > 0).then(|| host.now_ns());
        self.to_time = self.to_time.saturating_sub(1);
        let exchange = Exchange::begin(now_ns, begun.sampled, self.config.limits.response_bytes);
        let mut stream = Stream { exchange, upload: None, canary: None, trailers: false };
        if let Some(named) = begun.body.filter(|_| !end) {
            stream.canary = begun.call_headers.map(|call_headers| canary(call_headers, begun.acceptable));
            let limit = self.config.limits.identity_body_bytes;
            stream.upload = Some(Upload { id: self.uploads.begin(self.pool.take()), limit, identity: Some(named) });
            return Some(stream);
        }
        self.counters.count(Stat::Identity(begun.from));
        if let Some((bucket, cohort, arm)) = begun.user {
            self.user_known(host, &mut stream, (bucket, cohort, arm), begun.call_headers, begun.acceptable);
        }
        if end {
            stream.exchange.request_over();
            self.call_candidate(host, context, &mut stream, &[]);
        } else if let Some(canary) = &mut stream.canary {
            let limit = self.config.limits.body_bytes;
            if begun.length.is_some_and(|length| length > limit) {
                canary.canary.pass_through(PassedThrough::RequestTooLarge);
            } else if canary.canary.needs_call() {
                stream.upload = Some(Upload { id: self.uploads.begin(self.pool.take()), limit, identity: None });
            }
        }
        Some(stream)
    }

    /// `length` bytes of a request's body, the last ones where `end` says so.
    pub fn request_body(
        &mut self,
        host: &impl StreamHost,
        context: u32,
        stream: &mut Stream,
        length: usize,
        end: bool,
    ) {
        if let Some(upload) = &stream.upload {
            let read = |out: &mut Vec<u8>| host.body(Body::Request, length, out).is_ok();
            let lost = match self.uploads.append(upload.id, length, read) {
                Ok(copied) if copied <= upload.limit => None,
                Ok(_) => Some(PassedThrough::RequestTooLarge),
                Err(NoCopy::Shed | NoCopy::Unread) => Some(PassedThrough::Shed),
            };
            if let Some(reason) = lost {
                self.give_up(stream, reason);
            }
        }
        if end {
            self.request_over(host, context, stream);
        }
    }

    /// A request's body is whole: it ended, or its trailers came.
    pub fn request_over(&mut self, host: &impl StreamHost, context: u32, stream: &mut Stream) {
        stream.exchange.request_over();
        let Some(upload) = stream.upload.take() else { return };
        let Some(body) = self.uploads.take(upload.id) else {
            self.without_copy(stream, &upload, PassedThrough::Shed);
            return;
        };
        if let Some(named) = upload.identity {
            let bucket = identity::in_body(&self.config.identity, &body, &self.config.salt);
            self.counters.count(Stat::Identity(bucket.map_or(IdentitySource::Missing, |_| IdentitySource::Body)));
            let headers = stream.canary.take().map(|canary| (canary.call_headers, canary.canary.needs_call()));
            if let Some(bucket) = bucket {
                let cohort = self.config.cohorts.of(bucket, named);
                let arm = self.shares.arm(bucket, cohort);
                let (call_headers, acceptable) = headers.unzip();
                self.user_known(host, stream, (bucket, cohort, arm), call_headers, acceptable.unwrap_or(true));
            }
        }
        self.call_candidate(host, context, stream, &body);
        self.pool.put(body);
    }

    /// Of the request no copy will be there: the user is given the baseline.
    pub(super) fn give_up(&mut self, stream: &mut Stream, reason: PassedThrough) {
        if let Some(upload) = stream.upload.take() {
            self.drop_upload(&upload);
            self.without_copy(stream, &upload, reason);
        }
    }

    fn without_copy(&mut self, stream: &mut Stream, upload: &Upload, reason: PassedThrough) {
        if upload.identity.is_some() {
            // The user will not be known any more.
            self.counters.count(Stat::Identity(IdentitySource::Missing));
            stream.canary = None;
        } else if let Some(canary) = &mut stream.canary {
            canary.canary.pass_through(reason);
        }
    }

    fn user_known(
        &mut self,
        host: &impl StreamHost,
        stream: &mut Stream,
        (bucket, cohort, arm): (Bucket, Cohort, Arm),
        call_headers: Option<Vec<u8>>,
        acceptable: bool,
    ) {
        let mut now_ns = None;
        let mut arm = arm;
        if arm == Arm::Candidate {
            let now = host.now_ns();
            now_ns = Some(now);
            if self.shares.stale(now) {
                self.counters.count(Stat::ShareStale);
                arm = Arm::Baseline;
            }
        }
        stream.exchange.identify(bucket, cohort, arm, now_ns);
        match call_headers {
            Some(call_headers) if arm == Arm::Candidate => {
                stream.canary = Some(canary(call_headers, acceptable));
                if self.config.arm_request_header {
                    let _ = host.set_header(Map::Request, headers::ARM, arm.as_str().as_bytes());
                }
            }
            Some(call_headers) => self.pool.put(call_headers),
            None => {}
        }
    }
}

fn canary(call_headers: Vec<u8>, acceptable: bool) -> Box<CanaryStream> {
    let mut canary = Canary::default();
    if !acceptable {
        canary.pass_through(PassedThrough::NotAcceptable);
    }
    Box::new(CanaryStream { canary, call_headers })
}
