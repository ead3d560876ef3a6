//! The class `after-sealed`: a leaf stands where a sealed log ended.
//!
//! A sealed log promises that nothing follows until it says that it started again.

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{Place, ViewId};
use super::findings::{About, Findings, TAMPERED};

/// A leaf between statement 4 and the next 1: integrity fail, that log.
pub(super) fn after_sealed(case: &Case<'_>, out: &mut Findings) {
    // Where leaves are not those that were signed, one that is missing may be the start: another finding says so.
    let is_true = |(number, _): &(usize, _)| case.standings[*number].is_true;
    for (number, view) in case.facts.views.iter().enumerate().filter(is_true) {
        let id = ViewId(number);
        for (index, count) in &view.after_sealed {
            let text = format!(
                "{} was sealed, and {count} leaves follow from leaf {index} on without it having started again. Look into \
                 that collector: someone may have used its key.",
                case.log(id),
            );
            out.add(Class::AfterSealed, TAMPERED, About::leaf(case, Place { view: id, index: *index }), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::Class;
    use super::super::super::testing::{World, assert_honest, assert_only, at};
    use super::super::findings::TAMPERED;
    use crate::statement::Statement;

    #[test]
    fn a_leaf_after_a_seal_convicts_unless_the_log_started_again() {
        for started in [true, false] {
            let mut shop = World::shop();
            if started {
                shop.world.logs[0].start(at(61));
            }
            shop.world.logs[0].say(Statement::Clock { offset_ms: None }, at(62));
            shop.world.logs[0].say(Statement::Clock { offset_ms: None }, at(63));
            shop.world.logs[0].seal(at(64));
            let report = shop.world.judge();
            if started {
                assert_honest(&report);
            } else {
                let text = assert_only(&report, Class::AfterSealed, TAMPERED);
                assert!(text.contains("shop/c0-") && text.contains("3 leaves follow from leaf 7 on"), "{text}");
            }
        }
    }
}
