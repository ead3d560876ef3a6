//! A client that speaks to a collector by hand: what a sidecar would send, and what no sidecar would.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use indelible_chain::batch::BatchBuilder;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::{ChainId, Head, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::session::Session;
use indelible_chain::stored::{Codec, Stored};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use super::{Collector, PodIdentity, World};

/// A connection to a collector. Blocks.
#[derive(Debug)]
pub struct Client {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    url: String,
}

/// What a collector answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: http::HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects to a collector of a world.
    pub fn connect(world: &World, collector: &Collector) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(world.authority.ca())?)?;
        let provider = rustls::crypto::ring::default_provider();
        let mut config = rustls::ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let address = collector.url().strip_prefix("https://").context("a collector's URL is https")?.to_owned();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("127.0.0.1")?;
            let stream = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, stream).await?;
            let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            anyhow::Ok(sender)
        })?;
        Ok(Self { runtime, sender, url: collector.url().to_owned() })
    }

    /// One request; `token` goes into `Authorization`.
    pub fn call(&mut self, method: Method, path: &str, token: &str, body: impl Into<Bytes>) -> Result<Reply> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/vnd.indelible.v1")
            .body(Full::new(body.into()))?;
        let Self { runtime, sender, .. } = self;
        runtime.block_on(async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok(Reply { status: parts.status, headers: parts.headers, body })
        })
    }
}

/// A pod that writes one chain by hand.
#[derive(Debug)]
pub struct Writer {
    key: PrivateKey,
    /// Its session.
    pub session: Session,
    /// Its chain.
    pub genesis: Genesis,
    /// Its token.
    pub token: String,
    builder: BatchBuilder,
}

impl Writer {
    /// A pod with a session key made from `seed`.
    pub fn new(world: &World, pod: &PodIdentity, container: &str, seed: u8) -> Result<Self> {
        let key = PrivateKey::from_seed(&[seed; 32]);
        let now = i64::try_from(jiff::Timestamp::now().as_nanosecond())?;
        let session = Session {
            public_key: key.public(),
            cluster_uid: String::new(),
            namespace: pod.namespace.clone(),
            pod_name: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            node_name: "node-1".into(),
            service_account: "default".into(),
            audit_log: "audit/test".into(),
            software: "tests/1".into(),
            excluded: String::new(),
            started_at: Time::from_nanos(now),
        };
        let genesis = Genesis {
            capture: Capture::CriLogFile,
            cluster_uid: String::new(),
            namespace: pod.namespace.clone(),
            pod_name: pod.name.clone(),
            pod_uid: pod.uid.clone(),
            container: container.into(),
            path: String::new(),
            incarnation: 0,
        };
        let chain = genesis.chain_id()?;
        let token = world.issuer.pod_token(pod)?;
        Ok(Self { key, session, genesis, token, builder: BatchBuilder::new(chain, Head::start_of(chain)) })
    }

    /// The chain's id.
    pub fn chain(&self) -> ChainId {
        self.builder.chain()
    }

    /// Introduces session and chain.
    pub fn introduce(&self, client: &mut Client) -> Result<()> {
        let id = self.session.id()?;
        let reply = client.call(Method::PUT, &format!("/v1/sessions/{id}"), &self.token, self.session.encode()?)?;
        ensure!(reply.status.is_success(), "{} {}", reply.status, reply.text());
        let body = [id.as_bytes().as_slice(), &self.genesis.encode()?].concat();
        let reply = client.call(Method::PUT, &format!("/v1/chains/{}", self.chain()), &self.token, body)?;
        ensure!(reply.status.is_success(), "{} {}", reply.status, reply.text());
        Ok(())
    }

    /// The upload of the chain's next batch: one line each.
    pub fn batch(&mut self, lines: &[&str]) -> Result<Vec<u8>> {
        for line in lines {
            let time = Time::from_nanos(i64::try_from(jiff::Timestamp::now().as_nanosecond())?);
            let payload = line.as_bytes();
            self.builder.push(&Record { time, source: Source::Stdout, flags: Flags::NONE, payload });
        }
        let commitment = self.builder.seal(self.session.id()?, &self.key).context("a batch has lines")?;
        let upload = Upload { commitment, body: Stored { codec: Codec::Plain, bytes: self.builder.body() } }.encode();
        self.builder.clear();
        Ok(upload)
    }

    /// Sends an upload.
    pub fn send(&self, client: &mut Client, upload: Vec<u8>) -> Result<Reply> {
        client.call(Method::POST, "/v1/batches", &self.token, upload)
    }
}
