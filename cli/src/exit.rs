//! How a command ends.
//!
//! The codes are those of the report: 5 usage, 1 tampering, 2 something is missing, 4 could not verify, 3 stale or
//! unclosed, 0. A mistake of the user is one line on stderr and 5; what the machine or a source made impossible is 4.

use crate::source::http::FetchError;
use crate::source::{OpenError, SourceError};
use crate::terms::FlagError;

/// A wrong command line, or a file that a flag names and that cannot be used.
pub const USAGE: u8 = 5;
/// Tampering.
pub const TAMPERED: u8 = 1;
/// Could not verify.
pub const UNVERIFIED: u8 = 4;

/// Why a command has no result.
#[derive(Debug)]
pub enum CommandError {
    /// The user's mistake.
    Usage(String),
    /// Something else.
    Failed(anyhow::Error),
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
