//! forged

use super::super::case::{Admission, Case};
use super::super::class::{Axis, Class, Level};
use super::super::facts::{Place, ViewId};
use super::super::prepare::{Body, Signed};
use super::super::text::{Between, Records};
use super::findings::{About, Findings, TAMPERED};

/// Signature, count, `body_len`, times or links do not hold over the body: integrity fail, the collector that stored
/// it; takes no part.
pub(super) fn forged(case: &Case<'_>, out: &mut Findings) {
    for (number, batch) in case.facts.batches.iter().enumerate() {
        if case.admissions[number] != Admission::Forged {
            continue;
        }
        let why = match (&batch.signed, &batch.body) {
            (Signed::No, _) => "the signature is not by the session that it names",
            (_, Body::Contradicts(why)) => why,
            (_, _) => "it does not hold",
        };
        let c = &batch.commitment;
        let text = format!(
            "{} of {}, printed {}, are not what {} signed: {why} ({}). They do not count. A collector checks this before \
             it stores anything, so it was changed there or stored unchecked: look into that collector, and keep its \
             volume as evidence.",
            Records(c.first_seq, c.next_seq()),
            case.who(batch.chain),
            Between(Some(c.first_time), Some(c.last_time)),
            case.sidecar(batch.session),
            case.leaf(number),
        );
        out.add(Class::Forged, TAMPERED, About::batch(case, number), text);
    }
    for (number, view) in case.facts.views.iter().enumerate() {
        let view_id = ViewId(number);
        for (session, index) in &view.forged_beats {
            let text = format!(
                "leaf {index} of {} holds a heartbeat that is not signed by {}. It does not count. A collector checks \
                 this before it stores anything: look into that collector.",
                case.log(view_id),
                case.sidecar(*session),
            );
            out.add(Class::Forged, TAMPERED, About::leaf(case, Place { view: view_id, index: *index }), text);
        }
        for index in &view.bad_authority {
            let text = format!(
                "leaf {index} of {} is a statement in the name of an authority whose key did not sign it. It does not \
                 count.",
                case.log(view_id),
            );
            let about = About::leaf(case, Place { view: view_id, index: *index });
            out.add(Class::Forged, (Axis::Integrity, Level::Warn), about, text);
        }
    }
    for head in &case.facts.heads {
        if head.next_seq.get() == 0 && head.link != *case.facts.of_chain(head.chain).id.digest() {
            let text = format!(
                "leaf {} of {} holds a heartbeat by {} that states another beginning for {} than a chain can have.",
                head.place.index,
                case.log(head.place.view),
                case.sidecar(head.session),
                case.who(head.chain),
            );
            out.add(Class::Forged, TAMPERED, About::leaf(case, head.place).chain(case, head.chain), text);
        }
    }
}
