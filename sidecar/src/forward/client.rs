//! One HTTP/2 connection over TLS 1.3 to a collector.
//!
//! [`connect`] gives a connection only after the collector has shown which log it is: the verifier key of
//! `GET /v1/log` must be the one that its certificate names. Everything is bounded: time to connect, time for an
//! answer, length of an answer. Keep-alive pings go out only while a request is unanswered, so that an idle sidecar sleeps.

use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use indelible_chain::digest::Digest;
use indelible_chain::id::LogId;
use indelible_chain::note::{Algorithm, VerifierKey};
use rustls::pki_types::ServerName;
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::endpoint::{Endpoint, Host};
use super::receipts::LogIdentity;
use super::resolve::{ResolveError, Resolver};
use super::retry::Reason;
use super::tls::{Bundle, vkey_digests};
use super::{Answer, Failure};
use crate::limits::{ADDRESS_TIMEOUT, CONNECT_TIMEOUT, MAX_ANSWER_BYTES, REQUEST_TIMEOUT};

const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.indelible.v1");
const POOL_HEADER: &str = "indelible-pool";
const CONFLICT_HEADER: &str = "indelible-conflict";
/// Flow-control windows: a batch or a pool list never waits for a window update.
const WINDOW_BYTES: u32 = 4 << 20;
const FRAME_BYTES: u32 = 256 << 10;
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// A ping waits behind what is being sent.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The sending half of a connection.
pub type Sender = http2::SendRequest<Full<Bytes>>;

/// The half that has to be driven for anything to happen.
pub type Driver = http2::Connection<TokioIo<TlsStream<TcpStream>>, Full<Bytes>, TokioExecutor>;

/// What a connection is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whom to trust.
    pub bundle: Bundle,
    /// The name in the certificate, where it is not the host.
    pub server_name: Option<String>,
    /// The header that names the pod.
    pub authorization: HeaderValue,
    /// For names.
    pub resolver: Resolver,
}

/// A connection to a log that is known.
#[derive(Debug)]
pub struct Opened {
    /// For requests.
    pub sender: Sender,
    /// The log at the other end.
    pub log: LogIdentity,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Nobody there.
    #[error("cannot connect")]
    Tcp(#[source] std::io::Error),
    /// The name cannot be in a certificate.
    #[error("{0:?} cannot be the name in a certificate; check --server-name")]
    ServerName(String),
    /// The other side is not trusted, or does not speak TLS 1.3.
    #[error("the TLS handshake failed; check --ca and --server-name")]
    Tls(#[source] std::io::Error),
    /// HTTP/2 does not come about.
    #[error("no HTTP/2 connection")]
    Http(#[source] hyper::Error),
    /// It took too long.
    #[error("no connection within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout,
    /// `GET /v1/log` was refused.
    #[error("GET /v1/log is answered {0}{hint}", hint = hint(*.0))]
    Status(StatusCode),
    /// `GET /v1/log` is not what it should be.
    #[error("the answer to GET /v1/log cannot be used: {0}")]
    Log(String),
    /// The certificate names no log key.
    #[error(
        "its certificate names no log key; it needs a subject alternative name URI:indelible:vkey:<sha256 of the vkey>"
    )]
    NoKey,
    /// The certificate names another log's key.
    #[error("its log key is {found}, which is not the one that its certificate names: the collector is not used")]
    Key {
        /// The verifier key that it gave.
        found: String,
    },
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => ": check --token and the collector's issuer",
        403 => ": check the pod's identity and namespace",
        _ => "",
    }
}

impl ConnectError {
    /// The metric's label.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Timeout => Reason::Timeout,
            Self::Status(status) => Reason::of_status(status.as_u16()),
            Self::Resolve(_)
            | Self::Tcp(_)
            | Self::ServerName(_)
            | Self::Tls(_)
            | Self::Http(_)
            | Self::Log(_)
            | Self::NoKey
            | Self::Key { .. } => Reason::Transport,
        }
    }
}

/// Connects, and finds out which log is there. The driver has to run meanwhile, so `drive` gets it first.
pub async fn connect(
    endpoint: &Endpoint,
    settings: &Settings,
    drive: impl FnOnce(Driver),
) -> Result<Opened, ConnectError> {
    let opened = async {
        let stream = handshake(endpoint, settings).await?;
        let named = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let named = named.map(|certificate| vkey_digests(certificate)).unwrap_or_default();
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(false)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Http)?;
        drive(driver);
        identify(endpoint, settings, sender, &named).await
    };
    tokio::time::timeout(CONNECT_TIMEOUT, opened).await.unwrap_or(Err(ConnectError::Timeout))
}

async fn handshake(endpoint: &Endpoint, settings: &Settings) -> Result<TlsStream<TcpStream>, ConnectError> {
    let name = match (&settings.server_name, endpoint.host()) {
        (Some(name), _) | (None, Host::Name(name)) => {
            ServerName::try_from(name.clone()).map_err(|_| ConnectError::ServerName(name.clone()))?
        }
        (None, Host::Ip(ip)) => ServerName::from(*ip),
    };
    let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
    for address in settings.resolver.addresses(endpoint).await? {
        let stream = match tokio::time::timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                failure = error;
                continue;
            }
            Err(_) => {
                failure = std::io::ErrorKind::TimedOut.into();
                continue;
            }
        };
        // Without it a small batch waits for the acknowledgement of the one before.
        stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
        let connector = TlsConnector::from(settings.bundle.config.clone());
        return connector.connect(name, stream).await.map_err(ConnectError::Tls);
    }
    Err(ConnectError::Tcp(failure))
}

#[derive(Deserialize)]
struct LogWire {
    origin: String,
    vkey: String,
    log_id: String,
}

async fn identify(
    endpoint: &Endpoint,
    settings: &Settings,
    mut sender: Sender,
    named: &[Digest],
) -> Result<Opened, ConnectError> {
    let request = request(endpoint, (Method::GET, "/v1/log"), &settings.authorization, Bytes::new());
    let answer = call(&mut sender, request, MAX_ANSWER_BYTES).await;
    let answer = answer.map_err(|failure| match failure {
        Failure::Timeout => ConnectError::Timeout,
        Failure::Transport => ConnectError::Log("the connection broke off".to_owned()),
    })?;
    if answer.status != 200 {
        return Err(ConnectError::Status(StatusCode::from_u16(answer.status).unwrap_or_default()));
    }
    let log = log_identity(&answer.body, named)?;
    Ok(Opened { sender, log })
}

fn log_identity(body: &[u8], named: &[Digest]) -> Result<LogIdentity, ConnectError> {
    let wire: LogWire = serde_json::from_slice(body).map_err(|error| ConnectError::Log(error.to_string()))?;
    if named.is_empty() {
        return Err(ConnectError::NoKey);
    }
    if !named.contains(&Digest::sha256(wire.vkey.as_bytes())) {
        return Err(ConnectError::Key { found: wire.vkey.chars().take(300).collect() });
    }
    let key: VerifierKey = wire.vkey.parse().map_err(|error| ConnectError::Log(format!("vkey: {error}")))?;
    let id = LogId::new(Digest::sha256(wire.origin.as_bytes()));
    let why = if key.algorithm() != Algorithm::Ed25519 {
        "the vkey is not of a log: its type is not 0x01"
    } else if key.name().as_str() != wire.origin {
        "the vkey's name is not the origin"
    } else if wire.log_id != id.to_string() {
        "log_id is not the origin's SHA-256"
    } else {
        return Ok(LogIdentity { origin: wire.origin, id, key: *key.public_key() });
    };
    Err(ConnectError::Log(why.to_owned()))
}

/// A request to a path of the collector's interface. An empty body is none.
pub fn request(
    endpoint: &Endpoint,
    (method, path): (Method, &str),
    authorization: &HeaderValue,
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, authorization.clone());
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, MEDIA_TYPE);
    }
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.headers_mut() = headers;
    // The path is one of ours, made of constants and hex; the authority was read from a URL.
    *request.uri_mut() = format!("{endpoint}{path}").parse().expect("an endpoint and one of our paths are a URL");
    request
}

/// Sends a request and reads the whole answer, of at most `limit` bytes.
pub async fn call(sender: &mut Sender, request: Request<Full<Bytes>>, limit: usize) -> Result<Answer, Failure> {
    let answer = async {
        let response = sender.send_request(request).await.map_err(|_| Failure::Transport)?;
        let (head, body) = response.into_parts();
        let body = read(body, limit).await.ok_or(Failure::Transport)?;
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: seconds(&head.headers, RETRY_AFTER.as_str()).map(Duration::from_secs),
            epoch: seconds(&head.headers, POOL_HEADER),
            conflict: seconds(&head.headers, CONFLICT_HEADER),
            body,
        })
    };
    tokio::time::timeout(REQUEST_TIMEOUT, answer).await.unwrap_or(Err(Failure::Timeout))
}

async fn read(body: Incoming, limit: usize) -> Option<Bytes> {
    Some(Limited::new(body, limit).collect().await.ok()?.to_bytes())
}

/// A header that is one decimal number. `Retry-After` as a date is read as none: our collectors send seconds.
fn seconds(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn body(origin: &str, vkey: &str, log_id: &str) -> Vec<u8> {
        format!(r#"{{"origin":"{origin}","vkey":"{vkey}","log_id":"{log_id}","size":0,"software":"x/1"}}"#).into_bytes()
    }

    #[test]
    fn a_log_is_used_only_under_the_key_that_the_certificate_names() {
        let origin = "example.com/foo";
        let id = Digest::sha256(origin.as_bytes()).to_string();
        let named = [Digest::sha256(b"another"), Digest::sha256(VKEY.as_bytes())];
        let log = log_identity(&body(origin, VKEY, &id), &named).unwrap();
        assert_eq!((log.origin.as_str(), log.id.to_string()), (origin, id.clone()));

        let bad = |body: &[u8], named: &[Digest]| log_identity(body, named).unwrap_err();
        assert!(matches!(bad(&body(origin, VKEY, &id), &[]), ConnectError::NoKey));
        assert!(matches!(bad(&body(origin, VKEY, &id), &named[..1]), ConnectError::Key { .. }));
        assert!(matches!(bad(&body("example.com/bar", VKEY, &id), &named), ConnectError::Log(_)));
        assert!(matches!(bad(&body(origin, VKEY, "00"), &named), ConnectError::Log(_)));
        assert!(matches!(bad(b"{}", &named), ConnectError::Log(_)));
        let nonsense = [Digest::sha256(b"no key")];
        assert!(matches!(bad(&body(origin, "no key", &id), &nonsense), ConnectError::Log(_)));
    }

    #[test]
    fn headers_that_are_no_number_are_as_if_they_were_not_there() {
        let mut headers = HeaderMap::new();
        assert_eq!(seconds(&headers, "retry-after"), None);
        for (text, number) in [("7", Some(7)), ("Wed, 21 Oct 2015 07:28:00 GMT", None), ("-1", None)] {
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            assert_eq!(seconds(&headers, "retry-after"), number);
        }
    }

    #[test]
    fn requests_carry_the_pods_token_and_our_media_type() {
        let endpoint = "https://[::1]:7443".parse().unwrap();
        let mut token = HeaderValue::from_static("Bearer x");
        token.set_sensitive(true);
        let request = request(&endpoint, (Method::POST, "/v1/batches"), &token, Bytes::from_static(b"b"));
        assert_eq!(request.uri(), "https://[::1]:7443/v1/batches");
        assert_eq!(request.headers()[CONTENT_TYPE], "application/vnd.indelible.v1");
        assert_eq!(request.headers()[AUTHORIZATION], "Bearer x");
    }
}
