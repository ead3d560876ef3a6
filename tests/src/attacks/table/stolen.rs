//! Who has a log's volume, with its key or an older copy of it, judged with one mechanism at a time: A2, A3, A4, A6, A27.

use super::super::Play::Against;
use super::super::Shows::{Finding, Report};
use super::super::Verdict::{Fail, Pass, Warn};
use super::super::{Attack, Kept, Who, keys, older};
use super::{COMPLETENESS, FRESHNESS, INTEGRITY, NOTHING_RAISED, UNCLOSED};

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

/// An older copy does not tell itself from a newer one whose end was cut off.
const WITNESSED_LONGER: &str = "log {log} ({…}) is shorter than it was: the witness {witness} has a head of {n} leaves, and it \
    shows only {n}. Either what was read here is an older copy of its data, or its end was cut off; which of the two \
    cannot be told from it. It holds output of {…}. Read the collector itself or a newer copy: one that goes on to that \
    head clears this one. If there is none, leaves were taken back; trust what others hold of it (witness, archive, \
    receipts), and keep both as evidence.";
const REMEMBERED_LONGER: &str = "log {log} ({…}) is shorter than it was: an earlier verification ({…}) has a head of {n} \
    leaves, and it shows only {n}. Either what was read here is an older copy of its data, or its end was cut off; which \
    of the two cannot be told from it. It holds output of {…}. Read the collector itself or a newer copy: one that goes \
    on to that head clears this one. If there is none, leaves were taken back; trust what others hold of it (witness, \
    archive, receipts), and keep both as evidence.";
const STALE: &str = "log {log} ({…}) has had no new leaf since {time}, {…} ago, and was not sealed. Its collector has stopped, \
    or does not show what it has. See to the collector; if it is gone for good, keep its volume.";
const UNBOUND: &str = "Nothing kept elsewhere was compared with {…}{log}{…}: no cosignature, receipt or earlier checkpoint. \
    Whoever has such a log's key could have signed another history of it, and this could not tell; --state DIR \
    remembers for the next time.";

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

const PUT_BACK: Attack = Attack {
    name: "A4",
    who: Who::Volume,
    does: "puts an older copy of the volume back, on which the collector goes on until its log is longer than it was",
    by: WITNESS,
    verdicts: INTEGRITY,
    exit: 1,
    shows: Finding("rewritten", &["bad-leaf"]),
    sentence: WITNESSED,
    play: Against(older::put_back, Kept::Witness),
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

const SHOWN_AGAIN: Attack = Attack {
    name: "A27",
    who: Who::Reader,
    does: "gives an older copy of a log, whose checkpoint the quorum's witness had cosigned",
    by: "the witness, which has cosigned more since",
    verdicts: INTEGRITY,
    exit: 1,
    shows: Finding("rewritten", &["bad-leaf"]),
    sentence: WITNESSED_LONGER,
    play: Against(older::shown_again, Kept::Witness),
};

/// Convicted by receipts.
const fn withheld(attack: Attack) -> Attack {
    Attack { by: RECEIPTS, shows: Finding("withheld", &["bad-leaf"]), sentence: WITHHELD, ..attack }
}

/// Their rows.
pub(super) const ROWS: &[Attack] = &[
    Attack { name: "A2-witness", ..DELETE },
    Attack { name: "A2-receipt", play: Against(keys::delete, Kept::Receipts), ..withheld(DELETE) },
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
    Attack { name: "A3-receipt", play: Against(keys::cut, Kept::Receipts), ..withheld(CUT) },
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
    Attack { name: "A4-witness", ..PUT_BACK },
    Attack { name: "A4-receipt", play: Against(older::put_back, Kept::Receipts), ..withheld(PUT_BACK) },
    Attack {
        name: "A4-state",
        by: STATE,
        sentence: REMEMBERED,
        play: Against(older::put_back, Kept::State),
        ..PUT_BACK
    },
    Attack {
        name: "A4-nothing",
        by: NOTHING,
        verdicts: [Pass, Pass, Fail, Warn],
        exit: 2,
        shows: Finding("gap", &["unclosed"]),
        sentence: MISSING,
        play: Against(older::put_back, Kept::Nothing),
        ..PUT_BACK
    },
    Attack { name: "A6-witness", ..EQUIVOCATE },
    Attack { name: "A6-receipt", play: Against(keys::equivocate, Kept::Receipts), ..withheld(EQUIVOCATE) },
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
        sentence: UNBOUND,
        play: Against(keys::equivocate, Kept::Nothing),
        ..EQUIVOCATE
    },
    Attack { name: "A27-witness", ..SHOWN_AGAIN },
    Attack {
        name: "A27-state",
        by: STATE,
        sentence: REMEMBERED_LONGER,
        play: Against(older::shown_again, Kept::State),
        ..SHOWN_AGAIN
    },
    // What a receipt promises may come later than the copy was made: it convicts once a leaf is there that is younger.
    Attack {
        name: "A27-receipt",
        by: "a log that goes on has a new leaf each minute; receipts do not tell an older copy from a lie",
        verdicts: FRESHNESS,
        exit: 3,
        shows: Finding("stale", &["unclosed"]),
        sentence: STALE,
        play: Against(older::shown_again, Kept::Receipts),
        ..SHOWN_AGAIN
    },
    Attack {
        name: "A27-nothing",
        by: "a log that goes on has a new leaf each minute; nothing is kept elsewhere",
        verdicts: FRESHNESS,
        exit: 3,
        shows: Finding("stale", &["unclosed"]),
        sentence: STALE,
        play: Against(older::shown_again, Kept::Nothing),
        ..SHOWN_AGAIN
    },
];
