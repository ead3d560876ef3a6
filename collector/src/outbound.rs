//! Requests that the collector itself sends: to the API server, to issuers, to witnesses.
//!
//! They are few, so each has a connection of its own, HTTP/1.1, plain or over TLS, with the certificates that are trusted
//! now. Every step is bounded in time and every answer in bytes. Names go through a resolver of our own, because a static
//! binary has no `getaddrinfo`. What an answer means is the caller's to know.

mod url;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;
use tokio_rustls::TlsConnector;

use crate::limits::{CONNECT_TIMEOUT, KEEP_ALIVE_INTERVAL, KEEP_ALIVE_TIMEOUT, MAX_ADDRESSES, MAX_CERTIFICATES};

pub use url::{Url, UrlError};

/// Sends requests.
#[derive(Debug)]
pub struct Outbound {
    resolver: OnceCell<Resolver>,
    web: Arc<ClientConfig>,
}

struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

/// Whose certificates a server may show.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Those that browsers trust.
    Web,
    /// Those of one's own.
    Own(Arc<ClientConfig>),
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, within the limit that was given.
    pub body: Bytes,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum OutboundError {
    #[error("the name {name} has no address: {text}")]
    Name { name: String, text: String },
    #[error("cannot connect to {to}: {source}")]
    Connect { to: Url, source: std::io::Error },
    #[error("{to} does not answer within {} s", after.as_secs())]
    Silent { to: Url, after: Duration },
    #[error("the exchange with {to} broke off: {text}")]
    BrokeOff { to: Url, text: String },
    #[error("the answer of {to} is over the limit of {limit} bytes")]
    TooLarge { to: Url, limit: usize },
}

/// A PEM bundle that cannot be trusted.
#[derive(Debug, thiserror::Error)]
#[error("not a PEM bundle of 1 to {MAX_CERTIFICATES} certificates: {0}")]
pub struct BundleError(String);

/// Trusts the certificates of a PEM bundle, and no other.
pub fn trust(pem: &[u8]) -> Result<Arc<ClientConfig>, BundleError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| BundleError(error.to_string()))?;
        roots.add(certificate).map_err(|error| BundleError(error.to_string()))?;
        if roots.len() > MAX_CERTIFICATES {
            return Err(BundleError("there are more".into()));
        }
    }
    if roots.is_empty() {
        return Err(BundleError("there is none".into()));
    }
    Ok(client_config(roots))
}

fn client_config(roots: RootCertStore) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("ring has cipher suites for both")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

impl Default for Outbound {
    fn default() -> Self {
        let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        Self { resolver: OnceCell::new(), web: client_config(roots) }
    }
}

impl Outbound {
    /// Sends a request to the path of `to`, and waits for the whole answer.
    pub async fn call(
        &self,
        to: &Url,
        trust: &Trust,
        request: Request<Bytes>,
        (limit, timeout): (usize, Duration),
    ) -> Result<Answer, OutboundError> {
        let exchange = async {
            let (parts, body) = self.send(to, trust, request).await?.into_parts();
            let body = Limited::new(body, limit).collect().await.map_err(|error| {
                if error.is::<http_body_util::LengthLimitError>() {
                    return OutboundError::TooLarge { to: to.clone(), limit };
                }
                OutboundError::BrokeOff { to: to.clone(), text: error.to_string() }
            })?;
            Ok(Answer { status: parts.status, headers: parts.headers, body: body.to_bytes() })
        };
        let silent = |_| OutboundError::Silent { to: to.clone(), after: timeout };
        tokio::time::timeout(timeout, exchange).await.map_err(silent)?
    }

    /// Sends a request, and waits for the head of its answer for at most `timeout`. The body is the caller's to bound.
    pub async fn open(
        &self,
        to: &Url,
        trust: &Trust,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> Result<Response<Incoming>, OutboundError> {
        let silent = |_| OutboundError::Silent { to: to.clone(), after: timeout };
        tokio::time::timeout(timeout, self.send(to, trust, request)).await.map_err(silent)?
    }

    async fn send(
        &self,
        to: &Url,
        trust: &Trust,
        request: Request<Bytes>,
    ) -> Result<Response<Incoming>, OutboundError> {
        let stream = self.connect(to).await?;
        if !to.is_secure() {
            return exchange(to, stream, request).await;
        }
        let config = match trust {
            Trust::Web => &self.web,
            Trust::Own(config) => config,
        };
        let failed = |text: String| OutboundError::BrokeOff { to: to.clone(), text };
        let name = ServerName::try_from(to.host().to_owned()).map_err(|error| failed(error.to_string()))?;
        let handshake = TlsConnector::from(Arc::clone(config)).connect(name, stream);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, handshake)
            .await
            .map_err(|_| OutboundError::Silent { to: to.clone(), after: CONNECT_TIMEOUT })?
            .map_err(|error| failed(error.to_string()))?;
        exchange(to, stream, request).await
    }

    async fn connect(&self, to: &Url) -> Result<TcpStream, OutboundError> {
        let mut failure = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in self.addresses(to).await? {
            let connected = match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
                Ok(connected) => connected,
                Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
            };
            match connected.and_then(notice_when_gone) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            }
        }
        Err(OutboundError::Connect { to: to.clone(), source: failure })
    }

    async fn addresses(&self, to: &Url) -> Result<Vec<SocketAddr>, OutboundError> {
        if let Ok(ip) = to.host().parse() {
            return Ok(vec![SocketAddr::new(ip, to.port())]);
        }
        let failed = |text: String| OutboundError::Name { name: to.host().to_owned(), text };
        // Made at the first name: a collector that asks only the API server needs no resolver.
        let build = || async {
            let mut builder = TokioResolver::builder_tokio()
                .map_err(|error| failed(format!("/etc/resolv.conf is not usable: {error}")))?;
            builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
            let resolver = builder.build().map_err(|error| failed(error.to_string()))?;
            Ok(Resolver(resolver))
        };
        let Resolver(resolver) = self.resolver.get_or_try_init(build).await?;
        let found = resolver.lookup_ip(to.host()).await.map_err(|error| failed(error.to_string()))?;
        Ok(found.iter().take(MAX_ADDRESSES).map(|ip| SocketAddr::new(ip, to.port())).collect())
    }
}

/// A peer that is gone without a word is noticed although nothing is sent to it, as on a watch.
fn notice_when_gone(stream: TcpStream) -> std::io::Result<TcpStream> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEP_ALIVE_INTERVAL / 3)?;
    sockopt::set_tcp_keepintvl(&stream, KEEP_ALIVE_TIMEOUT / 4)?;
    sockopt::set_tcp_keepcnt(&stream, 4)?;
    Ok(stream)
}

async fn exchange(
    to: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut request: Request<Bytes>,
) -> Result<Response<Incoming>, OutboundError> {
    let failed = |error: hyper::Error| OutboundError::BrokeOff { to: to.clone(), text: error.to_string() };
    let host = HeaderValue::from_str(&to.authority()).expect("a URL's authority is a header's value");
    request.headers_mut().insert(header::HOST, host);
    let (mut sender, connection) = http1::Builder::new().handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // It ends with the answer's body, or when that is dropped.
    tokio::spawn(connection);
    sender.send_request(request.map(Full::new)).await.map_err(failed)
}
