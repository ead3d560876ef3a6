//! Tokens: who a pod is, who a reader is.
//!
//! A pod's token is a projected service-account token (a JWT of the cluster's issuer, bound to the pod) for our
//! audience; a reader's is one for the reader audience. Both are checked offline against the issuers' keys: one
//! algorithm per key, issuer, audience, times. Tokens that were found good are remembered by their digest until they
//! expire or the issuer's keys change, so that a batch does not pay for a signature check each time.
//!
//! Invariant: nothing of a token is believed before its signature was checked, except which issuer's keys to use.

mod cache;
mod keys;

use std::borrow::Cow;
use std::sync::{Arc, Mutex};

use indelible_chain::digest::Digest;
use indelible_chain::id::Time;
use jsonwebtoken::Validation;
use serde::Deserialize;
use tokio::sync::{Notify, watch};

use crate::limits::{LATE_BATCH_SECONDS, MAX_CLAIM_BYTES, MAX_TOKEN_BYTES, TOKEN_LEEWAY_SECONDS, TOKEN_MARGIN_SECONDS};
use cache::Cache;
pub use keys::{KeySet, KeySetError};

/// The pod that a token is bound to, as the issuer attests it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodToken {
    /// The issuer.
    pub issuer: String,
    /// `system:serviceaccount:<namespace>:<name>`.
    pub subject: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's UID.
    pub pod_uid: String,
    /// The pod's node; empty if the token does not say.
    pub node_name: String,
    /// The service account's name.
    pub service_account: String,
    /// `jti`; empty if there is none.
    pub token_id: String,
    /// SHA-256 of the compact JWT.
    pub digest: Digest,
    /// `exp`.
    pub expires: Time,
}

impl PodToken {
    /// As what the things in flight are counted that were asked for with this token. An ended token may be known to others,
    /// who must not use up what the pod itself may have. All that have ended count as one, so that keeping them gives a pod
    /// no further shares.
    pub fn counts_as(&self, now: Time) -> Cow<'_, str> {
        if now > self.expires {
            return format!("{} with an ended token", self.pod_uid).into();
        }
        Cow::Borrowed(&self.pod_uid)
    }
}

/// What a token is used for, which decides when it is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Introduces a session: the JWT stays as evidence, and a verifier asks for `iat ≤ received_at ≤ exp` to the letter.
    Introduce,
    /// A batch of an introduced session: it rests on the session's signature, the token may have expired a day ago.
    Batch,
    /// Anything else.
    Other,
}

/// Why a token is refused: the 401 of the interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say what each is")]
pub enum TokenError {
    #[error("the token of {found} bytes is over the limit of {MAX_TOKEN_BYTES}")]
    TooLarge { found: usize },
    #[error("the token is no JSON Web Token of a service account")]
    Form,
    #[error("the keys of issuer {0:?} are not known yet; try again")]
    Unheard(String),
    #[error("the token's issuer {0:?} is not served here; --issuer names those that are")]
    Issuer(String),
    #[error("the token's key or algorithm is none of its issuer's key set (RS256, ES256, ES384 or EdDSA)")]
    Key,
    #[error("the token's signature is not by its issuer's key")]
    Signature,
    #[error("the token is for another audience, expected {0:?}")]
    Audience(String),
    #[error("the token has expired; ask for a new one")]
    Expired,
    #[error("the token is not valid yet; compare the clocks of issuer and collector")]
    NotYet,
    #[error("the token is not bound to a pod; use a projected service-account token of the pod")]
    NotOfPod,
    #[error("the token's subject is not its service account")]
    Subject,
    #[error(
        "a token for others too, as the API server itself, is not taken: ask for one with the reader audience only"
    )]
    ClusterCredential,
}

/// An issuer and its keys, which change as they are read or fetched again.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// As `iss` has it.
    pub url: String,
    /// The newest good key set.
    pub keys: watch::Receiver<Arc<KeySet>>,
    /// Told when a token names a key that is not among them; `None` where nobody fetches.
    pub wanted: Option<Arc<Notify>>,
}

impl Issuer {
    /// The key that a token names.
    fn key<'k>(&self, keys: &'k KeySet, id: Option<&str>) -> Result<&'k keys::Key, TokenError> {
        if keys.is_unheard() {
            return Err(TokenError::Unheard(self.url.clone()));
        }
        keys.find(id).ok_or_else(|| {
            if let Some(wanted) = &self.wanted {
                wanted.notify_one();
            }
            TokenError::Key
        })
    }
}

/// Checks tokens.
#[derive(Debug)]
pub struct Tokens {
    issuers: Vec<Issuer>,
    audience: String,
    reader_audience: String,
    // A cache, not state: what is lost from it is checked again.
    cache: Mutex<Cache>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: i64,
    iat: Option<i64>,
    nbf: Option<i64>,
    #[serde(default)]
    jti: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Kubernetes>,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    pod: Option<Named>,
    node: Option<Named>,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    uid: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn is_one(&self) -> bool {
        match self {
            Self::One(_) => true,
            Self::Many(many) => many.len() == 1,
        }
    }

    fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

#[derive(Deserialize)]
struct IssuerClaim {
    iss: String,
}

/// When a token may be used, in seconds of its own claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: Option<i64>,
    expires: i64,
}

impl Use {
    /// Seconds before its begin and after its end in which a token is taken for it.
    const fn leeway(self) -> (i64, i64) {
        match self {
            Self::Introduce => (0, -TOKEN_MARGIN_SECONDS),
            Self::Batch => (TOKEN_LEEWAY_SECONDS, LATE_BATCH_SECONDS),
            Self::Other => (TOKEN_LEEWAY_SECONDS, TOKEN_LEEWAY_SECONDS),
        }
    }
}

/// Whether a pod's token that ended at `expires` is good for nothing but late batches any more, which rest on a session's
/// signature: only then may others have it.
pub fn is_spent(expires: Time, now: Time) -> bool {
    [Use::Introduce, Use::Other].iter().all(|how| {
        let (_, late) = how.leeway();
        is_over(expires.nanos().div_euclid(Time::SECOND), late, now)
    })
}

fn is_over(expires: i64, late: i64, now: Time) -> bool {
    expires.saturating_add(late) < now.nanos().div_euclid(Time::SECOND)
}

impl Window {
    fn check(self, how: Use, now: Time) -> Result<(), TokenError> {
        let (early, late) = how.leeway();
        if self.from.is_some_and(|from| from.saturating_sub(early) > now.nanos().div_euclid(Time::SECOND)) {
            return Err(TokenError::NotYet);
        }
        if is_over(self.expires, late, now) { Err(TokenError::Expired) } else { Ok(()) }
    }
}

/// A token whose signature, issuer and audience hold; whether it is too old depends on its use.
#[derive(Debug, Clone)]
enum Good {
    Pod(Arc<PodToken>, Window),
    Reader(Window),
}

impl Tokens {
    /// Of these issuers, for these audiences.
    pub fn new(issuers: Vec<Issuer>, audience: String, reader_audience: String) -> Self {
        Self { issuers, audience, reader_audience, cache: Mutex::new(Cache::default()) }
    }

    /// Whose pod's token this is.
    pub fn pod(&self, token: &str, how: Use, now: Time) -> Result<Arc<PodToken>, TokenError> {
        match self.good(token, &self.audience, now, pod)? {
            Good::Pod(pod, window) => window.check(how, now).map(|()| pod),
            Good::Reader(_) => Err(TokenError::Audience(self.audience.clone())),
        }
    }

    /// Whether this is a reader's token.
    pub fn reader(&self, token: &str, now: Time) -> Result<(), TokenError> {
        match self.good(token, &self.reader_audience, now, |_, claims, _| reader(&claims))? {
            Good::Reader(window) => window.check(Use::Other, now),
            Good::Pod(..) => Err(TokenError::Audience(self.reader_audience.clone())),
        }
    }

    fn good(
        &self,
        token: &str,
        audience: &str,
        now: Time,
        read: impl FnOnce(&Issuer, Claims, Digest) -> Result<Good, TokenError>,
    ) -> Result<Good, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLarge { found: token.len() });
        }
        let digest = Digest::sha256(token.as_bytes());
        let cached = self.cache().get(&digest, audience);
        if let Some((good, keys)) = cached
            && self.issuers.iter().any(|issuer| Arc::ptr_eq(&keys, &issuer.keys.borrow()))
        {
            return Ok(good);
        }
        let (issuer, keys, claims) = self.check(token, audience)?;
        let good = read(issuer, claims, digest)?;
        let until = match &good {
            Good::Pod(_, window) | Good::Reader(window) => window.expires.saturating_add(LATE_BATCH_SECONDS),
        };
        self.cache().put(digest, audience, good.clone(), keys, until, now.nanos().div_euclid(Time::SECOND));
        Ok(good)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // Whatever a panicking thread left is a cache still.
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Signature, issuer and audience.
    fn check(&self, token: &str, audience: &str) -> Result<(&Issuer, Arc<KeySet>, Claims), TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Form)?;
        let IssuerClaim { iss } =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| TokenError::Form)?;
        let Some(issuer) = self.issuers.iter().find(|issuer| issuer.url == iss) else {
            return Err(TokenError::Issuer(iss.chars().take(MAX_CLAIM_BYTES).collect()));
        };
        let keys = Arc::clone(&issuer.keys.borrow());
        let key = issuer.key(&keys, header.kid.as_deref())?;
        if key.algorithm != header.alg {
            return Err(TokenError::Key);
        }
        let mut validation = Validation::new(key.algorithm);
        validation.set_audience(&[audience]);
        validation.set_issuer(&[&issuer.url]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        // Times are judged by use, and by the collector's own clock module.
        validation.validate_exp = false;
        let data = jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation).map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                ErrorKind::InvalidAudience => TokenError::Audience(audience.to_owned()),
                ErrorKind::InvalidAlgorithm | ErrorKind::InvalidKeyFormat => TokenError::Key,
                _ => TokenError::Form,
            }
        })?;
        if data.claims.iss != issuer.url || !data.claims.aud.contains(audience) {
            return Err(TokenError::Form);
        }
        Ok((issuer, keys, data.claims))
    }
}

fn window(claims: &Claims) -> Window {
    Window { from: claims.nbf.max(claims.iat), expires: claims.exp }
}

fn pod(issuer: &Issuer, claims: Claims, digest: Digest) -> Result<Good, TokenError> {
    // A verifier asks that the log received the token no earlier than `iat`: without it nothing would be attested.
    if claims.iat.is_none() {
        return Err(TokenError::Form);
    }
    let window = window(&claims);
    let Some(Kubernetes { namespace, pod: Some(pod), node, serviceaccount }) = claims.kubernetes else {
        return Err(TokenError::NotOfPod);
    };
    let node_name = node.map(|node| node.name).unwrap_or_default();
    if namespace.is_empty() || pod.name.is_empty() || pod.uid.is_empty() || serviceaccount.name.is_empty() {
        return Err(TokenError::NotOfPod);
    }
    if claims.sub != format!("system:serviceaccount:{namespace}:{}", serviceaccount.name) {
        return Err(TokenError::Subject);
    }
    // What does not fit a leaf cannot be attested.
    let strings = [&claims.sub, &claims.jti, &namespace, &pod.name, &pod.uid, &node_name, &serviceaccount.name];
    if strings.iter().any(|s| s.len() > MAX_CLAIM_BYTES) {
        return Err(TokenError::Form);
    }
    let expires = window.expires.checked_mul(Time::SECOND).ok_or(TokenError::Form)?;
    let pod = PodToken {
        issuer: issuer.url.clone(),
        subject: claims.sub,
        namespace,
        pod_name: pod.name,
        pod_uid: pod.uid,
        node_name,
        service_account: serviceaccount.name,
        token_id: claims.jti,
        digest,
        expires: Time::from_nanos(expires),
    };
    Ok(Good::Pod(Arc::new(pod), window))
}

fn reader(claims: &Claims) -> Result<Good, TokenError> {
    // Whatever the API server calls its own audience, a token that has one audience, and that is ours, is not for it.
    if !claims.aud.is_one() {
        return Err(TokenError::ClusterCredential);
    }
    Ok(Good::Reader(window(claims)))
}

#[cfg(test)]
mod tests;
