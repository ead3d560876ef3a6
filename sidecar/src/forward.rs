//! From sealed batches to receipts.
//!
//! [`Forward`] owns what is on its way: batches until enough logs have answered for them, the pool and its
//! connections, what is introduced where, kept receipts, heartbeats. It is a pure core: [`Forward::apply`] takes an
//! event with its time and gives effects; no clock, no socket, no task, and chance only from a seed. The edges below
//! it ([`client`], [`tls`], [`resolve`]) do what it says and report back as events.
//!
//! Invariants: only receipted prefixes are reported; a batch is never twice in flight to one collector; nothing that
//! a collector answers ends capture.

pub mod answers;
pub mod ask;
pub mod balance;
pub mod client;
pub mod collector;
pub mod connections;
pub mod dice;
pub mod dispatch;
pub mod edges;
pub mod endpoint;
pub mod heartbeat;
pub mod moment;
pub mod pool;
pub mod queue;
pub mod receipts;
pub mod resolve;
pub mod retry;
pub mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::digest::Digest;
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, Head, LogId, SessionId};

use self::ask::Ask;
use self::balance::Rate;
use self::collector::{Collector, CollectorId, Generation, Place};
use self::dice::Dice;
use self::endpoint::Endpoint;
use self::heartbeat::Rhythm;
use self::moment::{Moment, Now};
use self::pool::{PoolKnowledge, PoolList};
use self::queue::{BatchId, Queue, Undelivered};
use self::receipts::{KeptReceipts, LogIdentity};
use self::retry::{Backoff, Reason};
use crate::capture::Output;
use crate::metrics::spread::Spread;

/// A request's number, given once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RequestId(u64);

/// What happens to forwarding.
#[derive(Debug)]
pub enum Event {
    /// Capture has something to deliver.
    Output(Output),
    /// A connection was made and its log's identity checked.
    Connected {
        /// Where.
        collector: CollectorId,
        /// Which connection.
        generation: Generation,
        /// What is there.
        log: LogIdentity,
    },
    /// A connection could not be made.
    ConnectFailed {
        /// Where.
        collector: CollectorId,
        /// Which connection.
        generation: Generation,
        /// Why.
        reason: Reason,
        /// Why, for a person.
        text: String,
    },
    /// A connection broke or was closed by the collector.
    Disconnected {
        /// Where.
        collector: CollectorId,
        /// Which connection.
        generation: Generation,
        /// Why, for a person.
        text: String,
    },
    /// A request was answered, or will not be.
    Answered {
        /// Which.
        request: RequestId,
        /// How.
        answer: Result<Answer, Failure>,
    },
    /// The token file has other content: who was refused may be asked again.
    TokenChanged,
    /// Another CA bundle is in use.
    CaChanged(Digest),
    /// Every chain is closed and receipted: send the last heartbeat.
    Drain,
    /// The time that [`Forward::next_wake`] named has come.
    Tick,
}

/// A collector's answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// `Indelible-Pool`.
    pub epoch: Option<u64>,
    /// Whether `Indelible-Conflict` was there.
    pub conflict: Option<u64>,
    /// The body, bounded.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The connection or stream broke.
    Transport,
    /// It took too long.
    Timeout,
}

/// What forwarding wants done, in order.
#[derive(Debug)]
pub enum Effect {
    /// Make a connection. Answered by `Connected` or `ConnectFailed`.
    Connect {
        /// To whom.
        collector: CollectorId,
        /// Which connection.
        generation: Generation,
        /// Where.
        endpoint: Endpoint,
    },
    /// Close a connection, or stop making it. Nothing of it is reported any more.
    Disconnect(CollectorId),
    /// Send a request on the open connection. Answered by `Answered`.
    Send {
        /// Which.
        request: RequestId,
        /// To whom.
        collector: CollectorId,
        /// What.
        call: Call,
    },
    /// Tell capture: everything up to `head` is receipted everywhere.
    Receipted {
        /// The chain.
        chain: ChainId,
        /// Its head.
        head: Head,
    },
    /// Tell capture the answer to its question.
    Known {
        /// The container it asked for.
        container: String,
        /// Whether a collector knows the chain.
        known: bool,
    },
    /// Tell capture: two collectors judged this chain's content.
    Rejected(ChainId),
    /// Use the pool's bundle and server name from now on.
    Trust(PoolList),
    /// Tell a person.
    Notice(Notice),
}

/// A request. The driver adds the token, and the session to what needs it.
#[derive(Debug)]
pub enum Call {
    /// `GET /v1/pool`.
    Pool,
    /// `PUT /v1/sessions/{session_id}`.
    Session,
    /// `PUT /v1/chains/{chain_id}`.
    Chain {
        /// The chain.
        chain: ChainId,
        /// Its genesis, encoded.
        genesis: Vec<u8>,
    },
    /// `POST /v1/batches`.
    Batch(Bytes),
    /// `POST /v1/heartbeats`; to be signed.
    Heartbeat(Heartbeat),
}

/// What a person should know; each once when it begins, once when it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A collector cannot be used.
    Unusable {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        reason: Reason,
        /// In words.
        text: String,
    },
    /// It can be used again.
    Usable(Endpoint),
    /// A receipt was refused.
    BadReceipt {
        /// Whose.
        endpoint: Endpoint,
        /// Why.
        text: String,
    },
    /// A chain's content was judged by two collectors.
    Rejected(ChainId),
    /// A collector stored a batch that contradicts another one.
    Conflict {
        /// Where.
        endpoint: Endpoint,
        /// The chain.
        chain: ChainId,
        /// The index of the other one in that log.
        other: u64,
    },
    /// The pool's list cannot be read.
    BadPool {
        /// Who gave it.
        endpoint: Endpoint,
        /// What is wrong.
        text: String,
    },
}

/// What was sent and not answered.
#[derive(Debug)]
struct Request {
    collector: CollectorId,
    what: What,
}

#[derive(Debug)]
enum What {
    Pool,
    Session,
    Chain(ChainId),
    Batch { id: BatchId, bytes: u64 },
    Heartbeat,
}

/// Counters since the start, for metrics.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Batches that capture handed over, and their bytes as sent.
    pub batches_sealed: u64,
    /// Batches sent, each try.
    pub batches_sent: u64,
    /// Bytes of them.
    pub sent_bytes: u64,
    /// Batches with all their receipts.
    pub batches_receipted: u64,
    /// Failures by reason.
    pub retries: BTreeMap<Reason, u64>,
    /// Receipts refused.
    pub receipts_refused: u64,
    /// Conflicts told by collectors.
    pub conflicts: u64,
    /// Chains given up after two refusals.
    pub chains_rejected: u64,
    /// Heartbeats noted.
    pub heartbeats_sent: u64,
    /// Heartbeats that were not.
    pub heartbeats_failed: u64,
    /// How long after its seal each receipt for a batch came.
    pub receipt: Spread,
}

/// What there is at this moment, for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Gauges {
    /// Batches without all their receipts.
    pub unreceipted_batches: u64,
    /// Their bytes as sent.
    pub unreceipted_bytes: u64,
    /// Age of the oldest of them.
    pub lag: Duration,
    /// Age of the oldest record in them, by the time that its container printed it.
    pub record_lag: Duration,
    /// Members of the pool.
    pub pool: u64,
    /// Open connections.
    pub connections: u64,
}

/// Forwarding's state.
#[derive(Debug)]
pub struct Forward {
    session: SessionId,
    copies: usize,
    dice: Dice,
    collectors: BTreeMap<CollectorId, Collector>,
    /// Those from the configuration.
    configured: BTreeSet<CollectorId>,
    /// Those that should be connected, in order of preference.
    wanted: Vec<CollectorId>,
    home: Option<CollectorId>,
    companion: Option<CollectorId>,
    /// Until when connections that nothing waits for are not made.
    calm_until: Moment,
    /// Whether something found no collector.
    starved: bool,
    requests: BTreeMap<RequestId, Request>,
    /// Counts collectors, requests and generations.
    count: u64,
    pool: PoolKnowledge,
    pool_backoff: Backoff,
    queue: Queue,
    /// Batches that were given to a collector and wait for an introduction there, with their bytes.
    parked: BTreeMap<CollectorId, BTreeMap<BatchId, u64>>,
    asks: BTreeMap<ChainId, Ask>,
    rate: Rate,
    rhythm: Rhythm,
    kept: KeptReceipts,
    ca_digest: Digest,
    tally: Tally,
    /// When everything that could be done was done last.
    pumped: Moment,
    effects: Vec<Effect>,
}

impl Forward {
    /// Begins with the collectors of the configuration, and connects at the first event.
    pub fn new(now: Now, session: SessionId, copies: usize, bootstrap: &[Endpoint], ca: Digest, seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let rhythm = Rhythm::new(now.moment, &mut dice);
        let mut forward = Self {
            session,
            copies,
            dice,
            collectors: BTreeMap::new(),
            configured: BTreeSet::new(),
            wanted: Vec::new(),
            home: None,
            companion: None,
            calm_until: now.moment,
            starved: false,
            requests: BTreeMap::new(),
            count: 0,
            pool: PoolKnowledge::unasked(),
            pool_backoff: Backoff::default(),
            queue: Queue::default(),
            parked: BTreeMap::new(),
            asks: BTreeMap::new(),
            rate: Rate::default(),
            rhythm,
            kept: KeptReceipts::default(),
            ca_digest: ca,
            tally: Tally::default(),
            pumped: now.moment,
            effects: Vec::new(),
        };
        for endpoint in bootstrap {
            let id = forward.collector_at(endpoint, Place::Bootstrap);
            forward.configured.insert(id);
        }
        forward
    }

    /// Takes an event, and says what is to be done.
    pub fn apply(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let at = now.moment;
        match event {
            Event::Output(output) => self.output(at, output),
            Event::Connected { collector, generation, log } => self.connected(collector, generation, log),
            Event::ConnectFailed { collector, generation, reason, text } => {
                self.connect_failed(at, collector, generation, (reason, text));
            }
            Event::Disconnected { collector, generation, text } => {
                self.disconnected(at, collector, generation, &text);
            }
            Event::Answered { request, answer } => self.answered(at, request, answer),
            Event::TokenChanged => self.token_changed(at),
            Event::CaChanged(digest) => self.ca_digest = digest,
            Event::Drain => self.rhythm.last_is_due(),
            Event::Tick => {}
        }
        self.pump(now);
        std::mem::take(&mut self.effects)
    }

    fn output(&mut self, now: Moment, output: Output) {
        match output {
            Output::Introduce { chain, genesis, head } => self.queue.open(chain, genesis, head),
            Output::Ask { container, genesis, asked } => self.asked(now, container, genesis, asked),
            Output::Batch(sealed) => {
                self.tally.batches_sealed += 1;
                self.rate.add(now, sealed.upload.len() as u64);
                self.queue.push(sealed, now);
            }
            Output::Closed(chain) => {
                self.queue.close(chain);
                self.forget_chain_if_done(chain);
            }
        }
    }

    /// Does everything that can be done now. Nothing in it depends on having been called before.
    fn pump(&mut self, now: Now) {
        let at = now.moment;
        self.choose_wanted(at);
        self.ask_for_pool(at);
        self.settle_asks(at);
        self.introduce(at);
        self.dispatch(at);
        self.heartbeat(now);
        self.steer(at);
        self.pumped = at;
    }

    /// When to apply [`Event::Tick`] if nothing else happens. It may have come already: then it is due at once.
    pub fn next_wake(&mut self) -> Option<Moment> {
        let mut wakes = vec![self.rhythm.next()];
        wakes.extend(self.rate.changes_at(self.pumped));
        wakes.extend(self.asks.values().map(|ask| ask.deadline));
        if self.pool.is_due() {
            wakes.push(self.pool_backoff.until());
        }
        self.wakes_of_connections(&mut wakes);
        self.wakes_of_batches(&mut wakes);
        wakes.into_iter().filter(|wake| *wake > self.pumped).min()
    }

    /// What is not receipted.
    pub fn undelivered(&self) -> Vec<Undelivered> {
        self.queue.undelivered()
    }

    /// Whether the last heartbeat has been sent, or cannot be.
    pub fn is_done(&self) -> bool {
        self.rhythm.is_over()
    }

    /// Whether a collector does not accept the token: it may be out of date.
    pub fn is_unauthorized(&self) -> bool {
        let mut wanted = self.wanted.iter().filter_map(|id| self.collectors.get(id));
        wanted.any(|collector| collector.ailment == Some(Reason::Unauthorized))
    }

    /// Counters.
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// What there is now.
    pub fn gauges(&self, now: Now) -> Gauges {
        let is_open = |collector: &&Collector| collector.open_log().is_some();
        let age = |oldest| u64::try_from(now.time.since(oldest)).map_or(Duration::ZERO, Duration::from_nanos);
        Gauges {
            unreceipted_batches: self.queue.len() as u64,
            unreceipted_bytes: self.queue.bytes(),
            lag: self.queue.oldest().map_or(Duration::ZERO, |oldest| now.moment.since(oldest)),
            record_lag: self.queue.oldest_record().map_or(Duration::ZERO, age),
            pool: self.members() as u64,
            connections: self.collectors.values().filter(is_open).count() as u64,
        }
    }

    /// How many logs have to answer for a batch: the copies asked for, or all logs of a smaller pool. A pool that has
    /// not said how large it is counts as large enough.
    fn copies(&self) -> usize {
        if self.pool.is_answered() { self.copies.min(self.pool_size()) } else { self.copies }
    }

    /// Collectors of the pool. Two addresses of one log count once as soon as both are known to be.
    fn members(&self) -> usize {
        let members = || self.collectors.values().filter(|collector| collector.place == Place::Member);
        let logs: BTreeSet<LogId> = members().filter_map(|collector| Some(collector.log.as_ref()?.id)).collect();
        logs.len() + members().filter(|collector| collector.log.is_none()).count()
    }

    /// How many collectors there are, as far as one can know.
    fn pool_size(&self) -> usize {
        if self.pool.is_answered() { self.members().max(1) } else { self.configured.len().max(1) }
    }

    fn number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn send(&mut self, collector: CollectorId, what: What, call: Call) {
        let request = RequestId(self.number());
        self.requests.insert(request, Request { collector, what });
        self.effects.push(Effect::Send { request, collector, call });
    }

    fn notice(&mut self, notice: Notice) {
        self.effects.push(Effect::Notice(notice));
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
