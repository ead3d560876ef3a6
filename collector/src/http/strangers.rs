//! Connections that have shown no good token yet, oldest first.
//!
//! They need no credentials, so anybody can open as many as a machine can. The oldest gives way to one more than there
//! may be: who has a token shows it within milliseconds, so a crowd that says nothing crowds out itself only.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::metrics::gauge::Gauge;

use super::peer::Peer;
use crate::limits::MAX_STRANGERS;

/// All of them.
#[derive(Debug, Clone)]
pub(super) struct Strangers {
    here: Arc<Mutex<Here>>,
    shown: Gauge,
}

#[derive(Debug, Default)]
struct Here {
    /// By the order in which they came.
    peers: BTreeMap<u64, Peer>,
    came: u64,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Stranger {
    among: Strangers,
    number: u64,
}

impl Strangers {
    /// None, and a gauge that shows how many there are.
    pub(super) fn none(shown: Gauge) -> Self {
        Self { here: Arc::default(), shown }
    }

    /// One more, in the place of the oldest if there are too many.
    pub(super) fn enter(&self, peer: &Peer) -> Stranger {
        let mut here = self.here();
        if here.peers.len() >= MAX_STRANGERS {
            oldest_leaves(&mut here);
        }
        let number = here.came;
        here.came += 1;
        here.peers.insert(number, peer.clone());
        self.show(&here);
        Stranger { among: self.clone(), number }
    }

    /// The oldest makes room. Whether there was one.
    pub(super) fn make_room(&self) -> bool {
        let mut here = self.here();
        let was_there = oldest_leaves(&mut here);
        self.show(&here);
        was_there
    }

    fn show(&self, here: &Here) {
        self.shown.set(i64::try_from(here.peers.len()).unwrap_or(i64::MAX));
    }

    fn here(&self) -> MutexGuard<'_, Here> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn oldest_leaves(here: &mut Here) -> bool {
    here.peers.pop_first().inspect(|(_, peer)| peer.crowd_out()).is_some()
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let mut here = self.among.here();
        here.peers.remove(&self.number);
        self.among.show(&here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Unserved;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_of_too_many_strangers_leaves_and_one_that_was_admitted_does_not() {
        let strangers = Strangers::none(Gauge::default());
        let peers: Vec<_> = (0..MAX_STRANGERS).map(|_| Peer::default()).collect();
        let mut here: Vec<_> = peers.iter().map(|peer| Some(strangers.enter(peer))).collect();
        peers[0].admit();
        here[0] = None;
        let next = [Peer::default(), Peer::default()];
        let newest = next.each_ref().map(|peer| strangers.enter(peer));
        assert_eq!(peers[1].crowded_out().await, Unserved::Crowd);
        assert_eq!(strangers.shown.get(), i64::try_from(MAX_STRANGERS).unwrap());
        assert!(strangers.make_room());
        assert_eq!(peers[2].crowded_out().await, Unserved::Crowd);
        drop((here, newest));
        assert_eq!(strangers.shown.get(), 0);
        assert!(!strangers.make_room(), "nobody is left");
    }
}
