//! What a witness has seen of one log, and what a request makes of it.
//!
//! Invariant: a head only grows, and only by checkpoints that the log signed and that extend the one before.

use super::{AddCheckpoint, Head, Refusal};
use crate::checkpoint::{Checkpoint, OpenCheckpointError, Origin};
use crate::note::{Note, VerifierKey};

/// A log as a witness knows it: its name, its key, and the largest tree of it that was cosigned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    origin: Origin,
    key: VerifierKey,
    head: Head,
    note: Option<Note>,
}

/// A request whose checkpoint the log has signed: what that costs to see needs no memory, and so no lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<'r> {
    request: &'r AddCheckpoint,
    checkpoint: Checkpoint,
}

/// What becomes of a log by a request that is good; of no effect until [`Seen::take`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    checkpoint: Checkpoint,
    note: Note,
    is_new: bool,
}

impl Seen {
    /// A log of which nothing was seen yet, whose key has its origin as name.
    pub fn new(key: VerifierKey) -> Self {
        Self::named(key.name().clone().into(), key)
    }

    /// The same for a log whose key has another name than its origin.
    pub const fn named(origin: Origin, key: VerifierKey) -> Self {
        Self { origin, key, head: Head::EMPTY, note: None }
    }

    /// As it was before: the head, and the note that it is out of, if that is kept. The signatures are not judged again.
    #[must_use]
    pub fn with(self, head: Head, note: Option<Note>) -> Self {
        Self { head, note, ..self }
    }

    /// As the note says in which its checkpoint was kept; the log must have signed it.
    pub fn restored(self, note: &Note) -> Result<Self, OpenCheckpointError> {
        let checkpoint = Checkpoint::open_as(note, &self.key, &self.origin)?;
        let head = Head { size: checkpoint.size(), root: checkpoint.root() };
        Ok(self.with(head, Some(note.clone())))
    }

    /// The log's name.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// What its checkpoints are signed with.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// The largest tree that was cosigned; [`Head::EMPTY`] before the first.
    pub const fn head(&self) -> Head {
        self.head
    }

    /// The checkpoint of that tree, as it is kept; none before the first.
    pub const fn note(&self) -> Option<&Note> {
        self.note.as_ref()
    }

    /// Whether the log signed what a request holds.
    pub fn signed<'r>(&self, request: &'r AddCheckpoint) -> Result<Signed<'r>, Refusal> {
        let opened = Checkpoint::open_as(&request.checkpoint, &self.key, &self.origin);
        Ok(Signed { request, checkpoint: opened.map_err(Refusal::NotSigned)? })
    }

    /// What a signed request makes of the log, if it extends what was seen. It must be one that this log [signed].
    ///
    /// [signed]: Self::signed
    pub fn step(&self, Signed { request, checkpoint }: Signed<'_>) -> Result<Step, Refusal> {
        request.extends(self.head, &checkpoint)?;
        let head = Head { size: checkpoint.size(), root: checkpoint.root() };
        let is_new = self.note.is_none() || self.head != head;
        Ok(Step { note: only_by(&self.key, &request.checkpoint), checkpoint, is_new })
    }

    /// A step that is durable, where it has to be.
    pub fn take(&mut self, step: Step) {
        self.head = step.head();
        self.note = Some(step.note);
    }
}

impl Step {
    /// What is cosigned.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The tree of which it is.
    pub const fn head(&self) -> Head {
        Head { size: self.checkpoint.size(), root: self.checkpoint.root() }
    }

    /// The note to keep: the log's own signature alone, since others' are their affair and would take room.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// The same, to add lines to.
    pub const fn note_mut(&mut self) -> &mut Note {
        &mut self.note
    }

    /// Whether anything is to be made durable before the answer leaves.
    pub const fn is_new(&self) -> bool {
        self.is_new
    }
}

/// The note with the signature of this key alone. It was verified, so there is one.
fn only_by(key: &VerifierKey, note: &Note) -> Note {
    let own = note.signatures().iter().find(|line| line.name() == key.name() && line.key_id() == key.id());
    let own = own.expect("a note that was verified under a key has a line by it").clone();
    Note::new(note.text(), vec![own]).expect("a text that was read is one, and one line is not too many")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{head, log, request};
    use super::*;
    use crate::cosignature::{Cosigner, UnixSeconds};
    use crate::note::NoteSigner;

    fn step(seen: &Seen, request: &AddCheckpoint) -> Result<Step, Refusal> {
        seen.step(seen.signed(request)?)
    }

    #[test]
    fn a_step_counts_once_it_is_taken_and_only_a_larger_tree_has_to_be_stored() {
        let mut seen = Seen::new(log().verifier_key().clone());
        let empty = step(&seen, &request(0, 0)).unwrap();
        assert!(empty.is_new(), "the first checkpoint is news, even of an empty tree");
        let first = step(&seen, &request(0, 5)).unwrap();
        assert_eq!((seen.head(), seen.note()), (Head::EMPTY, None));
        seen.take(first);
        assert_eq!(seen.head(), head(5));
        let again = step(&seen, &request(5, 5)).unwrap();
        assert!(!again.is_new());
        seen.take(again);
        assert!(step(&seen, &request(5, 9)).unwrap().is_new());
        assert_eq!(step(&seen, &request(3, 9)).unwrap_err().known_size(), Some(5));
    }

    #[test]
    fn of_a_notes_signatures_the_logs_own_is_kept_and_what_is_kept_can_be_read_again() {
        let mut seen = Seen::new(log().verifier_key().clone());
        let mut asked = request(0, 5);
        let other = Cosigner::new("w".parse().unwrap(), &[8; 32]);
        let checkpoint = Checkpoint::parse(asked.checkpoint.text()).unwrap();
        asked.checkpoint.add(other.cosign(&checkpoint, UnixSeconds::new(7).unwrap()).unwrap()).unwrap();
        let step = step(&seen, &asked).unwrap();
        assert_eq!(step.note(), &request(0, 5).checkpoint);
        seen.take(step);
        let again = Seen::new(log().verifier_key().clone()).restored(seen.note().unwrap()).unwrap();
        assert_eq!(again, seen);
        let stranger = NoteSigner::new("log".parse().unwrap(), &[4; 32]);
        assert!(Seen::new(stranger.verifier_key().clone()).restored(seen.note().unwrap()).is_err());
    }

    #[test]
    fn a_log_whose_key_has_another_name_is_known_by_its_origin() {
        let key = NoteSigner::new("keys.example/a".parse().unwrap(), &[3; 32]);
        let text = format!("{}an extension\n", request(0, 5).checkpoint.text());
        let asked = AddCheckpoint { checkpoint: key.sign_note(text).unwrap(), ..request(0, 5) };
        let named = |origin: &str| Seen::named(origin.parse().unwrap(), key.verifier_key().clone());
        let step = step(&named("log"), &asked).unwrap();
        assert_eq!(step.checkpoint().extensions(), "an extension\n");
        assert_eq!(named("other").signed(&asked).unwrap_err().status(), 403);
        assert_eq!(Seen::new(key.verifier_key().clone()).signed(&asked).unwrap_err().status(), 403);
    }
}
