//! An issuer's keys, out of a JWKS.
//!
//! Owns which keys can vouch for a token: RSA with RS256, P-256 with ES256, P-384 with ES384, Ed25519 with `EdDSA`.
//! Each key goes with exactly one algorithm, so a token never chooses how it is checked. Keys of other kinds and for
//! other uses are skipped; a set without a usable key is an error.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use crate::limits::{MAX_JWKS_BYTES, MAX_JWKS_KEYS, MIN_RSA_BYTES};

/// The keys of one issuer.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// A key and the one algorithm that it is for.
#[derive(Debug)]
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
}

/// Why bytes are no key set.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// Too many bytes.
    #[error("a key set of {found} bytes is over the limit of {MAX_JWKS_BYTES}")]
    TooLarge {
        /// How many.
        found: usize,
    },
    /// Too many keys.
    #[error("a key set of {found} keys is over the limit of {MAX_JWKS_KEYS}")]
    TooMany {
        /// How many.
        found: usize,
    },
    /// Not a JWKS.
    #[error("not a JSON Web Key Set, expected {{\"keys\":[…]}}")]
    Json(#[source] serde_json::Error),
    /// No key that is served.
    #[error(
        "none of its {found} keys is an RSA (RS256, at least 2048 bits), P-256, P-384 or Ed25519 key for signatures"
    )]
    NoUsableKey {
        /// How many there are.
        found: usize,
    },
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// That of an issuer of whom nothing was heard yet: no token is good or bad by it.
    pub const fn unheard() -> Self {
        Self { keys: Vec::new() }
    }

    /// Whether nothing was heard of the issuer yet: a set that was read has a key.
    pub const fn is_unheard(&self) -> bool {
        self.keys.is_empty()
    }

    /// Reads a JWKS.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > MAX_JWKS_BYTES {
            return Err(KeySetError::TooLarge { found: bytes.len() });
        }
        let raw: RawSet = serde_json::from_slice(bytes).map_err(KeySetError::Json)?;
        let found = raw.keys.len();
        if found > MAX_JWKS_KEYS {
            return Err(KeySetError::TooMany { found });
        }
        // One key of a kind that is not known here does not spoil the others.
        let keys: Vec<Key> =
            raw.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).filter_map(usable).collect();
        if keys.is_empty() { Err(KeySetError::NoUsableKey { found }) } else { Ok(Self { keys }) }
    }

    /// The key that a token names. A token without a key id is for the only key of a set, if it has just one.
    pub(super) fn find(&self, id: Option<&str>) -> Option<&Key> {
        match (id, &*self.keys) {
            (Some(id), keys) => keys.iter().find(|key| key.id.as_deref() == Some(id)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
    }
}

fn usable(jwk: Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => {
            (Algorithm::ES384, KeyAlgorithm::ES384)
        }
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // Symmetric keys among them: whoever can check with one can also sign.
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|stated| stated != named) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = key.kind()
        && n.len() < MIN_RSA_BYTES
    {
        return None;
    }
    Some(Key { id: jwk.common.key_id, algorithm, decoding: key })
}
