//! HTTP/2 over TLS 1.3 to one collector, as an untrusted reader needs it; to a witness also HTTP/1.1, and plain.
//!
//! Owns the connection, the reader token and every bound on what a server may send or how long it may take. Answers are
//! read whole up to a limit, or piece by piece. What a broken connection or a busy server (429, 503) costs is asked again
//! a few times; everything else is an error that names the URL. Nothing that is read here is believed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::route::{DialError, Route, Stream, Token};
use super::trust::HTTP_2;
use crate::limits::{
    ANSWER_TIMEOUT, CONNECT_TIMEOUT, MAX_HEADER_BYTES, MAX_PROBLEM_BYTES, MAX_RETRIES, MAX_STREAM_BYTES,
    MIN_BYTES_PER_SECOND, RETRY_WAIT, STALL_TIMEOUT, WINDOW_BYTES,
};
use crate::text::one_line;

/// Who is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A collector: it gets the reader token.
    Collector,
    /// A witness: it does not, and it is a web server like any other.
    Witness,
}

impl Peer {
    /// Where it listens if its URL does not say.
    const fn port(self, is_secure: bool) -> u16 {
        match self {
            Self::Collector => 7443,
            Self::Witness if is_secure => 443,
            Self::Witness => 80,
        }
    }
}

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
    /// It comes, but hardly.
    #[error(
        "{url}: the answer comes at less than {MIN_BYTES_PER_SECOND} bytes a second, the least that is waited for; try \
         over a better connection, or read a copy of the data directory"
    )]
    Slow {
        /// What was asked for.
        url: String,
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
    #[error(
        "{url}: the answer is over the limit of {limit} bytes, which no collector's is; see what answers there, or read \
         a copy of the data directory"
    )]
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
    /// Whether nobody answers, whatever is asked for.
    pub const fn is_outage(&self) -> bool {
        matches!(self, Self::Connection { .. } | Self::Timeout { .. })
    }

    /// Whether the same request may succeed a moment later.
    fn is_passing(&self) -> bool {
        match self {
            _ if self.is_outage() => true,
            Self::Refused { status, .. } => {
                matches!(*status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
            }
            _ => false,
        }
    }
}

/// A client of one server. Blocks its thread; the connection lives in the runtime.
pub struct Client {
    runtime: Handle,
    /// `https://host:port`, without a slash at its end: what requests name.
    base: String,
    /// `host:port`: what a request of HTTP/1.1 says.
    authority: String,
    /// Whether it is asked over TLS: always but for a witness, whose answers are signed.
    is_secure: bool,
    /// What a person knows it by; `base` where that is how it was named.
    label: String,
    /// The name that its certificate must be for.
    host: String,
    route: Route,
    tls: TlsConnector,
    peer: Peer,
    /// Only a collector's.
    token: Option<Token>,
    connection: Option<Sender>,
}

/// A connection that is open.
enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

impl Sender {
    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }

    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<http::Response<Incoming>> {
        match self {
            Self::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("server", &self.label).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of the server at `url`, `https://host:port`. Connects when something is asked.
    pub fn new(
        runtime: Handle,
        url: &str,
        peer: Peer,
        tls: TlsConnector,
        token: Option<Token>,
    ) -> Result<Self, FetchError> {
        let refuse = |why| FetchError::Url { url: one_line(url), why };
        let uri: Uri = url.parse().map_err(|_| refuse("not a URL; expected https://host:port"))?;
        let is_secure = match (uri.scheme_str(), peer) {
            (Some("https"), _) => true,
            (Some("http"), Peer::Witness) => false,
            _ => return Err(refuse("only https is spoken; expected https://host:port")),
        };
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refuse("a collector's URL has no path; expected https://host:port"));
        }
        let host = uri.host().ok_or_else(|| refuse("no host; expected https://host:port"))?;
        let port = uri.port_u16().unwrap_or(peer.port(is_secure));
        let token = token.filter(|_| peer == Peer::Collector);
        let authority = format!("{host}:{port}");
        let base = format!("{}://{authority}", if is_secure { "https" } else { "http" });
        let host = host.trim_matches(['[', ']']).to_owned();
        let route = Route::Tcp { host: host.clone(), port };
        let label = base.clone();
        Ok(Self { runtime, base, authority, is_secure, label, host, route, tls, peer, token, connection: None })
    }

    /// A client of a collector that is reached in another way than by its name: `label` is what a person knows it by,
    /// `host` the name that its certificate is for.
    pub fn over(
        runtime: Handle,
        route: Route,
        label: String,
        host: String,
        tls: TlsConnector,
        token: Option<Token>,
    ) -> Self {
        let (peer, is_secure) = (Peer::Collector, true);
        let authority = format!("{host}:{}", peer.port(is_secure));
        let base = format!("https://{authority}");
        Self { runtime, base, authority, is_secure, label, host, route, tls, peer, token, connection: None }
    }

    /// What a person knows the server by: `https://host:port`, or a pod's name.
    pub fn label(&self) -> &str {
        &self.label
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

    /// Several whole answers at once, in the order of the paths. What fails is asked for again, by itself; once that says
    /// that nobody answers, it is the last answer: each further one would take as long, and say the same.
    pub fn get_all(&mut self, paths: &[String], limit: usize) -> Vec<Result<Vec<u8>, FetchError>> {
        let runtime = self.runtime.clone();
        let asked: Vec<_> = paths
            .iter()
            .map(|path| {
                let Some(Sender::Http2(sender)) = &self.connection else { return None };
                let sender = sender.clone();
                let request = self.request(path).ok()?;
                Some(runtime.spawn(async move { timeout(ANSWER_TIMEOUT, whole(sender, request, limit)).await }))
            })
            .collect();
        let mut answers = Vec::new();
        for (path, asked) in paths.iter().zip(asked) {
            let answer = match asked.map(|task| runtime.block_on(task)) {
                Some(Ok(Ok(Some(bytes)))) => Ok(bytes),
                _ => self.get(path, limit),
            };
            let is_outage = answer.as_ref().is_err_and(FetchError::is_outage);
            answers.push(answer);
            if is_outage {
                break;
            }
        }
        answers
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
        let url = format!("{}{path}", self.label);
        let runtime = self.runtime.clone();
        let mut request = self.request(path)?;
        let mut sender = match self.connection.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => runtime.block_on(self.connect())?,
        };
        if let Sender::Http1(_) = sender {
            let host = http::HeaderValue::from_str(&self.authority);
            host.map(|host| request.headers_mut().insert(http::header::HOST, host))
                .map_err(|_| self.unsendable(path))?;
            *request.uri_mut() = path.parse().map_err(|_| self.unsendable(path))?;
        }
        let limit = ANSWER_TIMEOUT + wait;
        let sent = runtime.block_on(async { timeout(limit, sender.send(request)).await });
        let sent = sent.map_err(|_| FetchError::Timeout { url: url.clone(), seconds: limit.as_secs() })?;
        let answer = sent.map_err(|e| FetchError::Connection { url: url.clone(), what: "asking", why: why(&e) })?;
        self.connection = Some(sender);
        let status = answer.status();
        let mut answer = Answer { runtime, url, body: answer.into_body(), received: 0, waited: Duration::ZERO };
        match status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(FetchError::NotFound { url: answer.url }),
            _ => {
                let remedy = self.token.as_ref().map_or_else(|| Token::NONE.to_owned(), Token::remedy);
                let why = answer.problem(status, (self.peer == Peer::Collector).then_some(remedy.as_str()));
                Err(FetchError::Refused { url: answer.url, status, why })
            }
        }
    }

    fn request(&self, path: &str) -> Result<Request<Empty<Bytes>>, FetchError> {
        let mut request = Request::get(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            // Read each time: a token is renewed while a long run goes on.
            request = request.header("Indelible-Token", token.read(&self.runtime, &self.label)?);
        }
        request.body(Empty::new()).map_err(|_| self.unsendable(path))
    }

    fn unsendable(&self, path: &str) -> FetchError {
        FetchError::Url {
            url: one_line(&format!("{}{path}", self.label)),
            why: "the URL or the token in --token holds characters that cannot be sent",
        }
    }

    async fn connect(&self) -> Result<Sender, FetchError> {
        let failed = |what, why: String| FetchError::Connection { url: self.label.clone(), what, why };
        let connecting = async {
            let stream = self.route.dial().await.map_err(|e| match e {
                DialError::Away(why) => failed("connecting", why),
                DialError::Refused(why) => FetchError::Nonsense { url: self.label.clone(), why },
            })?;
            if !self.is_secure {
                return self.http1(stream).await;
            }
            let name = ServerName::try_from(self.host.clone())
                .map_err(|_| FetchError::Url { url: self.label.clone(), why: "the host is no name or address" })?;
            let tls = self.tls.connect(name, stream).await;
            let tls = tls.map_err(|e| failed("TLS (is --ca this pool's?)", e.to_string()))?;
            if self.peer == Peer::Witness && tls.get_ref().1.alpn_protocol() != Some(HTTP_2) {
                return self.http1(tls).await;
            }
            let (sender, connection) = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .initial_stream_window_size(WINDOW_BYTES)
                .initial_connection_window_size(WINDOW_BYTES)
                .max_header_list_size(MAX_HEADER_BYTES)
                .handshake(TokioIo::new(tls))
                .await
                .map_err(|e| failed("HTTP/2", why(&e)))?;
            tokio::spawn(connection);
            Ok(Sender::Http2(sender))
        };
        let timeout = timeout(CONNECT_TIMEOUT, connecting).await;
        timeout.unwrap_or_else(|_| {
            Err(FetchError::Timeout { url: self.label.clone(), seconds: CONNECT_TIMEOUT.as_secs() })
        })
    }

    async fn http1(&self, stream: impl Stream + 'static) -> Result<Sender, FetchError> {
        let begun = http1::Builder::new().max_buf_size(MAX_HEADER_BYTES as usize).handshake(TokioIo::new(stream)).await;
        let failed = |e| FetchError::Connection { url: self.label.clone(), what: "HTTP/1.1", why: why(&e) };
        let (sender, connection) = begun.map_err(failed)?;
        tokio::spawn(connection);
        Ok(Sender::Http1(sender))
    }
}

/// A whole answer, if it is a good one of at most `limit` bytes.
async fn whole(
    mut sender: http2::SendRequest<Empty<Bytes>>,
    request: Request<Empty<Bytes>>,
    limit: usize,
) -> Option<Vec<u8>> {
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
    /// Bytes so far.
    received: u64,
    /// How long they were waited for; the time in which nobody asked for more does not count.
    waited: Duration,
}

impl Answer {
    /// The next bytes; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            let due = STALL_TIMEOUT + Duration::from_secs(self.received / MIN_BYTES_PER_SECOND);
            let left = due.saturating_sub(self.waited);
            let began = Instant::now();
            let frame = self.runtime.block_on(async { timeout(left.min(STALL_TIMEOUT), self.body.frame()).await });
            self.waited += began.elapsed();
            match frame {
                Err(_) if left < STALL_TIMEOUT => return Err(FetchError::Slow { url: self.url.clone() }),
                Err(_) => {
                    return Err(FetchError::Timeout { url: self.url.clone(), seconds: STALL_TIMEOUT.as_secs() });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(e))) => {
                    return Err(FetchError::Connection { url: self.url.clone(), what: "reading", why: why(&e) });
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.received += data.len() as u64;
                        if self.received > MAX_STREAM_BYTES {
                            let limit = usize::try_from(MAX_STREAM_BYTES).unwrap_or(usize::MAX);
                            return Err(FetchError::TooLarge { url: self.url.clone(), limit });
                        }
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// The server's own explanation, as far as it is short, and what to do; `remedy` if the token is to blame.
    fn problem(&mut self, status: StatusCode, remedy: Option<&str>) -> String {
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
        let remedy = match (status, remedy) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, Some(remedy)) => remedy,
            (status, _) if status.is_redirection() => "; redirects are not followed, name the server itself",
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn no_roots() -> TlsConnector {
        let roots = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        TlsConnector::from(Arc::new(roots))
    }

    #[test]
    fn of_a_server_that_does_not_answer_one_path_is_asked_for_and_not_each_of_them() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let asked = std::thread::spawn(move || {
            // Whoever comes is sent away at once; the last one says so.
            listener.incoming().take_while(|one| one.as_ref().unwrap().peek(&mut [0]).unwrap() == 1).count()
        });
        let mut client = Client::new(runtime.handle().clone(), &url, Peer::Collector, no_roots(), None).unwrap();
        let answers = client.get_all(&["/a".to_owned(), "/b".to_owned(), "/c".to_owned()], 1);
        assert!(matches!(answers.as_slice(), [Err(e)] if e.is_outage()), "{answers:?}");
        drop(std::net::TcpStream::connect(url.strip_prefix("https://").unwrap()).unwrap());
        assert_eq!(asked.join().unwrap(), 1 + MAX_RETRIES as usize);
    }

    #[test]
    fn a_reader_token_goes_to_collectors_alone_and_each_has_its_own_port() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "secret\n").unwrap();
        let tls = no_roots();
        for (peer, scheme, port, sends) in [
            (Peer::Collector, "https", 7443, true),
            (Peer::Witness, "https", 443, false),
            (Peer::Witness, "http", 80, false),
        ] {
            let token = Some(Token::File(token.path().to_owned()));
            let url = format!("{scheme}://a.test");
            let client = Client::new(runtime.handle().clone(), &url, peer, tls.clone(), token).unwrap();
            assert_eq!(client.label(), format!("{url}:{port}"));
            let request = client.request("/v1/log").unwrap();
            assert_eq!(request.headers().contains_key("Indelible-Token"), sends, "{peer:?}");
        }
        let plain = Client::new(runtime.handle().clone(), "http://a.test", Peer::Collector, tls, None).unwrap_err();
        assert!(plain.to_string().contains("only https"), "what a collector answers is not signed as a whole");
    }
}
