//! The class `abandoned`: a log that was not sealed is continued by another.
//!
//! A volume was lost or rolled back, and its collector began a new log that names the old one. Everything that the old
//! one ever signed must still be shown.

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::Place;
use super::absent::elsewhere;
use super::findings::{About, Findings, MISSING, TAMPERED};

/// A log that was not sealed is continued by another origin: completeness fail until its leaves up to the largest
/// checkpoint known are in the sources; integrity fail, that collector, if statement 3 names less than a witness
/// cosigned.
pub(super) fn abandoned(case: &Case<'_>, out: &mut Findings) {
    for successor in &case.sources.successors {
        let log = case.terms.policy.logs()[successor.log].origin().as_str();
        let by = case.log(successor.view);
        let views = &case.sources.views[successor.log];
        let about = About::leaf(case, Place { view: successor.view, index: successor.index });
        // That it is short shows that a seal in it was not its end.
        if let Some((size, whose)) = case.sources.short.get(&successor.log) {
            let shown = views.iter().map(|view| case.facts.view(*view).size()).max().unwrap_or(0);
            let text = format!(
                "log {log} went on after what is shown of it and is continued by {by}; it had {size} leaves ({whose}), and \
                 the sources show {shown}.{} Add a copy of its volume, or its archive.",
                elsewhere(case),
            );
            out.add(Class::Abandoned, MISSING, About::origin(log), text);
        }
        let cosigned = case.sources.claims[successor.log].iter().filter(|claim| claim.is_cosigned);
        let cosigned = cosigned.chain([]).max_by_key(|claim| claim.size);
        let of_views = views.iter().flat_map(|view| &case.facts.view(*view).heads);
        let in_views = of_views.filter(|head| !head.witnesses.is_empty()).map(|head| head.size).max();
        let largest = cosigned.map(|claim| claim.size).max(in_views).unwrap_or(0);
        if largest > successor.size {
            let text = format!(
                "{by} continues log {log} and says that it had {} leaves (leaf {}), though a witness cosigned {largest}: \
                 that collector gives up leaves that were there. Trust the witness, and look for the old volume.",
                successor.size, successor.index,
            );
            out.add(Class::Abandoned, TAMPERED, about, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{Log, World, assert_honest, assert_only, at};
    use super::super::findings::{MISSING, TAMPERED};
    use crate::cosignature::Cosigner;
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
