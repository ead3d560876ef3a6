//! Collecting findings: what each is about, its id, whether it was accepted.
//!
//! Owns the ids and the order in which findings are shown: the gravest first, then the table's order.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::id::{ChainId, LeafIndex, Seq};
use crate::statement::Statement;

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::{ChainNo, Place, ViewId};
use super::super::report::{Finding, finding_id};

/// What a finding is about.
#[derive(Clone, Default, Debug)]
pub(super) struct About {
    log: Option<String>,
    chain: Option<(ChainNo, ChainId)>,
    range: Option<(Seq, Seq)>,
    leaf: Option<LeafIndex>,
}

impl About {
    /// A log by its origin.
    pub(super) fn origin(origin: &str) -> Self {
        Self { log: Some(origin.to_owned()), ..Self::default() }
    }

    /// A log as a source shows it.
    pub(super) fn log(case: &Case<'_>, view: ViewId) -> Self {
        Self::origin(case.origin(view))
    }

    /// A leaf.
    pub(super) fn leaf(case: &Case<'_>, place: Place) -> Self {
        Self { leaf: Some(place.index), ..Self::log(case, place.view) }
    }

    /// A batch: its leaf, chain and positions.
    pub(super) fn batch(case: &Case<'_>, number: usize) -> Self {
        let batch = &case.facts.batches[number];
        let (first, next) = (batch.commitment.first_seq, batch.commitment.next_seq());
        Self::leaf(case, batch.place).chain(case, batch.chain).records(first, next)
    }

    /// A chain, beside what it is about so far.
    pub(super) fn chain(mut self, case: &Case<'_>, chain: ChainNo) -> Self {
        self.chain = Some((chain, case.facts.of_chain(chain).id));
        self
    }

    /// The records from one position up to, but without, another.
    pub(super) fn records(mut self, first: Seq, next: Seq) -> Self {
        self.range = Some((first, Seq::new(next.get().saturating_sub(1)).max(first)));
        self
    }

    fn range(&self) -> String {
        match (self.range, self.leaf) {
            (Some((first, last)), _) if self.chain.is_some() => format!("{first}-{last}"),
            (_, Some(leaf)) => format!("#{leaf}"),
            (_, None) => String::new(),
        }
    }
}

/// The findings so far.
#[derive(Default, Debug)]
pub(super) struct Findings {
    all: Vec<Finding>,
    /// How many name each chain.
    by_chain: BTreeMap<ChainNo, u64>,
}

impl Findings {
    /// Adds a finding.
    pub(super) fn add(&mut self, class: Class, (axis, level): (Axis, Level), about: About, text: String) {
        let id = finding_id(class, about.log.as_deref().unwrap_or(""), about.chain.map(|(_, id)| id), &about.range());
        if let Some((chain, _)) = about.chain {
            *self.by_chain.entry(chain).or_default() += 1;
        }
        let (first_seq, last_seq) = about.range.unzip();
        self.all.push(Finding {
            id,
            class,
            axis,
            level,
            log: about.log,
            chain_id: about.chain.map(|(_, id)| id),
            first_seq,
            last_seq,
            batch_index: about.leaf,
            text,
            accepted: None,
        });
    }

    /// How many findings name a chain.
    pub(super) fn of_chain(&self, chain: ChainNo) -> u64 {
        self.by_chain.get(&chain).copied().unwrap_or_default()
    }

    /// All findings: those accepted by the caller or by an authority are marked so, the gravest come first.
    pub(super) fn into_sorted(mut self, case: &Case<'_>) -> Vec<Finding> {
        let mut accepted: BTreeMap<&str, String> = BTreeMap::new();
        for id in &case.terms.accepted {
            accepted.insert(id, "accepted for this verification".into());
        }
        for (place, _, statement) in &case.facts.authority {
            if let Statement::Accepted { finding, by, reason } = statement {
                let said =
                    format!("accepted by {by} in leaf {} of log {}: {reason}", place.index, case.origin(place.view));
                accepted.insert(finding, said);
            }
        }
        for finding in &mut self.all {
            finding.accepted = accepted.get(finding.id.as_str()).cloned();
        }
        self.all.sort_by_key(|finding| (finding.accepted.is_some(), Reverse(finding.level), finding.class));
        self.all
    }
}

/// What was stored is not what was stored.
pub(super) const TAMPERED: (Axis, Level) = (Axis::Integrity, Level::Fail);
/// Integrity that could not be judged.
pub(super) const UNJUDGED: (Axis, Level) = (Axis::Integrity, Level::Unknown);
/// Something was not produced by the pod that it names.
pub(super) const INVENTED: (Axis, Level) = (Axis::Authenticity, Level::Fail);
/// Something is missing.
pub(super) const MISSING: (Axis, Level) = (Axis::Completeness, Level::Fail);
/// Something is missing, and that is explained.
pub(super) const EXPLAINED: (Axis, Level) = (Axis::Completeness, Level::Warn);
