//! Checks the tokens that introduced sessions, with the keys of `--issuer-keys`.
//!
//! A token vouches for a session if the issuer signed it, for our audience, for this pod and service account, and the
//! collector received it while it was valid. Each key goes with exactly one algorithm, so a token never chooses how it
//! is checked. No clock: what counts is when the log says it received the session.

use indelible_chain::id::Time;
use indelible_chain::leaf::Attested;
use indelible_chain::session::Session;
use indelible_chain::verify::{TokenCheck, TokenVerdict};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// Most keys of a key set.
const MAX_KEYS: usize = 256;
/// Shortest RSA modulus, in bytes: 2048 bits.
const MIN_RSA_BYTES: usize = 256;

/// The keys of those who may attest pods.
#[derive(Debug, Clone)]
pub struct IssuerKeys {
    keys: Vec<Key>,
    /// What pods' tokens are for; in a cluster followed by a slash and the audit log's name.
    audience: String,
}

#[derive(Debug, Clone)]
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// Why bytes are no key set.
#[derive(Debug, thiserror::Error)]
pub enum IssuerKeysError {
    /// Not a JWKS.
    #[error("not a JSON Web Key Set; expected {{\"keys\":[…]}}")]
    Json(#[source] serde_json::Error),
    /// Too many.
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
    /// No key that can be used.
    #[error("no RSA (at least 2048 bits), P-256, P-384 or Ed25519 key for signatures in it")]
    NoUsableKey,
}

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: OneOrMany,
    exp: i64,
    iat: i64,
    nbf: Option<i64>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
}

#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    pod: Named,
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

impl IssuerKeys {
    /// Reads a JWKS, for tokens of that audience. Keys of kinds that are not used for tokens are passed over.
    pub fn parse(bytes: &[u8], audience: &str) -> Result<Self, IssuerKeysError> {
        let raw: RawSet = serde_json::from_slice(bytes).map_err(IssuerKeysError::Json)?;
        if raw.keys.len() > MAX_KEYS {
            return Err(IssuerKeysError::TooMany);
        }
        let jwks = raw.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok());
        let keys: Vec<Key> = jwks.filter_map(|jwk: Jwk| usable(&jwk)).collect();
        if keys.is_empty() {
            Err(IssuerKeysError::NoUsableKey)
        } else {
            Ok(Self { keys, audience: audience.to_owned() })
        }
    }

    /// The claims of a token that one of the keys signed; `None` if no key is the one that it names.
    fn claims(&self, jwt: &[u8]) -> Option<Result<Claims, String>> {
        let Ok(header) = jsonwebtoken::decode_header(jwt) else { return Some(Err("is no JSON Web Token".to_owned())) };
        let mut named = self.keys.iter().filter(|key| header.kid.is_none() || key.id == header.kid).peekable();
        named.peek()?;
        let claims = named.filter(|key| key.algorithm == header.alg).find_map(|key| {
            let mut validation = Validation::new(key.algorithm);
            // Audience and times are judged below, by what the leaf says.
            validation.validate_aud = false;
            validation.validate_exp = false;
            validation.required_spec_claims.clear();
            jsonwebtoken::decode::<Claims>(jwt, &key.decoding, &validation).ok()
        });
        Some(claims.map(|data| data.claims).ok_or_else(|| {
            "is not signed by the key that it names, or is no service-account token bound to a pod".to_owned()
        }))
    }

    /// What of a token's claims does not fit session and leaf.
    fn mismatch(
        &self,
        claims: &Claims,
        session: &Session,
        attested: &Attested,
        received_at: Time,
    ) -> Option<&'static str> {
        let Kubernetes { namespace, pod, serviceaccount } = &claims.kubernetes;
        let own = format!("{}/{}", self.audience, session.audit_log);
        let audience = |aud: &str| aud == self.audience || aud == own;
        let is_ours = match &claims.aud {
            OneOrMany::One(one) => audience(one),
            OneOrMany::Many(many) => many.iter().any(|aud| audience(aud)),
        };
        let received = received_at.nanos().div_euclid(Time::SECOND);
        let rules = [
            (is_ours, "is for another audience (--audience says which one is asked for)"),
            (claims.iss == attested.issuer, "is by another issuer than the leaf says"),
            (claims.sub == attested.subject, "has another subject than the leaf says"),
            (
                claims.sub == format!("system:serviceaccount:{namespace}:{}", serviceaccount.name),
                "has a subject that is not its service account",
            ),
            (*namespace == session.namespace, "is of another namespace"),
            (pod.name == session.pod_name && pod.uid == session.pod_uid, "is of another pod"),
            (serviceaccount.name == session.service_account, "is of another service account"),
            (
                claims.iat.max(claims.nbf.unwrap_or(claims.iat)) <= received,
                "was not valid yet when the log received it",
            ),
            (received <= claims.exp, "had expired when the log received it"),
        ];
        rules.into_iter().find_map(|(holds, why)| (!holds).then_some(why))
    }
}

impl TokenCheck for IssuerKeys {
    fn check(&self, jwt: &[u8], session: &Session, attested: &Attested, received_at: Time) -> TokenVerdict {
        match self.claims(jwt) {
            None => TokenVerdict::NoKey,
            Some(Err(why)) => TokenVerdict::Fails(format!("the token {why}")),
            Some(Ok(claims)) => match self.mismatch(&claims, session, attested, received_at) {
                None => TokenVerdict::Holds,
                Some(why) => TokenVerdict::Fails(format!("the token {why}")),
            },
        }
    }
}

fn usable(jwk: &Jwk) -> Option<Key> {
    if jwk.common.public_key_use.as_ref().is_some_and(|of| *of != PublicKeyUse::Signature) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => Algorithm::RS256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => Algorithm::ES256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P384 => Algorithm::ES384,
        AlgorithmParameters::OctetKeyPair(okp) if okp.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
        // Symmetric keys among them: whoever can check with one can also sign.
        _ => return None,
    };
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    if let jsonwebtoken::DecodingKeyKind::RsaModulusExponent { n, .. } = decoding.kind()
        && n.len() < MIN_RSA_BYTES
    {
        return None;
    }
    Some(Key { id: jwk.common.key_id.clone(), algorithm, decoding })
}

#[cfg(test)]
mod tests {
    use indelible_chain::digest::Digest;
    use indelible_chain::key::PrivateKey;
    use indelible_chain::leaf::Attestation;

    use super::*;
    use crate::demo::issuer::{Issuer, Pod};

    fn pod() -> Pod {
        Pod {
            namespace: "shop".into(),
            name: "checkout".into(),
            uid: "u-1".into(),
            node: "n-1".into(),
            service_account: "default".into(),
        }
    }

    fn session() -> Session {
        let pod = pod();
        Session {
            public_key: PrivateKey::from_seed(&[7; 32]).public(),
            cluster_uid: String::new(),
            namespace: pod.namespace,
            pod_name: pod.name,
            pod_uid: pod.uid,
            node_name: pod.node,
            service_account: pod.service_account,
            audit_log: String::new(),
            software: "test".into(),
            excluded: String::new(),
            started_at: Time::from_nanos(0),
        }
    }

    fn attested() -> Attested {
        Attested {
            attestation: Attestation::ServiceAccountToken,
            issuer: Issuer::URL.into(),
            subject: "system:serviceaccount:shop:default".into(),
            pod_uid: "u-1".into(),
            token_id: String::new(),
            token_digest: Digest::sha256(b""),
            token_expires: Time::from_nanos(0),
        }
    }

    fn at(seconds: i64) -> Time {
        Time::from_nanos(seconds * Time::SECOND)
    }

    #[test]
    fn a_token_vouches_for_its_own_pod_while_it_is_valid_and_for_nothing_else() {
        let issuer = Issuer::new().unwrap();
        let keys = IssuerKeys::parse(issuer.jwks().as_bytes(), Issuer::AUDIENCE).unwrap();
        let jwt = issuer.token(&pod(), at(1000), at(2000)).unwrap();
        let check = |session: &Session, attested: &Attested, seconds| {
            keys.check(jwt.as_bytes(), session, attested, at(seconds)) == TokenVerdict::Holds
        };
        assert!(check(&session(), &attested(), 1000));
        assert!(check(&session(), &attested(), 2000));
        assert!(!check(&session(), &attested(), 999));
        assert!(!check(&session(), &attested(), 2001));
        assert!(!check(&Session { pod_uid: "u-2".into(), ..session() }, &attested(), 1500));
        assert!(!check(&Session { namespace: "bank".into(), ..session() }, &attested(), 1500));
        assert!(!check(&Session { service_account: "root".into(), ..session() }, &attested(), 1500));
        assert!(!check(&session(), &Attested { issuer: "https://other".into(), ..attested() }, 1500));
    }

    #[test]
    fn a_token_is_for_the_audience_that_is_asked_for_or_that_of_its_audit_log() {
        let issuer = Issuer::new().unwrap();
        let jwt = issuer.token(&pod(), at(1000), at(2000)).unwrap();
        let verdict = |audience: &str, audit_log: &str| {
            let keys = IssuerKeys::parse(issuer.jwks().as_bytes(), audience).unwrap();
            let session = Session { audit_log: audit_log.into(), ..session() };
            keys.check(jwt.as_bytes(), &session, &attested(), at(1500))
        };
        assert_eq!(verdict(Issuer::AUDIENCE, "shop/audit"), TokenVerdict::Holds);
        let (own, log) = Issuer::AUDIENCE.split_once('.').unwrap();
        let TokenVerdict::Fails(why) = verdict(own, log) else { panic!("{own} is no audience of the token") };
        assert!(why.contains("--audience"), "{why}");
    }

    #[test]
    fn a_token_by_another_key_is_not_taken_and_an_unknown_issuer_is_said_to_be_unknown() {
        let (issuer, other) = (Issuer::new().unwrap(), Issuer::new().unwrap());
        let jwt = issuer.token(&pod(), at(1000), at(2000)).unwrap();
        let keys = IssuerKeys::parse(other.jwks().as_bytes(), Issuer::AUDIENCE).unwrap();
        assert_eq!(keys.check(jwt.as_bytes(), &session(), &attested(), at(1500)), TokenVerdict::NoKey);

        let keys = IssuerKeys::parse(issuer.jwks().as_bytes(), Issuer::AUDIENCE).unwrap();
        let (unsigned, _) = jwt.rsplit_once('.').unwrap();
        for forged in [format!("{unsigned}.AAAA"), "nonsense".to_owned(), String::new()] {
            let verdict = keys.check(forged.as_bytes(), &session(), &attested(), at(1500));
            assert!(matches!(verdict, TokenVerdict::Fails(_)), "{forged}: {verdict:?}");
        }
    }

    #[test]
    fn a_key_set_without_a_usable_key_is_refused() {
        let symmetric = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"}]}"#;
        for bad in ["", "{}", r#"{"keys":[]}"#, symmetric] {
            assert!(IssuerKeys::parse(bad.as_bytes(), Issuer::AUDIENCE).is_err(), "{bad}");
        }
    }
}
