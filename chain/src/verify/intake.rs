//! Taking leaves: each becomes facts, in the order of its log.
//!
//! What can only be seen in a log's order is noted here: whether session and chain stand before a batch, what follows a
//! seal, falls of the log's clock. Nothing is concluded. Invariant: a leaf at or beyond the size of the view is not
//! taken, and a leaf is taken once.

use crate::checkpoint::Origin;
use crate::genesis::Genesis;
use crate::heartbeat::Heartbeat;
use crate::id::{LeafIndex, SessionId, Time};
use crate::leaf::Attested;
use crate::receipt::KeptReceipt;
use crate::session::Session;
use crate::statement::{SignedStatement, Statement};

use super::facts::{
    BatchFact, Continues, Flaw, FlawKind, HeadFact, Introduced, Introduction, Place, ReceiptFact, Run, SessionLeaf,
    TokenFacts, View, ViewId,
};
use super::judge::{Judge, number_of};
use super::limits::{APART, FUTURE};
use super::prepare::{BatchFacts, Body, LeafFacts, LivenessFacts, Prepared, Resumed, Signed, Token, signed};
use super::terms::TokenVerdict;

impl Judge {
    /// Takes the next frame of a view. Frames come in log order; leaves that are not there are left out.
    pub fn take(&mut self, view: ViewId, prepared: Prepared) {
        let Prepared { index, leaf_hash, received_at, flaw, facts } = prepared;
        let place = Place { view, index };
        let of = &mut self.facts.views[view.0];
        if index.get() >= of.size() {
            return;
        }
        let end = of.runs.last().map_or(0, Run::end);
        if index.get() < end {
            let note = "the source showed this leaf again or out of order".into();
            of.flaws.push(Flaw { index, kind: FlawKind::Order, note });
            return;
        }
        if of.runs.is_empty() || index.get() > end {
            of.runs.push(Run { start: index.get(), ..Run::default() });
        }
        let run = of.runs.last_mut().expect("a run was pushed if there was none");
        run.hashes.push(leaf_hash);
        run.times.push(received_at.unwrap_or(Time::from_nanos(i64::MIN)));
        if let Some(time) = received_at {
            self.tick(place, time);
        }
        let is_flawed = flaw.is_some();
        if let Some(note) = flaw {
            self.flaw(place, FlawKind::Damaged, note.into());
        }
        let starts = matches!(&facts, LeafFacts::Statement { statement, .. } if matches!(**statement, Statement::Started { .. }));
        self.facts.views[view.0].follow_seal(index, starts);
        self.take_facts(place, facts, is_flawed);
    }

    fn take_facts(&mut self, place: Place, facts: LeafFacts, is_flawed: bool) {
        match facts {
            LeafFacts::Session { session, attested, received_at, token } => {
                self.take_session(place, session, attested, received_at, token);
            }
            LeafFacts::Genesis { genesis, session, received_at, extra } => {
                self.no_body(place, extra);
                self.take_genesis(place, genesis, session, received_at);
            }
            LeafFacts::Batch { batch, received_at } => self.take_batch(place, *batch, received_at, is_flawed),
            LeafFacts::Statement { statement, time, extra } => {
                self.no_body(place, extra);
                self.take_statement(place, *statement, time);
            }
            LeafFacts::Liveness { body, received_at } => self.take_liveness(place, body, received_at),
            LeafFacts::Authority { signed, received_at, extra } => {
                self.no_body(place, extra);
                self.take_authority(place, *signed, received_at);
            }
            LeafFacts::Unknown => self.facts.views[place.view.0].unknown_leaves += 1,
            LeafFacts::Undecodable { why } => self.flaw(place, FlawKind::Undecodable, why),
        }
    }

    fn flaw(&mut self, place: Place, kind: FlawKind, note: String) {
        self.facts.views[place.view.0].flaws.push(Flaw { index: place.index, kind, note });
    }

    fn no_body(&mut self, place: Place, extra: bool) {
        if extra {
            self.flaw(place, FlawKind::Body, "the frame has a body, and its leaf commits to none".into());
        }
    }

    /// Whether a time lies so little back that a wrong clock still matters.
    pub(super) fn is_recent(&self, time: Time) -> bool {
        let max_age = i64::try_from(self.terms.max_age.as_nanos()).unwrap_or(i64::MAX);
        self.terms.now.since(time) <= max_age
    }

    pub(super) fn is_future(&self, time: Time) -> bool {
        time.since(self.terms.now) > FUTURE
    }

    /// Notes a leaf's time.
    fn tick(&mut self, place: Place, time: Time) {
        let (is_future, is_recent) = (self.is_future(time), self.is_recent(time));
        let view = &mut self.facts.views[place.view.0];
        if is_future {
            view.clock.future.get_or_insert((place.index, time, 0)).2 += 1;
            return;
        }
        view.newest = view.newest.max(Some(time));
        let latest = view.latest_received.unwrap_or(time);
        if latest.since(time) > FUTURE {
            view.clock.fell = true;
            if is_recent {
                view.clock.falls.get_or_insert((place.index, latest, time, 0)).3 += 1;
            }
        }
        view.latest_received = Some(latest.max(time));
    }

    fn take_session(
        &mut self,
        place: Place,
        session: Box<Session>,
        attested: Box<Attested>,
        received_at: Time,
        token: Token,
    ) {
        let id = session.id().expect("a session that was decoded is within the limits");
        let no = self.facts.session(id);
        let is_foreign = !attested.is_of(&session);
        let token = match (token, &self.terms.tokens) {
            (Token::Given(jwt), Some(check)) => {
                TokenFacts::Checked(check.check(&jwt, &session, &attested, received_at))
            }
            (Token::Bad(why), _) => {
                self.flaw(place, FlawKind::Body, format!("the token that introduced a session: {why}"));
                TokenFacts::Unchecked
            }
            (Token::Given(_), None) | (Token::NotGiven | Token::None, _) => TokenFacts::Unchecked,
        };
        let view = &mut self.facts.views[place.view.0];
        let at = if is_foreign { &mut view.foreign_sessions } else { &mut view.sessions_at };
        at.entry(no).or_insert(place.index);
        self.facts.keys.insert(&session);
        let facts = &mut self.facts.sessions[no.0 as usize];
        facts.session.get_or_insert(session);
        facts.leaves.push(SessionLeaf { place, attested, received_at, is_foreign, token });
    }

    fn take_genesis(&mut self, place: Place, genesis: Box<Genesis>, session: SessionId, received_at: Time) {
        let id = genesis.chain_id().expect("a genesis that was decoded is within the limits");
        let (chain, session) = (self.facts.chain(id), self.facts.session(session));
        self.facts.views[place.view.0].chains_at.entry(chain).or_insert(place.index);
        let facts = &mut self.facts.chains[chain.0 as usize];
        facts.genesis.get_or_insert(genesis);
        facts.introductions.push(Introduction { place, session, received_at });
    }

    fn take_batch(&mut self, place: Place, batch: BatchFacts, received_at: Time, is_flawed: bool) {
        let BatchFacts { commitment, mut signed, body, gaps, resumed } = batch;
        let (chain, session) = (self.facts.chain(commitment.chain), self.facts.session(commitment.session));
        if let Some(Resumed { from: Some((from, _)), .. }) = resumed {
            // It may be in evidence nowhere else.
            self.facts.chain(from);
        }
        if signed == Signed::KeyUnknown {
            // The caller's keys may know less than the judge has taken.
            signed = match self.facts.keys.get(&commitment.session) {
                Some(key) if commitment.is_signed_by(key) => Signed::Yes,
                Some(_) => Signed::No,
                None => Signed::KeyUnknown,
            };
        }
        if body == Body::Holds {
            self.facts.bytes += u64::from(commitment.body_len);
        }
        let latest = commitment.first_time.max(commitment.last_time);
        if signed == Signed::Yes && self.is_future(latest) {
            let clock = &mut self.facts.sessions[session.0 as usize].clock;
            clock.future.get_or_insert((place, latest, 0)).2 += 1;
        }
        let view = self.facts.view(place.view);
        let introduced = match (view.sessions_at.get(&session), view.chains_at.get(&chain)) {
            (Some(_), Some(_)) => Introduced::Yes,
            (None, _) if view.foreign_sessions.contains_key(&session) => Introduced::ByForeign,
            _ => Introduced::No,
        };
        let commitment = Box::new(commitment);
        self.facts.views[place.view.0].batches.push(self.facts.batches.len());
        self.facts.batches.push(BatchFact {
            place,
            chain,
            session,
            commitment,
            received_at,
            signed,
            body,
            introduced,
            is_flawed,
            gaps,
            resumed,
        });
    }

    fn take_statement(&mut self, place: Place, statement: Statement, time: Time) {
        let view = &mut self.facts.views[place.view.0];
        match statement {
            Statement::Sealed { .. } => view.sealed = Some(place.index),
            Statement::SuccessorOf { origin, size, root } => {
                view.continues.push(Continues { index: place.index, time, origin, size, root });
            }
            Statement::Unknown(_) => view.unknown_statements += 1,
            // Told for people, or judged with the archive; 8, 9, 11, 12 and 13 do not count from a log.
            Statement::Started { .. }
            | Statement::Recovered { .. }
            | Statement::Archived { .. }
            | Statement::Pruned { .. }
            | Statement::Conflict { .. }
            | Statement::Hold { .. }
            | Statement::Verified { .. }
            | Statement::Clock { .. }
            | Statement::Ended { .. }
            | Statement::Redacted { .. }
            | Statement::Accepted { .. } => {}
        }
    }

    fn take_authority(&mut self, place: Place, signed: SignedStatement, received_at: Time) {
        if matches!(signed.statement, Statement::Unknown(_)) {
            self.facts.views[place.view.0].unknown_statements += 1;
        }
        let origin = &self.facts.view(place.view).origin;
        let mut keys = self.terms.authorities.iter().filter(|key| *key.id().as_bytes() == signed.key_id).peekable();
        if keys.peek().is_none() {
            return;
        }
        if keys.any(|key| signed.is_signed_by(key.public_key(), origin)) {
            self.facts.authority.push((place, received_at, signed.statement));
        } else {
            self.facts.views[place.view.0].bad_authority.push(place.index);
        }
    }

    fn take_liveness(&mut self, place: Place, body: LivenessFacts, received_at: Time) {
        match body {
            LivenessFacts::Heartbeats(heartbeats) => {
                for (heartbeat, signed) in heartbeats {
                    self.take_heartbeat(place, heartbeat, signed, received_at);
                }
            }
            LivenessFacts::NotGiven => self.facts.views[place.view.0].liveness_not_given += 1,
            // None is missed while the session's newest heartbeat is there; without it the chain's age tells.
            LivenessFacts::Pruned => {}
            LivenessFacts::Bad(why) => self.flaw(place, FlawKind::Body, format!("signs of life: {why}")),
        }
    }

    /// Takes a heartbeat whose signature was judged, or whose key may be known by now.
    pub(super) fn take_heartbeat(&mut self, place: Place, heartbeat: Heartbeat, judged: Signed, received_at: Time) {
        let judged = if judged == Signed::KeyUnknown { signed(&heartbeat, &self.facts.keys) } else { judged };
        let session = self.facts.session(heartbeat.session);
        let view = &mut self.facts.views[place.view.0];
        if !view.sessions_at.contains_key(&session) && !view.foreign_sessions.contains_key(&session) {
            view.unintroduced_beats.entry(session).or_insert(place.index);
        }
        match judged {
            Signed::KeyUnknown => return self.facts.unjudged.push((place, received_at, heartbeat)),
            Signed::No => {
                view.forged_beats.entry(session).or_insert(place.index);
                return;
            }
            Signed::Yes => {}
        }
        let dated = heartbeat.time.min(received_at);
        let (is_future, is_recent) = (self.is_future(heartbeat.time), self.is_recent(received_at));
        let facts = &mut self.facts.sessions[session.0 as usize];
        if is_future {
            facts.clock.future.get_or_insert((place, heartbeat.time, 0)).2 += 1;
        } else if is_recent && heartbeat.time.since(received_at).saturating_abs() > APART {
            facts.clock.apart.get_or_insert((place, heartbeat.time, received_at, 0)).3 += 1;
        }
        if facts.newest_beat.is_none_or(|(newest, _)| newest < dated) {
            facts.newest_beat = Some((dated, place));
        }
        for (chain, head) in heartbeat.heads {
            let chain = self.facts.chain(chain);
            let (next_seq, link) = (head.next_seq, head.link);
            self.facts.head(HeadFact { chain, session, next_seq, link, place, received_at, newest: dated });
        }
        for (origin, kept) in &heartbeat.receipts {
            let kept_by = || format!("a heartbeat in leaf {} of {}", place.index, self.facts.view(place.view).origin);
            let kept_by = kept_by();
            self.take_receipt(Some(origin), kept, kept_by);
        }
    }

    /// Takes a kept receipt if it is one of a log of the policy; gives why it is none.
    pub(super) fn take_receipt(&mut self, origin: Option<&str>, kept: &KeptReceipt, kept_by: String) -> Option<String> {
        let receipt = &kept.receipt;
        let logs = self.terms.policy.logs();
        let log = match origin {
            Some(origin) => number_of(&self.terms.policy, origin),
            None => logs.iter().position(|log| log.origin().log_id() == receipt.log),
        };
        let Some(log) = log else {
            // Only its name is known of a log without a key; who was given a receipt by it is told once.
            let origin = origin.and_then(|origin| origin.parse::<Origin>().ok());
            if let Some(origin) = origin.filter(|origin| origin.log_id() == receipt.log && kept.is_consistent()) {
                self.facts.named.entry(origin.to_string()).or_insert(kept_by);
            }
            return Some("its log is not in the policy".into());
        };
        let key = (log, receipt.index, receipt.leaf_hash);
        if self.facts.receipts_seen.contains(&key) {
            return None;
        }
        let is_of_log = logs[log].origin().log_id() == receipt.log;
        if !is_of_log || !kept.is_consistent() || !receipt.is_signed_by(logs[log].key().public_key()) {
            return Some(format!("it does not hold as a receipt by {}", logs[log].origin()));
        }
        self.facts.receipts_seen.insert(key);
        let chain = self.facts.chain(kept.commitment.chain);
        self.facts.receipts.push(ReceiptFact {
            log,
            index: receipt.index,
            leaf_hash: receipt.leaf_hash,
            received_at: receipt.received_at,
            chain,
            first_seq: kept.commitment.first_seq,
            next_seq: kept.commitment.next_seq(),
            first_time: kept.commitment.first_time,
            last_time: kept.commitment.last_time,
            kept_by,
        });
        None
    }
}

impl View {
    /// Counts what follows a seal before the log says that it started again.
    fn follow_seal(&mut self, index: LeafIndex, starts: bool) {
        let Some(sealed) = self.sealed else { return };
        if starts {
            self.sealed = None;
            return;
        }
        match self.after_sealed.last_mut() {
            Some((first, count)) if *first > sealed => *count += 1,
            _ => self.after_sealed.push((index, 1)),
        }
    }
}

/// Why a token does not vouch, if that is known.
pub(super) fn failure(token: &TokenFacts) -> Option<&str> {
    match token {
        TokenFacts::Checked(TokenVerdict::Fails(why)) => Some(why),
        TokenFacts::Checked(TokenVerdict::Holds | TokenVerdict::NoKey) | TokenFacts::Unchecked => None,
    }
}
