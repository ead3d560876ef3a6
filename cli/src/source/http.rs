//! HTTP/2 over TLS 1.3 to one collector, as an untrusted reader needs it.
//!
//! Owns the connection, the reader token and every bound on what a server may send or how long it may take. Answers are
//! read whole up to a limit, or piece by piece. What a broken connection or a busy server (429, 503) costs is asked again
//! a few times; everything else is an error that names the URL. Nothing that is read here is believed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::limits::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, MAX_CONFIG_BYTES, MAX_RETRIES, RETRY_WAIT, STALL_TIMEOUT};
use crate::text::one_line;

/// Longest part of a server's explanation that is repeated to the user.
const MAX_PROBLEM_BYTES: usize = 4096;
/// Largest header list of an answer.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// What the server may send of one answer before it is read.
const WINDOW_BYTES: u32 = 2 * 1024 * 1024;

/// Why a collector did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Not a URL that can be read.
    #[error("{url}: {why}")]
    Url {
        /// The text.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// `--ca` or `--token` cannot be used.
    #[error("{flag} {path}: {why}", path = path.display())]
    File {
        /// Which flag.
        flag: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No connection, or it broke.
    #[error("{url}: {what}: {why}")]
    Connection {
        /// The collector.
        url: String,
        /// During what.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// It took too long.
    #[error("{url}: no answer within {seconds} s")]
    Timeout {
        /// What was asked for.
        url: String,
        /// The limit.
        seconds: u64,
    },
    /// It is not there.
    #[error("{url}: not found (404)")]
    NotFound {
        /// What was asked for.
        url: String,
    },
    /// The server refused.
    #[error("{url}: {status}{why}")]
    Refused {
        /// What was asked for.
        url: String,
        /// Its answer.
        status: StatusCode,
        /// Its explanation and what to do.
        why: String,
    },
    /// More than a client takes.
    #[error("{url}: the answer is over the limit of {limit} bytes")]
    TooLarge {
        /// What was asked for.
        url: String,
        /// The limit.
        limit: usize,
    },
    /// Not what was asked for.
    #[error("{url}: {why}")]
    Nonsense {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        why: String,
    },
}

impl FetchError {
    /// Whether the same request may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Timeout { .. } => true,
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => false,
        }
    }
}

/// A client of one collector. Blocks its thread; the connection lives in the runtime.
pub struct Client {
    runtime: Handle,
    /// `https://host:port`, without a slash at its end.
    base: String,
    host: String,
    port: u16,
    tls: TlsConnector,
    token: Option<PathBuf>,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.base).finish_non_exhaustive()
    }
}

/// Trust in certificates, made once for all collectors.
pub fn tls(ca: &std::path::Path) -> Result<TlsConnector, FetchError> {
    let refuse = |why: String| FetchError::File { flag: "--ca", path: ca.to_owned(), why };
    let length = std::fs::metadata(ca).map_err(|e| refuse(e.to_string()))?.len();
    if length > MAX_CONFIG_BYTES as u64 {
        return Err(refuse(format!("over the limit of {MAX_CONFIG_BYTES} bytes")));
    }
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).map_err(|e| refuse(e.to_string()))? {
        let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate in it; expected PEM".to_owned()));
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

impl Client {
    /// A client of the collector at `url`, `https://host:port`. Connects when something is asked.
    pub fn new(runtime: Handle, url: &str, tls: TlsConnector, token: Option<PathBuf>) -> Result<Self, FetchError> {
        let refuse = |why| FetchError::Url { url: one_line(url), why };
        let uri: Uri = url.parse().map_err(|_| refuse("not a URL; expected https://host:port"))?;
        if uri.scheme_str() != Some("https") {
            return Err(refuse("only https is spoken; expected https://host:port"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refuse("a collector's URL has no path; expected https://host:port"));
        }
        let host = uri.host().ok_or_else(|| refuse("no host; expected https://host:port"))?;
        let port = uri.port_u16().unwrap_or(7443);
        let base = format!("https://{host}:{port}");
        let host = host.trim_matches(['[', ']']).to_owned();
        Ok(Self { runtime, base, host, port, tls, token, connection: None })
    }

    /// `https://host:port`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A whole answer of at most `limit` bytes.
    pub fn get(&mut self, path: &str, limit: usize) -> Result<Vec<u8>, FetchError> {
        self.retry(|client| {
            let mut answer = client.ask(path, Duration::ZERO)?;
            let mut bytes = Vec::new();
            while let Some(chunk) = answer.next()? {
                if bytes.len() + chunk.len() > limit {
                    return Err(FetchError::TooLarge { url: answer.url, limit });
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        })
    }

    /// Several whole answers at once, in the order of the paths. What fails is asked for again, by itself.
    pub fn get_all(&mut self, paths: &[String], limit: usize) -> Vec<Result<Vec<u8>, FetchError>> {
        let runtime = self.runtime.clone();
        let asked: Vec<_> = paths
            .iter()
            .map(|path| {
                let sender = self.connection.as_ref()?.clone();
                let request = self.request(&format!("{}{path}", self.base)).ok()?;
                Some(runtime.spawn(async move { timeout(ANSWER_TIMEOUT, whole(sender, request, limit)).await }))
            })
            .collect();
        let answers = paths.iter().zip(asked).map(|(path, asked)| match asked.map(|task| runtime.block_on(task)) {
            Some(Ok(Ok(Some(bytes)))) => Ok(bytes),
            _ => self.get(path, limit),
        });
        answers.collect()
    }

    /// An answer to be read piece by piece; the server was asked to `wait` that long for it.
    pub fn stream(&mut self, path: &str, wait: Duration) -> Result<Answer, FetchError> {
        self.retry(|client| client.ask(path, wait))
    }

    fn retry<T>(&mut self, mut attempt: impl FnMut(&mut Self) -> Result<T, FetchError>) -> Result<T, FetchError> {
        let mut wait = RETRY_WAIT;
        for _ in 0..MAX_RETRIES {
            match attempt(self) {
                Err(e) if e.is_passing() => self.connection = None,
                other => return other,
            }
            self.runtime.block_on(async { tokio::time::sleep(wait).await });
            wait *= 2;
        }
        attempt(self)
    }

    fn ask(&mut self, path: &str, wait: Duration) -> Result<Answer, FetchError> {
        let url = format!("{}{path}", self.base);
        let runtime = self.runtime.clone();
        let request = self.request(&url)?;
        let mut sender = match self.connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => runtime.block_on(self.connect())?,
        };
        let limit = ANSWER_TIMEOUT + wait;
        let sent = runtime.block_on(async { timeout(limit, sender.send_request(request)).await });
        let sent = sent.map_err(|_| FetchError::Timeout { url: url.clone(), seconds: limit.as_secs() })?;
        let answer = sent.map_err(|e| FetchError::Connection { url: url.clone(), what: "asking", why: why(&e) })?;
        self.connection = Some(sender);
        let status = answer.status();
        let mut answer = Answer { runtime, url, body: answer.into_body() };
        match status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(FetchError::NotFound { url: answer.url }),
            _ => {
                let why = answer.problem(status);
                Err(FetchError::Refused { url: answer.url, status, why })
            }
        }
    }

    fn request(&self, url: &str) -> Result<Request<Empty<Bytes>>, FetchError> {
        let mut request = Request::get(url);
        if let Some(path) = &self.token {
            let refuse = |why: String| FetchError::File { flag: "--token", path: path.clone(), why };
            // Read each time: a projected token is renewed while a long run goes on.
            let token = std::fs::read_to_string(path).map_err(|e| refuse(e.to_string()))?;
            request = request.header("Indelible-Token", token.trim());
        }
        request.body(Empty::new()).map_err(|_| FetchError::Url {
            url: one_line(url),
            why: "the URL or the token in --token holds characters that cannot be sent",
        })
    }

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>, FetchError> {
        let failed = |what, why: String| FetchError::Connection { url: self.base.clone(), what, why };
        let connecting = async {
            let tcp = TcpStream::connect((self.host.as_str(), self.port)).await;
            let tcp = tcp.map_err(|e| failed("connecting", e.to_string()))?;
            let _ = tcp.set_nodelay(true); // only a matter of speed
            let name = ServerName::try_from(self.host.clone())
                .map_err(|_| FetchError::Url { url: self.base.clone(), why: "the host is no name or address" })?;
            let tls =
                self.tls.connect(name, tcp).await.map_err(|e| failed("TLS (is --ca this pool's?)", e.to_string()))?;
            let (sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .max_header_list_size(MAX_HEADER_BYTES)
                .handshake(TokioIo::new(tls))
                .await
                .map_err(|e| failed("HTTP/2", why(&e)))?;
            tokio::spawn(connection);
            Ok(sender)
        };
        let timeout = timeout(CONNECT_TIMEOUT, connecting).await;
        timeout
            .unwrap_or_else(|_| Err(FetchError::Timeout { url: self.base.clone(), seconds: CONNECT_TIMEOUT.as_secs() }))
    }
}

/// A whole answer, if it is a good one of at most `limit` bytes.
async fn whole(mut sender: SendRequest<Empty<Bytes>>, request: Request<Empty<Bytes>>, limit: usize) -> Option<Vec<u8>> {
    let answer = sender.send_request(request).await.ok().filter(|answer| answer.status() == StatusCode::OK)?;
    let body = http_body_util::Limited::new(answer.into_body(), limit).collect().await.ok()?;
    Some(body.to_bytes().to_vec())
}

/// An answer that is being read.
#[derive(Debug)]
pub struct Answer {
    runtime: Handle,
    url: String,
    body: Incoming,
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let frame = self.runtime.block_on(async { timeout(STALL_TIMEOUT, self.body.frame()).await });
            match frame {
                Err(_) => {
                    return Err(FetchError::Timeout { url: self.url.clone(), seconds: STALL_TIMEOUT.as_secs() });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(e))) => {
                    return Err(FetchError::Connection { url: self.url.clone(), what: "reading", why: why(&e) });
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The server's own explanation, as far as it is short, and what to do.
    fn problem(&mut self, status: StatusCode) -> String {
        let mut text = Vec::new();
        while text.len() <= MAX_PROBLEM_BYTES
            && let Ok(Some(chunk)) = self.next()
        {
            text.extend_from_slice(&chunk);
        }
        text.truncate(MAX_PROBLEM_BYTES);
        let problem: Option<serde_json::Value> = serde_json::from_slice(&text).ok();
        let field = |name| problem.as_ref()?.get(name)?.as_str().map(one_line);
        let said = field("detail").or_else(|| field("title")).map(|said| format!(": {said}")).unwrap_or_default();
        let remedy = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "; give a token that may read with --token",
            _ => "",
        };
        format!("{said}{remedy}")
    }
}

/// hyper's errors say least in their first line.
fn why(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
