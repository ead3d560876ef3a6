//! A server that answers every request with what a test tells it to: a collector or a witness that is hostile.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use crate::crowd::Content;
use crate::tamper::wire::{hex, sha256};
use crate::world::Authority;

/// What it answers.
#[derive(Debug)]
pub enum Answer {
    /// This.
    Says(Response<Content>),
    /// Nothing, ever.
    Silence,
}

/// A server on loopback, in threads of the test.
#[derive(Debug)]
pub struct Liar {
    url: String,
    heard: Arc<AtomicU64>,
    /// Serves until it is dropped.
    _runtime: Runtime,
}

impl Liar {
    /// Starts one whose certificate is signed by `authority` and names `vkey` as its log's key; its files go to `dir`.
    pub fn start(authority: &Authority, dir: &Path, vkey: &str, answer: fn(&str) -> Answer) -> Result<Self> {
        let (cert, key) = authority.certify(dir, &format!("indelible:vkey:{}", hex(&sha256(vkey.as_bytes()))))?;
        let acceptor = acceptor(&cert, &key)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("https://{}", listener.local_addr()?);
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acceptor.clone(), answer, Arc::clone(&count)));
            }
        });
        Ok(Self { url, heard, _runtime: runtime })
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How many requests it was sent.
    pub fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

/// HTTP/2 over TLS 1.3 with this certificate.
fn acceptor(cert: &Path, key: &Path) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from_pem_file(cert)?], PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, answer: fn(&str) -> Answer, heard: Arc<AtomicU64>) {
    // However the client ends it.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(move |request: Request<Incoming>| {
        heard.fetch_add(1, Ordering::Relaxed);
        async move {
            match answer(request.uri().path()) {
                Answer::Says(answer) => Ok::<_, Infallible>(answer),
                Answer::Silence => std::future::pending().await,
            }
        }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
