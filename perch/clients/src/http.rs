//! One exchange over HTTP, with a deadline and a bound on the body.

use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, RequestBuilder, StatusCode};

use crate::error::ClientError;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Most characters of a refusal that are passed on.
const REFUSAL: usize = 500;

/// A program that is called over HTTP.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    url: String,
    client: Client,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Response {
    /// What was called.
    pub(crate) url: String,
    /// Its status.
    pub(crate) status: StatusCode,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body; bytes that are not UTF-8 are replaced.
    pub(crate) body: String,
}

impl Http {
    /// The program at `url`, e.g. `http://127.0.0.1:9901`, each exchange with which may take `timeout`.
    pub(crate) fn new(url: &str, timeout: Duration) -> Result<Self, ClientError> {
        let client = Client::builder().timeout(timeout).connect_timeout(CONNECT).no_proxy().build();
        Ok(Self { url: url.trim_end_matches('/').to_owned(), client: client.map_err(ClientError::Setup)? })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A request of `path`, which begins with a slash.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends a request and reads a response of at most `limit` bytes, whatever its status.
    pub(crate) async fn send(&self, request: RequestBuilder, limit: usize) -> Result<Response, ClientError> {
        let request = request.build().map_err(|source| ClientError::Address { url: self.url.clone(), source })?;
        let url = request.url().to_string();
        let failed = |source: reqwest::Error| ClientError::Request { url: url.clone(), source: source.without_url() };
        let mut response = self.client.execute(request).await.map_err(failed)?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&part);
            if body.len() > limit {
                return Err(ClientError::Response { url, what: format!("with more than {limit} bytes") });
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Response { url, status, headers, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// As [`Http::send`], for requests to which every status but success is a failure; the body.
    pub(crate) async fn text(&self, request: RequestBuilder, limit: usize) -> Result<String, ClientError> {
        let response = self.send(request, limit).await?;
        if response.status.is_success() {
            return Ok(response.body);
        }
        let reason: String = response.body.trim().chars().take(REFUSAL).collect();
        let separator = if reason.is_empty() { "" } else { ": " };
        Err(ClientError::Response { url: response.url, what: format!("{}{separator}{reason}", response.status) })
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Serves every request with `response`, head and body; where.
    pub(crate) async fn serve(response: impl Into<String>) -> String {
        let (listener, response) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), response.into());
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(response.as_bytes()).await;
            }
        });
        url
    }
}

#[cfg(test)]
mod tests {
    use super::testing::serve;
    use super::*;
    use crate::error::error_chain;

    async fn text(response: &str, limit: usize) -> Result<String, String> {
        let http = Http::new(&serve(response).await, Duration::from_secs(5)).unwrap();
        http.text(http.request(Method::GET, "/a"), limit).await.map_err(|error| error_chain(&error))
    }

    #[tokio::test]
    async fn no_more_than_the_limit_is_read() {
        let response = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n0123456789";
        assert_eq!(text(response, 10).await.unwrap(), "0123456789");
        assert!(text(response, 9).await.unwrap_err().ends_with("/a responded with more than 9 bytes"));
    }

    #[tokio::test]
    async fn a_rejection_names_the_url_and_the_reason() {
        let response = "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nNo admin layer specified\n";
        let error = text(response, 100).await.unwrap_err();
        assert!(error.ends_with("/a responded 503 Service Unavailable: No admin layer specified"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_not_one_is_named() {
        let http = Http::new("gateway", Duration::from_secs(5)).unwrap();
        let error = http.text(http.request(Method::GET, "/a"), 9).await.unwrap_err();
        assert!(error.to_string().starts_with("\"gateway\" is not the address of a program"), "{error}");
    }

    #[tokio::test]
    async fn a_program_that_never_responds_is_waited_for_no_longer_than_the_deadline() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let http = Http::new(&url, Duration::from_millis(50)).unwrap();
        let error = http.text(http.request(Method::GET, "/a"), 9).await.unwrap_err();
        assert!(matches!(error, ClientError::Request { .. }), "{error}");
    }
}
