//! What a collector reads that others wrote, beside the evidence format: keys, lists, URLs.

use indelible_collector::config::Witness;
use indelible_collector::outbound::Url;
use indelible_collector::reload::Pool;
use indelible_collector::token::KeySet;

use super::corpus::Target;

/// Targets by name.
pub const TARGETS: &[Target] = &[("collector_jwks", jwks), ("collector_pool", pool), ("collector_url", url)];

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

fn url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(url) = Url::parse(text) {
        assert!(url.path().starts_with('/') && !url.host().is_empty());
        assert!(!url.authority().contains(['@', '?', '#']));
    }
    let _ = text.parse::<Witness>();
}
