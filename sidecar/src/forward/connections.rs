//! Which collectors a session is connected to, and what becomes of connections.
//!
//! Two while little is sent, more above that; those that fail are replaced. The order of preference: the session's
//! home (its first batches go there), its companion (chosen anew each hour), then each session's own random order, so that the
//! sessions of a cluster spread over the pool. The collectors of the configuration serve until the pool has said who
//! its members are, and again when none of these can be reached.

use indelible_chain::id::ChainId;

use super::collector::{Collector, CollectorId, Generation, Introduction, Link, Place};
use super::endpoint::Endpoint;
use super::moment::Moment;
use super::pool::PoolList;
use super::receipts::LogIdentity;
use super::retry::Reason;
use super::{Call, Effect, Forward, Notice, Request, What};
use crate::limits::RECONNECT_SPREAD;

impl Forward {
    /// The collector at an address, new if there is none yet.
    pub(super) fn collector_at(&mut self, endpoint: &Endpoint, place: Place) -> CollectorId {
        let known = self.collectors.iter_mut().find(|(_, collector)| collector.endpoint == *endpoint);
        if let Some((id, collector)) = known {
            collector.place = place;
            return *id;
        }
        let id = CollectorId::new(u32::try_from(self.number()).unwrap_or(u32::MAX));
        let rank = self.dice.roll();
        self.collectors.insert(id, Collector::new(endpoint.clone(), place, rank));
        id
    }

    /// Takes over the pool's list. An empty one removes nothing.
    pub(super) fn take_list(&mut self, list: PoolList) {
        if list.collectors.is_empty() {
            self.promote_bootstrap();
        } else {
            for (id, collector) in &mut self.collectors {
                collector.place = if self.configured.contains(id) { Place::Bootstrap } else { Place::Leaving };
            }
            for endpoint in &list.collectors {
                self.collector_at(endpoint, Place::Member);
            }
        }
        self.effects.push(Effect::Trust(list));
        self.settle_copies();
    }

    /// Nobody keeps a list: the configuration's collectors are the pool.
    pub(super) fn promote_bootstrap(&mut self) {
        if self.collectors.values().all(|collector| collector.place != Place::Member) {
            for id in &self.configured {
                if let Some(collector) = self.collectors.get_mut(id) {
                    collector.place = Place::Member;
                }
            }
        }
        self.settle_copies();
    }

    pub(super) fn connected(&mut self, id: CollectorId, generation: Generation, log: LogIdentity) {
        let Some(collector) = self.collectors.get_mut(&id) else { return };
        if collector.link != Link::Opening(generation) {
            return;
        }
        collector.link = Link::Open(generation);
        if collector.log.as_ref() != Some(&log) {
            collector.forget_introductions();
            collector.log = Some(log);
        }
        // A joiner starts at the minimum of the others: it is not flooded to make up for its absence.
        let others = self.collectors.iter().filter(|(other, c)| **other != id && c.open_log().is_some());
        let least = others.map(|(_, collector)| collector.sent).min().unwrap_or(0);
        if let Some(collector) = self.collectors.get_mut(&id) {
            collector.sent = collector.sent.max(least);
        }
        // Two addresses may have turned out to be one log.
        self.settle_copies();
    }

    pub(super) fn connect_failed(
        &mut self,
        now: Moment,
        id: CollectorId,
        generation: Generation,
        (reason, text): (Reason, String),
    ) {
        let Some(collector) = self.collectors.get_mut(&id) else { return };
        if collector.link == Link::Opening(generation) {
            collector.link = Link::Closed;
            self.ail(now, id, reason, &text);
        }
    }

    pub(super) fn disconnected(&mut self, now: Moment, id: CollectorId, generation: Generation, text: &str) {
        if self.collectors.get(&id).is_some_and(|collector| collector.link == Link::Open(generation)) {
            self.lost(now, id, Reason::Transport, text);
        }
    }

    /// A connection is gone: everything that was asked there goes elsewhere at once.
    pub(super) fn lost(&mut self, now: Moment, id: CollectorId, reason: Reason, text: &str) {
        if let Some(collector) = self.collectors.get_mut(&id) {
            collector.link = Link::Closed;
            collector.forget_questions();
        }
        self.pool.connection_lost();
        self.calm_until = now.plus(self.dice.up_to(RECONNECT_SPREAD));
        self.ail(now, id, reason, text);
        self.unpark(id);
        let lost = self.requests.extract_if(.., |_, request| request.collector == id);
        let lost: Vec<Request> = lost.map(|(_, request)| request).collect();
        for request in lost {
            match request.what {
                What::Batch { id: batch, bytes } => self.landed(id, batch, bytes, |_| ()),
                What::Heartbeat => self.heartbeat_failed(now),
                What::Pool => self.pool_failed(now),
                What::Session | What::Chain(_) => {}
            }
        }
    }

    /// A collector failed at something: it pauses, and is said to be unusable once.
    pub(super) fn ail(&mut self, now: Moment, id: CollectorId, reason: Reason, text: &str) {
        self.ail_until(now, id, reason, (None, text));
    }

    /// As [`ail`](Self::ail), with the pause that it asked for.
    pub(super) fn ail_until(
        &mut self,
        now: Moment,
        id: CollectorId,
        reason: Reason,
        (retry_after, text): (Option<std::time::Duration>, &str),
    ) {
        *self.tally.retries.entry(reason).or_default() += 1;
        let Some(collector) = self.collectors.get_mut(&id) else { return };
        // Ten requests that one cause made fail are one failure.
        if collector.backoff.is_over(now) || collector.ailment != Some(reason) {
            collector.backoff.fail(now, retry_after, &mut self.dice);
        } else {
            collector.backoff.asked(now, retry_after, &mut self.dice);
        }
        collector.ailment = Some(reason);
        if collector.reported.is_none() {
            collector.reported = Some(reason);
            let endpoint = collector.endpoint.clone();
            self.notice(Notice::Unusable { endpoint, reason, text: text.to_owned() });
        }
    }

    /// A collector did what it was asked. While it has asked to be left alone nothing is sent, so that is the answer to
    /// a request that was under way before, and says nothing.
    pub(super) fn recovered(&mut self, now: Moment, id: CollectorId) {
        let asked = |collector: &&mut Collector| collector.backoff.is_asked_time_over(now);
        let Some(collector) = self.collectors.get_mut(&id).filter(asked) else { return };
        collector.backoff.clear();
        collector.ailment = None;
        if collector.reported.take().is_some() {
            let endpoint = collector.endpoint.clone();
            self.notice(Notice::Usable(endpoint));
        }
    }

    pub(super) fn token_changed(&mut self, now: Moment) {
        for collector in self.collectors.values_mut() {
            if matches!(collector.ailment, Some(Reason::Unauthorized | Reason::Forbidden)) {
                collector.backoff.retry_at_once(now);
            }
        }
    }

    pub(super) fn ask_for_pool(&mut self, now: Moment) {
        let asked = self.requests.values().any(|request| matches!(request.what, What::Pool));
        if !self.pool.is_due() || asked || !self.pool_backoff.is_over(now) {
            return;
        }
        let usable = |id: &CollectorId| self.collectors.get(id).is_some_and(|collector| collector.is_usable(now));
        if let Some(id) = self.wanted.iter().copied().find(usable) {
            self.send(id, What::Pool, Call::Pool);
        }
    }

    pub(super) fn pool_failed(&mut self, now: Moment) {
        self.pool.failed();
        self.pool_backoff.fail(now, None, &mut self.dice);
    }

    /// Makes the connections that are wanted and closes the others once nothing is in flight on them.
    pub(super) fn steer(&mut self, now: Moment) {
        for id in self.wanted.clone() {
            let Some(collector) = self.collectors.get(&id) else { continue };
            let hurry = self.starved || self.calm_until <= now;
            if collector.link == Link::Closed && collector.backoff.is_over(now) && hurry {
                let endpoint = collector.endpoint.clone();
                let generation = Generation::new(self.number());
                if let Some(collector) = self.collectors.get_mut(&id) {
                    collector.link = Link::Opening(generation);
                }
                self.effects.push(Effect::Connect { collector: id, generation, endpoint });
            }
        }
        self.close_unwanted();
    }

    fn close_unwanted(&mut self) {
        let busy = |id: CollectorId| self.requests.values().any(|request| request.collector == id);
        let unwanted = |(id, _): &(&CollectorId, &Collector)| !self.wanted.contains(id);
        let idle: Vec<CollectorId> = self
            .collectors
            .iter()
            .filter(unwanted)
            .filter(|(id, collector)| collector.batches == 0 && !busy(**id))
            .map(|(id, _)| *id)
            .collect();
        for id in idle {
            let Some(collector) = self.collectors.get_mut(&id) else { continue };
            if collector.link != Link::Closed {
                collector.link = Link::Closed;
                self.effects.push(Effect::Disconnect(id));
            }
            if collector.place == Place::Leaving {
                self.collectors.remove(&id);
            }
        }
    }

    /// Decides whom to be connected to. What waits for an introduction at one that is not wanted any more goes to another.
    pub(super) fn choose_wanted(&mut self, now: Moment) {
        let (mut members, mut bootstrap) = (Vec::new(), Vec::new());
        for (id, collector) in &self.collectors {
            match collector.place {
                Place::Member => members.push(*id),
                Place::Bootstrap => bootstrap.push(*id),
                Place::Leaving => {}
            }
        }
        let hopeless = members.iter().all(|id| self.collectors.get(id).is_none_or(Collector::is_ailing));
        let pool = if members.is_empty() { &bootstrap } else { &members };
        self.choose_home(pool);
        if self.rhythm.rotates(now) {
            self.choose_companion(pool);
        }
        let count = self.rate.connections(now).max(self.copies);
        let mut wanted = self.by_preference(pool);
        wanted.truncate(count);
        if hopeless && !members.is_empty() {
            let mut fallback = self.by_preference(&bootstrap);
            fallback.truncate(count);
            wanted.extend(fallback);
        }
        self.wanted = wanted;
        let stranded: Vec<CollectorId> = self.parked.keys().copied().filter(|id| !self.wanted.contains(id)).collect();
        for id in stranded {
            self.unpark(id);
        }
    }

    /// The home stays while it is there and works, so that a short-lived pod touches one log.
    fn choose_home(&mut self, pool: &[CollectorId]) {
        let works = |id: &CollectorId| self.collectors.get(id).is_some_and(|collector| !collector.is_ailing());
        if !self.home.is_some_and(|home| pool.contains(&home) && works(&home)) {
            self.home = self.by_preference(pool).first().copied();
        }
    }

    fn choose_companion(&mut self, pool: &[CollectorId]) {
        let others: Vec<CollectorId> = pool.iter().copied().filter(|id| Some(*id) != self.home).collect();
        self.companion = others.get(self.dice.below(others.len())).copied();
    }

    fn by_preference(&self, pool: &[CollectorId]) -> Vec<CollectorId> {
        let mut pool: Vec<(CollectorId, &Collector)> =
            pool.iter().filter_map(|id| Some((*id, self.collectors.get(id)?))).collect();
        pool.sort_by_key(|(id, collector)| {
            let ailing = collector.is_ailing();
            let until = if ailing { collector.backoff.until() } else { Moment::default() };
            let (home, companion) = (self.home == Some(*id), self.companion == Some(*id));
            (ailing, until, !home, !companion, collector.log.is_none(), collector.rank)
        });
        pool.into_iter().map(|(id, _)| id).collect()
    }

    /// Introduces the session to every connected collector, and chains where batches or nobody waits for them.
    pub(super) fn introduce(&mut self, now: Moment) {
        if !self.pool.may_send() {
            return;
        }
        for id in self.wanted.clone() {
            let Some(collector) = self.collectors.get_mut(&id) else { continue };
            if !collector.is_usable(now) {
                continue;
            }
            match collector.session {
                Introduction::Unknown => {
                    collector.session = Introduction::Asked;
                    self.send(id, What::Session, Call::Session);
                }
                Introduction::Asked => {}
                Introduction::Known => self.introduce_parked(now, id),
            }
        }
        self.introduce_silent(now);
    }

    fn introduce_parked(&mut self, now: Moment, id: CollectorId) {
        let batches = self.parked.get(&id).into_iter().flat_map(std::collections::BTreeMap::keys);
        let chains = batches.filter_map(|batch| Some(self.queue.get(*batch)?.sealed.chain));
        let chains: std::collections::BTreeSet<ChainId> = chains.collect();
        for chain in chains {
            let Some(there) = self.collectors.get(&id).map(|collector| collector.chain(chain)) else { return };
            if there.introduction == Introduction::Known {
                self.release(id, chain);
            } else if there.may_begin(now) {
                self.introduce_chain(id, chain);
            }
        }
    }

    /// A container that prints nothing has a chain too: one collector knows it before its first heartbeat.
    fn introduce_silent(&mut self, now: Moment) {
        let unheard = |chain: &ChainId| {
            let begun = |collector: &Collector| collector.chain(*chain).introduction != Introduction::Unknown;
            !self.collectors.values().any(begun)
        };
        let chains: Vec<ChainId> = self.queue.chains().filter(unheard).collect();
        if chains.is_empty() {
            return;
        }
        let ready = self.ready_for_chains(now);
        for chain in chains {
            let willing = |id: &CollectorId| {
                self.collectors.get(id).is_some_and(|collector| collector.chain(chain).may_begin(now))
            };
            if let Some(id) = ready.iter().copied().find(willing) {
                self.introduce_chain(id, chain);
            }
        }
    }

    /// Collectors that know the session and can be asked, in order of preference.
    pub(super) fn ready_for_chains(&self, now: Moment) -> Vec<CollectorId> {
        let ready = |id: &CollectorId| {
            self.collectors
                .get(id)
                .is_some_and(|collector| collector.is_usable(now) && collector.session == Introduction::Known)
        };
        self.wanted.iter().copied().filter(ready).collect()
    }

    /// Sends a chain's introduction. The chain is open or asked for.
    pub(super) fn introduce_chain(&mut self, id: CollectorId, chain: ChainId) {
        let genesis = self.queue.genesis(chain).or(self.asks.get(&chain).map(|ask| &ask.genesis));
        let Some(Ok(genesis)) = genesis.map(indelible_chain::genesis::Genesis::encode) else { return };
        if let Some(collector) = self.collectors.get_mut(&id) {
            collector.chains.entry(chain).or_default().introduction = Introduction::Asked;
            self.send(id, What::Chain(chain), Call::Chain { chain, genesis });
        }
    }

    /// A chain is done: nothing about it is needed any more.
    pub(super) fn forget_chain_if_done(&mut self, chain: ChainId) {
        if self.queue.genesis(chain).is_none() && !self.asks.contains_key(&chain) {
            for collector in self.collectors.values_mut() {
                collector.chains.remove(&chain);
            }
        }
    }

    pub(super) fn wakes_of_connections(&self, wakes: &mut Vec<Moment>) {
        for collector in self.wanted.iter().filter_map(|id| self.collectors.get(id)) {
            let calm = if self.starved || collector.link != Link::Closed { Moment::default() } else { self.calm_until };
            wakes.push(collector.backoff.until().max(calm));
            let refused = collector.chains.values().filter(|chain| chain.introduction == Introduction::Unknown);
            wakes.extend(refused.map(|chain| chain.pause.until()));
        }
    }

    pub(super) fn wakes_of_batches(&self, wakes: &mut Vec<Moment>) {
        let waiting = self.queue.window().into_iter().filter_map(|id| self.queue.get(id));
        wakes.extend(waiting.flat_map(|pending| pending.pauses.values().map(super::retry::Backoff::until)));
    }
}
