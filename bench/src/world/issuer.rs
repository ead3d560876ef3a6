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
use serde_json::json;

use super::Pod;

/// The issuer of all tokens.
pub const ISSUER: &str = "https://issuer.bench.invalid";

const KEY_ID: &str = "bench";

/// Mints tokens as an API server does for a projected service-account volume.
pub struct Issuer {
    key: EncodingKey,
    jwks: PathBuf,
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("jwks", &self.jwks).finish_non_exhaustive()
    }
}

impl Issuer {
    /// Makes a key and writes its JWKS below `dir`.
    pub(super) fn new(dir: &Path) -> Result<Self> {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let point = pair.public_key_raw();
        let (x, y) = point.get(1..).and_then(|xy| xy.split_at_checked(32)).context("a P-256 point has 65 bytes")?;
        let jwks = json!({"keys": [{
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": KEY_ID,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]});
        let path = dir.join("jwks.json");
        std::fs::write(&path, jwks.to_string())?;
        Ok(Self { key: EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes())?, jwks: path })
    }

    /// The file with the public keys.
    pub fn jwks(&self) -> &Path {
        &self.jwks
    }

    /// A pod's token, valid for an hour.
    pub fn pod_token(&self, pod: &Pod) -> Result<String> {
        let now = jiff::Timestamp::now().as_second();
        let claims = json!({
            "iss": ISSUER, "aud": ["indelible.dev"], "iat": now - 60, "nbf": now - 60, "exp": now + 3600,
            "jti": format!("token-of-{}", pod.uid),
            "sub": format!("system:serviceaccount:{}:default", pod.namespace),
            "kubernetes.io": {
                "namespace": pod.namespace,
                "node": {"name": "node-1", "uid": "11111111-1111-1111-1111-111111111111"},
                "pod": {"name": pod.name, "uid": pod.uid},
                "serviceaccount": {"name": "default", "uid": "22222222-2222-2222-2222-222222222222"},
            },
        });
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(KEY_ID.to_owned());
        Ok(jsonwebtoken::encode(&header, &claims, &self.key)?)
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
    pub(super) fn new(dir: &Path) -> Result<Self> {
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
    pub(super) fn certify(&self, dir: &Path, uri: &str) -> Result<(PathBuf, PathBuf)> {
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
