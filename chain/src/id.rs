//! The names of things: chains, sessions, logs, positions and times.
//!
//! Newtypes with private fields, so that a chain's id is never passed for a session's, nor a record's position
//! in its chain for a leaf's position in its log.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, ParseDigestError};

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Digest);

        impl $name {
            /// Takes a digest as this id.
            pub const fn new(digest: Digest) -> Self {
                Self(digest)
            }

            /// The digest.
            pub const fn digest(&self) -> &Digest {
                &self.0
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(s: &str) -> Result<Self, ParseDigestError> {
                s.parse().map(Self)
            }
        }
    };
}

digest_id! {
    /// A chain: `H[indelible/genesis/v1](genesis)`.
    ChainId
}
digest_id! {
    /// A session: `H[indelible/session/v1](session)`.
    SessionId
}
digest_id! {
    /// A collector's log: `SHA256(origin)`.
    LogId
}

macro_rules! position {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
        pub struct $name(u64);

        impl $name {
            /// The first position.
            pub const ZERO: Self = Self(0);

            /// Takes a number as this position.
            pub const fn new(n: u64) -> Self {
                Self(n)
            }

            /// The number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The position `n` further on; at the end of the number range it stays there.
            #[must_use]
            pub const fn plus(self, n: u64) -> Self {
                Self(self.0.saturating_add(n))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

position! {
    /// A record's position in its chain, from 0.
    Seq
}
position! {
    /// A leaf's position in its log, from 0.
    LeafIndex
}

/// A time: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct Time(i64);

impl Time {
    /// Nanoseconds in a second.
    pub const SECOND: i64 = 1_000_000_000;

    /// Takes nanoseconds since the epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn nanos(self) -> i64 {
        self.0
    }

    /// `self − earlier` in nanoseconds, at the ends of the range where it would not fit.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The time `nanos` later.
    #[must_use]
    pub const fn plus_nanos(self, nanos: i64) -> Self {
        Self(self.0.saturating_add(nanos))
    }
}

/// A chain's head: its last link, and the position of the record that would come next.
///
/// The head of a chain without records is its own id and position 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Head {
    /// The position of the next record, which is also the number of records so far.
    pub next_seq: Seq,
    /// The link of the last record, or the chain's id.
    pub link: Digest,
}

impl Head {
    /// The head of `chain` before its first record.
    pub const fn start_of(chain: ChainId) -> Self {
        Self { next_seq: Seq::ZERO, link: *chain.digest() }
    }
}
