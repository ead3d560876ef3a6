//! What a reader sees of the log: asked for each session once, while a list or a stream of frames is put together.

use std::collections::HashMap;
use std::sync::Arc;

use indelible_chain::id::SessionId;

use crate::limits::MAX_SEEN_SESSIONS;
use crate::readers::Rights;
use crate::store::{ReadError, Store};

/// Which sessions a reader sees. Reads from disk what is not in memory.
#[derive(Debug)]
pub(super) struct Seen {
    store: Arc<Store>,
    rights: Arc<Rights>,
    sessions: HashMap<SessionId, bool>,
}

impl Seen {
    pub(super) fn new(store: Arc<Store>, rights: Arc<Rights>) -> Self {
        Self { store, rights, sessions: HashMap::new() }
    }

    /// Whether it sees all there is.
    pub(super) fn is_everything(&self) -> bool {
        *self.rights == Rights::Everything
    }

    /// Whether it sees what a session sent; nobody but who sees everything sees one that is not in the log.
    pub(super) fn session(&mut self, id: SessionId) -> Result<bool, ReadError> {
        if self.is_everything() {
            return Ok(true);
        }
        if let Some(seen) = self.sessions.get(&id) {
            return Ok(*seen);
        }
        let seen = self.store.session(id)?.is_some_and(|session| self.rights.reach(&session));
        if self.sessions.len() >= MAX_SEEN_SESSIONS {
            self.sessions.clear();
        }
        self.sessions.insert(id, seen);
        Ok(seen)
    }
}
