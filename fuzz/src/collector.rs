//! What a collector reads that others wrote, beside the evidence format: keys, lists, URLs.

use std::sync::Arc;

use indelible_chain::id::Time;
use indelible_collector::config::Witness;
use indelible_collector::outbound::Url;
use indelible_collector::reload::Pool;
use indelible_collector::token::{Issuer, KeySet, Tokens, Use};
use tokio::sync::watch;

use super::corpus::Target;

/// Targets by name.
pub const TARGETS: &[Target] =
    &[("collector_jwks", jwks), ("collector_pool", pool), ("collector_token", token), ("collector_url", url)];

fn jwks(data: &[u8]) {
    if let Ok(keys) = KeySet::parse(data) {
        assert!(!keys.is_unheard());
    }
}

fn pool(data: &[u8]) {
    if let Ok(pool) = Pool::parse(data.to_vec()) {
        assert_eq!(pool.json(), data);
    }
}

/// Who sends a token chooses each byte of it, but only the issuer makes one that is taken.
fn token(data: &[u8]) {
    const KEYS: &[u8] = include_bytes!("../../collector/src/token/testdata/rs256.jwks.json");
    const GOOD: &str = include_str!("../../collector/src/token/testdata/rs256.jwt");
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (_kept, keys) = watch::channel(Arc::new(KeySet::parse(KEYS).expect("a key set")));
    let issuer = Issuer { url: "https://cluster.example".into(), keys, wanted: None };
    let tokens = Tokens::new(vec![issuer], "indelible.dev".into(), "readers.example".into());
    let now = Time::from_nanos(1_795_400_000 * Time::SECOND);
    for how in [Use::Introduce, Use::Batch, Use::Other] {
        assert_eq!(tokens.pod(text, how, now).is_ok(), text == GOOD.trim(), "{text}");
    }
    assert!(tokens.reader(text, now).is_err());
}

fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = Url::parse(text) {
        assert!(url.path().starts_with('/') && !url.host().is_empty());
        assert!(!url.authority().contains(['@', '?', '#']));
    }
    let _ = text.parse::<Witness>();
}
