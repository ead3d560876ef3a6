//! The words of the join table: which class a finding is of, which axis it speaks of and how bad it is.
//!
//! [`Class`] stands in the table's order, followed by the words for what cannot be read at all. Classes that raise
//! nothing (contiguous, duplicate, overlap, pending) have no word here: they are counted. Owns the words that stand in
//! the JSON and are hashed into a finding's id; they never change.

use std::fmt;

/// What was found: a row of the join table, or what is wrong with bytes as such.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Class {
    /// Session and genesis, or a session's leaf and what it attests, are of different pods.
    Foreign,
    /// A log holds a batch without its session or genesis.
    Unintroduced,
    /// Signature, count, length, times or links do not hold over the body.
    Forged,
    /// Two links for one position, both validly signed.
    Fork,
    /// Two speak where one pod can only have one voice.
    Twins,
    /// Nobody whose word can be checked vouches for a session.
    Unattested,
    /// A log does not show what it gave a receipt for.
    Withheld,
    /// A body was removed by retention. Judged with the archive.
    Pruned,
    /// A payload was removed by law. Judged with the archive.
    Redacted,
    /// Positions are missing.
    Gap,
    /// The sidecar itself says that bytes are missing.
    DeclaredGap,
    /// A chain takes over from another.
    Resumed,
    /// Something is stated after a chain's end.
    AfterFinal,
    /// A chain stopped without an end.
    Unclosed,
    /// A container that should be covered is not.
    Silent,
    /// A log has nothing new, or nothing that a witness saw.
    Stale,
    /// Clocks disagree.
    Clock,
    /// A log contradicts what it signed before.
    Rewritten,
    /// A source that was named cannot be read.
    Unreadable,
    /// A log that others name is not among the sources.
    Absent,
    /// A log that was not sealed is continued by another.
    Abandoned,
    /// A leaf stands where a sealed log ended.
    AfterSealed,
    /// An archived object is not the version in the manifest. Judged with the archive.
    Shadowed,
    /// An archived object is absent. Judged with the archive.
    Missing,
    /// An archived object is not in the manifest. Judged with the archive.
    Unlisted,
    /// A stored body is damaged or cannot be judged.
    BadBody,
    /// A leaf was changed or removed, or cannot be read.
    BadLeaf,
    /// A tile or bundle is not what the leaves give.
    BadTile,
    /// A checkpoint's signature or form does not hold.
    BadCheckpoint,
    /// A source's key is not one that was given.
    UnknownKey,
}

impl Class {
    /// All classes, in the order of the table.
    pub const ALL: [Self; 30] = [
        Self::Foreign,
        Self::Unintroduced,
        Self::Forged,
        Self::Fork,
        Self::Twins,
        Self::Unattested,
        Self::Withheld,
        Self::Pruned,
        Self::Redacted,
        Self::Gap,
        Self::DeclaredGap,
        Self::Resumed,
        Self::AfterFinal,
        Self::Unclosed,
        Self::Silent,
        Self::Stale,
        Self::Clock,
        Self::Rewritten,
        Self::Unreadable,
        Self::Absent,
        Self::Abandoned,
        Self::AfterSealed,
        Self::Shadowed,
        Self::Missing,
        Self::Unlisted,
        Self::BadBody,
        Self::BadLeaf,
        Self::BadTile,
        Self::BadCheckpoint,
        Self::UnknownKey,
    ];

    /// The word in reports and ids.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Unintroduced => "unintroduced",
            Self::Forged => "forged",
            Self::Fork => "fork",
            Self::Twins => "twins",
            Self::Unattested => "unattested",
            Self::Withheld => "withheld",
            Self::Pruned => "pruned",
            Self::Redacted => "redacted",
            Self::Gap => "gap",
            Self::DeclaredGap => "declared-gap",
            Self::Resumed => "resumed",
            Self::AfterFinal => "after-final",
            Self::Unclosed => "unclosed",
            Self::Silent => "silent",
            Self::Stale => "stale",
            Self::Clock => "clock",
            Self::Rewritten => "rewritten",
            Self::Unreadable => "unreadable",
            Self::Absent => "absent",
            Self::Abandoned => "abandoned",
            Self::AfterSealed => "after-sealed",
            Self::Shadowed => "shadowed",
            Self::Missing => "missing",
            Self::Unlisted => "unlisted",
            Self::BadBody => "bad-body",
            Self::BadLeaf => "bad-leaf",
            Self::BadTile => "bad-tile",
            Self::BadCheckpoint => "bad-checkpoint",
            Self::UnknownKey => "unknown-key",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One of the four questions that a verification answers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Axis {
    /// Is everything that was stored still exactly what was stored, in the order it was stored?
    Integrity,
    /// Was it produced by the attested pod that it names?
    Authenticity,
    /// Is anything missing: inside a chain, at its end, or a whole chain?
    Completeness,
    /// How recent is the newest evidence, and is that recent enough?
    Freshness,
}

impl Axis {
    /// All four, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Integrity, Self::Authenticity, Self::Completeness, Self::Freshness];

    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Authenticity => "authenticity",
            Self::Completeness => "completeness",
            Self::Freshness => "freshness",
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How much a finding weighs. The greatest on an axis is that axis's verdict.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// To be looked at; nothing is shown to be wrong.
    Warn,
    /// It could not be judged.
    Unknown,
    /// It is shown to be wrong.
    Fail,
}

impl Level {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_a_word_of_its_own_and_the_list_is_in_order() {
        assert!(Class::ALL.is_sorted_by(|a, b| a < b));
        let mut words: Vec<_> = Class::ALL.iter().map(|class| class.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Class::ALL.len());
    }

    #[test]
    fn what_is_wrong_outweighs_what_is_unknown_outweighs_a_warning() {
        assert!(Level::Fail > Level::Unknown && Level::Unknown > Level::Warn);
    }
}
