//! The class `unattested`: nobody whose word can be checked vouches for a session.
//!
//! A session is vouched for by two logs, or by the pod's token checked against its issuer's keys.

use std::collections::BTreeSet;

use crate::leaf::Attestation;

use super::super::case::Case;
use super::super::class::{Axis, Class, Level};
use super::super::facts::{SessionFacts, SessionNo, TokenFacts};
use super::super::intake::failure;
use super::super::terms::TokenVerdict;
use super::findings::{About, Findings, INVENTED};

const DOUBTED: (Axis, Level) = (Axis::Authenticity, Level::Warn);

/// Attestation 0; or 1 or 2 by a single log only, and the issuer's keys were not given or not matched by the JWT
/// (signature, audience, pod, iat ≤ `received_at` ≤ exp): authenticity warn; keys were given and the JWT fails them:
/// authenticity fail.
pub(super) fn unattested(case: &Case<'_>, out: &mut Findings) {
    for (number, facts) in (0..).zip(&case.facts.sessions) {
        let Some(session) = facts.session.as_deref().filter(|session| case.pod_in_scope(session)) else { continue };
        let sidecar = case.sidecar(SessionNo(number));
        for leaf in facts.leaves.iter().filter(|leaf| !leaf.is_foreign) {
            if let Some(why) = failure(&leaf.token) {
                let text = format!(
                    "the token by which {} introduced {sidecar} (leaf {}) does not vouch for it: {why}. What that \
                     session signed may not be that pod's.",
                    case.log(leaf.place.view),
                    leaf.place.index,
                );
                out.add(Class::Unattested, INVENTED, About::leaf(case, leaf.place), text);
            }
        }
        let Some(why) = doubt(case, facts) else { continue };
        let Some(leaf) = facts.leaves.iter().find(|leaf| !leaf.is_foreign) else { continue };
        let text = format!(
            "{sidecar} is vouched for by nobody that could be checked: {why}. That {}/{} printed what it signed rests on \
             {}. Give the issuer's keys (--issuer-keys), or the other logs of the pool.",
            session.namespace,
            session.pod_name,
            case.log(leaf.place.view),
        );
        out.add(Class::Unattested, DOUBTED, About::leaf(case, leaf.place), text);
    }
}

/// Why a session is not vouched for, unless a token that fails says more.
fn doubt(case: &Case<'_>, facts: &SessionFacts) -> Option<String> {
    let good = || facts.leaves.iter().filter(|leaf| !leaf.is_foreign);
    let attested = || good().filter(|leaf| leaf.attested.attestation != Attestation::None);
    let holds = |token: &TokenFacts| matches!(token, TokenFacts::Checked(TokenVerdict::Holds));
    if good().next().is_none() || good().any(|leaf| failure(&leaf.token).is_some() || holds(&leaf.token)) {
        return None;
    }
    let logs: BTreeSet<&str> = attested().map(|leaf| case.origin(leaf.place.view)).collect();
    match (logs.len(), attested().next().map(|leaf| &leaf.token)) {
        (2.., _) => None,
        (_, None) => Some("no token introduced it".into()),
        (_, Some(TokenFacts::Checked(_))) => {
            Some("one log alone saw its token, and no key given is its issuer's".into())
        }
        (_, Some(TokenFacts::Unchecked)) if case.terms.tokens.is_some() => {
            Some("one log alone saw its token, which is given out only after it has expired".into())
        }
        (_, Some(TokenFacts::Unchecked)) => Some("one log alone saw its token, and no issuer's keys were given".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::terms::TokenVerdict;
    use super::super::super::testing::{Says, Sidecar, World, assert_honest, assert_only, at};
    use super::super::findings::INVENTED;
    use super::DOUBTED;
    use crate::leaf::{Attestation, Attested};
    use crate::stored::Codec;

    fn alone(attestation: Attestation) -> World {
        let mut world = World::new();
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let index = world.logs[0].introduce_by(&sidecar, &Attested { attestation, ..sidecar.attested() }, at(2));
        if attestation == Attestation::None {
            world.logs[0].entries[usize::try_from(index.get()).unwrap()].body.clear();
        }
        world.sign_all();
        world
    }

    #[test]
    fn a_session_that_no_token_introduced_is_doubted() {
        let text = assert_only(&alone(Attestation::None).judge(), Class::Unattested, DOUBTED);
        assert!(text.contains("pod shop/cart-0") && text.contains("shop/c0-"), "{text}");
    }

    #[test]
    fn one_log_alone_is_doubted_unless_the_token_holds() {
        for attestation in [Attestation::ServiceAccountToken, Attestation::TokenReview] {
            assert_only(&alone(attestation).judge(), Class::Unattested, DOUBTED);
            for (verdict, doubted) in [
                (TokenVerdict::Holds, None),
                (TokenVerdict::NoKey, Some(DOUBTED)),
                (TokenVerdict::Fails("old".into()), Some(INVENTED)),
            ] {
                let mut world = alone(attestation);
                world.terms.tokens = Some(Box::new(Says(verdict)));
                let report = world.judge();
                match doubted {
                    Some(weight) => drop(assert_only(&report, Class::Unattested, weight)),
                    None => assert_honest(&report),
                }
            }
        }
    }

    #[test]
    fn a_token_that_is_not_given_out_yet_vouches_for_nothing() {
        let mut world = alone(Attestation::ServiceAccountToken);
        world.terms.tokens = Some(Box::new(Says(TokenVerdict::Holds)));
        world.logs[0].entries[1].codec = Codec::Withheld;
        world.logs[0].entries[1].body.clear();
        assert_only(&world.judge(), Class::Unattested, DOUBTED);
    }

    #[test]
    fn a_token_with_another_digest_is_a_damaged_body() {
        let mut shop = World::shop();
        shop.world.logs[0].entries[1].body = b"jwx".to_vec();
        assert_only(&shop.world.judge(), Class::BadBody, super::super::findings::TAMPERED);
    }
}
