//! Who mints pod tokens, and who signs the collectors' certificates.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use serde_json::{Value, json};

use super::PodIdentity;

/// The issuer of all tokens of a world.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Mints tokens as an API server does for a projected service-account volume.
pub struct Issuer {
    key: EncodingKey,
    kid: String,
    jwks: PathBuf,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("jwks", &self.jwks).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Makes a key and writes its JWKS below `dir`.
    pub fn new(dir: &Path) -> Result<Self> {
        Self::named(dir, "jwks.json")
    }

    /// The same, under another file name: an issuer that nobody knows.
    pub fn named(dir: &Path, file: &str) -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let point = pair.public_key_raw();
        let (x, y) = point.get(1..).and_then(|xy| xy.split_at_checked(32)).context("a P-256 point has 65 bytes")?;
        let kid = "test-key".to_owned();
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": kid,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        let path = dir.join(file);
        std::fs::write(&path, jwks.to_string())?;
        Ok(Self { key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes())?, kid, jwks: path })
    }

    /// The file with the public keys.
    pub fn jwks(&self) -> &Path {
        &self.jwks
    }

    /// The claims of a pod's token: audience `indelible.dev`, valid from a minute ago for an hour.
    pub fn claims(&self, pod: &PodIdentity) -> Value {
        let now = jiff::Timestamp::now().as_second();
        json!({
            "iss": ISSUER, "aud": ["indelible.dev"], "iat": now - 60, "nbf": now - 60, "exp": now + 3600,
            "jti": format!("token-of-{}", pod.uid),
            "sub": format!("system:serviceaccount:{}:default", pod.namespace),
            "kubernetes.io": {
                "namespace": pod.namespace,
                "node": {"name": "node-1", "uid": "11111111-1111-1111-1111-111111111111"},
                "pod": {"name": pod.name, "uid": pod.uid},
                "serviceaccount": {"name": "default", "uid": "22222222-2222-2222-2222-222222222222"},
            },
        })
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(self.kid.clone());
        Ok(jsonwebtoken::encode(&header, claims, &self.key)?)
    }

    /// A pod's token.
    pub fn pod_token(&self, pod: &PodIdentity) -> Result<String> {
        self.sign(&self.claims(pod))
    }
}

/// Signs the certificates of collectors.
pub struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    path: PathBuf,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a CA and writes its certificate to `<dir>/ca.pem`.
    pub fn new(dir: &Path) -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?;
        let path = dir.join("ca.pem");
        std::fs::write(&path, ca.pem())?;
        Ok(Self { ca, path })
    }

    /// The CA's certificate.
    pub fn ca(&self) -> &Path {
        &self.path
    }

    /// Writes `tls.crt` and `tls.key` for loopback that carry `uri`.
    pub fn certify(&self, dir: &Path, uri: &str) -> Result<(PathBuf, PathBuf)> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.ca)?;
        let (cert_path, key_path) = (dir.join("tls.crt"), dir.join("tls.key"));
        std::fs::write(&cert_path, certificate.pem())?;
        std::fs::write(&key_path, key.serialize_pem())?;
        Ok((cert_path, key_path))
    }
}
