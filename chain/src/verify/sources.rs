//! Which logs there are, which are named and not there, and what is claimed of each by others than itself.
//!
//! Logs are named by the policy, by receipts and by the logs that continue them. A log that is named and not among the
//! sources is absent, unless a source that cannot be read may be it: that is unreadable, never absent. Owns these
//! distinctions and the list of claims; weighs nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::id::{LeafIndex, Time};

use super::case::Case;
use super::facts::{Continues, Head, ViewId};
use super::judge::{Opened, number_of, open};
use super::terms::{Known, KnownBy, SourceKind};

/// A tree head of a log that someone else holds.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) size: u64,
    pub(super) root: Digest,
    /// Whose word it is, for a person.
    pub(super) by: String,
    /// Names of the policy's witnesses that cosigned it.
    pub(super) witnesses: Vec<String>,
    /// Whether it was held before the sources were read: a collector must show at least this.
    pub(super) is_older: bool,
}

/// A log that is named and not among the sources.
#[derive(Debug)]
pub(super) struct AbsentLog {
    pub(super) origin: String,
    pub(super) named_by: String,
}

/// A log that says that it continues another, and what it says of it.
#[derive(Debug)]
pub(super) struct Successor {
    /// Where it is said.
    pub(super) view: ViewId,
    pub(super) index: LeafIndex,
    pub(super) size: u64,
    pub(super) root: Digest,
    /// Whether its word counts: the policy knows both as logs of one collector, and it began after the other's newest
    /// leaf. What any other log says is that log's word alone: it neither excuses the one that it names, nor shows that
    /// it is short.
    pub(super) counts: bool,
}

/// The logs and what is said of them.
#[derive(Debug, Default)]
pub(super) struct Sources<'a> {
    /// By log number of the policy.
    pub(super) views: Vec<Vec<ViewId>>,
    /// By log number of the policy.
    pub(super) claims: Vec<Vec<Claim>>,
    /// Checkpoints that were given and do not hold, and why.
    pub(super) bad_known: Vec<(&'a Known, String)>,
    pub(super) absent: Vec<AbsentLog>,
    /// By the number of the log that is continued.
    pub(super) successors: Vec<Vec<Successor>>,
    /// Logs, by number, of which less is in the sources than is known to exist: that size, and who knows it.
    pub(super) short: BTreeMap<usize, (u64, String)>,
    /// Whether something that was named could not be read.
    pub(super) is_blind: bool,
}

impl<'a> Sources<'a> {
    /// Of a case whose facts are complete.
    pub(super) fn of(case: &Case<'a>) -> Self {
        let count = case.terms.policy.logs().len();
        let mut sources = Self { views: vec![Vec::new(); count], ..Self::default() };
        sources.claims.resize_with(count, Vec::new);
        sources.successors.resize_with(count, Vec::new);
        for (number, view) in case.facts.views.iter().enumerate() {
            sources.views[view.log].push(ViewId(number));
        }
        let is_blind =
            |source: &super::facts::SourceFacts| !source.unreadable.is_empty() || !source.unknown_key.is_empty();
        // Of a log without a checkpoint that holds, no leaf counts: what it has is not known.
        let is_headless = case.facts.views.iter().any(|view| view.heads.is_empty());
        sources.is_blind = is_headless || case.facts.sources.iter().any(is_blind);
        sources.add_known(case);
        sources.add_continued(case);
        sources.add_other_views(case);
        sources.find_absent(case);
        sources.find_short(case);
        sources
    }

    /// Whether what is missing may be where nobody could look.
    pub(super) fn may_be_elsewhere(&self) -> bool {
        self.is_blind || !self.absent.is_empty() || !self.short.is_empty()
    }

    /// Whether another log of the same collector continues this one.
    pub(super) fn is_continued(&self, log: usize) -> bool {
        self.successors[log].iter().any(|successor| successor.counts)
    }

    fn add_known(&mut self, case: &Case<'a>) {
        for known in &case.terms.known {
            match open(&case.terms.policy, &known.note) {
                Opened::Good(log, head) => {
                    let by = match known.by {
                        KnownBy::Operator => format!("the checkpoint {} that was given", known.label),
                        KnownBy::State => format!("an earlier verification ({})", known.label),
                        KnownBy::Witness => format!("the witness {}", known.label),
                    };
                    let Head { size, root, witnesses, cosigned_at: _ } = head;
                    self.claims[log].push(Claim { size, root, by, witnesses, is_older: true });
                }
                Opened::Bad(_, why) => self.bad_known.push((known, why)),
                Opened::Unknown(origin) => {
                    let why = format!("no key of the policy signed it ({})", origin.unwrap_or_default());
                    self.bad_known.push((known, why));
                }
            }
        }
    }

    fn add_continued(&mut self, case: &Case<'_>) {
        let logs = case.terms.policy.logs();
        let collector = |log: usize| logs[log].origin().prefix(logs[log].key().public_key());
        let newest = |views: &Vec<ViewId>| views.iter().filter_map(|view| case.facts.view(*view).newest).max();
        let newest: Vec<Option<Time>> = self.views.iter().map(newest).collect();
        for (number, view) in case.facts.views.iter().enumerate() {
            for Continues { index, time, origin, size, root } in &view.continues {
                let Some(log) = number_of(&case.terms.policy, origin) else {
                    let named_by = continued_by(case, ViewId(number));
                    self.absent.push(AbsentLog { origin: origin.clone(), named_by });
                    continue;
                };
                let is_same = log != view.log && collector(log).is_some() && collector(log) == collector(view.log);
                let counts = is_same && newest[log].is_none_or(|newest| *time > newest);
                let (view, index, size, root) = (ViewId(number), *index, *size, *root);
                self.successors[log].push(Successor { view, index, size, root, counts });
            }
        }
    }

    /// Two sources that show the same log must show the same log.
    fn add_other_views(&mut self, case: &Case<'_>) {
        for views in self.views.iter().filter(|views| views.len() > 1) {
            for view in views {
                let facts = case.facts.view(*view);
                for head in &facts.heads {
                    let by = by_source(case, *view);
                    let Head { size, root, witnesses, cosigned_at: _ } = head.clone();
                    self.claims[facts.log].push(Claim { size, root, by, witnesses, is_older: false });
                }
            }
        }
    }

    fn find_absent(&mut self, case: &Case<'_>) {
        let mut unreadable: BTreeSet<&str> = BTreeSet::new();
        let mut unnamed = 0;
        for source in &case.facts.sources {
            for (origin, _) in &source.unreadable {
                match origin {
                    Some(origin) => drop(unreadable.insert(origin)),
                    None => unnamed += 1,
                }
            }
            unreadable.extend(source.unknown_key.iter().map(String::as_str));
            // Under another name than any in the policy, it may still be what the policy means by one of its logs.
            unnamed +=
                source.unknown_key.iter().filter(|origin| number_of(&case.terms.policy, origin).is_none()).count();
        }
        let logs = case.terms.policy.logs();
        let missing: Vec<_> = (logs.iter().zip(&self.views))
            .filter(|(log, views)| views.is_empty() && !unreadable.contains(log.origin().as_str()))
            .map(|(log, _)| log.origin().to_string())
            .collect();
        // A source that cannot be read and does not say its name may be any of them.
        if unnamed == 0 {
            let named_by = "the policy";
            self.absent.extend(missing.into_iter().map(|origin| AbsentLog { origin, named_by: named_by.into() }));
        }
        for (origin, named_by) in &case.facts.named {
            self.absent.push(AbsentLog { origin: origin.clone(), named_by: named_by.clone() });
        }
        self.absent.retain(|absent| !unreadable.contains(absent.origin.as_str()));
        self.absent.sort_by(|a, b| a.origin.cmp(&b.origin));
        self.absent.dedup_by(|a, b| a.origin == b.origin);
    }

    /// Logs of which a copy shows less than is known. (A collector that shows less has taken it back: `rewritten`.)
    fn find_short(&mut self, case: &Case<'_>) {
        for (log, views) in self.views.iter().enumerate().filter(|(_, views)| !views.is_empty()) {
            let size = views.iter().map(|view| case.facts.view(*view).size()).max().unwrap_or(0);
            let is_copy = |view: &ViewId| case.facts.source_of(*view).kind == SourceKind::Copy;
            let claimed = self.claims[log].iter().map(|claim| (claim.size, claim.is_older, claim.by.clone()));
            let said = self.successors[log].iter().filter(|successor| successor.counts);
            let said = said.map(|successor| (successor.size, false, continued_by(case, successor.view)));
            let largest = claimed.chain(said).max_by_key(|(size, _, _)| *size);
            if let Some((largest, is_older, by)) = largest.filter(|(largest, _, _)| *largest > size)
                && (views.iter().all(is_copy) || !is_older)
            {
                self.short.insert(log, (largest, by));
            }
        }
    }
}

/// Whose word the checkpoints of a view are.
pub(super) fn by_source(case: &Case<'_>, view: ViewId) -> String {
    format!("the source {}", case.facts.source_of(view).label)
}

fn continued_by(case: &Case<'_>, successor: ViewId) -> String {
    format!("log {}, which continues it", case.origin(successor))
}
