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
        let is_sealed = views.iter().any(|view| case.facts.view(*view).sealed.is_some());
        let about = About::leaf(case, Place { view: successor.view, index: successor.index });
        if let Some((size, whose)) = case.sources.short.get(&successor.log).filter(|_| !is_sealed) {
            let shown = views.iter().map(|view| case.facts.view(*view).size()).max().unwrap_or(0);
            let text = format!(
                "log {log} was not sealed and is continued by {by}; it had {size} leaves ({whose}), and the sources show \
                 {shown}.{} Add a copy of its volume, or its archive.",
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
