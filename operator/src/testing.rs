//! An API server for tests: objects of any kind by path, with resourceVersions and conflicts, over a real socket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the server holds and was asked.
#[derive(Debug, Default)]
pub struct Held {
    /// Objects by path.
    pub objects: BTreeMap<String, Value>,
    /// Requests that changed or tried to change something, in order: method and status.
    pub writes: Vec<(Method, StatusCode)>,
    version: u64,
}

/// The server. It ends with the test's runtime.
#[derive(Debug, Clone)]
pub struct ApiServer {
    held: Arc<Mutex<Held>>,
    url: http::Uri,
}

impl ApiServer {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = Self { held: Arc::default(), url };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = serving.clone();
                let service = service_fn(move |request| {
                    let server = server.clone();
                    async move { Ok::<_, Infallible>(server.answer(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        server
    }

    /// A client of it.
    pub fn client(&self) -> Client {
        Client::try_from(Config::new(self.url.clone())).unwrap()
    }

    /// Looks at what it holds, or changes it behind everyone's back.
    pub fn with<T>(&self, look: impl FnOnce(&mut Held) -> T) -> T {
        look(&mut self.held.lock().unwrap())
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let (status, object) = self.with(|held| held.apply(&method, &path, &body));
        let mut response = Response::new(Full::new(Bytes::from(object.to_string())));
        *response.status_mut() = status;
        response
    }
}

impl Held {
    fn apply(&mut self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        if *method == Method::GET {
            return match self.objects.get(path) {
                Some(object) => (StatusCode::OK, object.clone()),
                None => failure(StatusCode::NOT_FOUND),
            };
        }
        let answer = self.write(method, path, body);
        self.writes.push((method.clone(), answer.0));
        answer
    }

    fn write(&mut self, method: &Method, path: &str, body: &[u8]) -> (StatusCode, Value) {
        let mut object: Value = serde_json::from_slice(body).unwrap();
        let path = match *method {
            Method::POST => format!("{path}/{}", object["metadata"]["name"].as_str().unwrap()),
            _ => path.to_owned(),
        };
        let held = self.objects.get(&path).map(|held| held["metadata"]["resourceVersion"].clone());
        match (method, held) {
            (&Method::POST, Some(_)) => return failure(StatusCode::CONFLICT),
            (&Method::PUT, None) => return failure(StatusCode::NOT_FOUND),
            (&Method::PUT, Some(version)) if version != object["metadata"]["resourceVersion"] => {
                return failure(StatusCode::CONFLICT);
            }
            _ => {}
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path, object.clone());
        (StatusCode::OK, object)
    }
}

fn failure(status: StatusCode) -> (StatusCode, Value) {
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    (
        status,
        json!({"kind": "Status", "status": "Failure", "message": reason, "reason": reason, "code": status.as_u16()}),
    )
}
