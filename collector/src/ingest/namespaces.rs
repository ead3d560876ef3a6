//! Which namespaces may write: the opted-in list, and how long its lateness is forgiven.
//!
//! The list reaches a collector through a file that follows the cluster with some delay, so a namespace that is not
//! in it is told to come again for two minutes from when it was first seen, and is refused after that. Without a list
//! every namespace may write. Bounded by a number of namespaces that wait; the one seen first gives way.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use indelible_chain::id::Time;
use serde::Deserialize;

use super::Refusal;
use crate::limits::{MAX_NAMESPACES, MAX_NAMESPACES_BYTES, MAX_WAITING_NAMESPACES, NAMESPACE_GRACE_SECONDS};

/// An opted-in namespace, as the list has it. By its name it is known here; the rest must be there and be what it should.
#[derive(Deserialize)]
struct Namespace {
    name: String,
    #[serde(rename = "uid")]
    _uid: String,
    #[serde(rename = "created")]
    _created: jiff::Timestamp,
}

/// The opted-in namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceList(HashSet<String>);

/// Why bytes are no list of namespaces.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Too many bytes or namespaces.
    #[error("a list of {found} {what} is over the limit of {limit}")]
    TooLarge {
        /// Bytes or namespaces.
        what: &'static str,
        /// How many.
        found: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Not the JSON that was expected.
    #[error("not a JSON list of {{\"name\",\"uid\",\"created\"}}")]
    Json(#[source] serde_json::Error),
}

impl NamespaceList {
    /// Reads the JSON list.
    pub fn parse(bytes: &[u8]) -> Result<Self, ListError> {
        if bytes.len() > MAX_NAMESPACES_BYTES {
            return Err(ListError::TooLarge { what: "bytes", found: bytes.len(), limit: MAX_NAMESPACES_BYTES });
        }
        let list: Vec<Namespace> = serde_json::from_slice(bytes).map_err(ListError::Json)?;
        if list.len() > MAX_NAMESPACES {
            return Err(ListError::TooLarge { what: "namespaces", found: list.len(), limit: MAX_NAMESPACES });
        }
        Ok(Self(list.into_iter().map(|namespace| namespace.name).collect()))
    }

    /// Whether a namespace of that name is opted in.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

/// Judges namespaces by the list and by when they were first seen without being in it.
#[derive(Debug, Default)]
pub struct OptIn {
    waiting: HashMap<String, Time>,
}

impl OptIn {
    /// Whether a namespace may write now. Without a list, all may.
    pub fn check(&mut self, list: Option<&NamespaceList>, name: &str, now: Time) -> Result<(), Refusal> {
        if list.is_none_or(|list| list.contains(name)) {
            self.waiting.remove(name);
            return Ok(());
        }
        if !self.waiting.contains_key(name) && self.waiting.len() >= MAX_WAITING_NAMESPACES {
            let first = self.waiting.iter().min_by_key(|(_, seen)| **seen).map(|(name, _)| name.clone());
            first.and_then(|first| self.waiting.remove(&first));
        }
        let seen = *self.waiting.entry(name.to_owned()).or_insert(now);
        let left = NAMESPACE_GRACE_SECONDS - now.since(seen).max(0) / Time::SECOND;
        match u64::try_from(left) {
            Ok(left) if left > 0 => Err(Refusal::NamespaceUnknown(name.to_owned(), Duration::from_secs(left.min(10)))),
            _ => Err(Refusal::NamespaceClosed(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"[{"name":"shop","uid":"1","created":"2026-11-20T10:00:00Z"}]"#;

    fn at(seconds: i64) -> Time {
        Time::from_nanos(seconds * Time::SECOND)
    }

    #[test]
    fn without_a_list_any_namespace_may_write() {
        assert_eq!(OptIn::default().check(None, "any", at(0)), Ok(()));
    }

    #[test]
    fn a_namespace_that_is_not_listed_waits_two_minutes_and_is_then_refused() {
        let list = NamespaceList::parse(LIST.as_bytes()).unwrap();
        let mut opt_in = OptIn::default();
        assert_eq!(opt_in.check(Some(&list), "shop", at(0)), Ok(()));
        assert_eq!(opt_in.check(Some(&list), "other", at(1000)).unwrap_err().status(), 503);
        assert_eq!(opt_in.check(Some(&list), "other", at(1119)).unwrap_err().status(), 503);
        assert_eq!(opt_in.check(Some(&list), "other", at(1120)).unwrap_err().status(), 403);
    }

    #[test]
    fn namespaces_that_wait_take_bounded_memory() {
        let list = NamespaceList::parse(b"[]").unwrap();
        let mut opt_in = OptIn::default();
        for i in 0..i64::try_from(MAX_WAITING_NAMESPACES).unwrap() + 10 {
            assert_eq!(opt_in.check(Some(&list), &i.to_string(), at(i)).unwrap_err().status(), 503);
        }
        assert_eq!(opt_in.waiting.len(), MAX_WAITING_NAMESPACES);
    }

    #[test]
    fn a_list_that_is_none_is_refused() {
        let large = [b" ".repeat(MAX_NAMESPACES_BYTES), b"[]".to_vec()].concat();
        assert!(matches!(NamespaceList::parse(&large), Err(ListError::TooLarge { .. })));
        for text in ["", "{}", r#"[{"name":"shop"}]"#, r#"[{"name":"shop","uid":"1","created":"yesterday"}]"#] {
            assert!(matches!(NamespaceList::parse(text.as_bytes()), Err(ListError::Json(_))), "{text}");
        }
    }
}
