//! What a row of the table is: what is measured, against whom, how good it must be; and what came out of it.

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::pairs::{Pairs, Spread};
use crate::settings::Settings;

/// When something counts as kept: never compared across a line of the table without saying so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Durability {
    /// Acknowledged from memory.
    D0,
    /// In the page cache.
    D1,
    /// `fdatasync` before the answer.
    D2,
    /// D2 on two collectors.
    D3,
    /// Nothing is kept: a computation.
    None,
}

/// What a figure must be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Bound {
    /// This or less.
    AtMost(f64),
    /// This or more.
    AtLeast(f64),
}

impl Bound {
    /// Whether `figure` is within it.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Self::AtMost(most) => figure <= most,
            Self::AtLeast(least) => figure >= least,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

/// One side of a comparison.
#[derive(Debug, Clone, Copy)]
pub struct Side {
    /// Who.
    pub name: &'static str,
    /// What it does for its figure.
    pub does: &'static str,
    /// When something counts as kept.
    pub class: Durability,
}

/// One figure of a row.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Names it among the row's.
    pub name: &'static str,
    /// What the figure is: `×` for a ratio of the two sides, else a unit.
    pub unit: &'static str,
    /// The unit of each side's own figure.
    pub each: &'static str,
    /// How good it must be.
    pub must: Option<Bound>,
    /// How good it should be.
    pub aim: Option<Bound>,
    /// Ours.
    pub ours: Side,
    /// Theirs, where there is a peer.
    pub theirs: Option<Side>,
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Its number in docs/benchmarks.md.
    pub number: u8,
    /// What is measured.
    pub measure: &'static str,
    /// On what input.
    pub workload: &'static str,
    /// Its figures.
    pub cases: &'static [Case],
    /// Measures them.
    pub run: fn(&Row, &Settings) -> Result<Vec<Outcome>>,
}

/// Whether a bound was held.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The bound.
    pub bound: Bound,
    /// Whether the median is within it.
    pub held: bool,
}

/// One side, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Who.
    pub name: String,
    /// Which version.
    pub version: String,
    /// What it did.
    pub did: String,
    /// When something counted as kept.
    pub class: Durability,
    /// Its own figures, where both sides have them.
    pub figures: Option<Spread>,
}

/// What came out of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The row's number.
    pub row: u8,
    /// What was measured.
    pub measure: String,
    /// On what input.
    pub workload: String,
    /// The case's name.
    pub case: String,
    /// The unit of `value`.
    pub unit: String,
    /// The unit of each side's own figures.
    pub each: String,
    /// The figure; none if the case was left out.
    pub value: Option<Spread>,
    /// How many runs or pairs it is from.
    pub count: usize,
    /// Ours.
    pub ours: Done,
    /// Theirs.
    pub theirs: Option<Done>,
    /// Whether the must was held.
    pub must: Option<Judged>,
    /// Whether the aim was held.
    pub aim: Option<Judged>,
    /// Why the case was left out.
    pub skipped: Option<String>,
    /// What else is worth saying: where time went, sizes, doubts.
    pub notes: Vec<String>,
}

impl Row {
    /// The case of this name.
    pub fn case(&self, name: &str) -> Result<&'static Case> {
        self.cases.iter().find(|case| case.name == name).with_context(|| format!("row {} has no {name}", self.number))
    }

    fn outcome(&self, case: &Case, versions: (&str, &str)) -> Outcome {
        let done = |side: Side, version: &str| Done {
            name: side.name.into(),
            version: version.into(),
            did: side.does.into(),
            class: side.class,
            figures: None,
        };
        Outcome {
            row: self.number,
            measure: self.measure.into(),
            workload: self.workload.into(),
            case: case.name.into(),
            unit: case.unit.into(),
            each: case.each.into(),
            value: None,
            count: 0,
            ours: done(case.ours, versions.0),
            theirs: case.theirs.map(|side| done(side, versions.1)),
            must: None,
            aim: None,
            skipped: None,
            notes: Vec::new(),
        }
    }

    /// A case that was left out.
    pub fn skipped(&self, case: &Case, why: &str) -> Outcome {
        Outcome { skipped: Some(why.into()), ..self.outcome(case, ("", "")) }
    }

    /// A case that gave a figure for itself.
    pub fn measured(&self, case: &Case, figures: &[f64], versions: (&str, &str)) -> Outcome {
        let mut outcome = self.outcome(case, versions);
        outcome.set(case, Spread::of(figures), figures.len());
        outcome
    }

    /// A case that was measured in pairs.
    pub fn compared(&self, case: &Case, count: usize, pairs: &Pairs, versions: (&str, &str)) -> Outcome {
        let mut outcome = self.outcome(case, versions);
        outcome.set(case, pairs.ratio, count);
        outcome.ours.figures = Some(pairs.ours);
        if let Some(theirs) = &mut outcome.theirs {
            theirs.figures = Some(pairs.theirs);
        }
        outcome
    }
}

impl Outcome {
    fn set(&mut self, case: &Case, value: Spread, count: usize) {
        let judged = |bound: Bound| Judged { bound, held: bound.holds(value.median) };
        (self.value, self.count) = (Some(value), count);
        (self.must, self.aim) = (case.must.map(judged), case.aim.map(judged));
    }

    /// With one more thing worth saying.
    #[must_use]
    pub fn noting(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_holds_on_its_edge_and_on_its_side() {
        assert!(Bound::AtMost(0.3).holds(0.3) && !Bound::AtMost(0.3).holds(0.31));
        assert!(Bound::AtLeast(2.0).holds(2.0) && !Bound::AtLeast(2.0).holds(1.9));
    }
}
