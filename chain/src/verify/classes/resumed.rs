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
                match evidence(case, case.of(target), case.links, head.next_seq, head.link) {
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
