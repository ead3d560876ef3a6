//! foreign

use std::collections::BTreeMap;

use super::super::case::{Admission, Case};
use super::super::class::Class;
use super::super::facts::{ChainNo, Place, SessionNo, ViewId};
use super::super::limits::NAMED;
use super::super::text::list;
use super::findings::{About, Findings, INVENTED};

/// Session and genesis differ in `cluster_uid`, namespace, `pod_name` or `pod_uid`, or a leaf 1's attested pod or
/// subject is not its session's: authenticity fail, the log that stored it; takes no part in the join.
///
/// A heartbeat's entry whose genesis is not of the session's pod is ignored: authenticity fail, its session.
pub(super) fn foreign(case: &Case<'_>, out: &mut Findings) {
    batches(case, out);
    introductions(case, out);
    sessions(case, out);
    heartbeats(case, out);
}

/// Batches of a session in another pod's chain, told once for each log, chain and session.
fn batches(case: &Case<'_>, out: &mut Findings) {
    let mut told: BTreeMap<(ViewId, ChainNo, SessionNo), Vec<usize>> = BTreeMap::new();
    for (number, batch) in case.facts.batches.iter().enumerate() {
        if case.admissions[number] == Admission::Foreign {
            told.entry((batch.place.view, batch.chain, batch.session)).or_default().push(number);
        }
    }
    for ((view, chain, session), numbers) in told {
        let batches = numbers.iter().map(|number| &case.facts.batches[*number]);
        let first = batches.clone().map(|batch| batch.commitment.first_seq).min().unwrap_or_default();
        let next = batches.clone().map(|batch| batch.commitment.next_seq()).max().unwrap_or_default();
        let leaves = list(batches.map(|batch| batch.place.index), NAMED);
        let about = About::batch(case, numbers[0]).records(first, next);
        let text = format!(
            "{} holds batches for the chain of {} that {} signed: another pod (leaves {leaves}). They are not counted as \
             that container's output. A collector must refuse them: look into that collector, and into the other pod.",
            case.log(view),
            case.who(chain),
            case.sidecar(session),
        );
        out.add(Class::Foreign, INVENTED, about, text);
    }
}

/// Chains that a log let another pod's session introduce.
fn introductions(case: &Case<'_>, out: &mut Findings) {
    for chain in case.numbers() {
        for introduction in &case.facts.of_chain(chain).introductions {
            if case.session(introduction.session).is_none() || case.speaks_for(introduction.session, chain) {
                continue;
            }
            let text = format!(
                "{} let {} introduce the chain of {}, another pod's (leaf {}). A collector must refuse that: look into \
                 that collector.",
                case.log(introduction.place.view),
                case.sidecar(introduction.session),
                case.who(chain),
                introduction.place.index,
            );
            out.add(Class::Foreign, INVENTED, About::leaf(case, introduction.place).chain(case, chain), text);
        }
    }
}

/// Sessions whose leaf attests another pod or service account.
fn sessions(case: &Case<'_>, out: &mut Findings) {
    for (number, session) in (0..).zip(&case.facts.sessions) {
        for leaf in session.leaves.iter().filter(|leaf| leaf.is_foreign) {
            let text = format!(
                "{} introduced {} by a token of another pod or service account (pod UID {}, {}; leaf {}). Nothing that \
                 rests on this leaf counts. A collector must refuse that: look into that collector.",
                case.log(leaf.place.view),
                case.sidecar(SessionNo(number)),
                leaf.attested.pod_uid,
                leaf.attested.subject,
                leaf.place.index,
            );
            out.add(Class::Foreign, INVENTED, About::leaf(case, leaf.place), text);
        }
    }
}

/// Heads that a session states for chains of other pods, told once for each session and chain.
fn heartbeats(case: &Case<'_>, out: &mut Findings) {
    let mut told: BTreeMap<(SessionNo, ChainNo), Place> = BTreeMap::new();
    for head in &case.facts.heads {
        if case.session(head.session).is_some() && !case.speaks_for(head.session, head.chain) {
            told.entry((head.session, head.chain)).or_insert(head.place);
        }
    }
    for ((session, chain), place) in told {
        let text = format!(
            "{} states in a heartbeat how far the chain of {} is, another pod's (leaf {} of {}). It is ignored. Look into \
             the pod whose sidecar said it.",
            case.sidecar(session),
            case.who(chain),
            place.index,
            case.log(place.view),
        );
        out.add(Class::Foreign, INVENTED, About::leaf(case, place).chain(case, chain), text);
    }
}
