//! Ed25519 as the format uses it: RFC 8032, cofactorless, S < L, canonical encodings, neither A nor R of small order.
//!
//! Owns the one place where a key from outside becomes a [`PublicKey`], and the one place where a signature is
//! judged, so that collector and verifier can never differ.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use crate::bytes::DecodeError;
use crate::digest::Digest;

/// Length of a signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// A public key that signatures can be checked with: canonical and not of small order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// Takes a key from outside.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, DecodeError> {
        const WHAT: &str = "Ed25519 public key";
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| DecodeError::invalid(WHAT, "not a point"))?;
        if key.is_weak() {
            return Err(DecodeError::invalid(WHAT, "of small order"));
        }
        if key.to_edwards().compress().as_bytes() != bytes {
            return Err(DecodeError::invalid(WHAT, "not in its canonical encoding"));
        }
        Ok(Self(key))
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// Whether `signature` over `message` is by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8; SIGNATURE_BYTES]) -> bool {
        self.0.verify_strict(message, &Signature::from_bytes(signature)).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Digest::new(*self.as_bytes()).fmt(f)
    }
}

/// A private key. Wiped when dropped, never shown.
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// Takes a 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey of {:?}", self.public())
    }
}
