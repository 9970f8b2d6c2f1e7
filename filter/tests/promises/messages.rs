//! Requests, responses, and what the filter asks for, as both fakes of Envoy hold them.

use contract::frame::{Batch, PATH};
use contract::response;

/// A header map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

impl Headers {
    pub(crate) fn of(headers: &[(&str, &str)]) -> Self {
        Self(headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect())
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.put(name.as_bytes(), value.as_bytes());
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(found, _)| found != name.as_bytes());
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) {
        self.0.push((name.to_vec(), value.to_vec()));
    }

    pub(crate) fn drop_all(&mut self, name: &[u8]) {
        self.0.retain(|(found, _)| found != name);
    }

    pub(crate) fn borrowed(&self) -> Vec<(&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect()
    }

    pub(crate) fn put(&mut self, name: &[u8], value: &[u8]) {
        self.0.retain(|(found, _)| found != name);
        self.0.push((name.to_vec(), value.to_vec()));
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        let found = self.0.iter().find(|(found, _)| found == name.as_bytes())?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    pub(crate) fn texts(&self) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.0.iter().map(|(name, value)| (text(name), text(value))).collect()
    }
}

/// A call that the filter made.
#[derive(Debug, Clone)]
pub(crate) struct RecordedCall {
    pub(crate) token: u32,
    pub(crate) cluster: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// A client's request.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    /// Only so much of the body comes.
    pub(crate) cut: Option<usize>,
    pub(crate) trailers: bool,
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

    /// With a further header, beside others of that name.
    pub(crate) fn and(mut self, name: &str, value: &str) -> Self {
        self.headers.add(name.as_bytes(), value.as_bytes());
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
    pub(crate) headers: Headers,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<Headers>,
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

/// Observations and served items of batches that the filter tried to send.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) observations: u64,
    pub(crate) items: u64,
}

impl Observed {
    /// Counts a call that is one of a batch.
    pub(crate) fn count(&mut self, path: &str, body: &[u8]) {
        if path != PATH {
            return;
        }
        let batch = Batch::parse(body).unwrap();
        for seen in &batch.observations {
            self.observations += 1;
            if seen.success() {
                let (_, body) = seen.given();
                self.items += response::read(body, &batch.schema).map_or(1, |items| items.len() as u64);
            }
        }
    }
}
