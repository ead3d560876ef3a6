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
