//! The API server of the cluster that the collector runs in: the one module that speaks to it.
//!
//! Owns the address (`KUBERNETES_SERVICE_HOST` and `_PORT`), and the pod's own credentials, which are read again for
//! each request since both rotate. What is asked, and what an answer means, is [`review`]'s, [`configmap`]'s and the
//! keys' ([`crate::jwks`]). Bounded in requests at a time, in time and in bytes; that the API server is away is an
//! ordinary state, which callers tell from a refusal by [`ApiError::is_away`].

pub mod configmap;
pub mod review;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use indelible_chain::digest::Digest;
use rustls::ClientConfig;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::limits::{API_TIMEOUT, MAX_API_ANSWER_BYTES, MAX_API_CALLS, MAX_PEM_BYTES, MAX_TOKEN_BYTES};
use crate::metrics::{ApiOutcome, Metrics};
use crate::outbound::{self, Answer, BundleError, Outbound, OutboundError, Trust, Url};
use crate::reload::{ReloadError, read_bounded};

/// Where a pod finds its own token and the cluster's certificates.
pub const CREDENTIALS: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Keys are no ordinary JSON to the API server.
const ACCEPT: HeaderValue = HeaderValue::from_static("application/json, application/jwk-set+json");

/// The API server, asked with the pod's own token.
#[derive(Debug)]
pub struct ApiServer {
    url: Url,
    credentials: PathBuf,
    outbound: Arc<Outbound>,
    /// A cache: the certificates that were trusted last, by the digest of their bytes.
    trusted: Mutex<Option<(Digest, Arc<ClientConfig>)>>,
    calls: Semaphore,
    metrics: Arc<Metrics>,
}

/// This process is in no pod of a cluster.
#[derive(Debug, thiserror::Error)]
#[error(
    "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set as in a pod; in a cluster run as a pod, elsewhere use \
     files: --pool, --namespaces, --jwks, --readers jwks"
)]
pub struct NoCluster;

/// Why the API server gave no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The pod's own token or the cluster's certificates cannot be read.
    #[error("the pod's own credentials: {0}; a pod has them unless automountServiceAccountToken is false")]
    Credentials(#[source] ReloadError),
    /// The cluster's certificates are none.
    #[error("the cluster's certificates (ca.crt): {0}")]
    Bundle(#[source] BundleError),
    /// It is away.
    #[error("the API server: {0}")]
    Away(#[source] OutboundError),
    /// It answers with an error of its own.
    #[error("the API server answers {status} to {call}: {message}")]
    Status {
        /// The status.
        status: StatusCode,
        /// What was asked.
        call: String,
        /// What it says.
        message: String,
    },
    /// It answers what cannot be read.
    #[error("the API server answers what is no {expected}: {text}")]
    Garbage {
        /// What was expected.
        expected: &'static str,
        /// What is wrong with it.
        text: String,
    },
}

impl ApiError {
    /// Whether it may be otherwise in a moment, without anybody's doing: then what was known stands.
    pub fn is_away(&self) -> bool {
        match self {
            Self::Status { status, .. } => status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS,
            Self::Credentials(_) | Self::Bundle(_) | Self::Away(_) | Self::Garbage { .. } => true,
        }
    }

    /// Whether a version that was asked from is too old for it.
    pub fn is_expired(&self) -> bool {
        matches!(self, Self::Status { status: StatusCode::GONE, .. })
    }

    const fn outcome(&self) -> ApiOutcome {
        match self {
            Self::Status { .. } => ApiOutcome::Refused,
            Self::Garbage { .. } => ApiOutcome::Garbage,
            Self::Credentials(_) | Self::Bundle(_) | Self::Away(_) => ApiOutcome::Away,
        }
    }
}

/// The error object of the API.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

impl ApiServer {
    /// The one that the environment of a pod names.
    pub fn of_pod(credentials: &Path, outbound: Arc<Outbound>, metrics: Arc<Metrics>) -> Result<Self, NoCluster> {
        let host = std::env::var("KUBERNETES_SERVICE_HOST").ok().filter(|host| !host.is_empty()).ok_or(NoCluster)?;
        let port = std::env::var("KUBERNETES_SERVICE_PORT").ok().and_then(|port| port.parse().ok()).ok_or(NoCluster)?;
        Ok(Self {
            url: Url::secure(&host, port),
            credentials: credentials.to_owned(),
            outbound,
            trusted: Mutex::default(),
            calls: Semaphore::new(MAX_API_CALLS),
            metrics,
        })
    }

    /// Whether a URL is the API server's: by one of the names that every cluster gives it, or its address.
    pub fn is_at(host: &str) -> bool {
        let named = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].contains(&host)
            || host.starts_with("kubernetes.default.svc.");
        named || std::env::var("KUBERNETES_SERVICE_HOST").is_ok_and(|own| !own.is_empty() && own == host)
    }

    /// What a GET of a path gives.
    pub async fn get(&self, path: &str, limit: usize) -> Result<Answer, ApiError> {
        self.call(Method::GET, path, Bytes::new(), limit).await
    }

    /// Creates an object, which the API server answers at once and does not keep.
    async fn create(&self, path: &str, object: &serde_json::Value) -> Result<Bytes, ApiError> {
        let body = Bytes::from(object.to_string());
        Ok(self.call(Method::POST, path, body, MAX_API_ANSWER_BYTES).await?.body)
    }

    async fn call(&self, method: Method, path: &str, body: Bytes, limit: usize) -> Result<Answer, ApiError> {
        // Whoever waits here is bounded by the callers: requests of readers, one watch, one refresher an issuer.
        let _call = self.calls.acquire().await.expect("nobody closes it");
        let called = format!("{method} {path}");
        let answered = self.answer(method, path, body, limit).await.and_then(|answer| succeeded(called, answer));
        self.metrics.api_call(answered.as_ref().map_or_else(ApiError::outcome, |_| ApiOutcome::Answered));
        answered
    }

    async fn answer(&self, method: Method, path: &str, body: Bytes, limit: usize) -> Result<Answer, ApiError> {
        let (trust, request) = self.request(method, path, body).await?;
        self.outbound.call(&self.url, &trust, request, (limit, API_TIMEOUT)).await.map_err(ApiError::Away)
    }

    /// Begins a watch: its events are lines of the body.
    async fn watch(&self, path: &str) -> Result<Incoming, ApiError> {
        let opened = self.open(path).await;
        self.metrics.api_call(opened.as_ref().map_or_else(ApiError::outcome, |_| ApiOutcome::Answered));
        opened
    }

    async fn open(&self, path: &str) -> Result<Incoming, ApiError> {
        let (trust, request) = self.request(Method::GET, path, Bytes::new()).await?;
        let answer: Response<Incoming> =
            self.outbound.open(&self.url, &trust, request, API_TIMEOUT).await.map_err(ApiError::Away)?;
        if answer.status() == StatusCode::OK {
            return Ok(answer.into_body());
        }
        Err(ApiError::Status { status: answer.status(), call: format!("GET {path}"), message: "no watch".into() })
    }

    /// A request with the credentials that the pod has now.
    async fn request(&self, method: Method, path: &str, body: Bytes) -> Result<(Trust, Request<Bytes>), ApiError> {
        let (ca, token) = (self.credentials.join("ca.crt"), self.credentials.join("token"));
        let read = move || Ok((read_bounded(&ca, MAX_PEM_BYTES)?, read_bounded(&token, MAX_TOKEN_BYTES)?));
        let (ca, token) = tokio::task::spawn_blocking(read)
            .await
            .expect("reading two small files does not panic")
            .map_err(ApiError::Credentials)?;
        let trust = Trust::Own(self.trusted(&ca)?);
        let bearer = [b"Bearer ", token.trim_ascii()].concat();
        let mut bearer = HeaderValue::from_bytes(&bearer).map_err(|_| {
            let text = "the pod's token has bytes that no token has".to_owned();
            ApiError::Garbage { expected: "token", text }
        })?;
        bearer.set_sensitive(true);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| ApiError::Garbage { expected: "path", text: path.to_owned() })?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, bearer);
        headers.insert(header::ACCEPT, ACCEPT);
        headers.insert(header::USER_AGENT, HeaderValue::from_static(crate::config::SOFTWARE));
        if !request.body().is_empty() {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok((trust, request))
    }

    fn trusted(&self, ca: &[u8]) -> Result<Arc<ClientConfig>, ApiError> {
        let digest = Digest::sha256(ca);
        let mut trusted = self.trusted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, config)) = &*trusted
            && *known == digest
        {
            return Ok(Arc::clone(config));
        }
        let config = outbound::trust(ca).map_err(ApiError::Bundle)?;
        *trusted = Some((digest, Arc::clone(&config)));
        Ok(config)
    }
}

fn succeeded(call: String, answer: Answer) -> Result<Answer, ApiError> {
    if answer.status.is_success() {
        return Ok(answer);
    }
    let message = serde_json::from_slice(&answer.body).map_or_else(|_| String::new(), |Status { message }| message);
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect();
    Err(ApiError::Status { status: answer.status, call, message })
}

/// How long to wait after so many failures in a row: doubled each time, within bounds, and spread so that the collectors
/// of a pool do not come back in step.
pub fn pause(failures: u32, (least, most): (Duration, Duration), random: u32) -> Duration {
    let doubled = least.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    doubled.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// A number that is not the same in each process.
pub fn random() -> u32 {
    getrandom::u32().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_bounds_and_are_spread() {
        let bounds = (Duration::from_secs(1), Duration::from_secs(30));
        assert_eq!(pause(1, bounds, u32::MAX), Duration::from_secs(1));
        assert_eq!(pause(1, bounds, 0), Duration::from_millis(500));
        assert_eq!(pause(3, bounds, u32::MAX), Duration::from_secs(4));
        assert_eq!(pause(u32::MAX, bounds, u32::MAX), Duration::from_secs(30));
    }

    #[test]
    fn the_api_server_is_known_by_the_names_that_every_cluster_gives_it() {
        for host in ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "kubernetes.default"] {
            assert!(ApiServer::is_at(host), "{host}");
        }
        for host in ["kubernetes.default.svcx", "issuer.example", "kubernetes.example", ""] {
            assert!(!ApiServer::is_at(host), "{host}");
        }
    }

    #[test]
    fn what_the_api_server_says_of_a_refusal_is_told_and_is_bounded() {
        let answer = |status, body: &str| {
            let body = Bytes::copy_from_slice(body.as_bytes());
            succeeded("GET /x".into(), Answer { status, headers: http::HeaderMap::new(), body })
        };
        let refused = answer(StatusCode::FORBIDDEN, r#"{"kind":"Status","message":"no"}"#).unwrap_err();
        assert_eq!(refused.to_string(), "the API server answers 403 Forbidden to GET /x: no");
        assert!(!refused.is_away());
        assert!(answer(StatusCode::TOO_MANY_REQUESTS, "slow down").unwrap_err().is_away());
        assert!(answer(StatusCode::GONE, "{}").unwrap_err().is_expired());
        let long = serde_json::json!({ "message": "x".repeat(10_000) }).to_string();
        assert!(answer(StatusCode::BAD_REQUEST, &long).unwrap_err().to_string().len() < 400);
        assert!(answer(StatusCode::CREATED, "").is_ok());
    }
}
