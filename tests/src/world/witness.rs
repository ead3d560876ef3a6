//! A witness: it cosigns checkpoints, and shows the newest that it has cosigned of each log.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use ed25519_dalek::SigningKey;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::World;
use crate::tamper::wire::{base64, hex, key_id, sha256, sign, vkey};

/// Notes by the path that they are asked for at.
type Notes = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// The algorithm of a cosignature's key.
const COSIGNATURE: u8 = 4;

/// A witness on loopback, in a thread of the test.
#[derive(Debug)]
pub struct Witness {
    name: String,
    key: SigningKey,
    url: String,
    notes: Notes,
    /// Serves until it is dropped.
    _runtime: Runtime,
}

impl Witness {
    /// Starts one that has seen nothing yet.
    pub fn start(world: &World, name: &str) -> Result<Self> {
        let dir = world.dir().join(name);
        std::fs::create_dir(&dir)?;
        let (certificate, key) = world.authority.certify(&dir, "indelible:witness")?;
        let acceptor = acceptor(&certificate, &key)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let url = format!("https://{}", listener.local_addr()?);
        let notes = Notes::default();
        runtime.spawn(serve(listener, acceptor, Arc::clone(&notes)));
        Ok(Self { name: name.into(), key: SigningKey::from_bytes(&[41; 32]), url, notes, _runtime: runtime })
    }

    /// Its line in a policy.
    pub fn line(&self) -> String {
        let vkey = vkey(&self.name, COSIGNATURE, self.key.verifying_key().as_bytes());
        format!("witness {} {vkey} {}", self.name, self.url)
    }

    /// Cosigns a checkpoint, and shows it from now on.
    pub fn cosign(&self, checkpoint: &[u8], seconds: u64) -> Result<()> {
        let note = std::str::from_utf8(checkpoint)?;
        let (text, _) = note.split_once("\n\n").context("a checkpoint is signed")?;
        let origin = text.lines().next().context("a checkpoint has an origin")?;
        let message = format!("cosignature/v1\ntime {seconds}\n{text}\n");
        let id = key_id(&self.name, COSIGNATURE, self.key.verifying_key().as_bytes());
        let blob = [&id[..], &seconds.to_be_bytes(), &sign(&self.key, message.as_bytes())].concat();
        let note = format!("{note}— {} {}\n", self.name, base64(&blob));
        let path = format!("/{}/checkpoint", hex(&sha256(origin.as_bytes())));
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).insert(path, note.into());
        Ok(())
    }
}

fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from_pem_file(certificate)?], PrivateKeyDer::from_pem_file(key)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, notes: Notes) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer(stream, acceptor.clone(), Arc::clone(&notes)));
    }
}

async fn answer(stream: TcpStream, acceptor: TlsAcceptor, notes: Notes) {
    // Who goes away without an answer has asked for none.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let show = service_fn(move |request: Request<Incoming>| {
        let note = notes.lock().unwrap_or_else(PoisonError::into_inner).get(request.uri().path()).cloned();
        let status = if note.is_some() { StatusCode::OK } else { StatusCode::NOT_FOUND };
        let mut response = Response::new(Full::new(note.unwrap_or_default()));
        *response.status_mut() = status;
        async { Ok::<_, std::convert::Infallible>(response) }
    });
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), show).await;
}
