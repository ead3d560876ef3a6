//! What happens to an AuditLog or a namespace is told to its owner as an Event, by one Recorder.
//!
//! Owns the budget: a few Events at once for each object, then one in a while. What is over it is dropped and counted in
//! the log; the condition says the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};

use crate::clock;
use crate::limits::{EVENT_BURST, EVENT_OBJECTS, EVENT_REFILL_SECONDS, MAX_EVENT_NOTE};
use crate::names::FIELD_MANAGER;

/// Tells.
pub struct Events {
    recorder: Recorder,
    budget: Mutex<Budget>,
}

impl Events {
    /// As the operator that is called `instance`.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter), budget: Mutex::default() }
    }

    /// All is well, and this is worth knowing.
    pub async fn note(&self, of: &ObjectReference, reason: &str, note: String) {
        self.tell(of, EventType::Normal, reason, note).await;
    }

    /// Somebody should look.
    pub async fn warn(&self, of: &ObjectReference, reason: &str, note: String) {
        self.tell(of, EventType::Warning, reason, note).await;
    }

    async fn tell(&self, of: &ObjectReference, type_: EventType, reason: &str, mut note: String) {
        let key = of.uid.clone().unwrap_or_default();
        if !self.budget.lock().unwrap_or_else(PoisonError::into_inner).spend(&key, clock::now()) {
            tracing::debug!(reason, name = of.name, "an Event was one too many");
            return;
        }
        if note.len() > MAX_EVENT_NOTE {
            let end = (0..=MAX_EVENT_NOTE).rev().find(|at| note.is_char_boundary(*at)).unwrap_or_default();
            note.truncate(end);
        }
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, of).await {
            tracing::warn!(%error, reason, name = of.name, "an Event could not be told");
        }
    }
}

/// How many Events each object has left.
#[derive(Debug, Default)]
struct Budget(HashMap<String, Purse>);

#[derive(Debug, Clone, Copy)]
struct Purse {
    left: u32,
    filled: Timestamp,
}

impl Budget {
    /// Whether one more may be told now.
    fn spend(&mut self, key: &str, now: Timestamp) -> bool {
        if !self.0.contains_key(key) && self.0.len() >= EVENT_OBJECTS {
            self.0.retain(|_, purse| !purse.refilled(now).is_full());
            if self.0.len() >= EVENT_OBJECTS {
                return false;
            }
        }
        let purse = self.0.get(key).copied().unwrap_or(Purse { left: EVENT_BURST, filled: now }).refilled(now);
        let left = purse.left.checked_sub(1);
        self.0.insert(key.to_owned(), Purse { left: left.unwrap_or(0), ..purse });
        left.is_some()
    }
}

impl Purse {
    const fn is_full(&self) -> bool {
        self.left >= EVENT_BURST
    }

    fn refilled(self, now: Timestamp) -> Self {
        let passed = now.duration_since(self.filled).as_secs() / EVENT_REFILL_SECONDS;
        let Ok(earned) = u32::try_from(passed) else { return Self { filled: now, ..self } };
        if earned == 0 {
            return self;
        }
        let filled =
            self.filled.saturating_add(SignedDuration::from_secs(passed * EVENT_REFILL_SECONDS)).unwrap_or(now);
        Self { left: self.left.saturating_add(earned).min(EVENT_BURST), filled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_few_events_are_told_at_once_and_then_one_in_a_while() {
        let mut budget = Budget::default();
        let told = (0..100).filter(|_| budget.spend("a", at(0))).count();
        assert_eq!(told, EVENT_BURST as usize);
        assert!(budget.spend("b", at(0)), "each object has its own");
        assert!(!budget.spend("a", at(EVENT_REFILL_SECONDS - 1)));
        assert!(budget.spend("a", at(EVENT_REFILL_SECONDS)));
        assert!(!budget.spend("a", at(EVENT_REFILL_SECONDS)));
        let later = at(1_000 * EVENT_REFILL_SECONDS);
        assert_eq!((0..100).filter(|_| budget.spend("a", later)).count(), EVENT_BURST as usize);
    }

    #[test]
    fn no_more_objects_are_remembered_than_the_limit_and_quiet_ones_make_place() {
        let mut budget = Budget::default();
        for object in 0..EVENT_OBJECTS {
            assert!(budget.spend(&object.to_string(), at(0)));
        }
        assert!(!budget.spend("one more", at(0)));
        assert!(budget.spend("one more", at(EVENT_REFILL_SECONDS)));
        assert_eq!(budget.0.len(), 1);
    }

    #[test]
    fn a_clock_that_was_set_back_silences_nobody_for_long() {
        let mut budget = Budget::default();
        while budget.spend("a", at(1_000_000)) {}
        assert!(!budget.spend("a", at(0)));
        assert!(budget.spend("a", at(EVENT_REFILL_SECONDS)));
    }
}
