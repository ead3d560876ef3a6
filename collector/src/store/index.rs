//! What the log holds, and where: a cache over the segments.
//!
//! Owns the sessions and chains in memory, those written within the last hour; where everything else lies is in the
//! table of the active segment ([`table`]) and the `.idx` of each sealed one ([`sealed`]). It is rebuilt from the
//! segments at each start, changed by the writer only, never believed by a verifier, and can hide no record: whoever
//! reads all frames reads segments.

pub mod decide;
pub mod filter;
pub mod sealed;
pub mod table;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use indelible_chain::id::{ChainId, SessionId, Time};

use super::KnownSession;
use crate::limits::REMEMBERED_ITEMS;
use decide::ChainState;

/// What was written or asked for lately, by id.
#[derive(Debug)]
pub struct Remembered<K, V> {
    items: HashMap<K, (V, Time)>,
}

impl<K: Hash + Eq + Copy, V> Remembered<K, V> {
    /// Nothing.
    pub fn new() -> Self {
        Self { items: HashMap::new() }
    }

    /// An item.
    pub fn get(&self, id: &K) -> Option<&V> {
        self.items.get(id).map(|(item, _)| item)
    }

    /// An item that was just written.
    pub fn get_mut(&mut self, id: &K, now: Time) -> Option<&mut V> {
        let (item, written) = self.items.get_mut(id)?;
        *written = now;
        Some(item)
    }

    /// Takes in an item.
    pub fn insert(&mut self, id: K, item: V, now: Time) {
        self.items.insert(id, (item, now));
    }

    /// Forgets what was last written before `until`, and if that leaves too many, the older half of the rest.
    pub fn forget(&mut self, until: Time) {
        self.items.retain(|_, (_, written)| *written >= until);
        if self.items.len() > REMEMBERED_ITEMS {
            let mut times: Vec<Time> = self.items.values().map(|(_, written)| *written).collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            let median = *median;
            self.items.retain(|_, (_, written)| *written > median);
        }
    }

    /// Items in memory.
    pub fn len(&self) -> usize {
        self.items.len()
    }
}

/// Sessions and chains in memory.
#[derive(Debug)]
pub struct Index {
    /// Sessions.
    pub sessions: Remembered<SessionId, Arc<KnownSession>>,
    /// Chains.
    pub chains: Remembered<ChainId, ChainState>,
}

impl Index {
    /// Empty, as at a start.
    pub fn new() -> Self {
        Self { sessions: Remembered::new(), chains: Remembered::new() }
    }

    /// Whether so many are in memory that some must be forgotten.
    pub fn is_full(&self) -> bool {
        self.sessions.len() > REMEMBERED_ITEMS || self.chains.len() > REMEMBERED_ITEMS
    }

    /// Forgets what was last written before `until`; it is found on disk.
    pub fn forget(&mut self, until: Time) {
        self.sessions.forget(until);
        self.chains.forget(until);
    }
}
