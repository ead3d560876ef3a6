//! fork

use std::collections::BTreeSet;

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::SessionNo;
use super::super::fork::{Agreement, Branch, Comparison, Fork};
use super::super::limits::NAMED;
use super::super::text::list;
use super::findings::{About, Findings, TAMPERED, UNJUDGED};

/// Two links for one position, both validly signed; reported at the lowest position, both branches followed: integrity
/// fail. One session signed both: that sidecar. Two: undecided between the sidecar, whoever could get the pod's token,
/// and each collector that alone vouches for one of them; all named, those vouched for by one log first.
pub(super) fn fork(case: &Case<'_>, out: &mut Findings) {
    for chain in case.numbers().filter(|chain| case.in_scope(*chain)) {
        let joined = case.of(chain);
        let about = About::default().chain(case, chain);
        match Comparison::of(case, joined, case.links).run() {
            Agreement::One(0) => {}
            Agreement::One(_) | Agreement::Asks(_) => {
                let text = format!(
                    "some batches of {} overlap, and the bodies that would show whether they agree could not be read.",
                    case.who(chain),
                );
                out.add(Class::Fork, UNJUDGED, about, text);
            }
            Agreement::Forked(Fork { seq, branches }) => {
                let text = format!(
                    "record {seq} of {} exists in {} versions, each with a valid signature: {}. {}",
                    case.who(chain),
                    branches.len(),
                    branches.iter().map(|branch| version(case, branch)).collect::<Vec<_>>().join("; "),
                    suspects(case, &branches),
                );
                out.add(Class::Fork, TAMPERED, about.records(seq, seq.plus(1)), text);
            }
        }
    }
}

/// Where one version stands.
fn version(case: &Case<'_>, branch: &Branch) -> String {
    let batches = branch.batches.iter().map(|batch| case.leaf(*batch));
    let heads = branch.heads.iter().map(|head| {
        let place = case.facts.heads[*head].place;
        format!("a heartbeat in leaf {} of {}", place.index, case.log(place.view))
    });
    list(batches.chain(heads), NAMED)
}

fn sessions(case: &Case<'_>, branch: &Branch) -> BTreeSet<SessionNo> {
    let batches = branch.batches.iter().map(|batch| case.facts.batches[*batch].session);
    batches.chain(branch.heads.iter().map(|head| case.facts.heads[*head].session)).collect()
}

/// Who can have done it.
fn suspects(case: &Case<'_>, branches: &[Branch]) -> String {
    let of: Vec<_> = branches.iter().map(|branch| sessions(case, branch)).collect();
    let both: BTreeSet<_> =
        of.iter().skip(1).fold(of[0].clone(), |both, these| both.intersection(these).copied().collect());
    if let Some(session) = both.first() {
        return format!("One sidecar signed all of them: {}. Look into that pod.", case.sidecar(*session));
    }
    // A session that one log alone vouches for may be that log's invention.
    let mut alone: Vec<String> = Vec::new();
    let mut sidecars: Vec<String> = Vec::new();
    for session in of.into_iter().flatten().collect::<BTreeSet<_>>() {
        let leaves = &case.facts.of_session(session).leaves;
        let logs: BTreeSet<&str> = leaves.iter().map(|leaf| case.origin(leaf.place.view)).collect();
        let name = case.sidecar(session);
        if let (Some(log), 1) = (logs.first(), logs.len()) {
            alone.push(format!("the collector of log {log}, which alone vouches for {name}"));
        }
        sidecars.push(name);
    }
    let all = alone.into_iter().chain(sidecars).chain(["whoever could get a token of that pod".to_owned()]);
    format!("It is undecided who did it: {}.", list(all, usize::MAX))
}
