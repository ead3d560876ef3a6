//! The class `fork`: one position, two links, both validly signed.
//!
//! Whether and where a chain is forked is found in the module `fork` beside `join`; here it is told who can have done it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::SessionNo;
use super::super::fork::{Agreement, Branch, Comparison, Fork};
use super::super::limits::NAMED;
use super::super::text::{Between, list};
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
                    "record {seq} of {}, printed {}, exists in {} versions, each with a valid signature: {}. {}",
                    case.who(chain),
                    printed(case, &branches),
                    branches.len(),
                    branches.iter().map(|branch| version(case, branch)).collect::<Vec<_>>().join("; "),
                    suspects(case, &branches),
                );
                out.add(Class::Fork, TAMPERED, about.records(seq, seq.plus(1)), text);
            }
        }
    }
}

/// When the versions say that they were printed.
fn printed(case: &Case<'_>, branches: &[Branch]) -> Between {
    let batches =
        || branches.iter().flat_map(|branch| &branch.batches).map(|batch| &case.facts.batches[*batch].commitment);
    Between(batches().map(|c| c.first_time).min(), batches().map(|c| c.last_time).max())
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
    let mut alone: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut sidecars: Vec<String> = Vec::new();
    for session in of.into_iter().flatten().collect::<BTreeSet<_>>() {
        let leaves = &case.facts.of_session(session).leaves;
        let logs: BTreeSet<&str> = leaves.iter().map(|leaf| case.origin(leaf.place.view)).collect();
        if let (Some(log), 1) = (logs.first(), logs.len()) {
            alone.entry(log).or_default().push(case.sidecar(session));
        }
        sidecars.push(case.sidecar(session));
    }
    let alone = alone.into_iter().map(|(log, sidecars)| {
        format!("the collector of log {log}, which alone vouches for {}", sidecars.join(" and for "))
    });
    let all = alone.chain(sidecars).chain(["whoever could get a token of that pod".to_owned()]);
    format!("It is undecided who did it: {}.", list(all, usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{
        Chain, Shop, Sidecar, World, assert_honest, assert_only, at, found, seq, stdout,
    };
    use super::super::findings::TAMPERED;
    use crate::id::Head;

    /// A second sidecar of the shop's pod, which both logs know.
    fn restart(shop: &mut Shop) -> Sidecar {
        let again = Sidecar::of("cart-0", 2, at(34));
        shop.world.logs.iter_mut().for_each(|log| log.introduce(&again, at(35)));
        again
    }

    /// The shop's chain as it was before a batch.
    fn before(shop: &Shop, batch: usize) -> Chain {
        Chain { head: shop.batches[batch].commitment.head_before(), ..shop.chain.clone() }
    }

    #[test]
    fn one_sidecar_that_signs_two_versions_for_two_collectors_is_named_with_both_batches() {
        let mut shop = World::shop_before_signing();
        let mut branch = before(&shop, 1);
        let other = branch.lines_saying("other", &shop.sidecar, 10, at(11));
        shop.world.logs[0].batch(&other, at(34));
        shop.world.sign_all();
        let report = shop.world.judge();
        let text = assert_only(&report, Class::Fork, TAMPERED);
        for part in
            ["record 10 of container app of pod shop/cart-0", "leaf 6 of log shop/c0-", "leaf 3 of log shop/c1-"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(text.contains("One sidecar signed all of them"), "{text}");
        assert_eq!(report.findings[0].first_seq, Some(seq(10)));
    }

    #[test]
    fn old_records_signed_again_unchanged_are_duplicates_and_changed_are_a_fork() {
        for what in ["line", "other"] {
            let mut shop = World::shop_before_signing();
            let again = restart(&mut shop);
            let mut branch = before(&shop, 1);
            let batch = branch.lines_saying(what, &again, 10, at(11));
            shop.world.logs[0].batch(&batch, at(36));
            shop.world.sign_all();
            let report = shop.world.judge();
            if what == "line" {
                assert_honest(&report);
                assert_eq!(report.counts.duplicates, 10);
                continue;
            }
            let text = assert_only(&report, Class::Fork, TAMPERED);
            assert!(text.contains("undecided") && text.contains("whoever could get a token"), "{text}");
        }
    }

    #[test]
    fn a_collector_that_alone_vouches_for_a_branch_is_named_first() {
        let mut shop = World::shop_before_signing();
        let invented = Sidecar::of("cart-0", 2, at(34));
        shop.world.logs[1].introduce(&invented, at(35));
        let batch = before(&shop, 1).lines_saying("other", &invented, 10, at(11));
        shop.world.logs[1].batch(&batch, at(36));
        shop.world.sign_all();
        let report = shop.world.judge();
        let fork = report.findings.iter().find(|finding| finding.class == Class::Fork).unwrap();
        let (_, suspects) = fork.text.split_once("undecided who did it: ").unwrap();
        assert!(suspects.starts_with("the collector of log shop/c1-"), "{suspects}");
    }

    #[test]
    fn batches_cut_otherwise_agree_or_fork_at_the_lowest_position() {
        // The second half is sent again from record 13 on, in other cuts; from `differs` on it says something else.
        for differs in [None, Some(13), Some(17), Some(20), Some(27), Some(33)] {
            let mut shop = World::shop_before_signing();
            let again = restart(&mut shop);
            let mut branch = before(&shop, 1);
            branch.lines(&again, 3, at(11));
            for (count, time) in [(7, 11), (5, 12), (8, 12)] {
                let first = branch.head.next_seq.get();
                let lines: Vec<String> = (first..first + count)
                    .map(|n| if differs.is_some_and(|d| n >= d) { format!("other {n}") } else { format!("line {n}") })
                    .collect();
                // The times are those of the first cuts: 10 lines each.
                let records: Vec<_> =
                    (first..).zip(&lines).map(|(n, line)| stdout(line, at(10 + n.cast_signed() / 10))).collect();
                let batch = branch.seal(&again, &records);
                shop.world.logs[0].batch(&batch, at(36 + time));
            }
            shop.world.sign_all();
            let report = shop.world.judge();
            match differs {
                Some(position) if position < 33 => {
                    assert_only(&report, Class::Fork, TAMPERED);
                    assert_eq!(report.findings[0].first_seq, Some(seq(position)), "{}", report.findings[0].text);
                }
                _ => {
                    assert_honest(&report);
                    assert_eq!((report.counts.records, report.counts.duplicates), (41, 20));
                }
            }
        }
    }

    #[test]
    fn a_heartbeat_that_states_another_head_is_a_fork() {
        for position in [10, 14] {
            let mut shop = World::shop_before_signing();
            let link = crate::digest::Digest::sha256(b"other");
            let beat = shop.sidecar.heartbeat(&[(shop.chain.id, Head { next_seq: seq(position), link })], at(34));
            shop.world.logs[0].heartbeats(&[beat], at(34));
            shop.world.sign_all();
            let text = assert_only(&shop.world.judge(), Class::Fork, TAMPERED);
            assert!(text.contains("a heartbeat in leaf 6 of log shop/c0-"), "{text}");
        }
    }

    #[test]
    fn a_heartbeat_inside_a_batch_that_states_its_link_is_honest() {
        let mut shop = World::shop_before_signing();
        let mut half = before(&shop, 1);
        half.lines(&shop.sidecar, 4, at(11));
        let beat = shop.sidecar.heartbeat(&[(shop.chain.id, half.head)], at(34));
        shop.world.logs[0].heartbeats(&[beat], at(34));
        shop.world.sign_all();
        assert_honest(&shop.world.judge());
    }

    #[test]
    fn a_batch_that_does_not_follow_is_a_fork_at_the_record_before_it() {
        let mut shop = World::shop_before_signing();
        let mut branch = before(&shop, 1);
        branch.lines_saying("other", &shop.sidecar, 10, at(11));
        let next = branch.lines(&shop.sidecar, 10, at(12));
        // In place of the third batch: it follows another second one.
        shop.world.logs[0].entries[4].leaf =
            crate::leaf::Leaf::Batch { commitment: next.commitment, received_at: at(13) }.encode().unwrap();
        shop.world.logs[0].entries[4].body = next.body;
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_eq!(found(&report), [(Class::Fork, TAMPERED.1)]);
        assert_eq!(report.findings[0].first_seq, Some(seq(19)));
    }
}
