//! The class `resumed`: a chain takes over from another.
//!
//! That the chain it names is closed, and that nothing is missing in it from the head on that is named, follows in
//! `case` and `join`; a position before it that is not in evidence is missing like any other. Here it is told what the
//! takeover means.

use crate::control::ResumeReason;
use crate::id::Seq;

use super::super::case::{Admission, Case, Takeover};
use super::super::class::{Axis, Class, Level};
use super::super::fork::{Evidence, evidence};
use super::super::text::Utc;
use super::declared_gap::weight;
use super::findings::{About, EXPLAINED, Findings, TAMPERED};

/// Incarnation > 0, record 0 is `resumed`: closes the chain it names. Its link is in evidence there: after-end ok;
/// reboot, rejected completeness warn; state-lost, file-gone as a declared gap. Position not in evidence: like any
/// missing position. Names none: closes all earlier chains of that container; as a declared gap if there is one, else
/// completeness warn. In a chain that was closed so, positions from `next_seq` on are never missing. Another link
/// there, or record 0 is something else: integrity fail, its session.
pub(super) fn resumed(case: &Case<'_>, out: &mut Findings) {
    for takeover in case.takeovers.iter().filter(|takeover| case.in_scope(takeover.chain)) {
        match (takeover.says.from, takeover.target) {
            (Some((_, head)), Some(target)) => {
                let is_start = head.next_seq == Seq::ZERO && head.link == *case.facts.of_chain(target).id.digest();
                let end = case.of(target).end;
                let is_at_end =
                    takeover.says.reason != ResumeReason::AfterEnd || end.is_none_or(|end| end == head.next_seq);
                match evidence(case, case.of(target), case.links, head.next_seq, head.link) {
                    _ if !is_at_end => contradicts(case, takeover, out),
                    _ if is_start => explained(case, takeover, out),
                    Evidence::Other => contradicts(case, takeover, out),
                    Evidence::Missing if head.next_seq == Seq::ZERO => contradicts(case, takeover, out),
                    // What is missing is told as such; the reason holds all the same.
                    Evidence::Same | Evidence::Missing | Evidence::Asks(_) => explained(case, takeover, out),
                }
            }
            (Some(_), None) => contradicts(case, takeover, out),
            (None, _) => from_nowhere(case, takeover, out),
        }
    }
    without_resumed(case, out);
}

/// A takeover whose reason is what it says.
fn explained(case: &Case<'_>, takeover: &Takeover, out: &mut Findings) {
    let (why, weight): (_, (Axis, Level)) = match takeover.says.reason {
        ResumeReason::AfterEnd => return,
        ResumeReason::Reboot => ("the node was booted again, so output between the two may be missing", EXPLAINED),
        ResumeReason::Rejected => ("two collectors refused the earlier chain", EXPLAINED),
        ResumeReason::FileGone => ("the file that was being read, or one after it, was gone or shorter", weight(case)),
        ResumeReason::StateLost => ("the sidecar's state was lost", weight(case)),
    };
    tell(case, takeover, why, weight, out);
}

/// A takeover that names no chain.
fn from_nowhere(case: &Case<'_>, takeover: &Takeover, out: &mut Findings) {
    let has_earlier = !case.earlier(takeover.chain).is_empty();
    let (why, weight) = if has_earlier {
        ("the sidecar knew nothing of the chains before it, so output between them may be missing", weight(case))
    } else {
        ("the sidecar found output from before it started and no chain that holds it; some may be missing", EXPLAINED)
    };
    tell(case, takeover, why, weight, out);
}

fn tell(case: &Case<'_>, takeover: &Takeover, why: &str, weight: (Axis, Level), out: &mut Findings) {
    let batch = &case.facts.batches[takeover.batch];
    let from = match (takeover.target, takeover.says.from) {
        (Some(target), Some((_, head))) => format!(" from that of {} at record {}", case.who(target), head.next_seq),
        (_, _) => String::new(),
    };
    let text = format!(
        "the chain of {} took over{from} at {} because ({}) {why} ({}).",
        case.who(takeover.chain),
        Utc(batch.commitment.first_time),
        takeover.says.reason.word(),
        case.leaf(takeover.batch),
    );
    out.add(Class::Resumed, weight, About::batch(case, takeover.batch).records(Seq::ZERO, Seq::new(1)), text);
}

/// A takeover that what is in evidence shows to be false.
fn contradicts(case: &Case<'_>, takeover: &Takeover, out: &mut Findings) {
    let batch = &case.facts.batches[takeover.batch];
    let what = match (takeover.target, takeover.says.from) {
        (Some(target), Some((_, head))) => {
            format!("at record {} of {}, where other records stand", head.next_seq, case.who(target))
        }
        (_, _) => "from a chain that is not of the same container".to_owned(),
    };
    let text = format!(
        "the chain of {} says that it took over {what} ({}). {} signed that: look into that pod.",
        case.who(takeover.chain),
        case.leaf(takeover.batch),
        case.sidecar(batch.session),
    );
    out.add(Class::Resumed, TAMPERED, About::batch(case, takeover.batch).records(Seq::ZERO, Seq::new(1)), text);
}

/// Chains of a later incarnation whose record 0 is something else.
fn without_resumed(case: &Case<'_>, out: &mut Findings) {
    for chain in case.numbers().filter(|chain| case.in_scope(*chain)) {
        if case.genesis(chain).is_none_or(|genesis| genesis.incarnation == 0) {
            continue;
        }
        let first = case.of(chain).batches().find(|number| {
            let batch = &case.facts.batches[*number];
            let is_first = batch.commitment.first_seq == Seq::ZERO && batch.resumed.is_none();
            is_first && case.admissions[*number] == Admission::TakesPart
        });
        if let Some(number) = first {
            let text = format!(
                "the chain of {} is a later one of its container and does not begin by saying from which it took over \
                 ({}). {} signed that: look into that pod.",
                case.who(chain),
                case.leaf(number),
                case.sidecar(case.facts.batches[number].session),
            );
            let about = About::batch(case, number).records(Seq::ZERO, Seq::new(1));
            out.add(Class::Resumed, TAMPERED, about, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Axis, Class, Level};
    use super::super::super::testing::{Chain, Shop, Sidecar, World, assert_honest, assert_only, at, found, seq};
    use super::super::findings::{EXPLAINED, MISSING, TAMPERED};
    use crate::control::{Control, ResumeReason};
    use crate::digest::Digest;
    use crate::id::{ChainId, Head};

    /// The shop without the end of its chain, and a chain that takes over from it and ends.
    fn taken_over(reason: ResumeReason, from: impl FnOnce(&Shop) -> Option<(ChainId, Head)>) -> Shop {
        let mut shop = World::shop_before_signing();
        shop.world.logs[0].entries.pop();
        shop.world.logs[1].entries.pop();
        let from = from(&shop);
        take_over(&mut shop, "app", reason, from);
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.terms.now = at(3600);
        shop
    }

    /// A chain of a container that says from where it takes over, and ends.
    fn take_over(shop: &mut Shop, container: &str, reason: ResumeReason, from: Option<(ChainId, Head)>) {
        let mut chain = Chain::of(&shop.sidecar, container, 77);
        let resumed = Control::Resumed { reason, from };
        let batches = [chain.control(&shop.sidecar, &resumed, at(40)), chain.end(&shop.sidecar, at(41))];
        shop.world.logs[1].genesis(&chain, &shop.sidecar, at(39));
        shop.world.logs[1].batches(&batches, at(42));
    }

    /// The head before a batch.
    fn head(shop: &Shop, batch: usize) -> Head {
        shop.batches[batch].commitment.head_before()
    }

    #[test]
    fn a_takeover_at_a_head_in_evidence_weighs_as_its_reason_does() {
        for (reason, weight) in [
            (ResumeReason::AfterEnd, None),
            (ResumeReason::Reboot, Some(EXPLAINED)),
            (ResumeReason::Rejected, Some(EXPLAINED)),
            (ResumeReason::StateLost, Some(MISSING)),
            (ResumeReason::FileGone, Some(MISSING)),
        ] {
            let shop = taken_over(reason, |shop| Some((shop.chain.id, head(shop, 4))));
            let report = shop.world.judge();
            match weight {
                None => assert_honest(&report),
                Some(weight) => {
                    let text = assert_only(&report, Class::Resumed, weight);
                    assert!(text.contains("container app of pod shop/cart-0") && text.contains("record 40"), "{text}");
                }
            }
            assert!(report.chains.iter().all(|chain| chain.closed));
        }
    }

    #[test]
    fn a_lost_state_is_a_warning_where_declared_gaps_are_accepted() {
        let mut shop = taken_over(ResumeReason::StateLost, |shop| Some((shop.chain.id, head(shop, 4))));
        shop.world.terms.accept_declared_gaps = true;
        assert_only(&shop.world.judge(), Class::Resumed, EXPLAINED);
    }

    #[test]
    fn a_position_before_the_takeover_that_is_not_in_evidence_is_missing() {
        let shop = taken_over(ResumeReason::AfterEnd, |shop| {
            Some((shop.chain.id, Head { next_seq: seq(45), link: Digest::sha256(b"never stored") }))
        });
        let report = shop.world.judge();
        assert_only(&report, Class::Gap, MISSING);
        assert_eq!((report.findings[0].first_seq, report.findings[0].last_seq), (Some(seq(40)), Some(seq(44))));
    }

    #[test]
    fn positions_behind_the_takeover_are_never_missing() {
        // Records 20 to 29 were lost on their way; the chain that took over had no receipt beyond 20.
        let mut shop = taken_over(ResumeReason::AfterEnd, |shop| Some((shop.chain.id, head(shop, 2))));
        let entries = &mut shop.world.logs[0].entries;
        entries.remove(4);
        shop.world.logs[0].sign_anew();
        assert_honest(&shop.world.judge());
    }

    #[test]
    fn a_takeover_at_another_link_contradicts_its_session() {
        for position in [20, 25] {
            let shop = taken_over(ResumeReason::AfterEnd, |shop| {
                Some((shop.chain.id, Head { next_seq: seq(position), link: Digest::sha256(b"other") }))
            });
            let text = assert_only(&shop.world.judge(), Class::Resumed, TAMPERED);
            assert!(text.contains("the sidecar of pod shop/cart-0"), "{text}");
        }
    }

    #[test]
    fn a_takeover_after_the_end_that_names_less_than_the_end_hides_nothing() {
        let mut shop = World::shop_before_signing();
        let from = Some((shop.chain.id, head(&shop, 2)));
        take_over(&mut shop, "app", ResumeReason::AfterEnd, from);
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::Resumed, TAMPERED);
    }

    #[test]
    fn a_takeover_from_another_container_closes_nothing() {
        let mut shop = World::shop_before_signing();
        let from = Some((shop.chain.id, shop.chain.head));
        take_over(&mut shop, "proxy", ResumeReason::AfterEnd, from);
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::Resumed, TAMPERED);
    }

    #[test]
    fn a_takeover_that_names_no_chain_closes_all_before_it() {
        let shop = taken_over(ResumeReason::StateLost, |_| None);
        let report = shop.world.judge();
        assert_only(&report, Class::Resumed, MISSING);
        assert!(report.chains.iter().all(|chain| chain.closed));
    }

    #[test]
    fn a_takeover_that_names_no_chain_where_there_is_none_is_a_warning() {
        let mut world = World::new();
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        let mut chain = Chain::of(&sidecar, "app", 77);
        let resumed = Control::Resumed { reason: ResumeReason::StateLost, from: None };
        let batches = [chain.control(&sidecar, &resumed, at(4)), chain.end(&sidecar, at(5))];
        for log in &mut world.logs {
            log.introduce(&sidecar, at(2));
            log.genesis(&chain, &sidecar, at(3));
            log.batches(&batches, at(6));
        }
        world.sign_all();
        assert_only(&world.judge(), Class::Resumed, (Axis::Completeness, Level::Warn));
    }

    #[test]
    fn a_later_chain_that_does_not_say_from_where_contradicts_its_session() {
        let mut shop = World::shop_before_signing();
        let mut chain = Chain::of(&shop.sidecar, "app", 77);
        let batch = chain.lines(&shop.sidecar, 2, at(40));
        let end = chain.end(&shop.sidecar, at(41));
        shop.world.logs[1].genesis(&chain, &shop.sidecar, at(39));
        shop.world.logs[1].batch(&batch, at(42));
        shop.world.logs[1].batch(&end, at(42));
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_eq!(found(&report), [(Class::Resumed, TAMPERED.1)]);
    }

    #[test]
    fn each_chain_before_takeovers_that_name_none_is_closed_once() {
        const CHAINS: usize = 40;
        let mut world = World::new();
        let sidecar = Sidecar::of("cart-0", 1, at(1));
        world.logs[0].introduce(&sidecar, at(2));
        for incarnation in 1..=CHAINS as u64 {
            let mut chain = Chain::of(&sidecar, "app", incarnation);
            world.logs[0].genesis(&chain, &sidecar, at(3));
            let resumed = Control::Resumed { reason: ResumeReason::StateLost, from: None };
            world.logs[0].batch(&chain.control(&sidecar, &resumed, at(4)), at(5));
        }
        world.sign_all();
        let report = world.judge_with(|judge| {
            let case = super::super::super::case::Case::new(&judge.terms, &judge.facts, &judge.links);
            assert_eq!(case.closed_by.values().map(Vec::len).sum::<usize>(), CHAINS - 1);
        });
        assert_eq!(report.chains.iter().filter(|chain| chain.closed).count(), CHAINS - 1);
    }
}
