//! What tokens are taken and what are not: times by use, algorithms, keys, audiences, pods.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::testing::issuer::{AUDIENCE, Issuer as Minter, Pod, READER_AUDIENCE};

const NOW: i64 = 1_795_400_000;
const URL: &str = "https://cluster.example";

fn at(seconds: i64) -> Time {
    Time::from_nanos(seconds * Time::SECOND)
}

fn tokens_of(jwks: &str) -> (Tokens, watch::Sender<Arc<KeySet>>) {
    let (sender, keys) = watch::channel(Arc::new(KeySet::parse(jwks.as_bytes()).unwrap()));
    let issuer = Issuer { url: URL.into(), keys, wanted: None };
    (Tokens::new(vec![issuer], AUDIENCE.into(), READER_AUDIENCE.into()), sender)
}

fn setup() -> (Minter, Tokens) {
    let minter = Minter::new(URL);
    let tokens = tokens_of(&minter.jwks()).0;
    (minter, tokens)
}

/// What becomes of the usual claims of a pod after a change.
fn judged(change: impl FnOnce(&mut Value)) -> Result<Arc<PodToken>, TokenError> {
    let (minter, tokens) = setup();
    let mut claims = minter.claims(&Pod::named("a"), AUDIENCE, NOW);
    change(&mut claims);
    tokens.pod(&minter.sign(&claims), Use::Other, at(NOW))
}

#[test]
fn a_pods_token_says_who_it_is() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA] {
        let minter = Minter::with(URL, algorithm, "k");
        let tokens = tokens_of(&minter.jwks()).0;
        let token = minter.token(&Pod::named("a"), NOW);
        let pod = tokens.pod(&token, Use::Other, at(NOW)).unwrap();
        let expected = PodToken {
            issuer: URL.into(),
            subject: "system:serviceaccount:shop:web".into(),
            namespace: "shop".into(),
            pod_name: "a".into(),
            pod_uid: "uid-of-a".into(),
            node_name: "node-1".into(),
            service_account: "web".into(),
            token_id: "a-token".into(),
            digest: Digest::sha256(token.as_bytes()),
            expires: at(NOW + 3600),
        };
        assert_eq!(*pod, expected, "{algorithm:?}");
        assert_eq!(tokens.pod(&token, Use::Other, at(NOW)).unwrap(), pod, "again, from memory");
    }
}

#[test]
fn an_rs256_token_as_the_api_server_signs_it_is_taken() {
    let tokens = tokens_of(include_str!("testdata/rs256.jwks.json")).0;
    let token = include_str!("testdata/rs256.jwt").trim();
    assert_eq!(tokens.pod(token, Use::Other, at(NOW)).unwrap().pod_name, "a");
    let mut other = token.to_owned();
    let last = other.pop().unwrap();
    other.pop();
    other.push(if last == 'A' { 'B' } else { 'A' });
    other.push(last);
    assert_eq!(tokens.pod(&other, Use::Other, at(NOW)), Err(TokenError::Signature));
}

#[test]
fn a_token_of_another_key_under_the_same_id_is_refused() {
    let (_, tokens) = setup();
    let token = Minter::new(URL).token(&Pod::named("a"), NOW);
    assert_eq!(tokens.pod(&token, Use::Other, at(NOW)), Err(TokenError::Signature));
}

#[test]
fn a_token_never_chooses_how_it_is_checked() {
    let (minter, tokens) = setup();
    let claims = minter.claims(&Pod::named("a"), AUDIENCE, NOW);
    let with = |header: &Header, key: &EncodingKey| jsonwebtoken::encode(header, &claims, key).unwrap();
    let header = |algorithm| Header { kid: Some("k1".into()), ..Header::new(algorithm) };
    // The public key as a shared secret, in the forms in which it is public.
    let jwk = minter.jwk();
    for secret in [jwk["x"].as_str().unwrap(), &minter.jwks()] {
        let token = with(&header(Algorithm::HS256), &EncodingKey::from_secret(secret.as_bytes()));
        assert_eq!(tokens.pod(&token, Use::Other, at(NOW)), Err(TokenError::Key));
    }
    let part = |value: &Value| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    };
    for algorithm in ["none", "None", "ES256K", ""] {
        let token = format!("{}.{}.", part(&json!({"alg": algorithm, "kid": "k1"})), part(&claims));
        assert_eq!(tokens.pod(&token, Use::Other, at(NOW)), Err(TokenError::Form), "{algorithm}");
    }
    let other = Minter::with(URL, Algorithm::EdDSA, "k1");
    assert_eq!(tokens.pod(&other.token(&Pod::named("a"), NOW), Use::Other, at(NOW)), Err(TokenError::Key));
}

#[test]
fn a_token_of_an_unknown_key_or_issuer_is_refused() {
    let (_, tokens) = setup();
    let key = Minter::with(URL, Algorithm::ES256, "k2").token(&Pod::named("a"), NOW);
    assert_eq!(tokens.pod(&key, Use::Other, at(NOW)), Err(TokenError::Key));
    let issuer = Minter::new("https://other.example").token(&Pod::named("a"), NOW);
    let refused = tokens.pod(&issuer, Use::Other, at(NOW));
    assert_eq!(refused, Err(TokenError::Issuer("https://other.example".into())));
}

#[test]
fn what_is_no_token_is_refused_and_nothing_large_is_read() {
    let (_, tokens) = setup();
    for text in ["", ".", "..", "a.b.c", "eyJhbGciOiJFUzI1NiJ9", "\u{fffd}.\u{fffd}.\u{fffd}"] {
        assert_eq!(tokens.pod(text, Use::Other, at(NOW)), Err(TokenError::Form), "{text:?}");
    }
    let large = "a".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(tokens.pod(&large, Use::Other, at(NOW)), Err(TokenError::TooLarge { found: MAX_TOKEN_BYTES + 1 }));
}

#[test]
fn a_token_for_another_audience_neither_writes_nor_reads() {
    let (minter, tokens) = setup();
    let (writer, reader) = (minter.token(&Pod::named("a"), NOW), minter.reader_token(NOW));
    assert!(tokens.reader(&reader, at(NOW)).is_ok());
    assert_eq!(tokens.pod(&reader, Use::Other, at(NOW)), Err(TokenError::Audience(AUDIENCE.into())));
    assert!(tokens.pod(&writer, Use::Other, at(NOW)).is_ok());
    assert_eq!(tokens.reader(&writer, at(NOW)), Err(TokenError::Audience(READER_AUDIENCE.into())));
    assert_eq!(judged(|claims| claims["aud"] = json!("x")), Err(TokenError::Audience(AUDIENCE.into())));
    assert!(judged(|claims| claims["aud"] = json!(["x", AUDIENCE])).is_ok());
}

#[test]
fn a_readers_token_that_is_also_good_for_the_api_server_is_refused() {
    let (minter, tokens) = setup();
    // What the API server takes as its own audience, only its flags say.
    for other in [URL, "api", "https://kubernetes.default.svc"] {
        let token = minter.sign(&json!({ "iss": URL, "sub": "s", "aud": [READER_AUDIENCE, other], "exp": NOW + 60 }));
        assert_eq!(tokens.reader(&token, at(NOW)), Err(TokenError::ClusterCredential), "{other}");
    }
}

#[test]
fn claims_that_a_pods_token_needs_may_not_be_missing_or_wrong() {
    for claim in ["iss", "sub", "aud", "exp", "iat"] {
        let refused = judged(|claims| drop(claims.as_object_mut().unwrap().remove(claim)));
        assert_eq!(refused, Err(TokenError::Form), "{claim}");
    }
    assert_eq!(judged(|claims| claims["exp"] = json!("soon")), Err(TokenError::Form));
    assert_eq!(judged(|claims| claims["exp"] = json!(i64::MAX)), Err(TokenError::Form));
    assert_eq!(judged(|claims| claims["kubernetes.io"] = Value::Null), Err(TokenError::NotOfPod));
    assert_eq!(judged(|claims| claims["kubernetes.io"]["pod"] = Value::Null), Err(TokenError::NotOfPod));
    assert_eq!(judged(|claims| claims["kubernetes.io"]["pod"]["uid"] = json!("")), Err(TokenError::NotOfPod));
    assert_eq!(judged(|claims| claims["sub"] = json!("system:serviceaccount:shop:db")), Err(TokenError::Subject));
    assert_eq!(judged(|claims| claims["jti"] = json!("x".repeat(1025))), Err(TokenError::Form));
    assert_eq!(judged(|claims| claims["kubernetes.io"]["node"] = Value::Null).unwrap().node_name, "");
}

#[test]
fn a_token_is_too_old_or_too_young_depending_on_its_use() {
    let (minter, tokens) = setup();
    let token = minter.token(&Pod::named("a"), NOW);
    let exp = NOW + 3600;
    for (how, first, last) in [
        (Use::Introduce, NOW, exp - TOKEN_MARGIN_SECONDS),
        (Use::Other, NOW - TOKEN_LEEWAY_SECONDS, exp + TOKEN_LEEWAY_SECONDS),
        (Use::Batch, NOW - TOKEN_LEEWAY_SECONDS, exp + 24 * 3600),
    ] {
        let judge = |seconds| tokens.pod(&token, how, at(seconds)).map(drop);
        assert_eq!(judge(first - 1), Err(TokenError::NotYet), "{how:?}");
        assert_eq!(judge(first), Ok(()), "{how:?}");
        assert_eq!(judge(last), Ok(()), "{how:?}");
        assert_eq!(judge(last + 1), Err(TokenError::Expired), "{how:?}");
    }
}

#[test]
fn a_token_is_spent_when_it_is_taken_for_nothing_but_late_batches() {
    let (minter, tokens) = setup();
    let token = minter.token(&Pod::named("a"), NOW);
    let exp = at(NOW + 3600);
    let taken = |now| [Use::Introduce, Use::Other].iter().any(|how| tokens.pod(&token, *how, now).is_ok());
    for seconds in [0, 3600, 3601, 3660, 3661, 3600 + 24 * 3600, 3601 + 24 * 3600, 1 << 30] {
        assert_eq!(is_spent(exp, at(NOW + seconds)), !taken(at(NOW + seconds)), "after {seconds} s");
    }
    assert!(!is_spent(exp, at(NOW + 3660)) && is_spent(exp, at(NOW + 3661)));
}

#[test]
fn a_spent_token_never_counts_as_its_pod_and_the_ended_ones_of_a_pod_count_as_one() {
    let (minter, tokens) = setup();
    let [old, older] = [NOW, NOW - 3600].map(|issued| {
        let token = minter.token(&Pod::named("a"), issued);
        tokens.pod(&token, Use::Batch, at(issued)).unwrap()
    });
    assert_eq!(old.counts_as(old.expires), "uid-of-a");
    let later = at(NOW + 3661);
    assert!(is_spent(old.expires, later));
    assert_ne!(old.counts_as(later), "uid-of-a");
    assert_eq!(old.counts_as(later), older.counts_as(later));
}

#[test]
fn a_key_that_is_withdrawn_takes_its_tokens_with_it() {
    let minter = Minter::new(URL);
    let (tokens, keys) = tokens_of(&minter.jwks());
    let token = minter.token(&Pod::named("a"), NOW);
    assert!(tokens.pod(&token, Use::Other, at(NOW)).is_ok());
    let next = Minter::with(URL, Algorithm::EdDSA, "k2");
    keys.send_replace(Arc::new(KeySet::parse(next.jwks().as_bytes()).unwrap()));
    assert_eq!(tokens.pod(&token, Use::Other, at(NOW)), Err(TokenError::Key));
    assert!(tokens.pod(&next.token(&Pod::named("a"), NOW), Use::Other, at(NOW)).is_ok());
}

#[test]
fn of_a_key_set_only_public_keys_for_signatures_are_used() {
    let good = Minter::new(URL).jwk();
    let mut encrypts = good.clone();
    encrypts["use"] = json!("enc");
    let mut other = good.clone();
    other["alg"] = json!("ES384");
    let secret = json!({"kty": "oct", "k": "c2VjcmV0", "alg": "HS256", "kid": "k1"});
    let short = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256"});
    for bad in [encrypts, other, secret, short, json!({"kty": "new"}), json!(7)] {
        let set = |keys: Value| KeySet::parse(json!({ "keys": keys }).to_string().as_bytes());
        assert!(matches!(set(json!([bad])), Err(KeySetError::NoUsableKey { found: 1 })), "{bad}");
        assert!(set(json!([bad, good])).is_ok(), "{bad}");
    }
}

#[test]
fn what_is_no_key_set_is_refused_within_bounds() {
    for text in ["", "[]", "{}", r#"{"keys":1}"#] {
        assert!(matches!(KeySet::parse(text.as_bytes()), Err(KeySetError::Json(_))), "{text}");
    }
    let many = json!({ "keys": vec![Value::Null; MAX_JWKS_KEYS_PLUS_ONE] }).to_string();
    assert!(matches!(KeySet::parse(many.as_bytes()), Err(KeySetError::TooMany { .. })));
    let large = vec![b' '; crate::limits::MAX_JWKS_BYTES + 1];
    assert!(matches!(KeySet::parse(&large), Err(KeySetError::TooLarge { .. })));
}

const MAX_JWKS_KEYS_PLUS_ONE: usize = crate::limits::MAX_JWKS_KEYS + 1;

#[test]
fn tokens_are_remembered_in_bounded_memory() {
    let (minter, tokens) = setup();
    let good = {
        let token = minter.token(&Pod::named("a"), NOW);
        tokens.pod(&token, Use::Other, at(NOW)).unwrap();
        let cache = tokens.cache();
        cache.get(&Digest::sha256(token.as_bytes()), AUDIENCE).unwrap()
    };
    let mut cache = Cache::default();
    for i in 0..crate::limits::MAX_CACHED_TOKENS as u64 + 10 {
        let digest = Digest::sha256(&i.to_be_bytes());
        cache.put(digest, AUDIENCE, good.0.clone(), Arc::clone(&good.1), NOW + 1, NOW);
        assert!(cache.get(&digest, AUDIENCE).is_some());
        assert!(cache.len() <= crate::limits::MAX_CACHED_TOKENS);
    }
}

#[test]
fn before_an_issuers_keys_are_known_its_tokens_are_neither_good_nor_bad() {
    let minter = Minter::new(URL);
    let (sender, keys) = watch::channel(Arc::new(KeySet::unheard()));
    let tokens =
        Tokens::new(vec![Issuer { url: URL.into(), keys, wanted: None }], AUDIENCE.into(), READER_AUDIENCE.into());
    let token = minter.token(&Pod::named("a"), NOW);
    assert_eq!(tokens.pod(&token, Use::Other, at(NOW)), Err(TokenError::Unheard(URL.into())));
    sender.send_replace(Arc::new(KeySet::parse(minter.jwks().as_bytes()).unwrap()));
    assert!(tokens.pod(&token, Use::Other, at(NOW)).is_ok());
}

#[tokio::test]
async fn a_token_of_an_unknown_key_asks_for_the_issuers_newest() {
    let minter = Minter::new(URL);
    let keys = watch::channel(Arc::new(KeySet::parse(minter.jwks().as_bytes()).unwrap())).1;
    let wanted = Arc::new(Notify::new());
    let issuer = Issuer { url: URL.into(), keys, wanted: Some(Arc::clone(&wanted)) };
    let tokens = Tokens::new(vec![issuer], AUDIENCE.into(), READER_AUDIENCE.into());
    let is_wanted = async || tokio::time::timeout(std::time::Duration::ZERO, wanted.notified()).await.is_ok();
    assert!(tokens.pod(&minter.token(&Pod::named("a"), NOW), Use::Other, at(NOW)).is_ok());
    assert!(!is_wanted().await);
    let other = Minter::with(URL, Algorithm::ES256, "k2").token(&Pod::named("a"), NOW);
    assert_eq!(tokens.pod(&other, Use::Other, at(NOW)), Err(TokenError::Key));
    assert!(is_wanted().await);
}
