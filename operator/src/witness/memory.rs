//! What the witness remembers of a pool: keys that are pinned, the heads that were cosigned, alarms.
//!
//! ```text
//! ConfigMap indelible-witness-N-A in the operator's namespace
//!   memory.json   {"version":1,"saved":time,"logs":[…],"alarms":[…],"accepted":[…]}
//!   pods          the uids of audited pods that are alive, one a line: see `lives`
//! ```
//!
//! Pure. A log is a key: its origin ends in the key's fingerprint. For each ordinal of the pool at most one log is
//! current; the others are of volumes that were set aside, and stay known, so that their checkpoints can still be asked for.
//!
//! Invariant: a head only grows; a key that is pinned changes only after its volume was set aside or the change was
//! acknowledged; what cannot be read is never taken for an empty memory.

use std::collections::{BTreeMap, BTreeSet};

use indelible_chain::digest::Digest;
use indelible_chain::note::{Note, VerifierKey};
use indelible_chain::verify::{Class, finding_id};
use indelible_chain::witness::{AddCheckpoint, Head, Refusal, Seen};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limits::{MAX_ACCEPTED, MAX_ALARMS, MAX_LIVE_PODS, MAX_LOGS_PER_POOL, MAX_MEMORY_BYTES};
use crate::observed::{Alarm, SetAside};

/// The ConfigMap's key of the memory.
pub const MEMORY: &str = "memory.json";
/// The ConfigMap's key of the pods that are alive.
pub const PODS: &str = "pods";

/// What is remembered of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// By origin.
    logs: BTreeMap<String, Log>,
    alarms: BTreeMap<String, Raised>,
    accepted: Vec<String>,
    live: BTreeSet<String>,
    saved: Option<Timestamp>,
}

/// A log that is pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// Its key, whose name is its origin, and the largest tree that was cosigned.
    pub seen: Seen,
    /// Its collector's place in the pool.
    pub ordinal: u32,
    /// Whether its collector has another log now.
    pub is_retired: bool,
}

/// An alarm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Raised {
    reason: Reason,
    origin: String,
    message: String,
}

/// What an alarm is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A collector came with another key than the one that is pinned.
    KeyChanged,
    /// A log signed a smaller tree than one that was cosigned, as its newest.
    RolledBack,
    /// A log signed two trees of which neither extends the other.
    Forked,
}

impl Reason {
    /// As conditions have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::KeyChanged => "KeyChanged",
            Self::RolledBack => "RolledBack",
            Self::Forked => "Forked",
        }
    }

    /// The class of the finding that `indelible verify` has for it.
    const fn class(self) -> Class {
        match self {
            Self::KeyChanged => Class::UnknownKey,
            Self::RolledBack | Self::Forked => Class::Rewritten,
        }
    }
}

/// What a key that a collector tells is to the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It is the one that is pinned.
    Known,
    /// It is pinned now.
    New,
    /// It is not the one that is pinned: an alarm stands.
    Changed,
    /// There is no room for another log.
    Full,
}

/// Why a memory cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Longer than any that is written.
    #[error("{MEMORY} is over the limit of {MAX_MEMORY_BYTES} bytes")]
    TooLong,
    /// The ConfigMap is there, but not the memory in it.
    #[error("the ConfigMap has no {MEMORY}")]
    Missing,
    /// Not of this form.
    #[error("{MEMORY} cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a later version.
    #[error("{MEMORY} is of version {0}, this operator knows 1: use the operator that wrote it, or a newer one")]
    Version(u32),
    /// A part of it does not hold.
    #[error("{MEMORY}: {0}")]
    Form(String),
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    version: u32,
    saved: Option<Timestamp>,
    logs: Vec<StoredLog>,
    alarms: BTreeMap<String, Raised>,
    accepted: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredLog {
    vkey: String,
    ordinal: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    retired: bool,
    size: u64,
    root: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Memory {
    /// Reads a ConfigMap's data; of a ConfigMap that is not there, nothing.
    pub fn read(data: Option<&BTreeMap<String, String>>) -> Result<Self, MemoryError> {
        let Some(data) = data else { return Ok(Self::default()) };
        let text = data.get(MEMORY).ok_or(MemoryError::Missing)?;
        if text.len() > MAX_MEMORY_BYTES {
            return Err(MemoryError::TooLong);
        }
        let Version { version } = serde_json::from_str(text)?;
        if version != 1 {
            return Err(MemoryError::Version(version));
        }
        let Stored { version: _, saved, logs, alarms, accepted } = serde_json::from_str(text)?;
        let logs = logs.into_iter().map(StoredLog::read).collect::<Result<BTreeMap<_, _>, _>>()?;
        let live = data.get(PODS).map(String::as_str).unwrap_or_default();
        let live = live.lines().filter(|uid| !uid.is_empty()).take(MAX_LIVE_PODS).map(str::to_owned).collect();
        Ok(Self { logs, alarms, accepted, live, saved })
    }

    /// The ConfigMap's data.
    pub fn data(&self) -> BTreeMap<String, String> {
        let stored = Stored {
            version: 1,
            saved: self.saved,
            logs: self.logs.values().map(StoredLog::of).collect(),
            alarms: self.alarms.clone(),
            accepted: self.accepted.clone(),
        };
        let memory = serde_json::to_string(&stored).expect("a memory is made of plain values");
        let mut pods = String::new();
        for uid in self.live.iter().take(MAX_LIVE_PODS) {
            pods.push_str(uid);
            pods.push('\n');
        }
        [(MEMORY.to_owned(), memory), (PODS.to_owned(), pods)].into()
    }

    /// The log with this origin.
    pub fn log(&self, origin: &str) -> Option<&Log> {
        self.logs.get(origin)
    }

    /// All logs, by origin.
    pub fn logs(&self) -> impl Iterator<Item = &Log> {
        self.logs.values()
    }

    /// The log that the collector with this ordinal has now.
    pub fn current(&self, ordinal: u32) -> Option<&Log> {
        self.logs.values().find(|log| log.ordinal == ordinal && !log.is_retired)
    }

    /// Alarms that nobody has acknowledged, by id.
    pub fn alarms(&self) -> Vec<Alarm> {
        let alarm = |(id, raised): (&String, &Raised)| Alarm {
            id: id.clone(),
            reason: raised.reason.word(),
            message: raised.message.clone(),
        };
        self.alarms.iter().map(alarm).collect()
    }

    /// A collector tells its log's key: pinned at first sight.
    pub fn pin(&mut self, ordinal: u32, told: &VerifierKey, set_aside: &[SetAside]) -> Pinned {
        let origin = told.name().to_string();
        if self.logs.get(&origin).is_some_and(|log| log.seen.key() == told && log.ordinal == ordinal && !log.is_retired)
        {
            return Pinned::Known;
        }
        if let Some(current) = self.current(ordinal) {
            let id = finding_id(Reason::KeyChanged.class(), &origin, None, "");
            let is_set_aside = set_aside.iter().any(|set| {
                set.ordinal == ordinal && set.public_key.as_ref().is_none_or(|key| key == current.seen.key())
            });
            if !is_set_aside && !self.accepted.contains(&id) {
                let message = format!(
                    "collector {ordinal} has come with another key: its log was {}, now it is {origin}. Its volume was \
                     lost, replaced or emptied without indelible.dev/replace-volume. It gets no certificate until \
                     somebody has looked and acknowledged finding {id}",
                    current.seen.origin()
                );
                self.raise(Reason::KeyChanged, &origin, message);
                return Pinned::Changed;
            }
        }
        if self.logs.len() >= MAX_LOGS_PER_POOL && !self.logs.contains_key(&origin) {
            return Pinned::Full;
        }
        for log in self.logs.values_mut().filter(|log| log.ordinal == ordinal) {
            log.is_retired = true;
        }
        // A log that was set aside and is put back goes on from the head that is remembered.
        let known = self.logs.get(&origin).map(|log| (log.seen.head(), log.seen.note().cloned()));
        let (head, note) = known.unwrap_or((Head::EMPTY, None));
        self.logs.insert(origin, Log { seen: Seen::new(told.clone()).with(head, note), ordinal, is_retired: false });
        Pinned::New
    }

    /// A request to cosign, for the log with this origin: its head moves, if that is good. Whether anything is to be
    /// stored before the answer leaves.
    pub fn add(&mut self, origin: &str, request: &AddCheckpoint) -> Option<Result<bool, Refusal>> {
        let seen = &mut self.logs.get_mut(origin)?.seen;
        match seen.signed(request).and_then(|signed| seen.step(signed)) {
            Ok(step) => {
                let is_new = step.is_new();
                seen.take(step);
                Some(Ok(is_new))
            }
            Err(refusal) => {
                if refusal.is_equivocation() {
                    let message = format!(
                        "log {origin} contradicts itself: {refusal}. Keep both as evidence, and verify the pool"
                    );
                    self.raise(Reason::Forked, origin, message);
                }
                Some(Err(refusal))
            }
        }
    }

    /// Something is wrong with a log. Said once: not again while the alarm stands, nor after it was acknowledged.
    pub fn raise(&mut self, reason: Reason, origin: &str, message: String) -> bool {
        let id = finding_id(reason.class(), origin, None, "");
        if self.accepted.contains(&id) || self.alarms.contains_key(&id) || self.alarms.len() >= MAX_ALARMS {
            return false;
        }
        self.alarms.insert(id, Raised { reason, origin: origin.to_owned(), message });
        true
    }

    /// Somebody accepts a finding: its alarm is over, and is not raised again.
    pub fn acknowledge(&mut self, finding: &str) {
        self.alarms.remove(finding);
        if !self.accepted.iter().any(|accepted| accepted == finding) {
            self.accepted.push(finding.to_owned());
            let surplus = self.accepted.len().saturating_sub(MAX_ACCEPTED);
            self.accepted.drain(..surplus);
        }
    }

    /// Whether somebody has accepted a finding.
    pub fn has_accepted(&self, finding: &str) -> bool {
        self.accepted.iter().any(|accepted| accepted == finding)
    }

    /// The uids of audited pods that were alive.
    pub const fn live(&self) -> &BTreeSet<String> {
        &self.live
    }

    /// Which audited pods are alive. Whether that changes anything.
    pub fn set_live(&mut self, live: BTreeSet<String>) -> bool {
        let changes = self.live != live;
        self.live = live;
        changes
    }

    /// When this memory was written last.
    pub const fn saved(&self) -> Option<Timestamp> {
        self.saved
    }

    /// It is about to be written.
    pub const fn set_saved(&mut self, now: Timestamp) {
        self.saved = Some(now);
    }
}

impl StoredLog {
    fn of(log: &Log) -> Self {
        Self {
            vkey: log.seen.key().to_string(),
            ordinal: log.ordinal,
            retired: log.is_retired,
            size: log.seen.head().size,
            root: log.seen.head().root.to_string(),
            note: log.seen.note().map(Note::to_string),
        }
    }

    fn read(self) -> Result<(String, Log), MemoryError> {
        let form =
            |what: &str, why: &dyn std::fmt::Display| MemoryError::Form(format!("{what} of {}: {why}", self.vkey));
        let key: VerifierKey = self.vkey.parse().map_err(|error| form("the key", &error))?;
        let root: Digest = self.root.parse().map_err(|_| form("the root", &"not 64 hex digits"))?;
        let note = self.note.as_ref().map(|note| Note::parse(note.as_bytes())).transpose();
        let note = note.map_err(|error| form("the note", &error))?;
        let seen = Seen::new(key).with(Head { size: self.size, root }, note);
        let log = Log { seen, ordinal: self.ordinal, is_retired: self.retired };
        Ok((log.seen.origin().to_string(), log))
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::checkpoint::{Checkpoint, Origin};
    use indelible_chain::key::PrivateKey;
    use indelible_chain::merkle::{MemoryHashes, leaf_hash, prove_consistency, root_at};
    use indelible_chain::note::NoteSigner;
    use proptest::prelude::*;

    use super::*;

    fn signer(seed: u8) -> NoteSigner {
        let key = PrivateKey::from_seed(&[seed; 32]).public();
        let origin = Origin::of_key("uid/audit/payments/0", &key).unwrap();
        NoteSigner::new(origin.key_name().unwrap(), &[seed; 32])
    }

    fn key(seed: u8) -> VerifierKey {
        signer(seed).verifier_key().clone()
    }

    fn origin(seed: u8) -> String {
        key(seed).name().to_string()
    }

    /// What log `seed` sends, whose leaves are numbers from `salt` on.
    fn request(seed: u8, old: u64, new: u64, salt: u64) -> AddCheckpoint {
        let hashes: MemoryHashes = (0..new).map(|n| leaf_hash(&(n + salt).to_be_bytes())).collect();
        let root = root_at(new, &hashes).unwrap();
        let checkpoint = Checkpoint::new(origin(seed).parse().unwrap(), new, root).sign(&signer(seed)).unwrap();
        AddCheckpoint { old, proof: prove_consistency(old, new, &hashes).unwrap(), checkpoint }
    }

    fn aside(key: Option<VerifierKey>) -> Vec<SetAside> {
        vec![SetAside { ordinal: 0, volume: "pv-1".to_owned(), public_key: key }]
    }

    #[test]
    fn a_key_is_pinned_at_first_sight_and_another_one_is_an_alarm() {
        let mut memory = Memory::default();
        assert_eq!(memory.pin(0, &key(1), &[]), Pinned::New);
        assert_eq!(memory.pin(0, &key(1), &[]), Pinned::Known);
        assert_eq!(memory.pin(0, &key(2), &[]), Pinned::Changed);
        assert_eq!(memory.pin(0, &key(2), &[]), Pinned::Changed);
        assert_eq!(*memory.current(0).unwrap().seen.key(), key(1));
        let [alarm] = memory.alarms().try_into().unwrap();
        assert_eq!((alarm.reason, alarm.id.len()), ("KeyChanged", 16));
        assert!(alarm.message.contains(&origin(1)) && alarm.message.contains(&origin(2)));

        memory.acknowledge(&alarm.id);
        assert_eq!(memory.alarms(), []);
        assert_eq!(memory.pin(0, &key(2), &[]), Pinned::New);
        assert_eq!(*memory.current(0).unwrap().seen.key(), key(2));
        assert!(memory.log(&origin(1)).unwrap().is_retired);
        // The old volume put back is a change as well.
        assert_eq!(memory.pin(0, &key(1), &[]), Pinned::Changed);
    }

    #[test]
    fn a_volume_that_was_set_aside_makes_another_key_legitimate_and_only_for_its_own_log() {
        let mut memory = Memory::default();
        memory.pin(0, &key(1), &[]);
        assert_eq!(memory.pin(0, &key(2), &aside(Some(key(9)))), Pinned::Changed);
        memory.acknowledge(&memory.alarms()[0].id.clone());
        let mut memory = Memory::default();
        memory.pin(0, &key(1), &[]);
        assert_eq!(memory.pin(0, &key(2), &aside(Some(key(1)))), Pinned::New);
        assert_eq!(memory.alarms(), []);
        // And the next change is an alarm again.
        assert_eq!(memory.pin(0, &key(3), &aside(Some(key(1)))), Pinned::Changed);
    }

    #[test]
    fn heads_move_forward_only_and_two_signed_roots_are_an_alarm() {
        let mut memory = Memory::default();
        assert_eq!(memory.add(&origin(1), &request(1, 0, 3, 0)), None, "nobody pins a log by asking");
        memory.pin(0, &key(1), &[]);
        assert_eq!(memory.add(&origin(1), &request(1, 0, 3, 0)), Some(Ok(true)));
        assert_eq!(memory.add(&origin(1), &request(1, 3, 3, 0)), Some(Ok(false)), "again: nothing to store");
        assert_eq!(memory.add(&origin(1), &request(1, 3, 5, 0)), Some(Ok(true)));
        assert_eq!(memory.add(&origin(1), &request(1, 3, 4, 0)).unwrap().unwrap_err().status(), 409);
        assert_eq!(memory.log(&origin(1)).unwrap().seen.head().size, 5);
        assert_eq!(memory.alarms(), []);

        let other = memory.add(&origin(1), &request(1, 5, 5, 7)).unwrap().unwrap_err();
        assert!(other.is_equivocation());
        let [alarm] = memory.alarms().try_into().unwrap();
        assert_eq!((alarm.reason, alarm.id), ("Forked", finding_id(Class::Rewritten, &origin(1), None, "")));
        // What anybody can send is no alarm: a proof of something else.
        memory.acknowledge(&finding_id(Class::Rewritten, &origin(1), None, ""));
        assert_eq!(memory.add(&origin(1), &request(1, 5, 9, 7)).unwrap().unwrap_err().status(), 422);
        assert_eq!(memory.alarms(), []);
    }

    #[test]
    fn a_memory_is_read_as_it_was_written() {
        let mut memory = Memory::default();
        memory.pin(0, &key(1), &[]);
        memory.add(&origin(1), &request(1, 0, 3, 0)).unwrap().unwrap();
        memory.pin(0, &key(2), &aside(Some(key(1))));
        memory.pin(0, &key(3), &[]);
        memory.acknowledge("0123456789abcdef");
        memory.set_live(["a".to_owned(), "b".to_owned()].into());
        memory.set_saved("2026-11-27T12:00:00Z".parse().unwrap());
        assert_eq!(Memory::read(Some(&memory.data())).unwrap(), memory);
        assert_eq!(Memory::read(None).unwrap(), Memory::default());
    }

    #[test]
    fn a_memory_that_cannot_be_read_is_no_empty_one() {
        let read = |text: &str| Memory::read(Some(&[(MEMORY.to_owned(), text.to_owned())].into())).unwrap_err();
        assert!(matches!(Memory::read(Some(&BTreeMap::new())), Err(MemoryError::Missing)));
        assert!(matches!(read(""), MemoryError::Json(_)));
        assert!(matches!(read(r#"{"version":2}"#), MemoryError::Version(2)));
        assert!(matches!(read(r#"{"version":1}"#), MemoryError::Json(_)));
        let log = |vkey: &str, root: &str| {
            read(&format!(
                r#"{{"version":1,"saved":null,"logs":[{{"vkey":"{vkey}","ordinal":0,"size":1,"root":"{root}"}}],"alarms":{{}},"accepted":[]}}"#
            ))
        };
        assert!(matches!(log("nobody", ""), MemoryError::Form(_)));
        assert!(log(&key(1).to_string(), "00").to_string().contains("the root of"));
        assert!(matches!(read(&"x".repeat(MAX_MEMORY_BYTES + 1)), MemoryError::TooLong));
    }

    #[test]
    fn the_largest_memory_fits_a_config_map() {
        let mut memory = Memory::default();
        for n in 0..u32::try_from(MAX_LOGS_PER_POOL).unwrap() {
            let name = format!("0d1f5b1e-6f0c-4f7e-9b0a-2f3c4d5e6f70/{}/{}/{n}", "n".repeat(63), "a".repeat(30));
            let private = PrivateKey::from_seed(&[1; 32]);
            let origin = Origin::of_key(&name, &private.public()).unwrap();
            let signer = NoteSigner::new(origin.key_name().unwrap(), &[1; 32]);
            assert_eq!(memory.pin(n, signer.verifier_key(), &[]), Pinned::New);
            let note = Checkpoint::new(origin.clone(), u64::MAX, Digest::sha256(b"root")).sign(&signer).unwrap();
            let log = memory.logs.get_mut(origin.as_str()).unwrap();
            log.seen = log.seen.clone().restored(&note).unwrap();
        }
        assert_eq!(memory.pin(10_000, &key(1), &[]), Pinned::Full);
        memory.set_live((0..MAX_LIVE_PODS).map(|n| format!("0d1f5b1e-6f0c-4f7e-9b0a-{n:012}")).collect());
        let data = memory.data();
        assert!(data[MEMORY].len() <= MAX_MEMORY_BYTES, "{}", data[MEMORY].len());
        assert!(data.values().map(String::len).sum::<usize>() < (1 << 20) - 4096);
    }

    proptest! {
        #[test]
        fn reading_any_memory_never_panics(text in "\\PC{0,60}", pods in "\\PC{0,20}") {
            let _ = Memory::read(Some(&[(MEMORY.to_owned(), text), (PODS.to_owned(), pods)].into()));
        }
    }
}
