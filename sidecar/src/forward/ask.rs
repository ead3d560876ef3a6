//! Does any collector know this chain? (Format 1.2: a sidecar without state asks before it begins one.)
//!
//! Asking is introducing: `PUT` of a chain answers 200 if it was known and 201 if it is new. Two collectors are asked;
//! one that knows it is enough for a yes, two that do not (or all, if there are fewer) for a no, and so is the end of 5 s.
//! What this run, or one before it, introduced by the same question is no yes: an answer can be lost, and the question is
//! asked again. A receipt tells whose introduction it is of.

use std::collections::BTreeSet;

use bytes::Bytes;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, SessionId};

use super::collector::{CollectorId, Introduction};
use super::moment::Moment;
use super::receipts::{self, LogIdentity, Sent};
use super::{Effect, Forward};
use crate::limits::ASK_TIMEOUT;

/// How many are asked.
const ASKED: usize = 2;

/// A question of capture's.
#[derive(Debug)]
pub struct Ask {
    /// For which container.
    pub container: String,
    /// The chain in question.
    pub genesis: Genesis,
    /// Who asked: sessions of earlier runs that died with the same question, and this one.
    pub asked: Vec<SessionId>,
    /// When silence is a no.
    pub deadline: Moment,
    /// Who said that it is new.
    pub new_at: BTreeSet<CollectorId>,
}

impl Ask {
    /// Whether a receipt is of an introduction by this question.
    pub fn introduced(&self, receipt: &Bytes, log: &LogIdentity) -> bool {
        let by = |session: &SessionId| receipts::check(receipt, log, Sent::NewChain(&self.genesis, *session)).is_ok();
        self.asked.iter().any(by)
    }
}

impl Forward {
    pub(super) fn asked(&mut self, now: Moment, container: String, genesis: Genesis, mut asked: Vec<SessionId>) {
        asked.push(self.session);
        let Ok(chain) = genesis.chain_id() else {
            // A name over the format's limit: no collector can know a chain that has no id.
            self.effects.push(Effect::Known { container, known: false });
            return;
        };
        let deadline = now.plus(ASK_TIMEOUT);
        self.asks.insert(chain, Ask { container, genesis, asked, deadline, new_at: BTreeSet::new() });
    }

    /// A collector introduced `chain` and said whether it had known it.
    pub(super) fn chain_was_known(&mut self, chain: ChainId) {
        if let Some(ask) = self.asks.remove(&chain) {
            self.effects.push(Effect::Known { container: ask.container, known: true });
            // The chain that capture now begins is another one.
            for collector in self.collectors.values_mut() {
                collector.chains.remove(&chain);
            }
        }
    }

    /// A collector introduced `chain` and said that it is new.
    pub(super) fn chain_was_new(&mut self, chain: ChainId, collector: CollectorId) {
        if let Some(ask) = self.asks.get_mut(&chain) {
            ask.new_at.insert(collector);
        }
    }

    /// Answers what can be answered, and asks whom it takes.
    pub(super) fn settle_asks(&mut self, now: Moment) {
        let enough = self.pool_size().min(ASKED);
        let chains: Vec<ChainId> = self.asks.keys().copied().collect();
        for chain in chains {
            let Some(ask) = self.asks.get(&chain) else { continue };
            if ask.new_at.len() >= enough || ask.deadline <= now {
                if let Some(ask) = self.asks.remove(&chain) {
                    self.effects.push(Effect::Known { container: ask.container, known: false });
                }
                continue;
            }
            let asked = |id: &&CollectorId| {
                let there = self.collectors.get(id).map(|collector| collector.chain(chain).introduction);
                matches!(there, Some(Introduction::Asked | Introduction::Known))
            };
            let missing = ASKED.saturating_sub(self.wanted.iter().filter(asked).count());
            let mut free = self.ready_for_chains(now);
            free.retain(|id| self.collectors.get(id).is_some_and(|c| c.chain(chain).may_begin(now)));
            for id in free.into_iter().take(missing) {
                self.introduce_chain(id, chain);
            }
        }
    }
}
