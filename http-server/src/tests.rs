#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected fails")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Mutex;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: s\r\n\r\n";
/// A request whose body never comes.
const STUCK: &[u8] = b"POST / HTTP/1.1\r\nhost: s\r\ncontent-length: 9\r\n\r\n";

/// A server that answers once it has the whole body.
struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Server {
    async fn start(change: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            connections: 8,
            head_bytes: 16 * 1024,
            headers: 10,
            head_time: Duration::from_secs(60),
            streams: None,
            drain: Duration::from_millis(100),
        };
        change(&mut options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let events = Arc::default();
        let recorded: Arc<Mutex<Vec<Event>>> = Arc::clone(&events);
        let serving = tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| async {
                let body = request.into_body().collect().await;
                Ok::<_, Infallible>(Response::new(Full::new(body.map_or(Bytes::new(), |body| body.to_bytes()))))
            });
            let stop = async { drop(stopped.await) };
            serve(listener, service, &options, move |event| recorded.lock().unwrap().push(event), stop).await;
        });
        Self { address, stop, serving, events }
    }

    /// Sends `bytes` on a connection of its own, and returns it with the beginning of what comes back.
    async fn send(&self, bytes: &[u8]) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut buffer = [0; 512];
        let read = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut buffer)).await;
        let length = read.map_or(0, |read| read.unwrap_or(0));
        (stream, String::from_utf8_lossy(&buffer[..length]).into_owned())
    }

    async fn wait_for(&self, event: Event) {
        let recorded = async {
            while !self.events.lock().unwrap().contains(&event) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), recorded).await.unwrap_or_else(|_| panic!("no {event:?}"));
    }
}

#[tokio::test]
async fn an_http1_server_serves_http1_only_and_counts_what_failed() {
    let server = Server::start(|_| {}).await;
    assert!(server.send(GET).await.1.starts_with("HTTP/1.1 200"));
    let (_, response) = server.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!response.starts_with("HTTP/1.1 200"), "{response}");
    for event in [Event::Closed, Event::Failed] {
        server.wait_for(event).await;
    }
}

#[tokio::test]
async fn heads_have_a_size_a_number_of_headers_and_a_time() {
    let server = Server::start(|options| options.head_time = Duration::from_millis(50)).await;
    let long = format!("GET / HTTP/1.1\r\nhost: s\r\nx-long: {}\r\n\r\n", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\nhost: s\r\n{}\r\n", "x: y\r\n".repeat(11));
    for head in [long, many] {
        assert!(server.send(head.as_bytes()).await.1.starts_with("HTTP/1.1 431"));
    }
    for late in [&b""[..], b"GET / HTTP/1.1\r\nhost"] {
        let response = server.send(late).await.1;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 408"), "{response}");
    }
}

#[tokio::test]
async fn the_last_connections_are_closed_after_their_request() {
    let server = Server::start(|_| {}).await;
    let mut held = Vec::new();
    for _ in 0..6 {
        let (stream, response) = server.send(GET).await;
        held.push(stream);
        assert!(held.len() > 5 || !response.contains("connection: close"), "{} are open: {response}", held.len());
    }
    let (_, response) = server.send(GET).await;
    assert!(response.contains("connection: close"), "{response}");
}

#[tokio::test]
async fn a_request_in_progress_ends_and_one_that_does_not_is_cut() {
    let server = Server::start(|options| options.streams = Some(10)).await;
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(STUCK).await.unwrap();
        streams.push(stream);
    }
    while server.events.lock().unwrap().len() < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The heads are read by then.
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.stop.send(()).unwrap();
    streams[0].write_all(b"123456789").await.unwrap();
    server.serving.await.unwrap();
    let mut answers = [String::new(), String::new()];
    for (stream, response) in streams.iter_mut().zip(&mut answers) {
        let _ = stream.read_to_string(response).await;
    }
    assert!(answers[0].ends_with("123456789") && answers[1].is_empty(), "{answers:?}");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_fix() {
    let first = bind(SocketAddr::from(([127, 0, 0, 1], 0)), "PORT").await.unwrap();
    let address = first.local_addr().unwrap();
    let error = bind(address, "PORT").await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("--listen (PORT)"), "{error}");
}
