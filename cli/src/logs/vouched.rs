//! Who vouches for a session that comes while a log is followed: what the judge asks of those that came before.

use indelible_chain::digest::Digest;
use indelible_chain::id::Time;
use indelible_chain::leaf::{Attestation, Attested};
use indelible_chain::session::Session;
use indelible_chain::stored::{Codec, Packer, Stored};
use indelible_chain::verify::{MAX_TOKEN_BYTES, TokenCheck, TokenVerdict};

use crate::tokens::IssuerKeys;

/// What is wrong with who vouches for a session; the leaf's body is the token, where it is given out.
pub fn flaw(
    (session, attested, received_at): (&Session, &Attested, Time),
    body: Stored<'_>,
    tokens: Option<&IssuerKeys>,
    packer: &mut Packer,
) -> Option<String> {
    if !attested.is_of(session) {
        return Some("it does not count: another pod or service account is attested".to_owned());
    }
    let withheld = matches!(body.codec, Codec::Withheld | Codec::Pruned);
    if body.bytes.is_empty() && (withheld || attested.attestation == Attestation::None) {
        return None;
    }
    let jwt = match packer.unpack(body, MAX_TOKEN_BYTES) {
        Ok(jwt) if Digest::sha256(jwt) == attested.token_digest => jwt,
        Ok(_) => return Some("the token's digest is not the one in the leaf".to_owned()),
        Err(e) => return Some(format!("its token: {e}")),
    };
    match tokens?.check(jwt, session, attested, received_at) {
        TokenVerdict::Fails(why) => Some(format!("{why}; what it signed may not be that pod's")),
        TokenVerdict::Holds | TokenVerdict::NoKey => None,
    }
}
