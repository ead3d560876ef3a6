//! The pool's own list of its collectors: what `GET /v1/pool` says, and when to ask.
//!
//! Every answer of a collector may carry `Indelible-Pool: <epoch>`; only a greater epoch than the one in use counts.
//! An empty answer removes nothing: a pool that says it has no members is more likely mistaken than gone.

use serde::Deserialize;

use super::endpoint::{Endpoint, EndpointError};
use crate::limits::MAX_COLLECTORS;

/// What a pool says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolList {
    /// Grows with each change.
    pub epoch: u64,
    /// The name in the certificates of all collectors, if it is not each URL's host.
    pub server_name: Option<String>,
    /// The members, each once, in the pool's order. May be empty.
    pub collectors: Vec<Endpoint>,
    /// The bundle to trust from now on, if there is one.
    pub ca_pem: Option<String>,
}

/// Why a body is no pool list.
#[derive(Debug, thiserror::Error)]
pub enum PoolListError {
    /// Not the JSON object that it should be.
    #[error("the pool's list cannot be read")]
    Json(#[from] serde_json::Error),
    /// A member that is no URL.
    #[error("the pool's list names a member that cannot be used")]
    Endpoint(#[from] EndpointError),
    /// More members than a sidecar handles.
    #[error("the pool's list has {0} members, the limit is {MAX_COLLECTORS}")]
    TooMany(usize),
}

#[derive(Deserialize)]
struct Wire {
    epoch: u64,
    #[serde(default)]
    server_name: Option<String>,
    #[serde(default)]
    collectors: Vec<String>,
    #[serde(default)]
    ca_pem: Option<String>,
}

impl PoolList {
    /// Reads the body of an answer. Fields that a later version adds are ignored.
    pub fn parse(body: &[u8]) -> Result<Self, PoolListError> {
        let wire: Wire = serde_json::from_slice(body)?;
        if wire.collectors.len() > MAX_COLLECTORS {
            return Err(PoolListError::TooMany(wire.collectors.len()));
        }
        let mut collectors = Vec::new();
        for url in &wire.collectors {
            let endpoint: Endpoint = url.parse()?;
            if !collectors.contains(&endpoint) {
                collectors.push(endpoint);
            }
        }
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        Ok(Self { epoch: wire.epoch, server_name: given(wire.server_name), collectors, ca_pem: given(wire.ca_pem) })
    }
}

/// What is known of the pool's list, and whether to ask for it.
#[derive(Debug)]
pub struct PoolKnowledge {
    /// The epoch in use; `None` before the first list.
    epoch: Option<u64>,
    asked: Asked,
    due: bool,
}

/// Whether the question what the pool is has been answered at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Never,
    /// Tried, and there was no answer to build on. Sending goes on with what is known.
    InVain,
    /// A list, or that there is none.
    Answered,
}

impl PoolKnowledge {
    /// Nothing known: the list is asked for at the first connection.
    pub const fn unasked() -> Self {
        Self { epoch: None, asked: Asked::Never, due: true }
    }

    /// An answer's header. Only a greater epoch than the one in use asks for the list.
    pub fn heard(&mut self, epoch: u64) {
        if self.epoch.is_none_or(|known| epoch > known) {
            self.due = true;
        }
    }

    /// A connection was lost: its collector may be gone for good, and the list would say so.
    pub const fn connection_lost(&mut self) {
        self.due = true;
    }

    /// Whether to ask for the list.
    pub const fn is_due(&self) -> bool {
        self.due
    }

    /// Whether batches may go: the list was asked for once, so that the first batches do not go to a collector that
    /// the list would replace.
    pub fn may_send(&self) -> bool {
        self.asked != Asked::Never
    }

    /// Whether the number of logs is known, so that `min(copies, logs)` means something.
    pub fn is_answered(&self) -> bool {
        self.asked == Asked::Answered
    }

    /// The epoch in use.
    pub const fn epoch(&self) -> Option<u64> {
        self.epoch
    }

    /// A list came. True if it is to be taken over.
    pub fn take(&mut self, list: &PoolList) -> bool {
        self.due = false;
        self.asked = Asked::Answered;
        let newer = self.epoch.is_none_or(|known| list.epoch > known);
        if newer {
            self.epoch = Some(list.epoch);
        }
        newer
    }

    /// 404: this collector knows no list.
    pub const fn none_kept(&mut self) {
        self.due = false;
        self.asked = Asked::Answered;
    }

    /// No usable answer: to be asked again after a pause.
    pub fn failed(&mut self) {
        if self.asked == Asked::Never {
            self.asked = Asked::InVain;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(epoch: u64) -> PoolList {
        PoolList { epoch, server_name: None, collectors: Vec::new(), ca_pem: None }
    }

    #[test]
    fn a_list_is_read_with_each_member_once() {
        let body = br#"{"epoch":7,"server_name":"pool","collectors":["https://c0:1","https://C0:1/","https://c1:1"],"ca_pem":"","new":1}"#;
        let list = PoolList::parse(body).unwrap();
        assert_eq!(list.epoch, 7);
        assert_eq!(list.server_name.as_deref(), Some("pool"));
        assert_eq!(list.ca_pem, None);
        assert_eq!(
            list.collectors.iter().map(Endpoint::to_string).collect::<Vec<_>>(),
            ["https://c0:1", "https://c1:1"]
        );
    }

    #[test]
    fn what_is_no_list_is_an_error_that_says_why() {
        assert!(matches!(PoolList::parse(b"<html>"), Err(PoolListError::Json(_))));
        assert!(matches!(PoolList::parse(br#"{"collectors":[]}"#), Err(PoolListError::Json(_))));
        assert!(matches!(PoolList::parse(br#"{"epoch":1,"collectors":["c0"]}"#), Err(PoolListError::Endpoint(_))));
        let many = format!(r#"{{"epoch":1,"collectors":[{}"c"]}}"#, r#""c","#.repeat(MAX_COLLECTORS));
        assert!(matches!(PoolList::parse(many.as_bytes()), Err(PoolListError::TooMany(_))));
    }

    #[test]
    fn only_a_greater_epoch_or_a_lost_connection_asks_again() {
        let mut pool = PoolKnowledge::unasked();
        assert!(pool.is_due() && !pool.may_send() && !pool.is_answered());
        assert!(pool.take(&list(3)));
        assert!(!pool.is_due() && pool.may_send() && pool.is_answered());
        for (heard, due) in [(2, false), (3, false), (4, true)] {
            pool.heard(heard);
            assert_eq!(pool.is_due(), due, "{heard}");
        }
        assert!(pool.take(&list(4)));
        pool.connection_lost();
        assert!(pool.is_due());
        assert!(!pool.take(&list(2)), "an older list is not taken over");
        assert_eq!(pool.epoch(), Some(4));
    }

    #[test]
    fn a_collector_that_keeps_no_list_ends_the_question() {
        let mut pool = PoolKnowledge::unasked();
        pool.none_kept();
        assert!(!pool.is_due() && pool.may_send() && pool.is_answered());
    }

    #[test]
    fn a_question_in_vain_does_not_hold_batches_back() {
        let mut pool = PoolKnowledge::unasked();
        pool.failed();
        assert!(pool.may_send() && !pool.is_answered() && pool.is_due());
    }
}
