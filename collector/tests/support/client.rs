//! An HTTP/2 client over TLS 1.3, for tests: trusts one certificate, sends what it is told, hides nothing.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The last part of a problem's type.
    pub fn problem(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let json = self.json();
        assert_eq!(json["status"], self.status.as_u16());
        assert!(json["title"].is_string() && !json["detail"].as_str().unwrap().is_empty(), "{json}");
        json["type"].as_str().unwrap().strip_prefix("https://indelible.dev/problems/").unwrap().to_owned()
    }
}

/// A connection.
#[derive(Clone)]
pub struct Client {
    sender: SendRequest<SentBody>,
    token: Option<String>,
    reader_token: Option<String>,
    media_type: &'static str,
}

/// A body that is there, or one that never ends.
type SentBody = Either<Full<Bytes>, Endless>;

/// A request whose body never ends; ends when it is dropped.
pub struct Begun(tokio::task::JoinHandle<()>);

impl Drop for Begun {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Some bytes, and then nothing more.
pub struct Endless(Option<Bytes>);

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

pub fn tls(ca_pem: &str, versions: &[&'static rustls::SupportedProtocolVersion], alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

impl Client {
    pub async fn connect(address: SocketAddr, ca_pem: &str) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        let connector = tls(ca_pem, &[&rustls::version::TLS13], &[b"h2"]);
        let stream = connector.connect(ServerName::try_from("localhost").unwrap(), stream).await?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, token: None, reader_token: None, media_type: "application/vnd.indelible.v1" })
    }

    /// The same connection, for a pod.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same connection, for a reader.
    pub fn with_reader_token(&self, token: &str) -> Self {
        Self { reader_token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same connection, with bodies that claim to be JSON.
    pub fn as_json(&self) -> Self {
        Self { media_type: "application/json", ..self.clone() }
    }

    /// Sends the head of a request and the beginning of its body.
    pub async fn begin(&self, path: &str, body: impl Into<Bytes>) -> Begun {
        let body = Endless(Some(body.into()).filter(|body| !body.is_empty()));
        let request = self.head(Method::POST, path).body(Either::Right(body)).unwrap();
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request);
        Begun(tokio::spawn(async move { drop(answer.await) }))
    }

    fn head(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = Request::builder().method(method).uri(format!("https://localhost{path}"));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(token) = &self.reader_token {
            request = request.header("indelible-token", token);
        }
        request
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// An answer of which only the head is taken yet.
    pub async fn open(&self, path: &str) -> http::Response<Incoming> {
        let mut sender = self.sender.clone();
        sender.ready().await.unwrap();
        let body = Either::Left(Full::new(Bytes::new()));
        sender.send_request(self.head(Method::GET, path).body(body).unwrap()).await.unwrap()
    }

    pub async fn put(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call(Method::PUT, path, body.into()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        self.call(Method::POST, path, body.into()).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Bytes) -> Answer {
        self.try_call(method, path, body).await.unwrap()
    }

    pub async fn try_call(&self, method: Method, path: &str, body: Bytes) -> hyper::Result<Answer> {
        self.start(method, path, body).await?.await
    }

    /// Sends a request; what is awaited next is its answer.
    pub async fn start(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> hyper::Result<impl Future<Output = hyper::Result<Answer>> + use<>> {
        let mut request = self.head(method, path);
        if !body.is_empty() {
            request = request.header("content-type", self.media_type);
        }
        let mut sender = self.sender.clone();
        sender.ready().await?;
        let answer = sender.send_request(request.body(Either::Left(Full::new(body))).unwrap());
        Ok(async {
            let (parts, body) = answer.await?.into_parts();
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.collect().await?.to_bytes() })
        })
    }

    /// Waits until the server has every request that was started on this connection: a later one is answered.
    pub async fn arrived(&self) {
        self.get("/v1/log").await;
    }
}

/// Asks again until an answer is as it should be, for at most a minute, on a machine that does other things, too.
pub async fn until<T, F: Future<Output = T>>(mut ask: impl FnMut() -> F, good: impl Fn(&T) -> bool) -> T {
    let asking = async {
        loop {
            let answer = ask().await;
            if good(&answer) {
                return answer;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), asking).await.expect("it comes within a minute")
}
