//! The class `after-sealed`: a leaf stands where a sealed log ended.
//!
//! A sealed log promises that nothing follows until it says that it started again.

use super::super::case::Case;
use super::super::class::Class;
use super::super::facts::{Place, ViewId};
use super::findings::{About, Findings, TAMPERED};

/// A leaf between statement 4 and the next 1: integrity fail, that log.
pub(super) fn after_sealed(case: &Case<'_>, out: &mut Findings) {
    for (number, view) in case.facts.views.iter().enumerate() {
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
