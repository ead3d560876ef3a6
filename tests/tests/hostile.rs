//! Servers that answer a reader with what has no end, no speed or no place, and what the reader says of them.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use std::convert::Infallible;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use indelible_tests::world::{Authority, binary};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// A body without an end: chunks of `size`, one each `pause`.
struct Endless {
    size: usize,
    pause: Option<tokio::time::Interval>,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(pause) = &mut self.pause
            && pause.poll_tick(cx).is_pending()
        {
            return Poll::Pending;
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![b' '; self.size])))))
    }
}

fn endless(size: usize, pause: Option<Duration>) -> Answer {
    Response::new(Endless { size, pause: pause.map(tokio::time::interval) }.boxed())
}

fn with_header(status: u16, name: &'static str, value: String) -> Answer {
    let mut answer = endless(1, None);
    *answer.status_mut() = status.try_into().unwrap();
    answer.headers_mut().insert(name, value.try_into().unwrap());
    answer
}

/// What a reader says of a server that answers everything so.
fn said_of(answer: fn() -> Answer) -> String {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path()).unwrap();
    let (cert, key) = authority.certify(dir.path(), "indelible:vkey:none").unwrap();
    let provider = rustls::crypto::ring::default_provider();
    let mut config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(cert).unwrap()],
            PrivateKeyDer::from_pem_file(key).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let stream = acceptor.accept(stream).await.unwrap();
                let service = service_fn(|_: Request<Incoming>| async move { Ok::<_, Infallible>(answer()) });
                // However the client ends it.
                let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    let output = Command::new(binary("indelible").unwrap())
        .args(["logs", &url, "--log-key", VKEY, "--ca"])
        .arg(authority.ca())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains(&url), "{said}");
    said
}

#[test]
fn a_hostile_server_is_left_within_a_bound_that_is_named() {
    type Case = (fn() -> Answer, &'static [&'static str]);
    let cases: [Case; 4] = [
        (|| endless(64 * 1024, None), &["over the limit of 16777216 bytes", "read a copy of the data directory"]),
        (|| endless(1, Some(Duration::from_secs(1))), &["less than 16384 bytes a second", "better connection"]),
        (|| with_header(200, "x-filler", "x".repeat(64 * 1024)), &["asking"]),
        (
            || with_header(302, "location", "https://127.0.0.1:1/".to_owned()),
            &["302 Found", "redirects are not followed"],
        ),
    ];
    std::thread::scope(|scope| {
        for (answer, names) in cases {
            scope.spawn(move || {
                let said = said_of(answer);
                for name in names {
                    assert!(said.contains(name), "{name} is not in {said}");
                }
            });
        }
    });
}
