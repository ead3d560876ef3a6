//! What `indelible verify` must answer: the model.
//!
//! It reads a history's directories as they were and as they are after a mutation, and says verdicts, exit code and
//! the classes of which a finding must be. It is derived from the specification alone and shares no code with the
//! verifier, and it is simpler, since it may look at what was there before and need not find its way through damage:
//! - a directory whose files hold exactly what was signed (`view`) is judged as a prefix of an honest log (`join`),
//!   and every verdict is exact;
//! - one that does not is tampered with. That is exact, too; how much of the other axes it takes down depends on how
//!   much a reader can save, and is bounded from both sides ([`Span`]).

mod join;
mod leaf;
mod note;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use super::image::Image;
use super::story::History;
use note::Policy;
use view::{Shown, View};

/// A verdict, the better the smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// All is well.
    Pass,
    /// To be looked at.
    Warn,
    /// It could not be judged.
    Unknown,
    /// It is shown to be wrong.
    Fail,
}

impl Verdict {
    /// The word in reports.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Unknown => "unknown",
            Self::Fail => "fail",
        }
    }
}

/// The verdicts that an answer may have on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The best.
    pub best: Verdict,
    /// The worst.
    pub worst: Verdict,
}

impl Span {
    const fn exactly(verdict: Verdict) -> Self {
        Self { best: verdict, worst: verdict }
    }

    fn to(self, worst: Verdict) -> Self {
        Self { best: self.best, worst: self.worst.max(worst) }
    }

    /// Whether a verdict of this word is in it.
    pub fn allows(self, word: &str) -> bool {
        let all = [Verdict::Pass, Verdict::Warn, Verdict::Unknown, Verdict::Fail];
        all.iter().any(|verdict| verdict.word() == word && (self.best..=self.worst).contains(verdict))
    }
}

/// What the verifier must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The exit code.
    pub exit: i32,
    /// Integrity, authenticity, completeness, freshness.
    pub axes: [(&'static str, Span); 4],
    /// For each fault: classes, of one of which there must be a finding that names one of these logs.
    pub faults: BTreeSet<Fault>,
    /// The logs that findings of integrity and authenticity may accuse.
    pub accused: BTreeSet<String>,
}

/// Something that is not as it was stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The log that it is a fault of.
    pub log: String,
    /// What a finding about it may be called.
    pub classes: &'static [&'static str],
    /// What else it may take down.
    pub harm: Harm,
}

/// What a fault may take down besides integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Nothing: everything that was stored is still there elsewhere.
    None,
    /// The word of a token for its session.
    Token,
    /// Signs of life.
    Life,
    /// Leaves, and whatever follows from them.
    Leaves,
}

/// What the verifier must answer over these directories, of which `None` is not there at all.
pub fn expect(history: &History, directories: &[Option<Image>]) -> Expected {
    let policy = Policy::read(&history.policy);
    let read = |image: Option<&Image>| image.map_or(Shown::Unreadable, |image| view::read(image, &policy));
    let shown: Vec<_> = directories.iter().map(|image| read(image.as_ref())).collect();
    let mut views: Vec<View> = Vec::new();
    let mut faults = BTreeSet::new();
    let mut unreadable = false;
    for (at, shown) in shown.into_iter().enumerate() {
        match shown {
            Shown::Unreadable => unreadable = true,
            Shown::Log(view) if view.faults.is_empty() => views.push(view),
            Shown::Log(view) => {
                faults.extend(view.faults.iter().cloned());
                // A reader may save everything that was there, as far as the model knows.
                if let Shown::Log(original) = view::read(&history.directories[at], &policy) {
                    views.push(View { origin: view.origin, ..original });
                }
            }
        }
    }
    // A directory that holds less than somebody has seen was put back: its collector had it durable before.
    faults.extend(views.iter().filter(|view| join::is_short(history, view)).map(|view| Fault {
        log: view.origin.clone(),
        classes: &["rewritten"],
        harm: Harm::Leaves,
    }));
    let joined = join::join(history, &policy, &views, unreadable);
    let harm = faults.iter().map(|fault| fault.harm).max().unwrap_or(Harm::None);
    let is_sound = faults.is_empty();
    let integrity = if is_sound { Span::exactly(Verdict::Pass) } else { Span::exactly(Verdict::Fail) };
    let mut spans = BTreeMap::from([
        ("integrity", integrity),
        ("authenticity", Span::exactly(Verdict::Pass)),
        ("completeness", Span::exactly(joined.completeness)),
        ("freshness", Span::exactly(joined.freshness)),
    ]);
    let mut worsen = |axis: &str, worst| {
        if let Some(span) = spans.get_mut(axis) {
            *span = span.to(worst);
        }
    };
    match harm {
        Harm::None => {}
        Harm::Token => worsen("authenticity", Verdict::Warn),
        Harm::Life => worsen("freshness", Verdict::Fail),
        Harm::Leaves => {
            for axis in ["authenticity", "completeness", "freshness"] {
                worsen(axis, Verdict::Fail);
            }
        }
    }
    if unreadable {
        // What only that source could hold is unknown, whatever the question.
        for span in spans.values_mut() {
            *span = Span { best: span.best.max(Verdict::Unknown), worst: span.worst.max(Verdict::Unknown) };
        }
    }
    let exit = match (is_sound, joined.completeness, unreadable, joined.freshness) {
        (false, ..) => 1,
        (true, Verdict::Fail, ..) => 2,
        (true, _, true, _) => 4,
        (true, _, false, Verdict::Warn | Verdict::Fail) => 3,
        (true, _, false, Verdict::Pass | Verdict::Unknown) => 0,
    };
    let accused = faults.iter().map(|fault| fault.log.clone()).collect();
    let axes = ["integrity", "authenticity", "completeness", "freshness"].map(|axis| (axis, spans[axis]));
    Expected { exit, axes, faults, accused }
}
