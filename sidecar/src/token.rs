//! The pod's token: read from its file, and what it says of the pod.
//!
//! The claims are read without checking the signature: collectors do that. Here they only tell a wrong configuration
//! early and clearly, before a collector answers 403 to every try.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::HeaderValue;
use serde::Deserialize;

use crate::limits::MAX_TOKEN_BYTES;

/// Why a token file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// It cannot be read.
    #[error("--token {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Too long.
    #[error("--token {path}: longer than {MAX_TOKEN_BYTES} bytes; give the file of a projected service-account token")]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// Not a JWT.
    #[error("--token {path}: {why}; give the file of a projected service-account token")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
}

/// A token with what it says of the pod.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    jwt: String,
    claims: Claims,
}

/// What a token says of the pod. A field that the cluster does not state is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claims {
    /// `kubernetes.io.namespace`.
    pub namespace: Option<String>,
    /// `kubernetes.io.pod.name`.
    pub pod_name: Option<String>,
    /// `kubernetes.io.pod.uid`.
    pub pod_uid: Option<String>,
    /// `kubernetes.io.serviceaccount.name`.
    pub service_account: Option<String>,
    /// `kubernetes.io.node.name`.
    pub node_name: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "kubernetes.io", default)]
    kubernetes: Kubernetes,
}

#[derive(Deserialize, Default)]
struct Kubernetes {
    namespace: Option<String>,
    #[serde(default)]
    pod: Named,
    #[serde(default)]
    serviceaccount: Named,
    #[serde(default)]
    node: Named,
}

#[derive(Deserialize, Default)]
struct Named {
    name: Option<String>,
    uid: Option<String>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("claims", &self.claims).finish_non_exhaustive()
    }
}

impl Token {
    /// Reads the token file.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let mut bytes = Vec::new();
        let limit = MAX_TOKEN_BYTES as u64 + 1;
        File::open(path)
            .and_then(|file| file.take(limit).read_to_end(&mut bytes))
            .map_err(|source| TokenError::Read { path: path.to_owned(), source })?;
        if bytes.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong { path: path.to_owned() });
        }
        Self::parse(&bytes).map_err(|why| TokenError::Form { path: path.to_owned(), why })
    }

    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let jwt = str::from_utf8(bytes).map_err(|_| "it is not text")?.trim();
        let part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let parts: Vec<&str> = jwt.split('.').collect();
        let [_, payload, _] = parts.as_slice() else { return Err("it is not a JWT (three parts with dots between)") };
        if !parts.iter().all(|text| text.chars().all(part)) {
            return Err("it is not a JWT (a part is not base64url)");
        }
        let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| "it is not a JWT (its payload is not base64url)")?;
        let payload: Payload = serde_json::from_slice(&payload).map_err(|_| "its payload is not the JSON of a JWT")?;
        let Payload { kubernetes: Kubernetes { namespace, pod, serviceaccount, node } } = payload;
        let claims = Claims {
            namespace,
            pod_name: pod.name,
            pod_uid: pod.uid,
            service_account: serviceaccount.name,
            node_name: node.name,
        };
        Ok(Self { jwt: jwt.to_owned(), claims })
    }

    /// What it says of the pod.
    pub const fn claims(&self) -> &Claims {
        &self.claims
    }

    /// `Bearer <token>`, never shown.
    pub fn authorization(&self) -> HeaderValue {
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.jwt)).expect("a JWT's characters are ASCII");
        value.set_sensitive(true);
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"kubernetes.io":{"namespace":"shop","pod":{"name":"web-0","uid":"u-1"},"serviceaccount":{"name":"web"}}}`
    const PAYLOAD: &str = "eyJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InNob3AiLCJwb2QiOnsibmFtZSI6IndlYi0wIiwidWlkIjoidS0xIn0sInNlcnZpY2VhY2NvdW50Ijp7Im5hbWUiOiJ3ZWIifX19";

    #[test]
    fn the_pod_is_read_from_the_claims_and_the_token_is_never_shown() {
        let token = Token::parse(format!("aGVhZA.{PAYLOAD}.c2ln\n").as_bytes()).unwrap();
        let claims = Claims {
            namespace: Some("shop".into()),
            pod_name: Some("web-0".into()),
            pod_uid: Some("u-1".into()),
            service_account: Some("web".into()),
            node_name: None,
        };
        assert_eq!(*token.claims(), claims);
        assert!(!format!("{token:?} {:?}", token.authorization()).contains(PAYLOAD));
        assert_eq!(token.authorization().as_bytes(), format!("Bearer aGVhZA.{PAYLOAD}.c2ln").as_bytes());
    }

    #[test]
    fn what_is_no_token_is_refused_with_the_reason() {
        for (bytes, why) in [
            (b"".as_slice(), "three parts"),
            (b"a.b", "three parts"),
            (b"a.b.c.d", "three parts"),
            (b"a.b b.c", "not base64url"),
            (b"a.YQ.c", "not the JSON"),
            (b"a.A.c", "payload is not base64url"),
            (b"\xff.a.b", "not text"),
        ] {
            let found = Token::parse(bytes).unwrap_err();
            assert!(found.contains(why), "{bytes:?}: {found}");
        }
    }

    #[test]
    fn a_token_file_over_the_limit_is_not_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, vec![b'a'; MAX_TOKEN_BYTES + 1]).unwrap();
        assert!(matches!(Token::read(&path), Err(TokenError::TooLong { .. })));
        assert!(matches!(Token::read(&dir.path().join("none")), Err(TokenError::Read { .. })));
    }
}
