//! One collector of the pool as a session sees it: its connection, its pauses, and what it has been told.
//!
//! Introductions are durable at the collector, so they outlive a connection; they are forgotten when another log answers at the
//! same address, and when the collector says that it does not know them.

use std::collections::BTreeMap;

use indelible_chain::id::ChainId;

use super::endpoint::Endpoint;
use super::moment::Moment;
use super::receipts::LogIdentity;
use super::retry::{Backoff, Reason};

/// A collector's number, given once and never again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CollectorId(u32);

impl CollectorId {
    /// Takes a number as an id.
    pub const fn new(n: u32) -> Self {
        Self(n)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Which connection to a collector is meant: news of an earlier one are stale.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(u64);

impl Generation {
    /// Takes a number as a generation.
    pub const fn new(n: u64) -> Self {
        Self(n)
    }
}

/// Where a collector is known from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// From the configuration only: used until the pool has said who its members are, and when none can be reached.
    Bootstrap,
    /// A member.
    Member,
    /// No member any more: what is in flight is finished, then the connection is closed.
    Leaving,
}

/// A connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Link {
    /// None.
    Closed,
    /// Being made.
    Opening(Generation),
    /// Usable; the log is the one that its certificate names.
    Open(Generation),
}

/// How far a session or chain is introduced at a collector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Introduction {
    /// Not at all, or refused.
    #[default]
    Unknown,
    /// Sent, not answered.
    Asked,
    /// A receipt was given.
    Known,
}

/// A chain at a collector.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChainThere {
    /// How far it is introduced.
    pub introduction: Introduction,
    /// The pause after refusals.
    pub pause: Backoff,
}

impl ChainThere {
    /// Whether it may be introduced now.
    pub fn may_begin(&self, now: Moment) -> bool {
        self.introduction == Introduction::Unknown && self.pause.is_over(now)
    }

    /// Whether it is out of the question for now.
    pub fn is_refused(&self, now: Moment) -> bool {
        self.introduction == Introduction::Unknown && !self.pause.is_over(now)
    }
}

/// One collector.
#[derive(Debug)]
pub struct Collector {
    /// Where it is.
    pub endpoint: Endpoint,
    /// Where it is known from.
    pub place: Place,
    /// The connection.
    pub link: Link,
    /// The log that was last found there.
    pub log: Option<LogIdentity>,
    /// The pause after failures.
    pub backoff: Backoff,
    /// Why it pauses.
    pub ailment: Option<Reason>,
    /// This session.
    pub session: Introduction,
    /// Its chains.
    pub chains: BTreeMap<ChainId, ChainThere>,
    /// Batches that were given to it and not answered.
    pub batches: usize,
    /// Their bytes.
    pub outstanding: u64,
    /// Bytes given to it, from the others' minimum when it joined.
    pub sent: u64,
    /// Its place in this session's own order, drawn by chance.
    pub rank: u64,
    /// Whether its absence has been logged.
    pub reported: Option<Reason>,
}

impl Collector {
    /// A collector that nothing is known of.
    pub fn new(endpoint: Endpoint, place: Place, rank: u64) -> Self {
        Self {
            endpoint,
            place,
            link: Link::Closed,
            log: None,
            backoff: Backoff::default(),
            ailment: None,
            session: Introduction::Unknown,
            chains: BTreeMap::new(),
            batches: 0,
            outstanding: 0,
            sent: 0,
            rank,
            reported: None,
        }
    }

    /// The log at the other end, while connected.
    pub const fn open_log(&self) -> Option<&LogIdentity> {
        match self.link {
            Link::Open(_) => self.log.as_ref(),
            Link::Closed | Link::Opening(_) => None,
        }
    }

    /// Whether requests may be sent now.
    pub fn is_usable(&self, now: Moment) -> bool {
        self.open_log().is_some() && self.backoff.is_over(now) && self.place != Place::Leaving
    }

    /// Whether the session's connections should rather go elsewhere. One failed request is no reason: a new
    /// connection and a new introduction cost more than a short pause.
    pub const fn is_ailing(&self) -> bool {
        match self.link {
            Link::Open(_) => self.backoff.failures() >= 3,
            Link::Closed | Link::Opening(_) => self.backoff.failures() > 0,
        }
    }

    /// What it knows of `chain`.
    pub fn chain(&self, chain: ChainId) -> ChainThere {
        self.chains.get(&chain).copied().unwrap_or_default()
    }

    /// Another log answers: it knows nothing of this session.
    pub fn forget_introductions(&mut self) {
        self.session = Introduction::Unknown;
        self.chains.clear();
    }

    /// The connection broke: what was asked and not answered has to be asked again.
    pub fn forget_questions(&mut self) {
        if self.session == Introduction::Asked {
            self.session = Introduction::Unknown;
        }
        for chain in self.chains.values_mut() {
            if chain.introduction == Introduction::Asked {
                chain.introduction = Introduction::Unknown;
            }
        }
    }
}
