//! Who vouches for a session that comes while a log is followed: what the judge asks of those that came before.

use indelible_chain::id::Time;
use indelible_chain::leaf::Attested;
use indelible_chain::session::Session;
use indelible_chain::stored::{Packer, Stored};
use indelible_chain::verify::{Token, TokenCheck, TokenVerdict};

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
    let jwt = match Token::of(body, attested, packer) {
        Token::Given(jwt) => jwt,
        Token::NotGiven | Token::None => return None,
        Token::Bad(why) => return Some(format!("its token: {why}")),
    };
    match tokens?.check(&jwt, session, attested, received_at) {
        TokenVerdict::Fails(why) => Some(format!("{why}; what it signed may not be that pod's")),
        TokenVerdict::Holds | TokenVerdict::NoKey => None,
    }
}
