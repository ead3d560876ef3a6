//! Tokens that were found good, by digest and audience.
//!
//! Bounded by a number of tokens. When it is full, expired ones go, and if none has expired, all go: checking again
//! costs a signature check each, and keeping an order for eviction would cost every batch.

use std::collections::HashMap;
use std::sync::Arc;

use indelible_chain::digest::Digest;

use super::{Good, KeySet};
use crate::limits::MAX_CACHED_TOKENS;

#[derive(Debug, Default)]
pub(super) struct Cache {
    tokens: HashMap<Digest, Entry>,
}

#[derive(Debug)]
struct Entry {
    audience: String,
    good: Good,
    keys: Arc<KeySet>,
    until: i64,
}

impl Cache {
    /// What is known of a token, and the keys that it was checked with.
    pub(super) fn get(&self, digest: &Digest, audience: &str) -> Option<(Good, Arc<KeySet>)> {
        let entry = self.tokens.get(digest).filter(|entry| entry.audience == audience)?;
        Some((entry.good.clone(), Arc::clone(&entry.keys)))
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Remembers a token until a time in seconds.
    pub(super) fn put(&mut self, digest: Digest, audience: &str, good: Good, keys: Arc<KeySet>, until: i64, now: i64) {
        if self.tokens.len() >= MAX_CACHED_TOKENS {
            self.tokens.retain(|_, entry| entry.until >= now);
        }
        if self.tokens.len() >= MAX_CACHED_TOKENS {
            self.tokens.clear();
        }
        self.tokens.insert(digest, Entry { audience: audience.to_owned(), good, keys, until });
    }
}
