//! The demo's cluster: an issuer that mints pods' tokens as Kubernetes does, and an authority for the collectors'
//! certificates.
//!
//! Its keys are made anew for each run and kept in memory; only what others need to check is written: the key set and
//! the authority's certificate. Nothing of this is part of the product in a cluster, where Kubernetes is the issuer.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use indelible_chain::digest::Digest;
use indelible_chain::id::Time;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType};
use serde_json::json;

/// A pod's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub node: String,
    pub service_account: String,
}

/// An issuer of tokens and certificates.
pub struct Issuer {
    tokens: KeyPair,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Issuer")
    }
}

/// A certificate and its key, PEM.
#[derive(Debug)]
pub struct ServerCertificate {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Issuer {
    /// The name in `iss`; nothing is ever fetched from there.
    pub const URL: &str = "https://issuer.demo.invalid";
    /// What pods' tokens are for.
    pub const AUDIENCE: &str = "indelible.dev";

    /// Makes keys for tokens and certificates.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "indelible demo CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { tokens: KeyPair::generate()?, authority })
    }

    /// The authority's certificate, PEM.
    pub fn ca(&self) -> String {
        self.authority.as_ref().pem()
    }

    /// The key set that tokens are checked with.
    pub fn jwks(&self) -> String {
        // An uncompressed point: 4, x, y.
        let point = self.tokens.public_key_raw();
        let (x, y) = (&point[1..33], &point[33..]);
        let [x, y] = [x, y].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
        let id = self.key_id();
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y, "alg": "ES256", "use": "sig", "kid": id}]})
            .to_string()
    }

    fn key_id(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(Digest::sha256(self.tokens.public_key_raw()).as_bytes())
    }

    /// A token as Kubernetes projects it into a pod.
    pub fn token(&self, pod: &Pod, issued: Time, expires: Time) -> Result<String> {
        let seconds = |time: Time| time.nanos().div_euclid(Time::SECOND);
        let claims = json!({
            "iss": Self::URL,
            "sub": format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account),
            "aud": [Self::AUDIENCE],
            "iat": seconds(issued),
            "nbf": seconds(issued),
            "exp": seconds(expires),
            "jti": format!("{}-token", pod.uid),
            "kubernetes.io": {
                "namespace": pod.namespace,
                "node": {"name": pod.node, "uid": format!("{}-uid", pod.node)},
                "pod": {"name": pod.name, "uid": pod.uid},
                "serviceaccount": {"name": pod.service_account, "uid": format!("{}-uid", pod.service_account)},
            },
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.key_id());
        let key = EncodingKey::from_ec_pem(self.tokens.serialize_pem().as_bytes()).context("the token key as PEM")?;
        jsonwebtoken::encode(&header, &claims, &key).context("signing a token")
    }

    /// A collector's certificate: for this machine, naming the log's verifier key.
    pub fn certificate(&self, vkey: &str) -> Result<ServerCertificate> {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])?;
        let uri = format!("indelible:vkey:{}", Digest::sha256(vkey.as_bytes()));
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.distinguished_name.push(DnType::CommonName, "indelible demo collector");
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.authority)?;
        Ok(ServerCertificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}
