//! The class `foreign`: a session speaks for a pod that it is not of.
//!
//! A session is one pod's sidecar; what it signs for another pod, or what a token of another pod introduced, does not
//! count. Which batches take no part for it is decided in `case`.

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

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Chain, Sidecar, World, assert_only, at, found, seq};
    use super::super::findings::INVENTED;
    use crate::digest::Digest;
    use crate::id::Head;

    /// The shop, not signed yet, and another pod's sidecar that both logs know.
    fn with_other() -> (super::super::super::testing::Shop, Sidecar) {
        let mut shop = World::shop_before_signing();
        let other = Sidecar::of("thief-0", 7, at(1));
        shop.world.logs.iter_mut().for_each(|log| log.introduce(&other, at(34)));
        (shop, other)
    }

    #[test]
    fn batches_of_one_pod_in_anothers_chain_do_not_count_and_name_the_log() {
        let (mut shop, other) = with_other();
        let batch = shop.chain.lines(&other, 3, at(35));
        shop.world.logs[1].batch(&batch, at(36));
        shop.world.sign_all();
        let report = shop.world.judge();
        let text = assert_only(&report, Class::Foreign, INVENTED);
        assert!(
            text.contains("shop/c1-") && text.contains("pod shop/thief-0") && text.contains("shop/cart-0"),
            "{text}"
        );
        assert_eq!((report.exit, report.counts.records), (1, 41));
    }

    #[test]
    fn a_chain_that_another_pods_session_introduces_is_foreign() {
        let (mut shop, other) = with_other();
        shop.world.logs[0].genesis(&shop.chain, &other, at(35));
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::Foreign, INVENTED);
    }

    #[test]
    fn a_session_introduced_by_another_pods_token_introduces_nothing() {
        for change in [0, 1] {
            let mut shop = World::shop_before_signing();
            let other = Sidecar::of("thief-0", 7, at(1));
            let mut attested = other.attested();
            match change {
                0 => attested.pod_uid = "uid-of-cart-0".into(),
                _ => attested.subject = "system:serviceaccount:shop:admin".into(),
            }
            let mut chain = Chain::of(&other, "app", 0);
            shop.world.logs[0].introduce_by(&other, &attested, at(34));
            shop.world.logs[0].genesis(&chain, &other, at(35));
            let batch = chain.end(&other, at(36));
            shop.world.logs[0].batch(&batch, at(36));
            shop.world.sign_all();
            let report = shop.world.judge();
            assert_only(&report, Class::Foreign, INVENTED);
            assert_eq!(report.counts.records, 41);
        }
    }

    #[test]
    fn a_heartbeat_that_speaks_for_another_pods_chain_is_ignored() {
        let (mut shop, other) = with_other();
        shop.chain.lines(&other, 5, at(35));
        let beat = other.heartbeat(&[(shop.chain.id, shop.chain.head)], at(36));
        shop.world.logs[0].heartbeats(&[beat], at(37));
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_eq!(found(&report), [(Class::Foreign, INVENTED.1)]);
        assert!(report.findings[0].text.contains("sidecar of pod shop/thief-0"));
    }

    /// A session that says it is of the shop's pod, which another pod's token introduced.
    fn borrowed(shop: &mut super::super::super::testing::Shop) -> Sidecar {
        let session = Sidecar::of("cart-0", 7, at(34));
        let attested = Sidecar::of("thief-0", 8, at(1)).attested();
        shop.world.logs[0].introduce_by(&session, &attested, at(34));
        session
    }

    #[test]
    fn a_heartbeat_of_a_session_that_another_pods_token_introduced_does_not_count() {
        let mut shop = World::shop_before_signing();
        let session = borrowed(&mut shop);
        // It would show records to be missing, contradict one that is there, and keep the chain alive.
        for position in [20, 90] {
            let head = Head { next_seq: seq(position), link: Digest::sha256(b"other") };
            shop.world.logs[0].heartbeats(&[session.heartbeat(&[(shop.chain.id, head)], at(35))], at(36));
        }
        // Nor is the pod's own session a twin of it.
        shop.world.logs[1].heartbeats(&[shop.sidecar.heartbeat(&[], at(110))], at(110));
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_only(&report, Class::Foreign, INVENTED);
        assert_eq!((report.counts.records, report.counts.pending), (41, 0));
    }

    #[test]
    fn a_batch_that_a_log_without_its_session_holds_does_not_count_by_another_pods_token() {
        let mut shop = World::shop_before_signing();
        let session = borrowed(&mut shop);
        let batch = Chain { head: shop.batches[4].commitment.head_before(), ..shop.chain.clone() };
        let batch = { batch }.lines_saying("other", &session, 1, at(35));
        shop.world.logs[1].batch(&batch, at(36));
        shop.world.sign_all();
        let report = shop.world.judge();
        let mut classes = found(&report);
        classes.sort_unstable();
        assert_eq!(classes, [(Class::Foreign, INVENTED.1), (Class::Unintroduced, INVENTED.1)]);
        assert_eq!(report.counts.records, 41);
    }
}
