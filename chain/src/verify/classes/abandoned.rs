//! The class `abandoned`: a log that was not sealed is continued by another.
//!
//! A volume was lost or rolled back, and its collector began a new log that names the old one. Everything that the old
//! one ever signed must still be shown.

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{Place, View};
use super::super::limits::NAMED;
use super::super::settle::Roots;
use super::super::sources::Successor;
use super::super::text::list;
use super::absent::elsewhere;
use super::findings::{About, Findings, MISSING, TAMPERED};
use super::rewritten::here;

/// A log that was not sealed is continued by another origin: completeness fail until its leaves up to the largest
/// checkpoint known are in the sources; integrity fail, that collector, if statement 3 names less than a witness
/// cosigned.
///
/// A statement 3 is its own log's word. It counts for the log that it names if the policy knows both as logs of one
/// collector. Where that log shows fewer leaves and it does not count, or where that log signed another root, the
/// finding names the log that said it: completeness fail, or integrity fail and undecided which of the two is wrong.
pub(super) fn abandoned(case: &Case<'_>, out: &mut Findings) {
    let continued = case.sources.successors.iter().enumerate().filter(|(_, successors)| !successors.is_empty());
    for (number, successors) in continued {
        let log = case.terms.policy.logs()[number].origin().as_str();
        let views: Vec<&View> = case.sources.views[number].iter().map(|view| case.facts.view(*view)).collect();
        let shown = views.iter().map(|view| view.size()).max();
        // That it is short shows that a seal in it was not its end.
        if let Some((size, whose)) = case.sources.short.get(&number).filter(|_| case.sources.is_continued(number)) {
            let by = successors.iter().filter(|successor| successor.counts).map(|successor| case.log(successor.view));
            let text = format!(
                "log {log} went on after what is shown of it and is continued by {}; it had {size} leaves ({whose}), and \
                 the sources show {}.{} Add a copy of its volume, or its archive.",
                list(by, NAMED),
                shown.unwrap_or(0),
                elsewhere(case),
            );
            out.add(Class::Abandoned, MISSING, About::origin(log), text);
        }
        let cosigned =
            case.sources.claims[number].iter().filter(|claim| !claim.witnesses.is_empty()).map(|claim| claim.size);
        let in_views = views.iter().flat_map(|view| &view.heads).filter(|head| !head.witnesses.is_empty());
        let cosigned = cosigned.chain(in_views.map(|head| head.size)).max().unwrap_or(0);
        let differ = contradicted(case, number);
        for (successor, differs) in successors.iter().zip(differ) {
            let Successor { view, index, size, counts, .. } = *successor;
            let (by, about) = (case.log(view), About::leaf(case, Place { view, index }));
            if cosigned > size {
                let text = format!(
                    "{by} continues log {log} and says that it had {size} leaves (leaf {index}), though a witness cosigned \
                     {cosigned}: that collector gives up leaves that were there. Trust the witness, and look for the old \
                     volume.",
                );
                out.add(Class::Abandoned, TAMPERED, about, text);
            } else if differs {
                let text = format!(
                    "{by} says that it continues log {log} and that it had another root for {size} leaves than it signed \
                     (leaf {index}). Which of the two collectors is wrong is undecided. Compare with what others hold of \
                     log {log}, and keep both as evidence.",
                );
                out.add(Class::Abandoned, TAMPERED, about, text);
            } else if let Some(shown) = shown.filter(|shown| size > *shown && !counts) {
                let text = format!(
                    "{by} says that it continues log {log} and that it had {size} leaves (leaf {index}); the sources show \
                     {shown}, and nothing that log {log} signed shows more. Add a newer copy of it, or look into the \
                     collector that says so.",
                );
                out.add(Class::Abandoned, MISSING, about, text);
            }
        }
    }
}

/// For each log that says it continues this one: whether the root that it names is another than this one signed.
fn contradicted(case: &Case<'_>, log: usize) -> Vec<bool> {
    let successors = &case.sources.successors[log];
    let mut differ = vec![false; successors.len()];
    for view in &case.sources.views[log] {
        let (facts, is_true) = (case.facts.view(*view), case.standings[view.0].is_true);
        let roots = Roots::at_sizes(facts, successors.iter().map(|s| s.size).filter(|size| *size <= facts.size()));
        for (differs, Successor { size, root, .. }) in differ.iter_mut().zip(successors) {
            let root_here = here(&facts.heads, *size, roots.at(*size).filter(|_| is_true));
            *differs |= root_here.is_some_and(|here| here != *root);
        }
    }
    differ
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Axis, Class, Level};
    use super::super::super::testing::{Log, World, assert_honest, assert_only, at, found};
    use super::super::findings::{MISSING, TAMPERED};
    use crate::cosignature::Cosigner;
    use crate::digest::Digest;
    use crate::policy::Policy;
    use crate::statement::Statement;

    /// The shop; a third log continues log 1, of which it names so many leaves.
    fn continued(size: usize) -> World {
        let mut world = World::shop_before_signing().world;
        let mut old = Log::new("shop/c1", 11);
        old.entries = world.logs[1].entries[..size].to_vec();
        let (origin, root) = (old.origin().to_string(), old.checkpoint().root());
        let mut new = Log::new("shop/c1", 31);
        new.start(at(50));
        new.say(Statement::SuccessorOf { origin, size: size as u64, root }, at(50));
        world.logs.push(new);
        let keys = world.logs.iter().map(|log| log.signer.verifier_key().clone());
        world.terms.policy = Policy::from_log_keys(keys).unwrap();
        world
    }

    #[test]
    fn a_continued_log_that_is_there_in_full_is_no_loss() {
        let mut world = continued(6);
        world.sign_all();
        assert_honest(&world.judge());
    }

    #[test]
    fn a_log_that_another_of_the_same_collector_continues_is_not_stale() {
        let mut world = continued(6);
        world.logs[1].sign();
        world.logs[0].seal(at(60));
        world.logs[2].seal(at(60));
        world.terms.now = at(3600);
        assert_honest(&world.judge());
    }

    /// The shop, where log 0 says that it continues log 1, another collector's.
    fn claimed(size: u64, root: impl FnOnce(&Log) -> Digest) -> World {
        let mut world = World::shop_before_signing().world;
        let (origin, root) = (world.logs[1].origin().to_string(), root(&world.logs[1]));
        world.logs[0].say(Statement::SuccessorOf { origin, size, root }, at(50));
        world.logs[0].seal(at(60));
        world.logs[1].sign();
        world.terms.now = at(3600);
        world
    }

    #[test]
    fn what_a_log_says_of_another_collectors_log_excuses_it_from_nothing() {
        let world = claimed(6, |log| log.checkpoint().root());
        let text = assert_only(&world.judge(), Class::Stale, (Axis::Freshness, Level::Warn));
        assert!(text.contains("log shop/c1-"), "{text}");
    }

    #[test]
    fn what_a_log_says_of_another_collectors_log_convicts_only_itself() {
        for (size, weight) in [(6, TAMPERED), (1000, MISSING)] {
            let report = claimed(size, |_| Digest::sha256(b"a lie")).judge();
            let [said, stale] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
            assert_eq!((said.class, said.axis, said.level), (Class::Abandoned, weight.0, weight.1), "{}", said.text);
            assert!(said.log.as_ref().unwrap().starts_with("shop/c0-"), "{}", said.text);
            // Nor does it make a hole of what log 1 could have held.
            assert_eq!((stale.class, stale.level), (Class::Stale, Level::Warn), "{}", stale.text);
        }
    }

    #[test]
    fn two_logs_of_a_collector_that_continue_each_other_are_both_stale() {
        let mut world = continued(6);
        let (origin, root) = (world.logs[2].origin().to_string(), world.logs[2].checkpoint().root());
        let size = world.logs[2].entries.len() as u64;
        world.logs[1].say(Statement::SuccessorOf { origin, size, root }, at(50));
        world.logs[0].seal(at(60));
        world.logs[1].sign();
        world.logs[2].sign();
        world.terms.now = at(3600);
        assert_eq!(found(&world.judge()), [(Class::Stale, Level::Warn); 2]);
    }

    #[test]
    fn a_continued_log_of_which_a_part_is_missing_is_abandoned() {
        let mut world = continued(6);
        world.logs[1].entries.truncate(5);
        world.sign_all();
        let text = assert_only(&world.judge(), Class::Abandoned, MISSING);
        assert!(text.contains("shop/c1-") && text.contains("it had 6 leaves"), "{text}");
    }

    #[test]
    fn a_copy_that_ends_in_an_older_seal_is_no_whole_log() {
        let mut world = continued(6);
        world.logs[1].entries.truncate(5);
        world.logs[1].seal(at(45));
        let mut more = Log::new("shop/c1", 11);
        more.entries = world.logs[1].entries.clone();
        more.start(at(46));
        more.seal(at(47));
        // The successor knows of more than the copy with its seal shows.
        world.logs[2].entries.clear();
        let (origin, size, root) = (more.origin().to_string(), more.entries.len() as u64, more.checkpoint().root());
        world.logs[2].start(at(50));
        world.logs[2].say(Statement::SuccessorOf { origin, size, root }, at(50));
        world.sign_all();
        assert_only(&world.judge(), Class::Abandoned, MISSING);
    }

    #[test]
    fn a_successor_that_names_less_than_a_witness_cosigned_gives_up_leaves() {
        let mut world = continued(5);
        let witness = Cosigner::new("w1".parse().unwrap(), &[99; 32]);
        world.ask_for(&witness);
        world.logs.iter_mut().for_each(|log| log.sign_with(&witness, at(60)));
        let text = assert_only(&world.judge(), Class::Abandoned, TAMPERED);
        assert!(text.contains("a witness cosigned 6"), "{text}");
    }
}
