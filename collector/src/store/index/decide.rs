//! What becomes of an item: stored, known already, or refused.
//!
//! Owns the rules of the write interface that depend on what the log holds (section 5 of the format): an item that is
//! known gets its first receipt again; a batch needs its session and chain in this log, both of one pod; one that
//! contradicts a stored one where ends coincide is stored as well, with statement 7, up to a limit. Pure: everything
//! that is known comes in, a [`Decision`] comes out, and nothing is ever changed or removed.

use indelible_chain::batch::Commitment;
use indelible_chain::digest::Digest;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, LeafIndex, Seq, SessionId, Time};
use indelible_chain::leaf::{Attestation, Attested};

use super::table::Held;
use crate::limits::CONFLICTS_PER_CHAIN;
use crate::store::{AppendError, KnownChain, KnownSession};

/// Where a known item stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Placed {
    /// Its leaf.
    pub index: LeafIndex,
    /// The leaf's hash.
    pub leaf_hash: Digest,
    /// When it came.
    pub received_at: Time,
}

/// What becomes of an item.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It is appended.
    Store,
    /// It is appended, and after it statement 7: it contradicts `other` at `seq`.
    StoreConflict {
        /// The lowest position that both state a link for.
        seq: Seq,
        /// The stored leaf.
        other: LeafIndex,
    },
    /// It is in the log: its first receipt is given again, and the leaf that it contradicts is named again.
    Known(Placed, Option<LeafIndex>),
    /// Nothing is stored.
    Refuse(AppendError),
}

/// What the log knows of a chain, as far as decisions need it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainState {
    /// What readers are told.
    pub known: KnownChain,
    /// The records, with the newest head.
    pub held: Option<Held>,
    /// Conflicts so far.
    pub conflicts: u32,
}

impl ChainState {
    /// Whether a batch can be neither stored already nor contradict more than the head: it goes on at the head or
    /// beyond. Spares the search among stored batches, which is only for repeats and overlaps.
    pub fn goes_on_with(&self, commitment: &Commitment) -> bool {
        match &self.held {
            None => true,
            Some(held) => commitment.first_seq >= held.extent.next_seq && self.conflicts == 0,
        }
    }

    /// The contradiction with the head of a batch that goes on with the chain.
    pub fn contradiction_with_head(&self, commitment: &Commitment) -> Option<(Seq, LeafIndex)> {
        let held = self.held.as_ref().filter(|held| held.extent.next_seq == commitment.first_seq)?;
        let last = Seq::new(held.extent.next_seq.get().checked_sub(1)?);
        (held.head != commitment.prev_link).then_some((last, held.head_index))
    }
}

/// A session, whose leaf would be dated `now`: a token that is over then would be held against an honest pod.
pub fn decide_session(id: SessionId, attested: &Attested, known: Option<&KnownSession>, now: Time) -> Decision {
    match known {
        Some(KnownSession { index, leaf_hash, received_at, .. }) => {
            Decision::Known(Placed { index: *index, leaf_hash: *leaf_hash, received_at: *received_at }, None)
        }
        None if attested.attestation != Attestation::None && attested.token_expires < now => {
            Decision::Refuse(AppendError::TokenOver(id))
        }
        None => Decision::Store,
    }
}

/// A chain, introduced by a session.
pub fn decide_genesis(
    genesis: &Genesis,
    (chain, known): (ChainId, Option<&KnownChain>),
    (session, introducer): (SessionId, Option<&KnownSession>),
) -> Decision {
    let Some(introducer) = introducer else {
        return Decision::Refuse(AppendError::SessionNotIntroduced(session));
    };
    if !introducer.session.owns(genesis) {
        return Decision::Refuse(AppendError::Foreign { chain, session });
    }
    known.map_or(Decision::Store, |known| {
        let KnownChain { index, leaf_hash, received_at, .. } = *known;
        Decision::Known(Placed { index, leaf_hash, received_at }, None)
    })
}

/// A batch. `same` is where its 226 bytes are stored, `contradicted` the lowest position and leaf that it contradicts,
/// or did when it was stored.
pub fn decide_batch(
    commitment: &Commitment,
    session: Option<&KnownSession>,
    chain: Option<&ChainState>,
    same: Option<Placed>,
    contradicted: Option<(Seq, LeafIndex)>,
) -> Decision {
    let Some(session) = session else {
        return Decision::Refuse(AppendError::SessionNotIntroduced(commitment.session));
    };
    let Some(chain) = chain else {
        return Decision::Refuse(AppendError::ChainNotIntroduced(commitment.chain));
    };
    if !session.session.owns(&chain.known.genesis) {
        return Decision::Refuse(AppendError::Foreign { chain: commitment.chain, session: commitment.session });
    }
    match (same, contradicted) {
        (Some(placed), contradicted) => Decision::Known(placed, contradicted.map(|(_, other)| other)),
        (None, None) => Decision::Store,
        (None, Some((_, other))) if chain.conflicts >= CONFLICTS_PER_CHAIN => {
            Decision::Refuse(AppendError::TooManyConflicts { chain: commitment.chain, other })
        }
        (None, Some((seq, other))) => Decision::StoreConflict { seq, other },
    }
}
