//! A pool's collectors over HTTPS: what they cover, what their logs say, and statements for them.
//!
//! Each is asked at its pod's address with the name `A.N.svc` and the pool's CA bundle, with a token of ServiceAccount
//! `A-reader` for the reader's audience. One connection a collector, kept between polls. Every step is bounded in time
//! and every answer in bytes; nothing that is read is believed but what a signature or a pinned key vouches for.

mod extends;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::note::{Note, VerifierKey};
use indelible_chain::tile::TileError;
use indelible_chain::witness::Head;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::clock;
use crate::limits::{
    COLLECTOR_CONNECT_TIMEOUT, COLLECTOR_TIMEOUT, COVERAGE_PAGE, MAX_COLLECTOR_ANSWER_BYTES, MAX_COVERED_SESSIONS,
    MAX_PROBLEM_BYTES, MAX_PROOF_TILES, READER_TOKEN_LIFE,
};
use crate::names::COLLECTOR_PORT;
use crate::observed::PoolName;
use extends::{Extension, Step};

/// Why a collector did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No token.
    #[error("no token for ServiceAccount {account}: {source}")]
    Token {
        /// The account.
        account: String,
        /// Why.
        source: kube::Error,
    },
    /// The bundle cannot be trusted.
    #[error("the pool's CA bundle is none: {0}")]
    Bundle(String),
    /// The API server answered without a token.
    #[error("the API server gave no token for ServiceAccount {0}")]
    NoToken(String),
    /// No connection, or it broke.
    #[error("{to}: {why}")]
    Connection {
        /// The collector.
        to: SocketAddr,
        /// Why.
        why: String,
    },
    /// It took too long.
    #[error("{to}: no answer in time")]
    Silent {
        /// The collector.
        to: SocketAddr,
    },
    /// It refused.
    #[error("{to} answers {status} to {path}{why}")]
    Refused {
        /// The collector.
        to: SocketAddr,
        /// Its status.
        status: StatusCode,
        /// What was asked for.
        path: String,
        /// What it says.
        why: String,
    },
    /// Not what was asked for.
    #[error("{to} answers to {path} what cannot be read: {why}")]
    Nonsense {
        /// The collector.
        to: SocketAddr,
        /// What was asked for.
        path: String,
        /// Why.
        why: String,
    },
}

/// What `/v1/log` says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LogFacts {
    /// The log's name.
    pub origin: String,
    /// Its verifier key.
    pub vkey: String,
    /// Leaves under its newest checkpoint.
    pub size: u64,
    /// Whether it has its end.
    #[serde(default)]
    pub sealed: bool,
    /// When the newest leaf was received, nanoseconds.
    #[serde(default)]
    pub newest_leaf_time: Option<i64>,
    /// Bytes free on its volume.
    #[serde(default)]
    pub free_bytes: Option<u64>,
    /// Bytes of its volume.
    #[serde(default)]
    pub total_bytes: Option<u64>,
}

/// A session that a collector has heard of, as `/v1/coverage` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Session {
    /// Its id, hex.
    pub session_id: String,
    /// Its pod's namespace.
    pub namespace: String,
    /// Its pod's name.
    pub pod: String,
    /// Its pod's uid.
    pub pod_uid: String,
    /// Its node.
    pub node: String,
    /// SHA-256 of the CA bundle that it has, hex.
    pub ca_digest: String,
    /// Its open chains.
    pub chains: Vec<OpenChain>,
    /// When it last signed a heartbeat, nanoseconds.
    pub last_heartbeat: i64,
    /// The sidecar's name and version.
    #[serde(default)]
    pub software: Option<String>,
    /// Containers that it leaves out, by comma; [`READS_NOTHING`] where it cannot read the node's log files.
    #[serde(default)]
    pub excluded: Option<String>,
}

/// What a sidecar that cannot read any log file says that it leaves out.
pub const READS_NOTHING: &str = "*";

/// A chain of a session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OpenChain {
    /// Its container, where the collector knows it.
    #[serde(default)]
    pub container: Option<String>,
}

/// A pool's collectors.
pub struct Collectors {
    client: Client,
    pool: PoolName,
    server_name: String,
    token: Option<(String, Timestamp)>,
    tls: Option<(String, TlsConnector)>,
    connections: BTreeMap<IpAddr, SendRequest<Full<Bytes>>>,
}

/// What to ask of a collector.
#[derive(Debug, Clone)]
struct Ask {
    method: Method,
    path: String,
    body: Bytes,
}

impl Ask {
    fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: Bytes::new() }
    }
}

impl Collectors {
    /// Of this pool.
    pub fn new(client: Client, pool: PoolName) -> Self {
        let server_name = pool.server_name();
        Self { client, pool, server_name, token: None, tls: None, connections: BTreeMap::new() }
    }

    /// What is asked for from now on trusts this bundle; connections to others than these are given up.
    pub fn prepare(&mut self, bundle: &str, addresses: &[IpAddr]) -> Result<(), AskError> {
        self.connections.retain(|address, connection| addresses.contains(address) && !connection.is_closed());
        if self.tls.as_ref().is_none_or(|(held, _)| held != bundle) {
            self.tls = Some((bundle.to_owned(), tls(bundle)?));
            self.connections.clear();
        }
        Ok(())
    }

    /// Who the log is, and how far.
    pub async fn log(&mut self, to: IpAddr) -> Result<LogFacts, AskError> {
        self.json(to, "/v1/log".to_owned()).await
    }

    /// The newest checkpoint, if the log with this key signed it.
    pub async fn checkpoint(&mut self, to: IpAddr, key: &VerifierKey) -> Result<Checkpoint, AskError> {
        let path = format!("/logs/{}/checkpoint", Origin::from(key.name().clone()).log_id());
        let bytes = self.ask(to, &Ask::get(path.clone())).await?;
        let nonsense = |why: String| AskError::Nonsense { to: address(to), path: path.clone(), why };
        let note = Note::parse(&bytes).map_err(|error| nonsense(error.to_string()))?;
        Checkpoint::open(&note, key).map_err(|error| nonsense(error.to_string()))
    }

    /// Whether the log's newest tree extends an earlier one, by the log's own tiles; `None` if they show nothing.
    pub async fn extends(
        &mut self,
        to: IpAddr,
        key: &VerifierKey,
        from: Head,
        newest: &Checkpoint,
    ) -> Result<Option<bool>, AskError> {
        let log = Origin::from(key.name().clone()).log_id();
        let mut extension = Extension::new(from, Head { size: newest.size(), root: newest.root() });
        while extension.tiles() <= MAX_PROOF_TILES {
            let id = match extension.step() {
                Step::Need(id) => id,
                Step::Extends => return Ok(Some(true)),
                Step::Forks => return Ok(Some(false)),
                Step::OtherTiles => return Ok(None),
            };
            let path = format!("/logs/{log}/{}", id.path());
            let bytes = self.ask(to, &Ask::get(path.clone())).await?;
            let hashes = id.decode(&bytes);
            let nonsense = |error: TileError| AskError::Nonsense { to: address(to), path, why: error.to_string() };
            extension.read(id, hashes.map_err(nonsense)?);
        }
        Ok(None)
    }

    /// All sessions that spoke at or after `since`.
    pub async fn coverage(&mut self, to: IpAddr, since: Timestamp) -> Result<Vec<Session>, AskError> {
        let since = since.as_nanosecond().max(0);
        let mut sessions: Vec<Session> = Vec::new();
        loop {
            let after = sessions.last().map(|last| format!("&after={}", last.session_id)).unwrap_or_default();
            let path = format!("/v1/coverage?since={since}&limit={COVERAGE_PAGE}{after}");
            let page: Vec<Session> = self.json(to, path).await?;
            let is_last = page.len() < COVERAGE_PAGE;
            sessions.extend(page);
            if is_last || sessions.len() >= MAX_COVERED_SESSIONS {
                return Ok(sessions);
            }
        }
    }

    /// Sends a statement. It is durable once this returns.
    pub async fn state(&mut self, to: IpAddr, statement: Vec<u8>) -> Result<(), AskError> {
        let ask = Ask { method: Method::POST, path: "/v1/statements".to_owned(), body: statement.into() };
        self.ask(to, &ask).await.map(drop)
    }

    async fn json<T: DeserializeOwned>(&mut self, to: IpAddr, path: String) -> Result<T, AskError> {
        let bytes = self.ask(to, &Ask::get(path.clone())).await?;
        serde_json::from_slice(&bytes).map_err(|error| AskError::Nonsense {
            to: address(to),
            path,
            why: error.to_string(),
        })
    }

    async fn ask(&mut self, to: IpAddr, ask: &Ask) -> Result<Bytes, AskError> {
        let token = self.token().await?;
        let fresh = !self.connections.contains_key(&to);
        match self.once(to, ask, &token).await {
            // A connection that was kept may have been closed in the meantime.
            Err(AskError::Connection { .. }) if !fresh => self.once(to, ask, &token).await,
            Err(AskError::Refused { status: StatusCode::UNAUTHORIZED, to, path, why }) => {
                self.token = None;
                Err(AskError::Refused { status: StatusCode::UNAUTHORIZED, to, path, why })
            }
            answer => answer,
        }
    }

    async fn once(&mut self, to: IpAddr, ask: &Ask, token: &str) -> Result<Bytes, AskError> {
        let at = address(to);
        let failed = |why: String| AskError::Connection { to: at, why };
        let kept = self.connections.remove(&to).filter(|sender| !sender.is_closed());
        let sender = if let Some(kept) = kept {
            kept
        } else {
            let connecting = self.connect(at);
            timeout(COLLECTOR_CONNECT_TIMEOUT, connecting).await.map_err(|_| AskError::Silent { to: at })??
        };
        let Ask { method, path, body } = ask;
        let request = Request::builder()
            .method(method)
            .uri(format!("https://{}{path}", self.server_name))
            .header("Indelible-Token", token)
            .body(Full::new(body.clone()))
            .map_err(|error| failed(error.to_string()))?;
        let mut connection = sender.clone();
        let exchange = async {
            let answer = connection.send_request(request).await.map_err(|error| failed(error.to_string()))?;
            let status = answer.status();
            let is_good = status.is_success();
            let limit = if is_good { MAX_COLLECTOR_ANSWER_BYTES } else { MAX_PROBLEM_BYTES };
            let body = Limited::new(answer.into_body(), limit).collect().await;
            if is_good {
                return Ok(body.map_err(|error| failed(error.to_string()))?.to_bytes());
            }
            let why = body.ok().and_then(|body| detail(&body.to_bytes())).unwrap_or_default();
            Err(AskError::Refused { to: at, status, path: path.clone(), why })
        };
        let answer = timeout(COLLECTOR_TIMEOUT, exchange).await.map_err(|_| AskError::Silent { to: at })?;
        if !matches!(answer, Err(AskError::Connection { .. })) {
            self.connections.insert(to, sender);
        }
        answer
    }

    async fn connect(&self, to: SocketAddr) -> Result<SendRequest<Full<Bytes>>, AskError> {
        let failed = |why: String| AskError::Connection { to, why };
        let (_, tls) = self.tls.as_ref().ok_or_else(|| AskError::Bundle("there is none yet".to_owned()))?;
        let stream = TcpStream::connect(to).await.map_err(|error| failed(error.to_string()))?;
        let _ = stream.set_nodelay(true); // only a matter of speed
        let name = ServerName::try_from(self.server_name.clone()).map_err(|error| failed(error.to_string()))?;
        let stream = tls.connect(name, stream).await.map_err(|error| failed(error.to_string()))?;
        let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(error.to_string()))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A reader's token, renewed when four fifths of its life are over.
    async fn token(&mut self) -> Result<String, AskError> {
        let now = clock::now();
        if let Some((token, renew)) = &self.token
            && now < *renew
        {
            return Ok(token.clone());
        }
        let account = self.pool.reader();
        let api: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.pool.namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec![self.pool.read_audience()],
                expiration_seconds: Some(READER_TOKEN_LIFE.as_secs()),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let answer = api.create_token_request(&account, &PostParams::default(), &request).await;
        let answer = answer.map_err(|source| AskError::Token { account: account.clone(), source })?;
        let status = answer.status.ok_or(AskError::NoToken(account))?;
        let life = clock::from_time(&status.expiration_timestamp).duration_since(now);
        let renew = now.checked_add(SignedDuration::from_secs(life.as_secs() / 5 * 4)).unwrap_or(now);
        self.token = Some((status.token.clone(), renew));
        Ok(status.token)
    }
}

fn address(to: IpAddr) -> SocketAddr {
    SocketAddr::new(to, COLLECTOR_PORT)
}

fn tls(bundle: &str) -> Result<TlsConnector, AskError> {
    let refuse = |why: String| AskError::Bundle(why);
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        roots.add(certificate).map_err(|error| refuse(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("ring has TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// What a problem says, one line.
fn detail(body: &[u8]) -> Option<String> {
    let problem: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = problem.get("detail").or_else(|| problem.get("title"))?.as_str()?;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    Some(format!(": {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_collectors_of_other_versions_are_read() {
        let log: LogFacts =
            serde_json::from_str(r#"{"origin":"o","vkey":"v","log_id":"00","size":3,"software":"x","later":1}"#)
                .unwrap();
        assert_eq!((log.size, log.sealed, log.free_bytes), (3, false, None));
        let session: Session = serde_json::from_str(
            r#"{"session_id":"s","namespace":"n","pod":"p","pod_uid":"u","node":"n1","ca_digest":"d",
                "chains":[{"chain_id":"c","container":null,"next_seq":4}],"last_heartbeat":5}"#,
        )
        .unwrap();
        assert_eq!((session.chains.len(), session.software, session.excluded), (1, None, None));
    }

    #[test]
    fn what_a_collector_says_of_a_problem_is_one_line() {
        let body = br#"{"type":"x","title":"no","detail":"two\nlines"}"#;
        assert_eq!(detail(body), Some(": two lines".to_owned()));
        assert_eq!(detail(b"<html>"), None);
    }

    #[test]
    fn a_bundle_without_a_certificate_is_refused() {
        assert!(matches!(tls(""), Err(AskError::Bundle(_))));
        assert!(matches!(
            tls("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            Err(AskError::Bundle(_))
        ));
    }
}
