//! The class `declared gap`: the sidecar itself says that bytes are missing.
//!
//! Such a record explains a hole in the output; it excuses no missing position of the chain.

use std::collections::BTreeSet;

use crate::control::GapReason;

use super::super::case::{Admission, Case};
use super::super::class::{Axis, Class, Level};
use super::super::text::Utc;
use super::findings::{About, EXPLAINED, Findings, MISSING};

/// A `gap` record: completeness fail, explained (exit 2); `--accept-declared-gaps` makes it warn. Excuses no missing
/// seq.
pub(super) fn declared_gap(case: &Case<'_>, out: &mut Findings) {
    let mut told = BTreeSet::new();
    for (number, batch) in case.facts.batches.iter().enumerate() {
        if case.admissions[number] != Admission::TakesPart || !case.in_scope(batch.chain) {
            continue;
        }
        for gap in &batch.gaps {
            // The same record may be stored in several logs.
            if !told.insert((batch.chain, gap.seq, gap.time, gap.file.clone())) {
                continue;
            }
            let bytes = gap.bytes.map_or("an unknown number of bytes".to_owned(), |bytes| format!("{bytes} bytes"));
            let why = match gap.reason {
                GapReason::HeldBytesExceeded => "more unread output was held on the node than allowed",
                GapReason::Unreadable => "the file could not be read",
            };
            let text = format!(
                "{} lost {bytes} of the file {} at {}, before record {}: {why}. The sidecar says so itself ({}). Raise the \
                 bound on held bytes, or see why collectors could not be reached; --accept-declared-gaps makes this a \
                 warning.",
                case.who(batch.chain),
                gap.file,
                Utc(gap.time),
                gap.seq.plus(1),
                case.leaf(number),
            );
            let about = About::batch(case, number).records(gap.seq, gap.seq.plus(1));
            out.add(Class::DeclaredGap, weight(case), about, text);
        }
    }
}

/// How much a declared gap weighs.
pub(super) const fn weight(case: &Case<'_>) -> (Axis, Level) {
    if case.terms.accept_declared_gaps { EXPLAINED } else { MISSING }
}
