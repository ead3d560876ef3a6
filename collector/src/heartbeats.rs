//! Heartbeats: the newest of each session, and which of them go into the next liveness leaves.
//!
//! Once a minute [`Heartbeats::due`] names the newest heartbeat of each session that has none younger than five minutes
//! in the log, each heartbeat once, in groups that fit one leaf. Coverage is answered from the same memory: it speaks
//! of signed heartbeats only. Pure, and bounded by sessions and by bytes; when it is full of sessions that were heard
//! lately, further ones wait.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use indelible_chain::bytes::DecodeError;
use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, Seq, SessionId, Time};
use indelible_chain::leaf::MAX_LIVENESS_BODY_BYTES;

use crate::ingest::CheckedHeartbeat;
use crate::limits::{HEARD_FOR_SECONDS, LIVENESS_SECONDS, MAX_HEARD_BYTES, MAX_HEARD_SESSIONS};
use crate::store::KnownSession;

/// The newest heartbeat of each session.
#[derive(Debug, Default)]
pub struct Heartbeats {
    sessions: BTreeMap<SessionId, Heard>,
    bytes: usize,
}

#[derive(Debug)]
struct Heard {
    session: Arc<KnownSession>,
    /// Signed: when the session spoke.
    time: Time,
    received_at: Time,
    encoded: Vec<u8>,
    ca_digest: Digest,
    heads: Vec<CoveredChain>,
    in_log: InLog,
}

/// Heartbeats for one leaf.
pub type Group = Vec<(SessionId, Vec<u8>)>;

/// What of a session is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InLog {
    Nothing,
    /// The newest heartbeat, since then.
    Newest(Time),
    /// One before the newest, since then.
    Older(Time),
}

/// A session that is alive, as coverage shows it.
#[derive(Debug, Clone)]
pub struct Covered {
    /// The session.
    pub session: Arc<KnownSession>,
    /// SHA-256 of its CA bundle.
    pub ca_digest: Digest,
    /// Its open chains.
    pub chains: Vec<CoveredChain>,
    /// Time of its newest heartbeat, signed.
    pub last_heartbeat: Time,
}

/// A chain of a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoveredChain {
    /// The chain.
    pub chain: ChainId,
    /// Its container; `None` if the chain was not introduced here.
    pub container: Option<String>,
    /// The position of its next record.
    pub next_seq: Seq,
}

/// Why a heartbeat was not noted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// There is no room, and no session that has long been silent.
    #[error(
        "the newest heartbeats of {MAX_HEARD_SESSIONS} sessions or {MAX_HEARD_BYTES} bytes are held, which is the limit"
    )]
    Full,
    /// The log is about to get its end, and it would not be in it.
    #[error("this log is being sealed; send it to another collector")]
    Sealed,
    /// It has no canonical bytes.
    #[error(transparent)]
    Encode(#[from] DecodeError),
}

const AHEAD: i64 = 60 * Time::SECOND;

impl Heartbeats {
    /// Takes note of a heartbeat that holds. One that is older than what is known changes nothing.
    pub fn note(&mut self, checked: CheckedHeartbeat, now: Time) -> Result<(), NoteError> {
        let CheckedHeartbeat { heartbeat, session, containers } = checked;
        let encoded = heartbeat.encode()?;
        let id = heartbeat.session;
        let in_log = match self.sessions.get(&id) {
            // A clock that was ahead does not silence the session once it has been set right.
            Some(held) if held.time >= heartbeat.time && held.time <= now.plus_nanos(AHEAD) => return Ok(()),
            Some(Heard { in_log: InLog::Newest(at) | InLog::Older(at), .. }) => InLog::Older(*at),
            Some(Heard { in_log: InLog::Nothing, .. }) | None => InLog::Nothing,
        };
        let heads = heartbeat.heads.iter().zip(containers);
        let heads = heads
            .map(|((chain, head), container)| CoveredChain { chain: *chain, container, next_seq: head.next_seq })
            .collect();
        let (time, ca_digest) = (heartbeat.time, heartbeat.ca_digest);
        let heard = Heard { session, time, received_at: now, encoded, ca_digest, heads, in_log };
        self.make_room(id, heard.cost(), now)?;
        self.bytes += heard.cost();
        self.sessions.insert(id, heard);
        Ok(())
    }

    /// Frees what `id` takes, and if `cost` does not fit then, what was not heard of for long.
    fn make_room(&mut self, id: SessionId, cost: usize, now: Time) -> Result<(), NoteError> {
        let freed = self.sessions.get(&id).map_or(0, Heard::cost);
        let more = usize::from(freed == 0);
        let fits = |held: &Self| {
            held.bytes - freed + cost <= MAX_HEARD_BYTES && held.sessions.len() + more <= MAX_HEARD_SESSIONS
        };
        if !fits(self) {
            self.forget(id, now);
        }
        if !fits(self) {
            return Err(NoteError::Full);
        }
        self.bytes -= freed;
        self.sessions.remove(&id);
        Ok(())
    }

    fn forget(&mut self, but: SessionId, now: Time) {
        let Self { sessions, bytes } = self;
        sessions.retain(|id, heard| {
            let keep = *id == but || now.since(heard.received_at) < HEARD_FOR_SECONDS * Time::SECOND;
            if !keep {
                *bytes -= heard.cost();
            }
            keep
        });
    }

    /// What goes into liveness leaves now, a group for each leaf. [`Heartbeats::logged`] says what became of it.
    pub fn due(&self, now: Time) -> Vec<Group> {
        self.groups(|in_log| match in_log {
            InLog::Nothing => true,
            InLog::Newest(_) => false,
            // A clock that fell makes none wait for ever.
            InLog::Older(at) => !(0..LIVENESS_SECONDS * Time::SECOND).contains(&now.since(at)),
        })
    }

    /// Every heartbeat that is not in the log yet, due or not: for the end, after which none will be.
    pub fn held(&self) -> Vec<Group> {
        self.groups(|in_log| !matches!(in_log, InLog::Newest(_)))
    }

    fn groups(&self, wanted: impl Fn(InLog) -> bool) -> Vec<Group> {
        let mut groups = Vec::new();
        let (mut group, mut bytes) = (Vec::new(), 0);
        for (id, heard) in self.sessions.iter().filter(|(_, heard)| wanted(heard.in_log)) {
            let cost = 2 + heard.encoded.len();
            if bytes + cost > MAX_LIVENESS_BODY_BYTES {
                groups.push(std::mem::take(&mut group));
                bytes = 0;
            }
            bytes += cost;
            group.push((*id, heard.encoded.clone()));
        }
        if !group.is_empty() {
            groups.push(group);
        }
        groups
    }

    /// A group of heartbeats is in the log since `at`; nothing was noted in between.
    pub fn logged(&mut self, sessions: impl IntoIterator<Item = SessionId>, at: Time) {
        for id in sessions {
            if let Some(heard) = self.sessions.get_mut(&id) {
                heard.in_log = InLog::Newest(at);
            }
        }
    }

    /// Sessions with an id above `after` that spoke at or after `since`, by id.
    pub fn coverage(
        &self,
        since: Time,
        after: Option<SessionId>,
        limit: usize,
        seen: impl Fn(&KnownSession) -> bool,
    ) -> Vec<Covered> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let spoke = self.sessions.range((from, Bound::Unbounded)).filter(|(_, heard)| heard.time >= since);
        spoke
            .filter(|(_, heard)| seen(&heard.session))
            .take(limit)
            .map(|(_, heard)| Covered {
                session: Arc::clone(&heard.session),
                ca_digest: heard.ca_digest,
                chains: heard.heads.clone(),
                last_heartbeat: heard.time,
            })
            .collect()
    }

    /// Sessions that are held.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether no session is held.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl Heard {
    /// Bytes that it takes in memory, about.
    fn cost(&self) -> usize {
        let heads: usize = self.heads.iter().map(|head| 80 + head.container.as_ref().map_or(0, String::len)).sum();
        512 + self.encoded.len() + heads
    }
}

#[cfg(test)]
mod tests;
