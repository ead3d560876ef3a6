//! What unit tests share with the tests of the running server.

#[path = "../tests/support/issuer.rs"]
pub mod issuer;

#[path = "../tests/support/sidecar.rs"]
pub mod sidecar;

use indelible_chain::digest::Digest;
use indelible_chain::id::{LeafIndex, Time};
use indelible_chain::leaf::{Attestation, Attested};
use indelible_chain::session::Session;

use crate::store::KnownSession;

impl KnownSession {
    /// A session that nobody vouches for, at no place in particular.
    pub fn of(session: Session) -> Self {
        let attested = Attested {
            attestation: Attestation::None,
            issuer: String::new(),
            subject: String::new(),
            pod_uid: String::new(),
            token_id: String::new(),
            token_digest: Digest::default(),
            token_expires: Time::default(),
        };
        let (index, leaf_hash, received_at) = (LeafIndex::ZERO, Digest::default(), Time::default());
        Self { session, attested, index, leaf_hash, received_at }
    }
}
