use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::batch::answer;

/// What the rules do with every question.
#[derive(Clone)]
pub(crate) enum Script {
    Labels(Vec<(i64, Option<&'static str>)>),
    /// One label for one item, another one with every question.
    Fickle(i64, [&'static str; 2]),
    Raw(StatusCode, &'static str),
    Late(Duration),
}

pub(crate) struct Rules {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
    at_once: Arc<AtOnce>,
}

/// Questions under way.
#[derive(Default)]
struct AtOnce {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Rules {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let at_once = Arc::new(AtOnce::default());
        let (seen, counted) = (Arc::clone(&asked), Arc::clone(&at_once));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, seen, counted) = (script.clone(), Arc::clone(&seen), Arc::clone(&counted));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (script, seen, counted) = (script.clone(), Arc::clone(&seen), Arc::clone(&counted));
                    async move {
                        counted.most.fetch_max(counted.now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let before = {
                            let mut seen = seen.lock().unwrap();
                            seen.push((head.headers, body));
                            seen.len() - 1
                        };
                        let answer = script.answer(before).await;
                        counted.now.fetch_sub(1, Ordering::SeqCst);
                        Ok::<_, Infallible>(answer)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, asked, at_once }
    }

    pub(crate) fn most_at_once(&self) -> usize {
        self.at_once.most.load(Ordering::SeqCst)
    }

    pub(crate) fn asked(&self) -> Vec<(HeaderMap, Bytes)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Script {
    async fn answer(&self, before: usize) -> Response<Full<Bytes>> {
        match self {
            Self::Labels(labels) => Response::new(Full::new(answer(labels).to_string().into())),
            Self::Fickle(id, labels) => {
                Response::new(Full::new(answer(&[(*id, Some(labels[before % 2]))]).to_string().into()))
            }
            Self::Raw(status, body) => Response::builder().status(*status).body(Full::new((*body).into())).unwrap(),
            Self::Late(by) => {
                tokio::time::sleep(*by).await;
                Response::new(Full::default())
            }
        }
    }
}
