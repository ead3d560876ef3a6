//! What a witness is called with and what it answers, as methods, paths, statuses and texts.
//!
//! ```text
//! POST /add-checkpoint             C2SP tlog-witness
//! GET  /<hex log_id>/checkpoint    the largest checkpoint that was cosigned, with the cosignature; log_id = SHA256(origin)
//! ```

use std::error::Error;
use std::fmt;

use super::{Refusal, SIZE_MEDIA_TYPE};
use crate::checkpoint::Origin;
use crate::id::LogId;
use crate::note::{Note, NoteSignature};

/// The media type of everything that is for people, and of notes.
const TEXT: &str = "text/plain; charset=utf-8";
/// What there is to ask.
const CALLS: &str = "POST /add-checkpoint, GET /<hex log_id>/checkpoint\n";

/// What a witness is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// To cosign a checkpoint: the body is a request.
    Add,
    /// The largest checkpoint of a log that it cosigned.
    Checkpoint(LogId),
}

/// An answer: a status, the media type of its body, and the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The media type.
    pub media_type: &'static str,
    /// The body.
    pub body: String,
}

/// Which call a method and a path are.
///
/// ```
/// use indelible_chain::witness::{Call, call};
/// assert_eq!(call("POST", "/add-checkpoint"), Ok(Call::Add));
/// assert_eq!(call("PUT", "/add-checkpoint").unwrap_err().status, 405);
/// assert_eq!(call("GET", "/nothing").unwrap_err().status, 404);
/// ```
pub fn call(method: &str, path: &str) -> Result<Call, Answer> {
    let log = || path.strip_prefix('/')?.strip_suffix("/checkpoint")?.parse().ok();
    match method {
        "POST" if path == "/add-checkpoint" => Ok(Call::Add),
        "GET" => log().map(Call::Checkpoint).ok_or_else(|| Answer::text(404, CALLS)),
        _ => Err(Answer::text(405, CALLS)),
    }
}

impl Answer {
    /// A text for people.
    pub fn text(status: u16, body: impl Into<String>) -> Self {
        Self { status, media_type: TEXT, body: body.into() }
    }

    /// The request cannot be read.
    pub fn malformed(error: &dyn Error) -> Self {
        Self::text(400, format!("{}\n", Causes(error)))
    }

    /// The log is none that the witness knows. `logs` says of which logs it is the witness.
    pub fn unknown(origin: &Origin, logs: &str) -> Self {
        Self::text(404, format!("{origin} is no log {logs}\n"))
    }

    /// It is not cosigned, and why.
    pub fn refused(refusal: &Refusal) -> Self {
        match refusal.known_size() {
            Some(size) => Self { status: refusal.status(), media_type: SIZE_MEDIA_TYPE, body: format!("{size}\n") },
            None => Self::text(refusal.status(), format!("{}\n", Causes(refusal))),
        }
    }

    /// It is cosigned, by this line.
    pub fn cosigned(line: &NoteSignature) -> Self {
        Self::text(200, format!("{line}\n"))
    }

    /// The largest checkpoint of a log; none if it has not cosigned any.
    pub fn checkpoint(note: Option<&Note>) -> Self {
        note.map_or_else(
            || Self::text(404, "no checkpoint of this log was cosigned\n"),
            |note| Self::text(200, note.to_string()),
        )
    }
}

/// An error with its causes, on one line.
struct Causes<'a>(&'a dyn Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut next = self.0.source();
        while let Some(error) = next {
            write!(f, ": {error}")?;
            next = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merkle::{EMPTY_ROOT, ProofError};

    #[test]
    fn only_the_two_calls_are_answered() {
        let log = "ab".repeat(32);
        assert_eq!(call("GET", &format!("/{log}/checkpoint")), Ok(Call::Checkpoint(log.parse().unwrap())));
        for (method, path, status) in [
            ("GET", format!("/{}/checkpoint", log.to_uppercase()), 404),
            ("GET", format!("/{log}/checkpoint/"), 404),
            ("GET", format!("{log}/checkpoint"), 404),
            ("GET", "/add-checkpoint".into(), 404),
            ("POST", format!("/{log}/checkpoint"), 405),
            ("POST", "/add-checkpoint/".into(), 405),
            ("DELETE", format!("/{log}/checkpoint"), 405),
        ] {
            assert_eq!(call(method, &path).unwrap_err().status, status, "{method} {path}");
        }
    }

    #[test]
    fn a_conflict_is_the_size_alone_and_other_refusals_say_why() {
        let other = Refusal::OtherRoot { size: 7, seen: EMPTY_ROOT, found: EMPTY_ROOT };
        assert_eq!(Answer::refused(&other), Answer { status: 409, media_type: SIZE_MEDIA_TYPE, body: "7\n".into() });
        let proof = Answer::refused(&Refusal::Proof(ProofError::Shrinks { old: 9, new: 8 }));
        assert!(proof.status == 422 && proof.body.starts_with("the proof does not hold: "), "{}", proof.body);
    }
}
