//! Condition types and reasons as constants, and the one merge that keeps transition times.
//!
//! Pure. A condition's time changes when its status does, and never otherwise; types that are not said again go away.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::clock::to_time;
use crate::limits::MAX_CONDITION_MESSAGE;

/// The pool accepts and keeps records.
pub const READY: &str = "Ready";
/// Something is on its way to what the spec says.
pub const PROGRESSING: &str = "Progressing";
/// Something needs attention.
pub const DEGRADED: &str = "Degraded";
/// Every pod that should be audited is.
pub const COVERED: &str = "Covered";
/// No log was rolled back, forked, or changed its key. False is the alarm.
pub const INTACT: &str = "Intact";
/// Volumes outlive their claims.
pub const DURABLE: &str = "Durable";
/// A volume is full to three quarters or more.
pub const STORAGE_LOW: &str = "StorageLow";
/// New pods get a sidecar.
pub const INJECTING: &str = "Injecting";

/// A condition's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum Status {
    True,
    False,
    Unknown,
}

impl Status {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for Status {
    fn from(value: bool) -> Self {
        if value { Self::True } else { Self::False }
    }
}

/// Whether this status of this type is as one would have it; none where nothing is known.
pub fn is_good(kind: &str, status: &str) -> Option<bool> {
    let bad = matches!(kind, DEGRADED | STORAGE_LOW);
    match status {
        _ if kind == PROGRESSING => None,
        "True" => Some(!bad),
        "False" => Some(bad),
        _ => None,
    }
}

/// What is to be said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// One of the types above.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Status,
    /// CamelCase, of a closed set.
    pub reason: Cow<'static, str>,
    /// For people: what, and what to do.
    pub message: String,
}

impl Said {
    /// Of these.
    pub fn new(
        kind: &'static str,
        status: impl Into<Status>,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { kind, status: status.into(), reason: reason.into(), message: message.into() }
    }
}

/// The condition of that type.
pub fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// What is said now, with the times of what was said before.
pub fn merge(before: &[Condition], said: Vec<Said>, generation: i64, now: Timestamp) -> Vec<Condition> {
    let merged = said.into_iter().map(|Said { kind, status, reason, message }| {
        let old = find(before, kind).filter(|old| old.status == status.as_str());
        Condition {
            type_: kind.to_owned(),
            status: status.as_str().to_owned(),
            reason: reason.into_owned(),
            message: short(message),
            observed_generation: Some(generation),
            last_transition_time: old.map_or_else(|| to_time(now), |old| old.last_transition_time.clone()),
        }
    });
    merged.collect()
}

/// The API takes 32 KiB; people take less.
fn short(mut message: String) -> String {
    if message.len() > MAX_CONDITION_MESSAGE {
        let end = (0..=MAX_CONDITION_MESSAGE).rev().find(|at| message.is_char_boundary(*at)).unwrap_or_default();
        message.truncate(end);
        message.push('…');
    }
    message
}

/// Conditions that are not what they were: what is worth an Event.
pub fn changed<'a>(before: &[Condition], after: &'a [Condition]) -> Vec<&'a Condition> {
    let same = |new: &Condition| {
        find(before, &new.type_).is_some_and(|old| old.status == new.status && old.reason == new.reason)
    };
    after.iter().filter(|new| !same(new)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_time_changes_with_the_status_and_never_otherwise() {
        let first = merge(&[], vec![Said::new(READY, false, "Starting", "0 of 3")], 1, at(0));
        let second = merge(&first, vec![Said::new(READY, false, "Waiting", "1 of 3")], 2, at(5));
        assert_eq!(second[0].last_transition_time, to_time(at(0)));
        assert_eq!((second[0].message.as_str(), second[0].observed_generation), ("1 of 3", Some(2)));
        let third = merge(&second, vec![Said::new(READY, true, "AllReady", "3 of 3")], 2, at(9));
        assert_eq!(third[0].last_transition_time, to_time(at(9)));
    }

    #[test]
    fn a_change_of_status_or_reason_is_worth_an_event_and_one_of_words_is_not() {
        let before = merge(&[], vec![Said::new(READY, false, "Starting", "0 of 3")], 1, at(0));
        let words = merge(&before, vec![Said::new(READY, false, "Starting", "1 of 3")], 1, at(1));
        assert_eq!(changed(&before, &words), Vec::<&Condition>::new());
        let reason = merge(&before, vec![Said::new(READY, false, "Waiting", "")], 1, at(1));
        assert_eq!(changed(&before, &reason).len(), 1);
        assert_eq!(changed(&[], &before).len(), 1);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let said = vec![Said::new(READY, false, "Starting", "ü".repeat(MAX_CONDITION_MESSAGE))];
        let merged = merge(&[], said, 1, at(0));
        assert!(merged[0].message.len() <= MAX_CONDITION_MESSAGE + 3 && merged[0].message.ends_with("ü…"));
    }
}
