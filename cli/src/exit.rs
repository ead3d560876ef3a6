//! How a command ends.
//!
//! The codes are those of the report: 5 usage, 1 tampering, 2 something is missing, 4 could not verify, 3 stale or
//! unclosed, 0. A mistake of the user is one line on stderr and 5; what the machine or a source made impossible is 4.

use crate::source::http::FetchError;
use crate::source::{OpenError, SourceError};
use crate::terminal::say;
use crate::terms::FlagError;

/// A wrong command line, or a file that a flag names and that cannot be used.
pub const USAGE: u8 = 5;
/// Tampering.
pub const TAMPERED: u8 = 1;
/// Something is missing.
pub const MISSING: u8 = 2;
/// Could not verify.
pub const UNVERIFIED: u8 = 4;

/// The one of two codes that comes first: 1 before 2 before 4 before 3 before 0.
pub fn worse(one: u8, other: u8) -> u8 {
    const ORDER: [u8; 6] = [USAGE, TAMPERED, MISSING, UNVERIFIED, 3, 0];
    let place = |code| ORDER.iter().position(|of| *of == code);
    if place(one) <= place(other) { one } else { other }
}

/// Why a command has no result.
#[derive(Debug)]
pub enum CommandError {
    /// The user's mistake.
    Usage(String),
    /// Something else.
    Failed(anyhow::Error),
}

/// The code of a command whose outcome is `code`, when its output came through or did not: what was found to be wrong is
/// told by the code even if nobody could read it, and what was found to be well has not been shown.
pub fn unless_shown(code: u8, shown: std::io::Result<()>) -> u8 {
    let Err(e) = shown else { return code };
    if e.kind() != std::io::ErrorKind::BrokenPipe {
        say(format_args!("the output could not be written: {e}"));
    }
    if matches!(code, TAMPERED | MISSING) { code } else { UNVERIFIED }
}

/// Whether the reader of our output has gone away.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let mut io = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    io.any(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}

impl From<FlagError> for CommandError {
    fn from(error: FlagError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<anyhow::Error> for CommandError {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl OpenError {
    /// Whether the command line is at fault, and not what it names.
    pub const fn is_usage(&self) -> bool {
        match self {
            Self::Archive(_) | Self::NoCa(_) => true,
            Self::Source(SourceError::Fetch(error)) => {
                matches!(error, FetchError::Url { .. } | FetchError::File { .. })
            }
            Self::Source(SourceError::Read(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn output_that_is_lost_hides_no_tampering_and_no_loss() {
        for (code, without) in [(0, 4), (1, 1), (2, 2), (3, 4), (4, 4)] {
            assert_eq!(unless_shown(code, Ok(())), code);
            assert_eq!(unless_shown(code, Err(ErrorKind::BrokenPipe.into())), without);
            assert_eq!(unless_shown(code, Err(ErrorKind::StorageFull.into())), without);
        }
    }

    #[test]
    fn of_two_codes_the_first_that_applies_counts_and_not_the_larger_one() {
        for (one, other, counts) in [(4, 1, 1), (2, 1, 1), (4, 2, 2), (3, 4, 4), (3, 0, 3), (0, 4, 4), (5, 1, 5)] {
            assert_eq!((worse(one, other), worse(other, one)), (counts, counts));
        }
    }
}
