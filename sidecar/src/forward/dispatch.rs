//! Gives waiting batches to collectors, and takes them back.
//!
//! The first batches of a session go to its home; after that each goes where [`super::balance`] says, among
//! the collectors that are usable, that have room, that do not have it already, and that do not pause for it. A batch that is given to a
//! collector which does not know its chain yet is *parked* until the introductions are through; it counts as in
//! flight there meanwhile.

use std::collections::BTreeSet;

use indelible_chain::heartbeat::{Heartbeat, MAX_HEADS};
use indelible_chain::id::ChainId;
use indelible_chain::key::SIGNATURE_BYTES;

use super::balance::{self, Load};
use super::collector::{Collector, CollectorId, Introduction};
use super::moment::{Moment, Now};
use super::queue::{BatchId, Pending};
use super::{Call, Effect, Forward, What};
use crate::limits::{FIRST_BATCHES, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES};

impl Forward {
    /// Gives every waiting batch that can go somewhere to a collector.
    pub(super) fn dispatch(&mut self, now: Moment) {
        self.starved = !self.asks.is_empty() && self.ready_for_chains(now).is_empty();
        // What was given away makes place in the window for what is behind it.
        while self.dispatch_window(now) {}
    }

    /// Gives the oldest batches of each chain away. Whether there may be more to give.
    fn dispatch_window(&mut self, now: Moment) -> bool {
        let mut given = false;
        for id in self.queue.window() {
            // Again while copies are missing: each goes to another log.
            while self.queue.is_waiting(id) {
                if !self.has_room(now) {
                    self.starved |= self.no_collector_works(now);
                    return false;
                }
                let Some(to) = self.collector_for(now, id) else {
                    self.starved |= self.no_collector_works(now);
                    break;
                };
                self.give(id, to);
                given = true;
            }
        }
        given
    }

    fn has_room(&self, now: Moment) -> bool {
        self.pool.may_send() && self.wanted.iter().any(|id| self.collectors.get(id).is_some_and(|c| has_room(c, now)))
    }

    /// Whether a connection is needed in a hurry: none that is there can be used, or there are fewer than copies.
    fn no_collector_works(&self, now: Moment) -> bool {
        let usable = |id: &&CollectorId| self.collectors.get(id).is_some_and(|collector| collector.is_usable(now));
        self.wanted.iter().filter(usable).count() < self.copies()
    }

    fn collector_for(&self, now: Moment, id: BatchId) -> Option<CollectorId> {
        let pending = self.queue.get(id)?;
        let willing = |collector: CollectorId| {
            self.collectors.get(&collector).is_some_and(|state| self.may_take(now, pending, (collector, state)))
        };
        let first = id.get() < FIRST_BATCHES && pending.receipts.is_empty() && pending.flights.is_empty();
        if first && let Some(home) = self.home.filter(|home| self.wanted.contains(home)) {
            if willing(home) {
                return Some(home);
            }
            // The home is waited for while it is being connected to, and not when it fails.
            if self.collectors.get(&home).is_some_and(|home| !home.is_ailing() && home.open_log().is_none()) {
                return None;
            }
        }
        let loads = self.wanted.iter().copied().filter(|id| willing(*id)).filter_map(|id| {
            let collector = self.collectors.get(&id)?;
            let Collector { outstanding, sent, rank, .. } = *collector;
            Some(Load { collector: id, outstanding, sent, rank })
        });
        balance::choose(loads)
    }

    /// Whether a batch may go to a collector now.
    fn may_take(&self, now: Moment, pending: &Pending, (id, collector): (CollectorId, &Collector)) -> bool {
        let Some(log) = collector.open_log() else { return false };
        let same_log = |flight: &CollectorId| {
            self.collectors.get(flight).and_then(Collector::open_log).is_some_and(|other| other.id == log.id)
        };
        has_room(collector, now)
            && !pending.receipts.contains(&log.id)
            && !pending.flights.contains(&id)
            && !pending.flights.iter().any(same_log)
            && pending.pauses.get(&id).is_none_or(|pause| pause.is_over(now))
            && !collector.chain(pending.sealed.chain).is_refused(now)
    }

    fn give(&mut self, id: BatchId, to: CollectorId) {
        let copies = self.copies();
        let (Some(pending), Some(collector)) = (self.queue.get(id), self.collectors.get_mut(&to)) else { return };
        let (bytes, chain) = (pending.bytes(), pending.sealed.chain);
        collector.batches += 1;
        collector.outstanding += bytes;
        collector.sent += bytes;
        let there = collector.chain(chain).introduction;
        let introduced = collector.session == Introduction::Known && there == Introduction::Known;
        self.queue.sent(id, to, copies);
        if introduced {
            self.post(id, to);
            return;
        }
        self.park(id, to, bytes);
        let collector = self.collectors.get(&to);
        let begin = collector
            .is_some_and(|collector| collector.session == Introduction::Known && there == Introduction::Unknown);
        if begin {
            self.introduce_chain(to, chain);
        }
    }

    fn post(&mut self, id: BatchId, to: CollectorId) {
        let Some(pending) = self.queue.get(id) else { return };
        let (bytes, upload) = (pending.bytes(), pending.sealed.upload.clone());
        self.tally.batches_sent += 1;
        self.tally.sent_bytes += bytes;
        self.send(to, What::Batch { id, bytes }, Call::Batch(upload));
    }

    /// A batch goes to a collector once it knows session and chain.
    pub(super) fn park(&mut self, id: BatchId, to: CollectorId, bytes: u64) {
        self.parked.entry(to).or_default().insert(id, bytes);
    }

    /// A chain is known at a collector: what waited for that goes.
    pub(super) fn release(&mut self, to: CollectorId, chain: ChainId) {
        for (id, _) in self.take_parked(to, |pending| is_of(pending, chain)) {
            self.post(id, to);
        }
    }

    /// A chain cannot be introduced at a collector now: what waited for that goes elsewhere.
    pub(super) fn unpark_chain(&mut self, from: CollectorId, chain: ChainId) {
        for (id, bytes) in self.take_parked(from, |pending| is_of(pending, chain)) {
            self.landed(from, id, bytes, |_| ());
        }
    }

    /// A collector is lost or pauses: everything that waited there goes elsewhere.
    pub(super) fn unpark(&mut self, from: CollectorId) {
        for (id, bytes) in self.take_parked(from, |_| true) {
            self.landed(from, id, bytes, |_| ());
        }
    }

    /// Batches that have enough receipts now are not sent where they still waited for an introduction.
    fn unpark_settled(&mut self) {
        let parked: Vec<CollectorId> = self.parked.keys().copied().collect();
        for from in parked {
            for (id, bytes) in self.take_parked(from, |pending| pending.is_none()) {
                self.landed(from, id, bytes, |_| ());
            }
        }
    }

    fn take_parked(&mut self, at: CollectorId, fits: impl Fn(Option<&Pending>) -> bool) -> Vec<(BatchId, u64)> {
        let Some(parked) = self.parked.get_mut(&at) else { return Vec::new() };
        let taken = parked.extract_if(.., |id, _| fits(self.queue.get(*id))).collect();
        if parked.is_empty() {
            self.parked.remove(&at);
        }
        taken
    }

    /// A collector no longer has a batch; `change` notes why.
    pub(super) fn landed(&mut self, from: CollectorId, id: BatchId, bytes: u64, change: impl FnOnce(&mut Pending)) {
        if let Some(collector) = self.collectors.get_mut(&from) {
            collector.batches = collector.batches.saturating_sub(1);
            collector.outstanding = collector.outstanding.saturating_sub(bytes);
        }
        let copies = self.copies();
        self.queue.landed(id, from, copies, change);
    }

    /// Reports what is receipted at the front of a chain.
    pub(super) fn settle(&mut self, chain: ChainId) {
        let before = self.queue.len();
        if let Some(head) = self.queue.settle(chain, self.copies()) {
            self.effects.push(Effect::Receipted { chain, head });
        }
        self.tally.batches_receipted += (before - self.queue.len()) as u64;
        self.forget_chain_if_done(chain);
    }

    /// The number of copies wanted may have changed.
    pub(super) fn settle_copies(&mut self) {
        let before = self.queue.len();
        for (chain, head) in self.queue.settle_all(self.copies()) {
            self.effects.push(Effect::Receipted { chain, head });
        }
        self.tally.batches_receipted += (before - self.queue.len()) as u64;
        self.unpark_settled();
    }

    /// Two collectors judged a chain's content: nothing of it is sent any more.
    pub(super) fn reject(&mut self, chain: ChainId) {
        let parked: Vec<CollectorId> = self.parked.keys().copied().collect();
        for collector in parked {
            self.unpark_chain(collector, chain);
        }
        self.queue.give_up(chain);
        self.forget_chain_if_done(chain);
        self.tally.chains_rejected += 1;
        self.effects.push(Effect::Rejected(chain));
        self.notice(super::Notice::Rejected(chain));
    }

    /// Sends a heartbeat if one is due and a collector can take it. That collector knows the chains it names first.
    pub(super) fn heartbeat(&mut self, now: Now) {
        let sent = self.requests.values().any(|request| matches!(request.what, What::Heartbeat));
        if sent || !self.rhythm.is_due(now.moment) {
            return;
        }
        let mut ready = self.ready_for_chains(now.moment);
        ready.truncate(2);
        let Some(to) = ready.get(self.rhythm.turn(ready.len())).copied() else { return };
        let Some(collector) = self.collectors.get(&to) else { return };
        let Some(log) = collector.open_log().map(|log| log.id) else { return };
        let mut heads: Vec<_> = self.queue.heads().take(MAX_HEADS).collect();
        let known = |chain: &ChainId| collector.chain(*chain).introduction == Introduction::Known;
        let unknown: BTreeSet<ChainId> = heads.iter().map(|(chain, _)| *chain).filter(|chain| !known(chain)).collect();
        let open: Vec<ChainId> =
            unknown.iter().copied().filter(|chain| collector.chain(*chain).may_begin(now.moment)).collect();
        let asked = unknown.iter().any(|chain| collector.chain(*chain).introduction == Introduction::Asked);
        if asked || !open.is_empty() {
            for chain in open {
                self.introduce_chain(to, chain);
            }
            return;
        }
        // What is left could not be introduced here: the others are not kept waiting for it.
        heads.retain(|(chain, _)| !unknown.contains(chain));
        let heartbeat = Heartbeat {
            session: self.session,
            time: now.time,
            ca_digest: self.ca_digest,
            heads,
            receipts: self.kept.of_others(log),
            signature: [0; SIGNATURE_BYTES],
        };
        self.rhythm.sent();
        self.send(to, What::Heartbeat, Call::Heartbeat(heartbeat));
    }
}

fn is_of(pending: Option<&Pending>, chain: ChainId) -> bool {
    pending.is_some_and(|pending| pending.sealed.chain == chain)
}

fn has_room(collector: &Collector, now: Moment) -> bool {
    collector.is_usable(now) && collector.batches < MAX_IN_FLIGHT && collector.outstanding < MAX_IN_FLIGHT_BYTES
}
