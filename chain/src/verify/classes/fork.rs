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
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::super::class::Class;
    use super::super::super::testing::{
        Chain, Sealed, Shop, Sidecar, World, assert_honest, assert_only, at, found, seq, stdout,
    };
    use super::super::findings::{TAMPERED, UNJUDGED};
    use crate::id::{Head, Seq};
    use crate::stored::Codec;

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

    /// A log that is given a chain of its own beside the shop's, of which nothing is in evidence yet.
    fn proxy(shop: &mut Shop) -> Chain {
        let chain = Chain::of(&shop.sidecar, "proxy", 0);
        shop.world.logs.iter_mut().for_each(|log| log.genesis(&chain, &shop.sidecar, at(34)));
        chain
    }

    #[test]
    fn two_heartbeats_that_disagree_are_a_fork_though_no_batch_reaches_them() {
        let mut shop = World::shop_before_signing();
        let chain = proxy(&mut shop);
        for (log, what) in [(0, b"one"), (1, b"two")] {
            let head = Head { next_seq: seq(8), link: crate::digest::Digest::sha256(what) };
            shop.world.logs[log].heartbeats(&[shop.sidecar.heartbeat(&[(chain.id, head)], at(35))], at(36));
        }
        shop.world.sign_all();
        let report = shop.world.judge();
        let text = assert_only(&report, Class::Fork, TAMPERED);
        for part in ["record 7 of container proxy", "leaf 7 of log shop/c0-", "leaf 7 of log shop/c1-", "One sidecar"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_batch_whose_body_is_not_given_out_or_was_removed_hides_no_fork_under_it() {
        for codec in [Codec::Withheld, Codec::Pruned] {
            let mut shop = World::shop_before_signing();
            let start = proxy(&mut shop);
            let [mut one, mut other, mut over] = [start.clone(), start.clone(), start];
            let batches =
                [one.lines(&shop.sidecar, 10, at(35)), other.lines_saying("other", &shop.sidecar, 10, at(35))];
            shop.world.logs[0].batches(&batches, at(36));
            let index = shop.world.logs[0].batch(&over.lines(&shop.sidecar, 15, at(35)), at(36));
            let entry = &mut shop.world.logs[0].entries[usize::try_from(index.get()).unwrap()];
            (entry.codec, entry.body) = (codec, Vec::new());
            shop.world.sign_all();
            let report = shop.world.judge();
            let fork = report.findings.iter().find(|finding| finding.class == Class::Fork).unwrap();
            assert_eq!((fork.level, fork.first_seq), (TAMPERED.1, Some(seq(0))), "{}", fork.text);
        }
    }

    #[test]
    fn a_batch_without_a_body_that_begins_in_another_history_is_a_fork_though_it_ends_beyond_all() {
        for codec in [Codec::Withheld, Codec::Pruned] {
            let mut shop = World::shop_before_signing();
            let start = proxy(&mut shop);
            let (mut one, mut other) = (start.clone(), start);
            shop.world.logs[0].batches(&[one.lines(&shop.sidecar, 10, at(35))], at(36));
            // Its first four records are stored nowhere.
            other.lines_saying("other", &shop.sidecar, 4, at(35));
            let index = shop.world.logs[0].batch(&other.lines_saying("other", &shop.sidecar, 11, at(35)), at(36));
            let entry = &mut shop.world.logs[0].entries[usize::try_from(index.get()).unwrap()];
            (entry.codec, entry.body) = (codec, Vec::new());
            shop.world.sign_all();
            let report = shop.world.judge();
            let fork = report.findings.iter().find(|finding| finding.class == Class::Fork).unwrap();
            assert_eq!((fork.level, fork.first_seq), (TAMPERED.1, Some(seq(3))), "{}", fork.text);
        }
    }

    #[test]
    fn batches_without_bodies_that_overlap_are_not_taken_for_equal() {
        let mut shop = World::shop_before_signing();
        let mut one = proxy(&mut shop);
        let mut other = one.clone();
        let batches = [one.lines(&shop.sidecar, 10, at(35)), other.lines_saying("other", &shop.sidecar, 15, at(35))];
        for batch in &batches {
            let index = shop.world.logs[0].batch(batch, at(36));
            let entry = &mut shop.world.logs[0].entries[usize::try_from(index.get()).unwrap()];
            (entry.codec, entry.body) = (Codec::Withheld, Vec::new());
        }
        shop.world.sign_all();
        assert!(found(&shop.world.judge()).contains(&(Class::Fork, UNJUDGED.1)));
    }

    /// So many records of a chain, each sealed alone, of which those from `differs` on say something else; and the heads
    /// before each of them and after the last.
    fn history(chain: &Chain, differs: u64, count: u64) -> (Vec<String>, Vec<Head>) {
        let what = |n| if n < differs { "line".to_owned() } else { format!("line since {differs}") };
        let lines: Vec<String> = (0..count).map(|n| format!("{} {n}", what(n))).collect();
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let mut chain = chain.clone();
        let mut heads = vec![chain.head];
        for line in &lines {
            chain.seal(&sidecar, &[stdout(line, at(35))]);
            heads.push(chain.head);
        }
        (lines, heads)
    }

    /// A batch of a history from one position up to another.
    fn cut(chain: &Chain, (lines, heads): &(Vec<String>, Vec<Head>), from: usize, to: usize) -> Sealed {
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let records: Vec<_> = lines[from..to].iter().map(|line| stdout(line, at(35))).collect();
        Chain { head: heads[from], ..chain.clone() }.seal(&sidecar, &records)
    }

    /// What is asked for of `batches` histories that differ as told, each cut as told; and where they are forked.
    fn asked(batches: u64, of: fn(u64) -> (u64, usize, usize)) -> (usize, Option<u64>) {
        let mut shop = World::shop_before_signing();
        let chain = proxy(&mut shop);
        for n in 0..batches {
            let (differs, from, to) = of(n);
            let batch = cut(&chain, &history(&chain, differs, to as u64), from, to);
            shop.world.logs[0].batch(&batch, at(36));
        }
        shop.world.sign_all();
        let (report, asked) = shop.world.judge_counting();
        let fork = report.findings.iter().find(|finding| finding.class == Class::Fork).unwrap();
        (asked, fork.first_seq.map(Seq::get))
    }

    #[test]
    fn a_fork_into_many_versions_asks_a_few_links_of_each_batch() {
        for batches in [20, 40, 80] {
            let limit = usize::try_from(batches).unwrap() * 9;
            // All begin and end together and differ from one record on; and each begins a record after the one before.
            let (together, seq) = asked(batches, |n| (if n == 0 { 64 } else { 31 + n }, 0, 130));
            assert!(seq == Some(32) && together <= limit, "{together} links for {batches} batches, from {seq:?}");
            let (apart, seq) = asked(batches, |n| (n, usize::try_from(n).unwrap(), 100));
            assert!(seq == Some(0) && apart <= limit, "{apart} links for {batches} batches, from {seq:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn a_fork_is_named_at_the_lowest_position_with_two_links(
            differs in prop::collection::vec(0..40u64, 1..4),
            cuts in prop::collection::vec((any::<prop::sample::Index>(), 0..40usize, 1..20usize), 1..14),
            beats in prop::collection::vec((any::<prop::sample::Index>(), 1..40usize), 0..3),
        ) {
            let mut shop = World::shop_before_signing();
            let chain = proxy(&mut shop);
            let histories: Vec<_> = differs.iter().map(|differs| history(&chain, *differs, 40)).collect();
            let mut links: Vec<BTreeSet<crate::digest::Digest>> = vec![BTreeSet::new(); 41];
            for (number, (history, from, count)) in cuts.iter().enumerate() {
                let (history, to) = (history.get(&histories), 40.min(from + count));
                shop.world.logs[number % 2].batch(&cut(&chain, history, *from, to), at(36));
                for (at, links) in links.iter_mut().enumerate().take(to + 1).skip(*from) {
                    links.insert(history.1[at].link);
                }
            }
            for (history, position) in &beats {
                let head = history.get(&histories).1[*position];
                links[*position].insert(head.link);
                shop.world.logs[0].heartbeats(&[shop.sidecar.heartbeat(&[(chain.id, head)], at(37))], at(38));
            }
            shop.world.sign_all();
            let report = shop.world.judge();
            let fork = report.findings.iter().find(|finding| finding.class == Class::Fork);
            let expected = links.iter().position(|links| links.len() > 1).map(|position| seq(position as u64 - 1));
            prop_assert_eq!(fork.and_then(|fork| fork.first_seq), expected);
            prop_assert!(fork.is_none_or(|fork| fork.level == TAMPERED.1));
        }
    }
}
