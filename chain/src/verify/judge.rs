//! The judge: takes what sources show, and concludes.
//!
//! The order of calls: [`Judge::source`] for each source; then for each of its logs [`Judge::log`] with all checkpoints
//! that the source has, before any frame; [`Judge::take`] for the log's frames in log order; [`Judge::tile`] and
//! [`Judge::bundle`] for what is served or stored of them; then [`Judge::wanted`] and [`Judge::take_again`] until
//! nothing more is wanted; [`Judge::report`]. Logs can be taken one after the other or interleaved.
//!
//! Owns which log a source shows; leaves are taken in `intake`, their meaning is concluded in `settle`, `join` and
//! `classes`. Invariant: which log it is follows from a signature by a key of the policy, never from a name.

use std::collections::{BTreeMap, HashMap};

use crate::checkpoint::{Checkpoint, Origin};
use crate::digest::Digest;
use crate::id::{LeafIndex, Seq, Time};
use crate::merkle::leaf_hash;
use crate::note::{Note, VerifyNoteError};
use crate::policy::{CheckPolicyError, Policy};

use super::case::Case;
use super::facts::{Facts, Flaw, FlawKind, Head, Place, SourceFacts, SourceId, View, ViewId};
use super::prepare::{Frame, Preparer, Signed};
use super::report::Report;
use super::terms::{SourceKind, Terms};

/// Judges logs and the chains that are spread over them. See the module's words for the order of calls.
#[derive(Debug)]
pub struct Judge {
    pub(super) terms: Terms,
    pub(super) facts: Facts,
    /// Links inside batches, from the second reading.
    pub(super) links: Links,
    /// What is asked for in this round of the second reading: the frame's place, its batch, the positions.
    wanted: BTreeMap<Place, (usize, Vec<Seq>)>,
}

/// Links inside batches, by batch number and by the position that they stand before. `None` cannot be had.
pub(super) type Links = HashMap<usize, BTreeMap<Seq, Option<Digest>>>;

/// What a note turned out to be.
pub(super) enum Opened {
    /// A checkpoint of the policy's log of this number.
    Good(usize, Head),
    /// It is signed by a key of the policy, badly, or what it says is no checkpoint.
    Bad(Option<usize>, String),
    /// No key of the policy signed it.
    Unknown(Option<String>),
}

/// What a reader found between or instead of frames, where it can make no leaf of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Damage<'a> {
    /// The bytes of this leaf's frame, of which nothing can be made; reading goes on after it.
    Lost {
        /// The leaf that they would have been.
        index: LeafIndex,
        /// Where, and what is wrong: for a person.
        note: &'a str,
    },
    /// Bytes that concern no leaf, as a mark; the leaves before and after are whole.
    Between {
        /// The leaf that comes next.
        before: LeafIndex,
        /// Where, and what is wrong: for a person.
        note: &'a str,
    },
}

impl Judge {
    /// Begins a verification.
    pub fn new(terms: Terms) -> Self {
        Self { terms, facts: Facts::default(), links: Links::new(), wanted: BTreeMap::new() }
    }

    /// Names a source, by the label that a person knows it by.
    pub fn source(&mut self, label: &str, kind: SourceKind) -> SourceId {
        let (unreadable, unknown_key) = (Vec::new(), Vec::new());
        self.facts.sources.push(SourceFacts { label: label.to_owned(), kind, unreadable, unknown_key });
        SourceId(self.facts.sources.len() - 1)
    }

    /// Says that a source, or one log of it if its origin is known, cannot be read, and why.
    pub fn unreadable(&mut self, source: SourceId, origin: Option<&str>, why: &str) {
        self.facts.sources[source.0].unreadable.push((origin.filter(is_origin).map(str::to_owned), why.to_owned()));
    }

    /// Opens a log of a source with all checkpoints that the source has of it, the newest first, each with the name
    /// that a person knows it by. `claimed` is the origin that the source gives itself; it is not believed.
    ///
    /// `None` means that its frames cannot be judged: the reason becomes a finding, and the caller goes on.
    pub fn log(&mut self, source: SourceId, claimed: Option<&str>, notes: &[(String, Vec<u8>)]) -> Option<ViewId> {
        let claimed = claimed.filter(is_origin);
        let opened: Vec<_> = notes.iter().map(|(name, note)| (name, open(&self.terms.policy, note))).collect();
        let Some(log) = whose(&self.terms.policy, claimed, opened.iter().map(|(_, opened)| opened)) else {
            let told = opened.iter().find_map(|(_, opened)| match opened {
                Opened::Unknown(origin) => origin.clone(),
                Opened::Good(..) | Opened::Bad(..) => None,
            });
            match told.or_else(|| claimed.map(str::to_owned)) {
                Some(origin) => self.facts.sources[source.0].unknown_key.push(origin),
                None => self.unreadable(source, None, "there is no checkpoint and nothing that names its log"),
            }
            return None;
        };
        let origin = self.terms.policy.logs()[log].origin().to_string();
        let mut view = View::new(source, log, origin.clone(), Vec::new());
        for (name, opened) in opened {
            match opened {
                Opened::Good(of, head) if of == log => view.heads.push(head),
                Opened::Good(of, _) => {
                    let why = format!("it is a checkpoint of {}", self.terms.policy.logs()[of].origin());
                    view.bad_notes.push((name.clone(), why));
                }
                Opened::Bad(_, why) => view.bad_notes.push((name.clone(), why)),
                Opened::Unknown(_) => {
                    view.bad_notes.push((name.clone(), "the log's key did not sign it".into()));
                }
            }
        }
        view.heads.sort_by_key(|head| head.size);
        if view.heads.is_empty() && view.bad_notes.is_empty() {
            self.unreadable(source, Some(&origin), "it has no checkpoint");
            return None;
        }
        self.facts.views.push(view);
        Some(ViewId(self.facts.views.len() - 1))
    }

    /// How many leaves of a view count: those under the largest checkpoint that the source shows. More need not be
    /// read.
    pub fn size(&self, view: ViewId) -> u64 {
        self.facts.view(view).size()
    }

    /// Says that bytes of a view are damaged beyond being a frame.
    pub fn damaged(&mut self, view: ViewId, damage: Damage<'_>) {
        let (index, kind, note) = match damage {
            Damage::Lost { index, note } => (index, FlawKind::Lost, note),
            Damage::Between { before, note } => (before, FlawKind::Between, note),
        };
        self.facts.views[view.0].flaws.push(Flaw { index, kind, note: note.to_owned() });
    }

    /// The frames that are needed a second time: batches that overlap others with other boundaries, whose inner links
    /// have to be compared. Ask again after [`Judge::take_again`], until it is empty.
    pub fn wanted(&mut self) -> Vec<(ViewId, LeafIndex)> {
        self.judge_again();
        let questions = Case::new(&self.terms, &self.facts, &self.links).questions();
        let place = |batch: usize| self.facts.batches[batch].place;
        self.wanted = questions.into_iter().map(|(batch, asked)| (place(batch), (batch, asked))).collect();
        self.wanted.keys().map(|place| (place.view, place.index)).collect()
    }

    /// How many links are asked for in this round.
    #[cfg(test)]
    pub(super) fn asked(&self) -> usize {
        self.wanted.values().map(|(_, seqs)| seqs.len()).sum()
    }

    /// Takes a frame that was [`wanted`](Self::wanted). A frame that is not the one that was shown before answers
    /// nothing, and the report says so.
    pub fn take_again(&mut self, view: ViewId, frame: &Frame<'_>, preparer: &mut Preparer) {
        let Some((batch, asked)) = self.wanted.remove(&Place { view, index: frame.index }) else { return };
        let is_same = self.facts.view(view).leaf(frame.index.get()) == Some(leaf_hash(frame.leaf));
        let found = if is_same { preparer.links(frame, &asked).unwrap_or_default() } else { Vec::new() };
        let answers = self.links.entry(batch).or_default();
        // What has no answer is not asked for again: that there is none is an answer too.
        for seq in asked {
            let link = found.iter().find(|(at, _)| *at == seq).map(|(_, link)| *link);
            answers.insert(seq, link);
        }
    }

    /// Concludes.
    pub fn report(mut self) -> Report {
        self.judge_again();
        let case = Case::new(&self.terms, &self.facts, &self.links).settle();
        super::classes::judge(&case)
    }

    /// Judges the signatures for which the session's key came later than what it signed.
    fn judge_again(&mut self) {
        for (label, kept) in std::mem::take(&mut self.terms.receipts) {
            if let Some(why) = self.take_receipt(None, &kept, label.clone()) {
                self.facts.bad_receipts.push((label, why));
            }
        }
        for batch in &mut self.facts.batches {
            if batch.signed == Signed::KeyUnknown
                && let Some(key) = self.facts.keys.get(&batch.commitment.session)
            {
                batch.signed = if batch.commitment.is_signed_by(key) { Signed::Yes } else { Signed::No };
            }
        }
        for (place, received_at, heartbeat) in std::mem::take(&mut self.facts.unjudged) {
            self.take_heartbeat(place, heartbeat, Signed::KeyUnknown, received_at);
        }
    }
}

/// Whether a source names a log. What is none may be anything, of any length, and is not repeated.
fn is_origin(origin: &&str) -> bool {
    origin.parse::<Origin>().is_ok()
}

/// Reads a note under the policy.
pub(super) fn open(policy: &Policy, bytes: &[u8]) -> Opened {
    let note = match Note::parse(bytes) {
        Ok(note) => note,
        // Without a form there are no signatures either; the first line still names a log whose name no other key has.
        Err(error) => return Opened::Bad(named_by_first_line(policy, bytes), error.to_string()),
    };
    let origin = || Checkpoint::parse(note.text()).ok().map(|checkpoint| checkpoint.origin().to_string());
    match policy.check(&note) {
        Ok(standing) => {
            let log = number_of(policy, standing.log().origin().as_str()).expect("a standing's log is the policy's");
            let witnesses = standing.witnesses().iter().map(|(witness, _)| witness.name().to_owned()).collect();
            let seconds = standing.witnesses().iter().map(|(_, at)| at.get()).max();
            let cosigned_at =
                seconds.map(|at| Time::from_nanos(0).plus_nanos(at.cast_signed().saturating_mul(Time::SECOND)));
            let (size, root) = (standing.checkpoint().size(), standing.checkpoint().root());
            Opened::Good(log, Head { size, root, witnesses, cosigned_at })
        }
        // Witnesses may have signed, the log did not: it was stripped of its signature, or the policy's key is another.
        Err(ref error @ (CheckPolicyError::Note(VerifyNoteError::NoKnownKey(_)) | CheckPolicyError::UnknownLog(_))) => {
            named_by_first_line(policy, bytes)
                .map_or_else(|| Opened::Unknown(origin()), |log| Opened::Bad(Some(log), error.to_string()))
        }
        Err(CheckPolicyError::Note(VerifyNoteError::BadSignature { name, key_id })) => {
            let why = VerifyNoteError::BadSignature { name: name.clone(), key_id }.to_string();
            Opened::Bad(number_of(policy, name.as_str()).or_else(|| number_of(policy, &origin()?)), why)
        }
        Err(error @ CheckPolicyError::Text(_)) => {
            Opened::Bad(origin().and_then(|origin| number_of(policy, &origin)), error.to_string())
        }
    }
}

/// The log of the policy that a note's first line names, whatever is left of the rest. A log of ours carries its key's
/// fingerprint in its name: if that is the key that was given, no other key can sign for it, and the note is a checkpoint
/// of it that was changed or stripped of its signatures.
fn named_by_first_line(policy: &Policy, bytes: &[u8]) -> Option<usize> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let log = number_of(policy, str::from_utf8(line).ok()?)?;
    let named = &policy.logs()[log];
    named.origin().is_of_key(named.key().public_key()).then_some(log)
}

/// The number of a log in the policy.
pub(super) fn number_of(policy: &Policy, origin: &str) -> Option<usize> {
    policy.logs().iter().position(|log| log.origin().as_str() == origin)
}

/// Whose log a source shows: the log that signed most of its checkpoints; without a good one, the log that a badly
/// signed one, or the source itself, names. Notes that no key of the policy signed at all name nobody.
fn whose<'a>(
    policy: &Policy,
    claimed: Option<&str>,
    opened: impl Iterator<Item = &'a Opened> + Clone,
) -> Option<usize> {
    let mut good: HashMap<usize, usize> = HashMap::new();
    for note in opened.clone() {
        if let Opened::Good(log, _) = note {
            *good.entry(*log).or_default() += 1;
        }
    }
    let claimed = claimed.and_then(|origin| number_of(policy, origin));
    let best = good.iter().max_by_key(|(log, count)| (**count, Some(**log) == claimed, std::cmp::Reverse(**log)));
    if let Some((log, _)) = best {
        return Some(*log);
    }
    let bad = opened.clone().filter_map(|note| match note {
        Opened::Bad(log, _) => Some(*log),
        Opened::Good(..) | Opened::Unknown(_) => None,
    });
    let mut bad = bad.peekable();
    let none = opened.count() == 0;
    match bad.peek() {
        Some(_) => bad.flatten().next().or(claimed),
        None if none => claimed,
        None => None,
    }
}
