use std::convert::Infallible;
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
    Raw(StatusCode, &'static str),
    Late(Duration),
}

pub(crate) struct Rules {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<(HeaderMap, Bytes)>>>,
}

impl Rules {
    pub(crate) async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (script, seen) = (script.clone(), Arc::clone(&seen));
                let service = service_fn(move |request: Request<Incoming>| {
                    let (script, seen) = (script.clone(), Arc::clone(&seen));
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        seen.lock().unwrap().push((head.headers, body));
                        Ok::<_, Infallible>(script.answer().await)
                    }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Self { url, asked }
    }

    pub(crate) fn asked(&self) -> Vec<(HeaderMap, Bytes)> {
        self.asked.lock().unwrap().clone()
    }
}

impl Script {
    async fn answer(&self) -> Response<Full<Bytes>> {
        match self {
            Self::Labels(labels) => Response::new(Full::new(answer(labels).to_string().into())),
            Self::Raw(status, body) => Response::builder().status(*status).body(Full::new((*body).into())).unwrap(),
            Self::Late(by) => {
                tokio::time::sleep(*by).await;
                Response::new(Full::default())
            }
        }
    }
}
