//! Who writes evidence: an issuer of tokens, pods' sessions, and chains of records.
//!
//! Honest by construction: what these build is what sidecars and an API server would have sent. Keys follow from the
//! seed, so the same seed gives the same bytes.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use serde_json::json;

use super::rng::Rng;
use super::wire::{Digest, Record, body, hex, link, put16, sign, tagged};

/// A second, in nanoseconds.
pub const SECOND: i64 = 1_000_000_000;
/// A minute, in nanoseconds.
pub const MINUTE: i64 = 60 * SECOND;
/// The issuer of all tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc";

/// Mints pod tokens.
#[derive(Debug, Clone)]
pub struct Issuer(SigningKey);

impl Issuer {
    /// An issuer with a key of its own.
    pub fn new(rng: &mut Rng) -> Self {
        Self(SigningKey::from_bytes(&rng.seed()))
    }

    /// Its public keys.
    pub fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": x}]})
            .to_string()
    }

    /// A pod's token, valid from `from` (seconds) for an hour.
    pub fn token(&self, pod: &Pod, id: &str, from: i64) -> String {
        let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"});
        let claims = json!({
            "iss": ISSUER, "aud": ["indelible.dev"], "iat": from, "nbf": from, "exp": from + 3600, "jti": id,
            "sub": pod.subject(),
            "kubernetes.io": {
                "namespace": pod.namespace, "node": {"name": "node-1", "uid": "n"},
                "pod": {"name": pod.name, "uid": pod.uid}, "serviceaccount": {"name": "default", "uid": "s"},
            },
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(sign(&self.0, signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

/// A pod.
#[derive(Debug, Clone)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

impl Pod {
    /// The subject of its tokens.
    pub fn subject(&self) -> String {
        format!("system:serviceaccount:{}:default", self.namespace)
    }
}

/// One run of a pod's sidecar.
#[derive(Debug, Clone)]
pub struct Session {
    key: SigningKey,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its id.
    pub id: Digest,
    /// The token that introduces it.
    pub token: String,
    /// That token's id.
    pub token_id: String,
    /// When the token expires.
    pub token_expires: i64,
}

impl Session {
    /// Starts at `now` (nanoseconds), with a token that was minted a minute ago.
    pub fn new(rng: &mut Rng, issuer: &Issuer, pod: &Pod, now: i64) -> Self {
        let key = SigningKey::from_bytes(&rng.seed());
        let mut bytes = vec![1];
        bytes.extend(key.verifying_key().as_bytes());
        let fields: [&str; 9] = ["", &pod.namespace, &pod.name, &pod.uid, "node-1", "default", "audit/x", "t/1", ""];
        for field in fields {
            put16(&mut bytes, field.as_bytes());
        }
        bytes.extend(now.to_be_bytes());
        let id = tagged("indelible/session/v1", &[&bytes]);
        let from = now / SECOND - 60;
        let token_id = format!("t-{}", hex(&id[..4]));
        let token = issuer.token(pod, &token_id, from);
        Self { key, bytes, id, token, token_id, token_expires: (from + 3600) * SECOND }
    }

    /// The same session under another public key, which it cannot sign with.
    #[must_use]
    pub fn with_key(&self, public: &[u8; 32]) -> Self {
        let mut other = self.clone();
        other.bytes[1..33].copy_from_slice(public);
        other.id = tagged("indelible/session/v1", &[&other.bytes]);
        other
    }

    /// Signs what a batch's commitment says by now.
    pub fn sign_anew(&self, batch: &Batch) -> Batch {
        let mut batch = batch.clone();
        let signature = sign(&self.key, &tagged("indelible/batch/v1", &[&batch.commitment[..162]]));
        batch.commitment[162..].copy_from_slice(&signature);
        batch
    }

    /// Signs a heartbeat: heads by chain id, and kept receipts with their logs' origins.
    pub fn heartbeat(&self, now: i64, heads: &[(Digest, u64, Digest)], receipts: &[(String, Vec<u8>)]) -> Vec<u8> {
        let count = |n: usize| u16::try_from(n).expect("few").to_be_bytes();
        let mut heads = heads.to_vec();
        heads.sort_unstable();
        let mut out = vec![1];
        out.extend(self.id);
        out.extend(now.to_be_bytes());
        out.extend([7; 32]);
        out.extend(count(heads.len()));
        for (chain, next, link) in heads {
            out.extend(chain);
            out.extend(next.to_be_bytes());
            out.extend(link);
        }
        out.extend(count(receipts.len()));
        for (origin, kept) in receipts {
            put16(&mut out, origin.as_bytes());
            out.extend(kept);
        }
        let signature = sign(&self.key, &tagged("indelible/heartbeat/v1", &[&out]));
        out.extend(signature);
        out
    }
}

/// A container's chain, with all records that it will ever have been given so far.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Its genesis.
    pub genesis: Vec<u8>,
    /// Its id.
    pub id: Digest,
    records: Vec<Record>,
    links: Vec<Digest>,
}

/// A signed batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The 226 bytes.
    pub commitment: Vec<u8>,
    /// The canonical body.
    pub body: Vec<u8>,
}

impl Chain {
    /// A chain without records.
    pub fn new(pod: &Pod, container: &str, incarnation: u64) -> Self {
        let mut genesis = vec![1, 1];
        for field in ["", &pod.namespace, &pod.name, &pod.uid, container, ""] {
            put16(&mut genesis, field.as_bytes());
        }
        genesis.extend(incarnation.to_be_bytes());
        let id = tagged("indelible/genesis/v1", &[&genesis]);
        Self { genesis, id, records: Vec::new(), links: Vec::new() }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Its head after `next` records.
    pub fn link(&self, next: usize) -> Digest {
        next.checked_sub(1).map_or(self.id, |last| self.links[last])
    }

    /// Adds a record.
    pub fn push(&mut self, time: i64, source: u8, payload: Vec<u8>) {
        let record = Record { time, source, flags: 0, payload };
        let seq = u64::try_from(self.records.len()).expect("few");
        self.links.push(link(&self.id, seq, &self.link(self.records.len()), &record));
        self.records.push(record);
    }

    /// The same chain with another payload in one place, and so with other links from there on.
    #[must_use]
    pub fn with_another(&self, at: usize) -> Self {
        let mut other = Self { records: Vec::new(), links: Vec::new(), ..self.clone() };
        for (n, record) in self.records.iter().enumerate() {
            let Record { time, source, mut payload, .. } = record.clone();
            if n == at {
                payload.extend(b" (changed)");
            }
            other.push(time, source, payload);
        }
        other
    }

    /// Adds a statement of the sidecar.
    pub fn say(&mut self, time: i64, payload: &str) {
        self.push(time, 3, payload.into());
    }

    /// Signs the records from `first` up to `next`.
    pub fn seal(&self, session: &Session, first: usize, next: usize) -> Batch {
        let records = &self.records[first..next];
        let body = body(records);
        let (head, tail) = (&records[0], &records[records.len() - 1]);
        let is_final = tail.source == 3 && tail.payload.starts_with(br#"{"kind":"end""#);
        let mut out = vec![1, u8::from(is_final)];
        out.extend(session.id);
        out.extend(self.id);
        out.extend(u64::try_from(first).expect("few").to_be_bytes());
        out.extend(u32::try_from(records.len()).expect("few").to_be_bytes());
        out.extend(self.link(first));
        out.extend(self.link(next));
        out.extend(head.time.to_be_bytes());
        out.extend(tail.time.to_be_bytes());
        out.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
        let signature = sign(&session.key, &tagged("indelible/batch/v1", &[&out]));
        out.extend(signature);
        Batch { commitment: out, body }
    }
}
