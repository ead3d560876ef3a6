//! What a witness is asked and how it decides: the body and the answers of C2SP tlog-witness `add-checkpoint`.
//!
//! ```text
//! POST <witness>/add-checkpoint
//! old <size>
//! <base64 of a hash of the consistency proof>     (one a line, at most 63)
//!
//! <the signed checkpoint, a note>
//! ```
//!
//! | answer | when |
//! | --- | --- |
//! | 200 | the checkpoint extends the last one seen: the lines of the witness' cosignatures |
//! | 400 | no request of that form, or old is greater than the checkpoint's size |
//! | 403 | no signature by the log's key, or a bad one |
//! | 404 | the origin is of no log that the witness knows |
//! | 409 | old is not the size that the witness has (body: that size, `text/x.tlog.size`), or that size has another root |
//! | 422 | the proof does not hold |
//!
//! Every witness is this, whatever it remembers in: [`call`] reads what is asked, [`Seen`] is what is known of a log and
//! what a request makes of it, [`Answer`] what is said. Storing is the caller's, who makes a [`Step`] durable before the
//! answer leaves: check and store are one step. A refusal shows nothing against the log, since anyone may send any proof and any old checkpoint, but for
//! one: two roots of one size, both signed by the log ([`Refusal::is_equivocation`]).

mod answer;
mod seen;

use std::fmt;

use crate::checkpoint::{Checkpoint, CheckpointError, OpenCheckpointError, Origin};
use crate::digest::Digest;
use crate::merkle::{EMPTY_ROOT, MAX_PROOF_HASHES, ProofError, verify_consistency};
use crate::note::text::{digest_from_base64, parse_decimal, to_base64};
use crate::note::{MAX_NOTE_BYTES, Note, NoteError, VerifierKey};

pub use answer::{Answer, Call, call};
pub use seen::{Seen, Signed, Step};

/// The longest request, in bytes: the line with the old size, the proof, an empty line, the note.
pub const MAX_ADD_CHECKPOINT_BYTES: usize = 32 + MAX_PROOF_HASHES * 45 + MAX_NOTE_BYTES;

/// The media type of the body of a 409 that says which size the witness has.
pub const SIZE_MEDIA_TYPE: &str = "text/x.tlog.size";

/// A request to cosign a checkpoint; read, not yet believed.
///
/// ```
/// use indelible_chain::witness::AddCheckpoint;
/// let text = "\
/// old 1
/// oa8DAjHKL9IOzzDFKUuvj2kyHQm7FqxTiFzNF6OFKA0=
///
/// example.com/log
/// 2
/// OuW/pX/6dp2WNKhvOiYoaqaf1Q6gWF+AYfkCrV8DJ/c=
///
/// — example.com/log cC88cM6R+eP4n8gLChhDXODJk9kAWpXhVXjV4YYLVlxAFBi1vj/ayydHa4ar8QzR51Edilf9RAFJ3GjjFZ7jEZklog4=
/// ";
/// let request = AddCheckpoint::parse(text.as_bytes()).unwrap();
/// assert_eq!((request.old, request.proof.len()), (1, 1));
/// assert_eq!(request.origin().unwrap().as_str(), "example.com/log");
/// assert_eq!(request.to_string(), text);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size of the checkpoint that the proof begins at: the last one that the witness has, as far as the log knows.
    pub old: u64,
    /// The consistency proof, at most [`MAX_PROOF_HASHES`] hashes.
    pub proof: Vec<Digest>,
    /// The new checkpoint with the log's signature.
    pub checkpoint: Note,
}

/// Why bytes are no such request: all of them are answered 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddCheckpointError {
    /// Longer than [`MAX_ADD_CHECKPOINT_BYTES`].
    #[error("a request of {0} bytes is over the limit of {MAX_ADD_CHECKPOINT_BYTES}")]
    TooLong(usize),
    /// Not UTF-8.
    #[error("the request is not UTF-8")]
    Utf8,
    /// No line `old <size>`.
    #[error("line 1 is not `old` and a size")]
    Old,
    /// A line of the proof is none. Counted from 1 in the request.
    #[error("line {0} is no hash of a proof: expected 32 bytes in canonical base64")]
    Hash(usize),
    /// More than [`MAX_PROOF_HASHES`] hashes.
    #[error("a consistency proof has at most {MAX_PROOF_HASHES} hashes")]
    TooManyHashes,
    /// There is no empty line after the proof.
    #[error("there is no empty line between the proof and the checkpoint")]
    NoCheckpoint,
    /// What follows is no note.
    #[error("the checkpoint is no signed note")]
    Note(#[source] NoteError),
}

impl AddCheckpoint {
    /// Reads a whole body.
    pub fn parse(bytes: &[u8]) -> Result<Self, AddCheckpointError> {
        if bytes.len() > MAX_ADD_CHECKPOINT_BYTES {
            return Err(AddCheckpointError::TooLong(bytes.len()));
        }
        let text = str::from_utf8(bytes).map_err(|_| AddCheckpointError::Utf8)?;
        let (first, mut rest) = text.split_once('\n').ok_or(AddCheckpointError::Old)?;
        let old = first.strip_prefix("old ").and_then(parse_decimal).ok_or(AddCheckpointError::Old)?;
        let mut proof = Vec::new();
        loop {
            let (line, after) = rest.split_once('\n').ok_or(AddCheckpointError::NoCheckpoint)?;
            rest = after;
            if line.is_empty() {
                break;
            }
            if proof.len() == MAX_PROOF_HASHES {
                return Err(AddCheckpointError::TooManyHashes);
            }
            proof.push(digest_from_base64(line).ok_or(AddCheckpointError::Hash(proof.len() + 2))?);
        }
        let checkpoint = Note::parse(rest.as_bytes()).map_err(AddCheckpointError::Note)?;
        Ok(Self { old, proof, checkpoint })
    }

    /// The log that the checkpoint says it is of: which key to judge it by. Not yet believed.
    pub fn origin(&self) -> Result<Origin, CheckpointError> {
        Checkpoint::parse(self.checkpoint.text()).map(|checkpoint| checkpoint.origin().clone())
    }

    /// Whether the witness may cosign: the checkpoint, if the log with this key signed it and it extends `seen`, the last
    /// one that the witness cosigned ([`Head::EMPTY`] before the first).
    ///
    /// The same checkpoint again is good, too: its proof is empty.
    pub fn judge(&self, log: &VerifierKey, seen: Head) -> Result<Checkpoint, Refusal> {
        let checkpoint = Checkpoint::open(&self.checkpoint, log).map_err(Refusal::NotSigned)?;
        self.extends(seen, &checkpoint)?;
        Ok(checkpoint)
    }

    /// Whether `checkpoint`, the one in the request, extends `seen`. That the log signed it is the caller's to have seen.
    fn extends(&self, seen: Head, checkpoint: &Checkpoint) -> Result<(), Refusal> {
        let (size, root) = (checkpoint.size(), checkpoint.root());
        if self.old > size {
            return Err(Refusal::Shrinks { old: self.old, new: size });
        }
        // Two roots of one size show what the log did, whatever the rest of the request is.
        if size == seen.size && root != seen.root {
            return Err(Refusal::OtherRoot { size, seen: seen.root, found: root });
        }
        if self.old != seen.size {
            return Err(Refusal::OtherSize { seen: seen.size, old: self.old });
        }
        verify_consistency(seen.size, seen.root, size, root, &self.proof).map_err(Refusal::Proof)
    }
}

impl fmt::Display for AddCheckpoint {
    /// The body.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "old {}", self.old)?;
        for hash in &self.proof {
            writeln!(f, "{}", to_base64(hash.as_bytes()))?;
        }
        write!(f, "\n{}", self.checkpoint)
    }
}

/// What a witness remembers of a log: the largest tree that it cosigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Digest,
}

impl Head {
    /// Of a log that was never seen.
    pub const EMPTY: Self = Self { size: 0, root: EMPTY_ROOT };
}

/// Why a checkpoint is not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The log did not sign it.
    #[error("the checkpoint is not signed by the key that this log is known by")]
    NotSigned(#[source] OpenCheckpointError),
    /// The proof begins after the checkpoint.
    #[error("old is {old}, which is more than the {new} leaves of the checkpoint")]
    Shrinks {
        /// What the request says.
        old: u64,
        /// The checkpoint's size.
        new: u64,
    },
    /// The proof does not begin at what the witness has.
    #[error("the last checkpoint that was cosigned has {seen} leaves, the proof begins at {old}")]
    OtherSize {
        /// The size that the witness has.
        seen: u64,
        /// What the request says.
        old: u64,
    },
    /// The log signed two roots for one size.
    #[error("the log has signed two roots for {size} leaves: {seen}, which was cosigned, and {found}")]
    OtherRoot {
        /// The size of both.
        size: u64,
        /// The root that was cosigned.
        seen: Digest,
        /// The other root.
        found: Digest,
    },
    /// The proof does not show that the checkpoint extends the last one.
    #[error("the proof does not hold")]
    Proof(#[source] ProofError),
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(&self) -> u16 {
        match self {
            Self::NotSigned(_) => 403,
            Self::Shrinks { .. } => 400,
            Self::OtherSize { .. } | Self::OtherRoot { .. } => 409,
            Self::Proof(_) => 422,
        }
    }

    /// The size that the answer's body states, with [`SIZE_MEDIA_TYPE`].
    pub const fn known_size(&self) -> Option<u64> {
        match self {
            Self::OtherSize { seen, .. } => Some(*seen),
            Self::OtherRoot { size, .. } => Some(*size),
            Self::NotSigned(_) | Self::Shrinks { .. } | Self::Proof(_) => None,
        }
    }

    /// Whether the log has by itself shown that it is no append-only log.
    pub const fn is_equivocation(&self) -> bool {
        matches!(self, Self::OtherRoot { .. })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::{MemoryHashes, leaf_hash, prove_consistency, root_at};
    use crate::note::NoteSigner;

    pub(super) fn log() -> NoteSigner {
        NoteSigner::new("log".parse().unwrap(), &[3; 32])
    }

    fn hashes(size: u64) -> MemoryHashes {
        let mut hashes = MemoryHashes::new();
        (0..size).for_each(|n| hashes.push(leaf_hash(&n.to_be_bytes())));
        hashes
    }

    pub(super) fn head(size: u64) -> Head {
        Head { size, root: root_at(size, &hashes(size)).unwrap() }
    }

    fn signed(signer: &NoteSigner, Head { size, root }: Head) -> Note {
        Checkpoint::new("log".parse().unwrap(), size, root).sign(signer).unwrap()
    }

    /// What an honest log sends.
    pub(super) fn request(old: u64, new: u64) -> AddCheckpoint {
        let proof = prove_consistency(old, new, &hashes(new)).unwrap();
        AddCheckpoint { old, proof, checkpoint: signed(&log(), head(new)) }
    }

    fn judge(request: &AddCheckpoint, seen: Head) -> Result<Head, Refusal> {
        let checkpoint = request.judge(log().verifier_key(), seen)?;
        Ok(Head { size: checkpoint.size(), root: checkpoint.root() })
    }

    #[test]
    fn a_log_that_only_grows_is_cosigned_at_every_step() {
        let mut seen = Head::EMPTY;
        for new in [0, 1, 1, 2, 3, 8, 8, 13, 100] {
            seen = judge(&request(seen.size, new), seen).unwrap();
            assert_eq!(seen, head(new));
        }
    }

    #[test]
    fn each_refusal_has_the_status_of_the_table() {
        let other = Head { size: 5, root: Digest::sha256(b"other") };
        let other_root = AddCheckpoint { checkpoint: signed(&log(), other), ..request(5, 5) };
        let unsigned = AddCheckpoint {
            checkpoint: NoteSigner::new("log".parse().unwrap(), &[4; 32])
                .sign_note(request(0, 5).checkpoint.text())
                .unwrap(),
            ..request(0, 5)
        };
        let no_proof = AddCheckpoint { proof: Vec::new(), ..request(5, 9) };
        let proof_from_nothing = AddCheckpoint { proof: vec![EMPTY_ROOT], ..request(0, 5) };
        let empty = Head { size: 0, root: Digest::sha256(b"other") };
        let rooted = AddCheckpoint { checkpoint: signed(&log(), empty), ..request(0, 0) };
        let shrinks = AddCheckpoint { old: 6, ..request(5, 5) };
        for (request, seen, status, size) in [
            (&unsigned, Head::EMPTY, 403, None),
            (&shrinks, head(5), 400, None),
            (&request(3, 9), head(5), 409, Some(5)),
            (&request(7, 9), head(5), 409, Some(5)),
            (&request(2, 4), head(5), 409, Some(5)),
            (&other_root, head(5), 409, Some(5)),
            (&no_proof, head(5), 422, None),
            (&proof_from_nothing, Head::EMPTY, 422, None),
            (&rooted, Head::EMPTY, 409, Some(0)),
        ] {
            let refusal = judge(request, seen).unwrap_err();
            assert_eq!((refusal.status(), refusal.known_size()), (status, size), "{refusal}");
        }
        assert!(judge(&other_root, head(5)).unwrap_err().is_equivocation());
        assert!(judge(&AddCheckpoint { old: 2, ..other_root }, head(5)).unwrap_err().is_equivocation());
        assert!(!judge(&no_proof, head(5)).unwrap_err().is_equivocation());
    }

    #[test]
    fn a_checkpoint_of_another_origin_is_not_signed_by_this_log() {
        let other = NoteSigner::new("other".parse().unwrap(), &[3; 32]);
        let forged = other.sign_note(request(0, 5).checkpoint.text()).unwrap();
        let forged = AddCheckpoint { checkpoint: forged, ..request(0, 5) };
        assert_eq!(judge(&forged, Head::EMPTY).unwrap_err().status(), 403);
    }

    #[test]
    fn bodies_that_are_no_request_are_refused_with_what_is_wrong() {
        let note = request(0, 1).checkpoint.to_string();
        let hash = to_base64(EMPTY_ROOT.as_bytes());
        let parse = |text: &str| AddCheckpoint::parse(text.as_bytes()).unwrap_err();
        for text in ["", "old", "old 1", "old \n\n", "old 01\n\n", "old -1\n\n", "new 1\n\n", "old 1 \n\n"] {
            assert_eq!(parse(&format!("{text}{note}").replace("\nlog\n", "")), AddCheckpointError::Old, "{text:?}");
        }
        assert_eq!(parse(&format!("old 1\n{hash}\nAAAA\n\n{note}")), AddCheckpointError::Hash(3));
        assert_eq!(parse(&format!("old 1\n{hash}")), AddCheckpointError::NoCheckpoint);
        assert!(matches!(parse(&format!("old 1\n\n{hash}\n")), AddCheckpointError::Note(_)));
        let long = format!("{hash}\n").repeat(MAX_PROOF_HASHES);
        assert!(AddCheckpoint::parse(format!("old 1\n{long}\n{note}").as_bytes()).is_ok());
        assert_eq!(parse(&format!("old 1\n{long}{hash}\n\n{note}")), AddCheckpointError::TooManyHashes);
        let huge = "x".repeat(MAX_ADD_CHECKPOINT_BYTES + 1);
        assert_eq!(parse(&huge), AddCheckpointError::TooLong(huge.len()));
    }

    proptest! {
        #[test]
        fn a_body_that_is_read_is_written_again(at in 0..200usize, with in "\\PC|\n|") {
            let mut text = request(3, 9).to_string();
            let at = text.char_indices().map(|(at, _)| at).nth(at).unwrap();
            let end = at + text[at..].chars().next().unwrap().len_utf8();
            text.replace_range(at..end, &with);
            if let Ok(request) = AddCheckpoint::parse(text.as_bytes()) {
                prop_assert_eq!(request.to_string(), text);
            }
        }

        #[test]
        fn a_witness_never_cosigns_two_histories(old in 0..20u64, seen in 0..20u64, new in 0..20u64) {
            let request = request(old.min(new), new);
            let fork = Head { root: Digest::sha256(b"another history"), ..head(seen) };
            prop_assert_eq!(judge(&request, head(seen)).is_ok(), seen == old.min(new));
            prop_assert!(seen == 0 || judge(&request, fork).is_err());
        }

        #[test]
        fn reading_any_bytes_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = AddCheckpoint::parse(&bytes);
        }
    }
}
