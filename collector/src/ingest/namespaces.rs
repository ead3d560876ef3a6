//! Which namespaces may write: the opted-in list, and how long its lateness is forgiven.
//!
//! The list reaches a collector with some delay, so a namespace that is not in it is told to come again for two minutes
//! from when it was first seen, and is refused after that; before there is a list, all are told to come again. Where
//! none is kept every namespace may write. Bounded by a number of namespaces that wait; the one seen first gives way.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use indelible_chain::id::Time;
use serde::Deserialize;

use super::Refusal;
use crate::limits::{MAX_NAMESPACES, MAX_NAMESPACES_BYTES, MAX_WAITING_NAMESPACES, NAMESPACE_GRACE_SECONDS};

/// An opted-in namespace, as the list has it. The UID must be there too: it tells two of one name apart to people.
#[derive(Deserialize)]
struct Namespace {
    name: String,
    #[serde(rename = "uid")]
    _uid: String,
    created: jiff::Timestamp,
}

/// Which namespaces are opted in, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespaces {
    /// All: no list is kept.
    Any,
    /// A list is kept somewhere, and nothing was heard of it yet.
    Unheard,
    /// These.
    Listed(NamespaceList),
}

/// The opted-in namespaces by name, with the time at which each was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceList(BTreeMap<String, Time>);

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
        // A time that i64 nanoseconds cannot say is so far off that nothing is younger.
        let created = |at: jiff::Timestamp| Time::from_nanos(i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX));
        Ok(Self(list.into_iter().map(|namespace| (namespace.name, created(namespace.created))).collect()))
    }

    /// When the namespace of that name was made, if it is opted in.
    pub fn created(&self, name: &str) -> Option<Time> {
        self.0.get(name).copied()
    }

    /// The names, in their order, with the time at which each was made.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Time)> {
        self.0.iter().map(|(name, created)| (&**name, *created))
    }
}

impl Namespaces {
    /// Whether a namespace of that name is known to be opted in.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Unheard => false,
            Self::Listed(list) => list.created(name).is_some(),
        }
    }
}

/// Judges namespaces by the list and by when they were first seen without being in it.
#[derive(Debug, Default)]
pub struct OptIn {
    waiting: HashMap<String, Time>,
}

impl OptIn {
    /// Whether a namespace may write now.
    pub fn check(&mut self, known: &Namespaces, name: &str, now: Time) -> Result<(), Refusal> {
        const SOON: Duration = Duration::from_secs(5);
        if known.contains(name) {
            self.waiting.remove(name);
            return Ok(());
        }
        if *known == Namespaces::Unheard {
            // Nobody is to blame, so nobody's two minutes begin.
            return Err(Refusal::NamespaceUnknown(name.to_owned(), SOON));
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
        assert_eq!(OptIn::default().check(&Namespaces::Any, "any", at(0)), Ok(()));
    }

    #[test]
    fn before_there_is_a_list_all_are_told_to_come_again_for_as_long_as_it_takes() {
        let mut opt_in = OptIn::default();
        for now in [0, 1000] {
            assert_eq!(opt_in.check(&Namespaces::Unheard, "shop", at(now)).unwrap_err().status(), 503);
        }
        let none = Namespaces::Listed(NamespaceList::parse(b"[]").unwrap());
        assert_eq!(opt_in.check(&none, "shop", at(1001)).unwrap_err().status(), 503, "its two minutes begin");
    }

    #[test]
    fn a_namespace_that_is_not_listed_waits_two_minutes_and_is_then_refused() {
        let list = Namespaces::Listed(NamespaceList::parse(LIST.as_bytes()).unwrap());
        let mut opt_in = OptIn::default();
        assert_eq!(opt_in.check(&list, "shop", at(0)), Ok(()));
        assert_eq!(opt_in.check(&list, "other", at(1000)).unwrap_err().status(), 503);
        assert_eq!(opt_in.check(&list, "other", at(1119)).unwrap_err().status(), 503);
        assert_eq!(opt_in.check(&list, "other", at(1120)).unwrap_err().status(), 403);
    }

    #[test]
    fn namespaces_that_wait_take_bounded_memory() {
        let list = Namespaces::Listed(NamespaceList::parse(b"[]").unwrap());
        let mut opt_in = OptIn::default();
        for i in 0..i64::try_from(MAX_WAITING_NAMESPACES).unwrap() + 10 {
            assert_eq!(opt_in.check(&list, &i.to_string(), at(i)).unwrap_err().status(), 503);
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
