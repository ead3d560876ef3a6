//! An issuer of tokens, for tests: keys of its own, their JWKS, and pod tokens as a cluster would mint them.

#![allow(dead_code, reason = "each test binary uses some of it")]

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use serde_json::{Value, json};

pub const AUDIENCE: &str = "indelible.dev";
pub const READER_AUDIENCE: &str = "read.indelible.dev";

/// Who a token is for.
#[derive(Clone, Debug)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    pub service_account: String,
}

impl Pod {
    pub fn named(name: &str) -> Self {
        Self {
            namespace: "shop".into(),
            name: name.into(),
            uid: format!("uid-of-{name}"),
            node: "node-1".into(),
            service_account: "web".into(),
        }
    }
}

pub struct Issuer {
    pub url: String,
    algorithm: Algorithm,
    key: EncodingKey,
    kid: String,
}

impl Issuer {
    pub fn new(url: &str) -> Self {
        Self::with(url, Algorithm::ES256, "k1")
    }

    pub fn with(url: &str, algorithm: Algorithm, kid: &str) -> Self {
        let ec = |kind| EncodingKey::from_ec_der(KeyPair::generate_for(kind).unwrap().serialized_der());
        let key = match algorithm {
            Algorithm::ES256 => ec(&PKCS_ECDSA_P256_SHA256),
            Algorithm::ES384 => ec(&PKCS_ECDSA_P384_SHA384),
            Algorithm::EdDSA => {
                // PKCS #8 version 1: an Ed25519 seed and nothing else.
                let seed: [u8; 32] = std::array::from_fn(|i| kid.as_bytes()[i % kid.len()]);
                let der = [b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20".as_slice(), &seed];
                EncodingKey::from_ed_der(&der.concat())
            }
            other => panic!("no keys for {other:?}"),
        };
        Self { url: url.into(), algorithm, key, kid: kid.into() }
    }

    pub fn jwk(&self) -> Value {
        let mut jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        jwk.common.key_id = Some(self.kid.clone());
        serde_json::to_value(jwk).unwrap()
    }

    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// The claims of a pod's token that is good for an hour from `now`, in seconds.
    pub fn claims(&self, pod: &Pod, audience: &str, now: i64) -> Value {
        json!({
            "iss": self.url,
            "sub": format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account),
            "aud": [audience],
            "iat": now,
            "nbf": now,
            "exp": now + 3600,
            "jti": "a-token",
            "kubernetes.io": {
                "namespace": pod.namespace,
                "pod": { "name": pod.name, "uid": pod.uid },
                "node": { "name": pod.node, "uid": "uid-of-node" },
                "serviceaccount": { "name": pod.service_account, "uid": "uid-of-account" },
            },
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.kid.clone());
        jsonwebtoken::encode(&header, claims, &self.key).unwrap()
    }

    pub fn token(&self, pod: &Pod, now: i64) -> String {
        self.sign(&self.claims(pod, AUDIENCE, now))
    }

    pub fn reader_token(&self, now: i64) -> String {
        self.sign(&json!({
            "iss": self.url, "sub": "system:serviceaccount:audit:reader", "aud": READER_AUDIENCE,
            "iat": now, "exp": now + 3600,
        }))
    }
}
