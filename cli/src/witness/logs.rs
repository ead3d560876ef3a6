//! The logs that a witness knows: check and store in one step, and the newest checkpoint of each for who asks.
//!
//! A log has one owner at a time: whoever holds its lock judges a request against what was stored last, stores, and only
//! then signs off. So of two checkpoints that contradict each other one alone is cosigned, whenever they come.
//! Invariant: what [`Logs::add`] says is cosigned is on disk.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use indelible_chain::checkpoint::Origin;
use indelible_chain::cosignature::UnixSeconds;
use indelible_chain::id::{LogId, Time};
use indelible_chain::note::{Note, VerifierKey};
use indelible_chain::witness::{AddCheckpoint, Answer, Refusal, Seen};

use super::directory::{Directory, Kept, StoreError};
use super::metrics::{Metrics, Outcome};
use super::pace::Pace;
use crate::limits::MAX_WITNESSED_LOGS;
use crate::terminal::say;

/// A log to be cosigned: `--log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Its key.
    pub key: VerifierKey,
    /// The first line of its checkpoints, if that is not the key's name.
    pub origin: Option<Origin>,
}

/// Why these logs cannot be cosigned with this directory.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LogsError {
    /// Two keys for one log.
    #[error(
        "--log: two keys are given for the log {0}: a new key is a new log with a name of its own; keep one of them"
    )]
    TwoKeys(Origin),
    /// The witness's own key.
    #[error("--log: the key of {0} is the witness's own: a log is cosigned by others")]
    OwnKey(Origin),
    /// Too many.
    #[error("--log: {0} logs, with those that are remembered, are more than {MAX_WITNESSED_LOGS}; run another witness")]
    TooMany(usize),
    /// The log was known by another key.
    #[error(
        "--log: the checkpoint of {0} that this witness cosigned is not signed by the key that is given now: a new key is \
         a new log with a name of its own; give the key that it had"
    )]
    OtherKey(Origin),
}

/// All logs.
#[derive(Debug)]
pub struct Logs {
    directory: Directory,
    metrics: Arc<Metrics>,
    by_origin: HashMap<Origin, Arc<Log>>,
    /// Also those that are no longer cosigned: what was, can still be asked for.
    by_id: HashMap<LogId, Arc<Log>>,
}

#[derive(Debug)]
struct Log {
    /// As it was at the start: its name and key, which do not change.
    known: Seen,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    seen: Seen,
    pace: Pace,
    is_contradicted: bool,
    /// What is shown: as it stands on disk.
    shown: Option<Arc<Note>>,
}

/// What became of a request.
#[derive(Debug)]
pub enum Added {
    /// It is answered.
    Answered(Answer),
    /// It could not be stored, and nobody knows what is on disk now: no other request may be judged.
    Fatal(StoreError),
}

impl Logs {
    /// The logs that are named, as the directory remembers them.
    pub fn open(
        directory: Directory,
        named: &[Named],
        kept: Vec<Kept>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, LogsError> {
        let own = *directory.cosigner().verifier_key().public_key();
        let mut kept: HashMap<LogId, Kept> = kept.into_iter().map(|kept| (kept.id, kept)).collect();
        let mut logs = Self { directory, metrics, by_origin: HashMap::new(), by_id: HashMap::new() };
        for Named { key, origin } in named {
            let origin = origin.clone().unwrap_or_else(|| key.name().clone().into());
            if *key.public_key() == own {
                return Err(LogsError::OwnKey(origin));
            }
            let known = Seen::named(origin.clone(), key.clone());
            match logs.by_origin.entry(origin.clone()) {
                Entry::Occupied(before) if before.get().known.key() != key => return Err(LogsError::TwoKeys(origin)),
                Entry::Occupied(_) => {}
                Entry::Vacant(place) => {
                    let kept = kept.remove(&origin.log_id());
                    let restored = kept.as_ref().map(|kept| known.clone().restored(&kept.note)).transpose();
                    let seen = restored.map_err(|_| LogsError::OtherKey(origin.clone()))?;
                    let log = Arc::new(Log::new(known, seen, kept));
                    logs.metrics.log(&origin, log.size());
                    logs.by_id.insert(origin.log_id(), Arc::clone(place.insert(log)));
                }
            }
        }
        for (id, kept) in kept {
            // Of no matter which key: nothing is judged by it.
            let known = Seen::named(kept.checkpoint.origin().clone(), logs.directory.cosigner().verifier_key().clone());
            logs.by_id.insert(id, Arc::new(Log::new(known, None, Some(kept))));
        }
        if logs.by_id.len() > MAX_WITNESSED_LOGS {
            return Err(LogsError::TooMany(logs.by_id.len()));
        }
        Ok(logs)
    }

    /// How many logs are cosigned.
    pub fn len(&self) -> usize {
        self.by_origin.len()
    }

    /// Answers a request to cosign. Writes to disk.
    pub fn add(&self, body: &[u8], now: Time) -> Added {
        let (outcome, answer) = match self.judged(body, now) {
            Ok(line) => (Outcome::Cosigned, line),
            Err(Declined::Answer(outcome, answer)) => (outcome, answer),
            Err(Declined::Fatal(error)) => return Added::Fatal(error),
        };
        self.metrics.answered(outcome);
        Added::Answered(answer)
    }

    fn judged(&self, body: &[u8], now: Time) -> Result<Answer, Declined> {
        let malformed = |error: &dyn std::error::Error| Declined::Answer(Outcome::Malformed, Answer::malformed(error));
        let request = AddCheckpoint::parse(body).map_err(|e| malformed(&e))?;
        let origin = request.origin().map_err(|e| malformed(&e))?;
        let Some(log) = self.by_origin.get(&origin) else {
            return Err(Declined::Answer(Outcome::Unknown, Answer::unknown(&origin, "that this witness was given")));
        };
        // The signature first, which costs most and needs nothing that is remembered.
        let signed = log.known.signed(&request).map_err(|refusal| Declined::by(&refusal))?;
        let mut state = log.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut step = match state.seen.step(signed) {
            Ok(step) => step,
            Err(refusal) => {
                if refusal.is_equivocation() && !state.is_contradicted {
                    state.is_contradicted = true;
                    self.contradicted(&origin, &refusal, &request.checkpoint);
                }
                return Err(Declined::by(&refusal));
            }
        };
        let cosigned_at = u64::try_from(now.nanos().div_euclid(Time::SECOND)).ok().and_then(UnixSeconds::new);
        let cosigned_at = cosigned_at.ok_or_else(|| Declined::away("this machine's clock is before 1970"))?;
        let line = self.directory.cosigner().cosign(step.checkpoint(), cosigned_at);
        let line = line.map_err(|e| Declined::Answer(Outcome::Refused, Answer::text(403, format!("{e}\n"))))?;
        if step.is_new() {
            if !state.pace.step(now) {
                let text =
                    "this log grows faster than this witness writes; send its newest checkpoint a second later\n";
                return Err(Declined::Answer(Outcome::TooFast, Answer::text(429, text)));
            }
            let own = step.note().clone();
            let added = step.note_mut().add(line.clone());
            added.map_err(|e| Declined::Answer(Outcome::Refused, Answer::malformed(&e)))?;
            self.directory.keep(origin.log_id(), step.note()).map_err(|error| match error {
                StoreError::Unchanged { .. } => {
                    self.metrics.failed_writes.inc();
                    say(format_args!("nothing is cosigned of {origin} now: {error}"));
                    Declined::away("this witness cannot write; try again")
                }
                StoreError::Unsure { .. } => Declined::Fatal(error),
            })?;
            state.shown = Some(Arc::new(std::mem::replace(step.note_mut(), own)));
            self.metrics.stored(&origin, step.head().size, cosigned_at);
            state.seen.take(step);
        }
        Ok(Answer::cosigned(&line))
    }

    /// A log has shown by itself that it is no append-only log: said once, and what shows it is kept.
    fn contradicted(&self, origin: &Origin, refusal: &Refusal, note: &Note) {
        self.metrics.contradicted(origin);
        let kept = match self.directory.contradicts(origin.log_id(), note) {
            Ok(()) => "both are kept in this witness's directory, under logs and contradictions".to_owned(),
            Err(error) => format!("the second could not be kept: {error}"),
        };
        say(format_args!("{origin} contradicts itself: {refusal}; {kept}"));
    }

    /// The newest checkpoint of a log, with the cosignature.
    pub fn newest(&self, id: LogId) -> Answer {
        let log = self.by_id.get(&id);
        let shown =
            log.and_then(|log| log.state.lock().unwrap_or_else(PoisonError::into_inner).shown.as_ref().map(Arc::clone));
        self.metrics.answered(if shown.is_some() { Outcome::Shown } else { Outcome::Unknown });
        Answer::checkpoint(shown.as_deref())
    }
}

impl Log {
    fn new(known: Seen, seen: Option<Seen>, kept: Option<Kept>) -> Self {
        let seen = seen.unwrap_or_else(|| known.clone());
        let shown = kept.map(|kept| Arc::new(kept.note));
        Self { known, state: Mutex::new(State { seen, pace: Pace::new(), is_contradicted: false, shown }) }
    }

    fn size(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).seen.head().size
    }
}

/// Why there is no cosignature.
enum Declined {
    Answer(Outcome, Answer),
    Fatal(StoreError),
}

impl Declined {
    fn by(refusal: &Refusal) -> Self {
        let outcome = if refusal.known_size().is_some() { Outcome::Conflict } else { Outcome::Refused };
        Self::Answer(outcome, Answer::refused(refusal))
    }

    fn away(why: &str) -> Self {
        Self::Answer(Outcome::Away, Answer::text(503, format!("{why}\n")))
    }
}

#[cfg(test)]
#[path = "logs_tests.rs"]
mod tests;
