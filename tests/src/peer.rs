//! A client that says to a collector what a test tells it to, honest or not.
//!
//! Speaks HTTP/2 over TLS 1.3 as a sidecar does, without any of a sidecar's care: no retries, no checks. What it sends
//! is made with the tests' own implementation of the format ([`crate::tamper::actor`]).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::tamper::Rng;
use crate::tamper::actor::{Batch, Chain, Issuer, Pod, Session};
use crate::tamper::wire::{hex, put32};
use crate::world::{PodIdentity, World};

/// How long an answer may take.
const BOUND: Duration = Duration::from_secs(30);

/// A collector's whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// What a person reads of a refusal.
    pub fn problem(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Fails unless the status is one of these.
    pub fn expect(self, statuses: &[u16]) -> Result<Self> {
        ensure!(statuses.contains(&self.status), "{} where {statuses:?} was due: {}", self.status, self.problem());
        Ok(self)
    }
}

/// TLS 1.3 for HTTP/2, towards collectors that one of these authorities has certified.
pub fn tls(ca_pem: &[u8]) -> Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(authority?)?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A connection to a collector.
#[derive(Debug)]
pub struct Peer {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

impl Peer {
    /// Connects to one of a world's collectors.
    pub fn connect(world: &World, collector: usize) -> Result<Self> {
        Self::connect_to(world.collectors[collector].address()?, &std::fs::read(world.authority.ca())?)
    }

    /// Connects to a collector that one of these authorities has certified.
    pub fn connect_to(address: &str, ca_pem: &[u8]) -> Result<Self> {
        let config = tls(ca_pem)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let connected = async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost")?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            anyhow::Ok(sender)
        };
        let bounded = async { tokio::time::timeout(BOUND, connected).await.context("no connection in time")? };
        let sender = runtime.block_on(bounded)?;
        Ok(Self { runtime, sender })
    }

    /// Sends a request and waits for its whole answer. An error means that there was none.
    pub fn send(&mut self, method: Method, path: &str, token: &str, body: impl Into<Bytes>) -> Result<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(format!("https://localhost{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/vnd.indelible.v1")
            .body(Full::new(body.into()))?;
        let sender = &mut self.sender;
        self.runtime.block_on(async {
            let answer = async {
                sender.ready().await?;
                let (head, body) = sender.send_request(request).await?.into_parts();
                let body = body.collect().await?.to_bytes();
                anyhow::Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
            };
            tokio::time::timeout(BOUND, answer).await.context("no answer in time")?
        })
    }

    /// Introduces a session.
    pub fn session(&mut self, session: &Session) -> Result<Reply> {
        let path = format!("/v1/sessions/{}", hex(&session.id));
        self.send(Method::PUT, &path, &session.token, session.bytes.clone())
    }

    /// Introduces a chain in the name of a session.
    pub fn chain(&mut self, session: &Session, chain: &Chain) -> Result<Reply> {
        let body = [&session.id[..], &chain.genesis].concat();
        self.send(Method::PUT, &format!("/v1/chains/{}", hex(&chain.id)), &session.token, body)
    }

    /// Sends a heartbeat.
    pub fn heartbeat(&mut self, session: &Session, heartbeat: Vec<u8>) -> Result<Reply> {
        self.send(Method::POST, "/v1/heartbeats", &session.token, heartbeat)
    }

    /// Sends a batch; its kept receipt is the answer's body and the commitment.
    pub fn batch(&mut self, session: &Session, batch: &Batch) -> Result<Reply> {
        self.send(Method::POST, "/v1/batches", &session.token, upload(batch))
    }
}

/// A batch as it is sent, not packed.
pub fn upload(batch: &Batch) -> Vec<u8> {
    let mut out = batch.commitment.clone();
    out.push(0);
    put32(&mut out, &batch.body);
    out
}

/// A pod whose sidecar is the test itself.
#[derive(Debug, Clone)]
pub struct Puppet {
    /// Its session; the token is one that the world's issuer minted.
    pub session: Session,
    /// Its container's chain.
    pub chain: Chain,
    next: usize,
}

impl Puppet {
    /// A pod's first session and its container `app`.
    pub fn new(world: &World, pod: &PodIdentity, seed: u64) -> Result<Self> {
        let actor = Pod { namespace: pod.namespace.clone(), name: pod.name.clone(), uid: pod.uid.clone() };
        let mut rng = Rng::new(seed, 0);
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond())?;
        // Its own issuer's token is not one that anybody knows.
        let issuer = Issuer::new(&mut rng);
        let mut session = Session::new(&mut rng, &issuer, &actor, now);
        session.token = world.issuer.pod_token(pod)?;
        Ok(Self { session, chain: Chain::new(&actor, "app", 0), next: 0 })
    }

    /// A new session of the same pod.
    pub fn session_again(&self, world: &World, pod: &PodIdentity, rng: &mut Rng) -> Result<Session> {
        Ok(Self::new(world, pod, rng.number())?.session)
    }

    /// Introduces session and chain.
    pub fn introduce(&self, peer: &mut Peer) -> Result<()> {
        peer.session(&self.session)?.expect(&[200, 201])?;
        peer.chain(&self.session, &self.chain)?.expect(&[200, 201])?;
        Ok(())
    }

    /// Prints some lines.
    pub fn print(&mut self, lines: usize) -> Result<()> {
        for _ in 0..lines {
            let now = i64::try_from(jiff::Timestamp::now().as_nanosecond())?;
            let line = format!("line {} of this container, which is neither short nor long", self.chain.len());
            self.chain.push(now, 1, line.into_bytes());
        }
        Ok(())
    }

    /// Prints one to six lines of any length up to 300 bytes.
    pub fn print_sized(&mut self, rng: &mut Rng) -> Result<()> {
        self.print_ahead(rng, Duration::ZERO)
    }

    /// The same by a clock that is ahead.
    pub fn print_ahead(&mut self, rng: &mut Rng, ahead: Duration) -> Result<()> {
        for _ in 0..rng.between(1, 6) {
            let now = i64::try_from((jiff::Timestamp::now() + ahead).as_nanosecond())?;
            let line = format!("line {} {}", self.chain.len(), hex(&rng.seed()).repeat(4));
            let length = rng.between(8, line.len());
            self.chain.push(now, 1, line.as_bytes()[..length].to_vec());
        }
        Ok(())
    }

    /// Ends the chain.
    pub fn end(&mut self) -> Result<()> {
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond())?;
        self.chain.say(now, r#"{"kind":"end","reason":"terminated"}"#);
        Ok(())
    }

    /// Has what was printed since the last time stored.
    pub fn deliver(&mut self, peer: &mut Peer) -> Result<()> {
        let batch = self.seal();
        peer.batch(&self.session, &batch)?.expect(&[200])?;
        Ok(())
    }

    /// Seals what was printed since the last time.
    pub fn seal(&mut self) -> Batch {
        let first = std::mem::replace(&mut self.next, self.chain.len());
        self.chain.seal(&self.session, first, self.next)
    }
}

/// Writes receipts as `verify --receipts` reads them: one a file.
pub fn write_receipts<'a>(receipts: impl IntoIterator<Item = &'a [u8]>, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for (n, receipt) in receipts.into_iter().enumerate() {
        std::fs::write(to.join(n.to_string()), receipt)?;
    }
    Ok(())
}
