//! A small collector in memory, over real TLS 1.3 and HTTP/2 on loopback, that answers as it is told.
//!
//! Judges what it gets with the decoders of `chain`, keeps nothing, and makes receipts of its own log.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use indelible_chain::digest::Digest;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::Genesis;
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, LeafIndex, LogId, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle;
use indelible_chain::note::{Algorithm, VerifierKey};
use indelible_chain::receipt::Receipt;
use indelible_chain::session::Session;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A CA for the collectors of a test.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }
}

/// An answer that a test wants.
#[derive(Clone, Debug, Default)]
pub struct Scripted {
    pub status: u16,
    pub headers: Vec<(&'static str, &'static str)>,
    /// Sent instead of a receipt.
    pub body: Option<Vec<u8>>,
}

impl Scripted {
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

/// What a collector was told and asked.
#[derive(Default)]
pub struct Seen {
    /// Answers for the next batches; good ones when there are none left.
    pub script: VecDeque<Scripted>,
    pub pool: Option<String>,
    pub session: Option<Session>,
    pub chains: BTreeSet<ChainId>,
    /// Method and path of each request.
    pub calls: Vec<String>,
    /// The bytes of each batch request.
    pub batches: Vec<Bytes>,
    pub heartbeats: Vec<Heartbeat>,
    pub authorizations: BTreeSet<String>,
    next: u64,
}

/// A running collector.
pub struct Collector {
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

struct Log {
    key: PrivateKey,
    id: LogId,
    info: String,
    seen: Arc<Mutex<Seen>>,
}

/// Which key the certificate names.
pub enum Names {
    Ours,
    Another,
    Nobody,
}

impl Collector {
    pub async fn start(authority: &Authority, name: &str, names: Names) -> Self {
        let key = PrivateKey::from_seed(Digest::sha256(name.as_bytes()).as_bytes());
        let origin = format!("test/{name}");
        let vkey = VerifierKey::new(origin.parse().unwrap(), Algorithm::Ed25519, key.public()).to_string();
        let named = match names {
            Names::Ours => Some(Digest::sha256(vkey.as_bytes())),
            Names::Another => Some(Digest::sha256(b"another")),
            Names::Nobody => None,
        };
        let id = LogId::new(Digest::sha256(origin.as_bytes()));
        let info = format!(r#"{{"origin":"{origin}","vkey":"{vkey}","log_id":"{id}","size":0,"software":"test/0"}}"#);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let log = Arc::new(Log { key, id, info, seen: seen.clone() });
        let acceptor = TlsAcceptor::from(Arc::new(server_config(authority, named)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let kept = connections.clone();
        let accepting = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, log) = (acceptor.clone(), log.clone());
                let connection = tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(log.clone(), request));
                    let _ = http2::Builder::new(TokioExecutor::new())
                        .timer(TokioTimer::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
                kept.lock().unwrap().push(connection);
            }
        });
        Self { address, seen, accepting, connections }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Breaks every connection and takes no new ones.
    pub fn kill(&self) {
        self.accepting.abort();
        self.connections.lock().unwrap().drain(..).for_each(|connection| connection.abort());
    }
}

fn server_config(authority: &Authority, named: Option<Digest>) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["pool.test".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::IpAddress("127.0.0.1".parse().unwrap()));
    if let Some(digest) = named {
        params.subject_alt_names.push(SanType::URI(format!("indelible:vkey:{digest}").try_into().unwrap()));
    }
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn answer(log: Arc<Log>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    // A client that breaks off gets no answer.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut seen = log.seen.lock().unwrap();
    let call = format!("{} {}", head.method, head.uri.path());
    if let Some(token) = head.headers.get(http::header::AUTHORIZATION) {
        seen.authorizations.insert(token.to_str().unwrap().to_owned());
    }
    seen.calls.push(call.clone());
    let mut parts = call.splitn(4, '/');
    let route = (parts.next(), parts.nth(1), parts.next());
    let (status, body) = match (call.as_str(), route) {
        ("GET /v1/log", _) => (200, log.info.clone().into()),
        ("GET /v1/pool", _) => match &seen.pool {
            Some(list) => (200, list.clone().into()),
            None => (404, Bytes::new()),
        },
        ("POST /v1/batches", _) => return Ok(log.batch(&mut seen, &body)),
        ("POST /v1/heartbeats", _) => {
            let heartbeat = Heartbeat::decode(&body).unwrap();
            assert!(heartbeat.is_signed_by(&seen.session.as_ref().unwrap().public_key));
            seen.heartbeats.push(heartbeat);
            (204, Bytes::new())
        }
        (_, (Some("PUT "), Some("sessions"), Some(id))) => log.session(&mut seen, id, &body),
        (_, (Some("PUT "), Some("chains"), Some(id))) => log.chain(&mut seen, id, &body),
        other => panic!("nobody should call {other:?}"),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    Ok(response)
}

impl Log {
    fn session(&self, seen: &mut Seen, id: &str, body: &Bytes) -> (u16, Bytes) {
        let session = Session::decode(body).unwrap();
        assert_eq!(session.id().unwrap().to_string(), id);
        let status = if seen.session.replace(session).is_none() { 201 } else { 200 };
        (status, self.receipt(seen, &Leaf::decode(&[1, 9]).unwrap()))
    }

    fn chain(&self, seen: &mut Seen, id: &str, body: &Bytes) -> (u16, Bytes) {
        let Some(known) = seen.session.as_ref().map(|session| session.id().unwrap()) else {
            return (412, Bytes::new());
        };
        let session = SessionId::new(Digest::new(body[..32].try_into().unwrap()));
        assert_eq!(session, known);
        let genesis = Genesis::decode(&body[32..]).unwrap();
        assert_eq!(genesis.chain_id().unwrap().to_string(), id);
        let status = if seen.chains.insert(genesis.chain_id().unwrap()) { 201 } else { 200 };
        (status, self.receipt(seen, &Leaf::Genesis { genesis, session, received_at: Time::from_nanos(9) }))
    }

    fn batch(&self, seen: &mut Seen, body: &Bytes) -> Response<Full<Bytes>> {
        seen.batches.push(body.clone());
        let upload = Upload::decode(body).unwrap();
        let known = seen.session.is_some() && seen.chains.contains(&upload.commitment.chain);
        let scripted = seen.script.pop_front().unwrap_or(Scripted::status(if known { 200 } else { 412 }));
        if scripted.status == 412 {
            seen.session = None;
            seen.chains.clear();
        }
        let body = match (scripted.status, scripted.body) {
            (_, Some(body)) => body.into(),
            (200, None) => {
                let leaf = Leaf::Batch { commitment: upload.commitment, received_at: Time::from_nanos(9) };
                self.receipt(seen, &leaf)
            }
            _ => Bytes::from_static(br#"{"type":"about:blank"}"#),
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = StatusCode::from_u16(scripted.status).unwrap();
        for (name, value) in scripted.headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    fn receipt(&self, seen: &mut Seen, leaf: &Leaf) -> Bytes {
        let hash = merkle::leaf_hash(&leaf.encode().unwrap());
        seen.next += 1;
        let receipt = Receipt::sign(&self.key, self.id, LeafIndex::new(seen.next - 1), hash, Time::from_nanos(9));
        Bytes::copy_from_slice(&receipt.encode())
    }
}
