//! A twin of the API server, in this process, over HTTPS: one `ConfigMap` that is watched, reviews of tokens and accesses, and
//! an issuer's keys. It can be away, slow, senseless, and cut its watches.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Well,
    /// Connections are closed at once.
    Away,
    /// Nothing is ever answered.
    Slow,
    /// Everything is answered with a page for people.
    Senseless,
    /// Everything is answered 500.
    Broken,
}

type Event = Result<Frame<Bytes>, std::io::Error>;

struct State {
    mood: Mood,
    version: u64,
    data: Option<BTreeMap<String, String>>,
    watches: Vec<mpsc::UnboundedSender<Event>>,
    /// Watches from an older version are too old.
    oldest: u64,
    jwks: String,
    /// Users by their tokens.
    users: BTreeMap<String, String>,
    /// `<user> <resource>/<subresource> <namespace> <name>`.
    granted: HashSet<String>,
    asked: Vec<String>,
}

pub struct Api {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    dir: TempDir,
}

/// What the pod's own token is.
const TOKEN: &str = "the-pods-own-token";
const AUDIENCE: &str = "read.indelible.dev/audit/payments";

impl Api {
    pub async fn start(jwks: String) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".into()]).unwrap().self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), certificate.pem()).unwrap();
        std::fs::write(dir.path().join("token"), format!("{TOKEN}\n")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            mood: Mood::Well,
            version: 10,
            data: None,
            watches: Vec::new(),
            oldest: 0,
            jwks,
            users: BTreeMap::new(),
            granted: HashSet::new(),
            asked: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(tls)), Arc::clone(&state)));
        Self { address, state, dir }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The environment of a pod of this cluster.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("KUBERNETES_SERVICE_HOST", self.address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", self.address.port().to_string()),
            ("INDELIBLE_KUBE_CREDENTIALS", self.credentials().to_str().unwrap().to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }

    pub fn credentials(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// Changes how it answers; what is open is cut.
    pub fn is(&self, mood: Mood) {
        let mut state = self.state();
        state.mood = mood;
        state.watches.clear();
    }

    /// Writes the `ConfigMap`.
    pub fn put(&self, data: &[(&str, &str)]) {
        let mut state = self.state();
        let kind = if state.data.is_some() { "MODIFIED" } else { "ADDED" };
        state.version += 1;
        state.data = Some(data.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        let event = json!({ "type": kind, "object": object(&state).unwrap() });
        state.tell(&event);
    }

    /// Removes it.
    pub fn remove(&self) {
        let mut state = self.state();
        state.version += 1;
        let event = json!({ "type": "DELETED", "object": object(&state).unwrap() });
        state.data = None;
        state.tell(&event);
    }

    /// Cuts every watch in the middle of an event.
    pub fn cut(&self) {
        let mut state = self.state();
        for watch in state.watches.drain(..) {
            let _ = watch.send(Ok(Frame::data(Bytes::from_static(b"{\"type\":\"MODI"))));
            let _ = watch.send(Err(std::io::Error::other("cut")));
        }
    }

    /// Ends every watch; a new one from before now is too old.
    pub fn forget(&self) {
        let mut state = self.state();
        state.version += 1;
        state.oldest = state.version;
        state.watches.clear();
    }

    /// How many watches are open.
    pub fn watches(&self) -> usize {
        let mut state = self.state();
        state.watches.retain(|watch| !watch.is_closed());
        state.watches.len()
    }

    pub fn set_jwks(&self, jwks: String) {
        self.state().jwks = jwks;
    }

    pub fn knows(&self, token: &str, user: &str) {
        self.state().users.insert(token.to_owned(), user.to_owned());
    }

    pub fn grant(&self, user: &str, access: &str) {
        self.state().granted.insert(format!("{user} {access}"));
    }

    /// What was asked so far that contains a text.
    pub fn asked(&self, text: &str) -> usize {
        self.state().asked.iter().filter(|asked| asked.contains(text)).count()
    }
}

impl State {
    fn tell(&mut self, event: &Value) {
        let line = Bytes::from(format!("{event}\n"));
        self.watches.retain(|watch| watch.send(Ok(Frame::data(line.clone()))).is_ok());
    }
}

fn object(state: &State) -> Option<Value> {
    let data = state.data.as_ref()?;
    let metadata =
        json!({ "name": "payments-pool", "namespace": "audit", "resourceVersion": state.version.to_string() });
    Some(json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": data }))
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        if state.lock().unwrap().mood == Mood::Away {
            continue;
        }
        let (tls, state) = (tls.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(|request| answer(request, Arc::clone(&state)));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

type Body = BoxBody<Bytes, std::io::Error>;

fn whole(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed());
    *answer.status_mut() = status;
    answer
}

async fn answer(request: Request<Incoming>, state: Arc<Mutex<State>>) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let asked = format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(&body));
    let mood = {
        let mut state = state.lock().unwrap();
        state.asked.push(asked);
        state.mood
    };
    match mood {
        Mood::Well => {}
        Mood::Away | Mood::Slow => std::future::pending::<()>().await,
        Mood::Senseless => return Ok(whole(StatusCode::OK, "<html>please log in</html>")),
        Mood::Broken => return Ok(whole(StatusCode::INTERNAL_SERVER_ERROR, r#"{"kind":"Status","message":"etcd"}"#)),
    }
    let own = parts.headers.get("authorization").is_some_and(|token| token == &format!("Bearer {TOKEN}"));
    if !own {
        return Ok(whole(StatusCode::UNAUTHORIZED, r#"{"kind":"Status","message":"Unauthorized"}"#));
    }
    let mut state = state.lock().unwrap();
    let query = parts.uri.query().unwrap_or_default();
    Ok(match parts.uri.path() {
        "/openid/v1/jwks" => whole(StatusCode::OK, state.jwks.clone()),
        "/api/v1/namespaces/audit/configmaps" if query.contains("watch=true") => watch(&mut state, query),
        "/api/v1/namespaces/audit/configmaps" => {
            let metadata = json!({ "resourceVersion": state.version.to_string() });
            let items: Vec<Value> = object(&state).into_iter().collect();
            whole(StatusCode::OK, json!({ "kind": "ConfigMapList", "metadata": metadata, "items": items }).to_string())
        }
        "/apis/authentication.k8s.io/v1/tokenreviews" => whole(StatusCode::CREATED, token_review(&state, &body)),
        "/apis/authorization.k8s.io/v1/subjectaccessreviews" => {
            whole(StatusCode::CREATED, access_review(&state, &body))
        }
        path => whole(StatusCode::NOT_FOUND, path.to_owned()),
    })
}

fn watch(state: &mut State, query: &str) -> Response<Body> {
    assert!(query.contains("fieldSelector=metadata.name%3Dpayments-pool"), "{query}");
    let from: u64 = query.split_once("resourceVersion=").unwrap().1.parse().unwrap();
    if from < state.oldest {
        let status = json!({ "kind": "Status", "code": 410, "message": "too old resource version" });
        let event = json!({ "type": "ERROR", "object": status });
        return whole(StatusCode::OK, format!("{event}\n"));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    if from < state.version
        && let Some(object) = object(state)
    {
        let event = json!({ "type": "MODIFIED", "object": object });
        sender.send(Ok(Frame::data(Bytes::from(format!("{event}\n"))))).unwrap();
    }
    state.watches.push(sender);
    let events = futures::stream::unfold(receiver, |mut receiver| async { Some((receiver.recv().await?, receiver)) });
    Response::new(BodyExt::boxed(StreamBody::new(Box::pin(events))))
}

fn token_review(state: &State, body: &[u8]) -> String {
    let review: Value = serde_json::from_slice(body).unwrap();
    let known = state.users.get(review["spec"]["token"].as_str().unwrap());
    let status = match known {
        Some(user) if review["spec"]["audiences"] == json!([AUDIENCE]) => json!({
            "authenticated": true, "audiences": [AUDIENCE],
            "user": { "username": user, "uid": "1", "groups": ["system:authenticated"], "extra": { "k": ["v"] } },
        }),
        _ => json!({ "authenticated": false, "error": "unknown" }),
    };
    json!({ "kind": "TokenReview", "status": status }).to_string()
}

fn access_review(state: &State, body: &[u8]) -> String {
    let review: Value = serde_json::from_slice(body).unwrap();
    let spec = &review["spec"];
    assert_eq!(spec["extra"], json!({ "k": ["v"] }), "all that is known of the user is handed on");
    let attributes = &spec["resourceAttributes"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    assert_eq!(attributes["verb"], "get");
    let wanted = ["group", "resource", "subresource", "namespace", "name"].map(|key| text(&attributes[key])).join(" ");
    let allowed = state.granted.contains(&format!("{} {}", text(&spec["user"]), wanted.trim()));
    json!({ "kind": "SubjectAccessReview", "status": { "allowed": allowed } }).to_string()
}
