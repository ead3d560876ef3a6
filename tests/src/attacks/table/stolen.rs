//! Who has a log's volume and key, judged with one mechanism at a time: A2, A3, A6.

use super::super::Play::Against;
use super::super::Shows::{Finding, Report};
use super::super::{Attack, Kept, Who, keys};
use super::{COMPLETENESS, FRESHNESS, HOLDS, INTEGRITY, NOTHING_RAISED, UNCLOSED};

const WITNESS: &str = "a witness that had cosigned the log";
const RECEIPTS: &str = "receipts that sidecars kept";
const STATE: &str = "the checkpoint that --state remembers";
const NOTHING: &str = "nothing is kept elsewhere";

const WITNESSED: &str = "log {log} ({…}) is not the log that it was: the witness {witness} has another head of {n} leaves. \
    Leaves were changed or removed and the log signed again. It holds output of {…}. Trust what others \
    hold of it (witness, archive, receipts), and keep both as evidence.";
const REMEMBERED: &str = "log {log} ({…}) is not the log that it was: an earlier verification ({…}) has another head of {n} \
    leaves. Leaves were changed or removed and the log signed again. It holds output of {…}. Trust what \
    others hold of it (witness, archive, receipts), and keep both as evidence.";
const WITHHELD: &str = "log {log} ({…}) gave a receipt at {time} for {records} of container app of pod {…}, printed {when}, \
    at leaf {n}, and now shows another leaf there: it removed what it had promised to keep (the receipt \
    was kept by {…}). {…} Keep receipt and log as evidence.";
const MISSING: &str = "{records} of container app of pod {…} are missing in all sources; they were printed {when}. That \
    they existed shows {…}, received at {time}. No receipt for them is in evidence, so which log had \
    them cannot be told. Look for copies of the pool's logs that are not among the sources.";

const DELETE: Attack = Attack {
    name: "A2",
    who: Who::Collector,
    does: "builds the tree again without a batch, and signs it",
    by: WITNESS,
    verdicts: INTEGRITY,
    exit: 1,
    shows: Finding("rewritten", &["bad-leaf"]),
    sentence: WITNESSED,
    play: Against(keys::delete, Kept::Witness),
};

const CUT: Attack = Attack {
    name: "A3",
    who: Who::Collector,
    does: "cuts the last batches off, adds signs of life up to the old length, and signs it",
    by: WITNESS,
    verdicts: INTEGRITY,
    exit: 1,
    shows: Finding("rewritten", &["bad-leaf"]),
    sentence: WITNESSED,
    play: Against(keys::cut, Kept::Witness),
};

const EQUIVOCATE: Attack = Attack {
    name: "A6",
    who: Who::Collector,
    does: "shows another client another tree, in which two batches change places",
    by: WITNESS,
    verdicts: INTEGRITY,
    exit: 1,
    shows: Finding("rewritten", &["bad-leaf"]),
    sentence: WITNESSED,
    play: Against(keys::equivocate, Kept::Witness),
};

/// Their rows.
pub(super) const ROWS: &[Attack] = &[
    Attack { name: "A2-witness", ..DELETE },
    Attack {
        name: "A2-receipt",
        by: RECEIPTS,
        shows: Finding("withheld", &["bad-leaf"]),
        sentence: WITHHELD,
        play: Against(keys::delete, Kept::Receipts),
        ..DELETE
    },
    Attack { name: "A2-state", by: STATE, sentence: REMEMBERED, play: Against(keys::delete, Kept::State), ..DELETE },
    Attack {
        name: "A2-nothing",
        by: NOTHING,
        verdicts: COMPLETENESS,
        exit: 2,
        shows: Finding("gap", &[]),
        sentence: MISSING,
        play: Against(keys::delete, Kept::Nothing),
        ..DELETE
    },
    Attack { name: "A3-witness", ..CUT },
    Attack {
        name: "A3-receipt",
        by: RECEIPTS,
        shows: Finding("withheld", &["bad-leaf"]),
        sentence: WITHHELD,
        play: Against(keys::cut, Kept::Receipts),
        ..CUT
    },
    Attack { name: "A3-state", by: STATE, sentence: REMEMBERED, play: Against(keys::cut, Kept::State), ..CUT },
    Attack {
        name: "A3-nothing",
        by: NOTHING,
        verdicts: FRESHNESS,
        exit: 3,
        shows: Finding("unclosed", &[]),
        sentence: UNCLOSED,
        play: Against(keys::cut, Kept::Nothing),
        ..CUT
    },
    Attack { name: "A6-witness", ..EQUIVOCATE },
    Attack {
        name: "A6-receipt",
        by: RECEIPTS,
        shows: Finding("withheld", &["bad-leaf"]),
        sentence: WITHHELD,
        play: Against(keys::equivocate, Kept::Receipts),
        ..EQUIVOCATE
    },
    Attack {
        name: "A6-state",
        by: STATE,
        sentence: REMEMBERED,
        play: Against(keys::equivocate, Kept::State),
        ..EQUIVOCATE
    },
    Attack {
        name: "A6-nothing",
        by: NOTHING,
        verdicts: NOTHING_RAISED,
        exit: 0,
        shows: Report,
        sentence: HOLDS,
        play: Against(keys::equivocate, Kept::Nothing),
        ..EQUIVOCATE
    },
];
