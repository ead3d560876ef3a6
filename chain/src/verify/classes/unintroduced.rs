//! unintroduced

use std::collections::BTreeMap;

use super::super::case::{Admission, Case};
use super::super::class::Class;
use super::super::facts::{ChainNo, Introduced, SessionNo, ViewId};
use super::findings::{About, Findings, INVENTED};

/// No session or genesis leaf at a lower index of that log: authenticity fail, that log; takes part if another log
/// holds them.
///
/// In a log whose leaves are not those that it signed, the leaf that introduced may be the one that is lost: that is
/// told as such, and not again here.
pub(super) fn unintroduced(case: &Case<'_>, out: &mut Findings) {
    let mut told: BTreeMap<(ViewId, ChainNo, SessionNo), Vec<usize>> = BTreeMap::new();
    for (number, batch) in case.facts.batches.iter().enumerate() {
        let is_judged = !matches!(case.admissions[number], Admission::Forged | Admission::BadBody);
        if batch.introduced == Introduced::No && is_judged && case.standings[batch.place.view.0].is_true {
            told.entry((batch.place.view, batch.chain, batch.session)).or_default().push(number);
        }
    }
    for ((view, chain, session), numbers) in told {
        let batches = numbers.iter().map(|number| &case.facts.batches[*number]);
        let first = batches.clone().map(|batch| batch.commitment.first_seq).min().unwrap_or_default();
        let next = batches.map(|batch| batch.commitment.next_seq()).max().unwrap_or_default();
        let counts = match case.admissions[numbers[0]] {
            Admission::Unknown => "no other log does either, so it cannot be told whose they are and they do not count",
            _ => "another log does, so they are checked and count",
        };
        let text = format!(
            "{} holds {} batches for {} by {} and does not introduce pod or chain before them: {counts}. A collector \
             must refuse such batches: look into that collector.",
            case.log(view),
            numbers.len(),
            case.who(chain),
            case.sidecar(session),
        );
        out.add(Class::Unintroduced, INVENTED, About::batch(case, numbers[0]).records(first, next), text);
    }
    for (number, view) in case.facts.views.iter().enumerate().filter(|(number, _)| case.standings[*number].is_true) {
        for (session, index) in &view.unintroduced_beats {
            let view = ViewId(number);
            let text = format!(
                "{} holds heartbeats of {} and does not introduce it before them (leaf {index}). A collector must \
                 refuse such heartbeats: look into that collector.",
                case.log(view),
                case.sidecar(*session),
            );
            let place = super::super::facts::Place { view, index: *index };
            out.add(Class::Unintroduced, INVENTED, About::leaf(case, place), text);
        }
    }
}
