//! Who writes to logs, with the key or without, and who chooses what is read of them.

use super::super::Play::Copies;
use super::super::Shows::Finding;
use super::super::{Attack, Who, another, bytes, forged};
use super::{AUTHENTICITY, COMPLETENESS, FRESHNESS, INTEGRITY, UNCLOSED, UNJUDGED};

/// A batch that its session did not sign.
const FORGED: &str = "{records} of container app of pod {…}, printed {when}, are not what the sidecar of pod {…} that \
    started at {time} signed: {…} (leaf {n} of log {log} ({…})). They do not count. A collector checks \
    this before it stores anything, so it was changed there or stored unchecked: look into that \
    collector, and keep its volume as evidence.";

/// Their rows.
pub(super) const ROWS: &[Attack] = &[
    Attack {
        name: "A1-body",
        who: Who::Volume,
        does: "flips one bit of a stored body",
        by: "the links that the batch's signature covers",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-body", &[]),
        sentence: "{records} of container app of pod {…}, printed {when} are damaged in storage: {…} (leaf {n} of log \
            {log} ({…})). They cannot be read there any more; look for another copy, and keep this one as \
            evidence.",
        play: Copies(bytes::flip_body),
    },
    Attack {
        name: "A1-leaf",
        who: Who::Volume,
        does: "flips one bit of a batch's leaf",
        by: "the tree that the log signed",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-leaf", &["forged"]),
        sentence: "leaf {n} of log {log} ({…}){…} was changed ({…}). The leaves around there were received from {time} \
            to {time} and hold output of {…}. Compare with other copies of that log, and keep this one as \
            evidence.",
        play: Copies(bytes::flip_leaf),
    },
    Attack {
        name: "A1-bundle",
        who: Who::Volume,
        does: "flips one bit of a bundle of leaves",
        by: "the tree that the log signed",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-tile", &[]),
        sentence: "tiles of log {log} ({…}) are not what its leaves give: tile/entries/000 ({…}). No record is \
            concerned, but others cannot check this log with them. The leaves around there were received from \
            {time} to {time} and hold output of {…}. Keep them as evidence, and let the collector make them \
            again.",
        play: Copies(bytes::flip_bundle),
    },
    Attack {
        name: "A1-tile",
        who: Who::Volume,
        does: "flips one bit of a tile of hashes",
        by: "the tree that the log signed",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-tile", &[]),
        sentence: "tiles of log {log} ({…}) are not what its leaves give: tile/0/000 ({…}). No record is concerned, but \
            others cannot check this log with them. The leaves around there were received from {time} to {time} \
            and hold output of {…}. Keep them as evidence, and let the collector make them again.",
        play: Copies(bytes::flip_tile),
    },
    Attack {
        name: "A1-checkpoint",
        who: Who::Volume,
        does: "flips one bit of a checkpoint",
        by: "the log's signature",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-checkpoint", &[]),
        sentence: "checkpoints of log {log} ({…}) do not hold: {…}. The leaves around there were received {…}. A log \
            signs each of them, so they were changed afterwards: look into that collector's storage.",
        play: Copies(bytes::flip_checkpoint),
    },
    Attack {
        name: "A18",
        who: Who::Volume,
        does: "changes one bit of a stored body, with its checksum, and two implementations judge: each log of each seed, and this",
        by: "a second implementation, written from the format's text in another language: it agrees in every root and head, \
            and finds by itself what ours finds",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("forged", &["bad-body"]),
        sentence: FORGED,
        play: Copies(another::judges_too),
    },
    Attack {
        name: "A2-plain",
        who: Who::Volume,
        does: "cuts a batch out of a segment",
        by: "the tree that the log signed",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-leaf", &[]),
        sentence: "leaf {n} of log {log} ({…}) is lost: nothing can be made of its bytes ({…}). The leaves around there \
            were received from {time} to {time} and hold output of {…}. Compare with other copies of that log, \
            and keep this one as evidence.",
        play: Copies(bytes::delete_batch),
    },
    Attack {
        name: "A8",
        who: Who::Collector,
        does: "leaves a living pod's heartbeats out of the log",
        by: "a chain without a sign of life is not closed",
        verdicts: FRESHNESS,
        exit: 3,
        shows: Finding("unclosed", &[]),
        sentence: UNCLOSED,
        play: Copies(forged::without_heartbeats),
    },
    Attack {
        name: "A9-checkpoints",
        who: Who::Volume,
        does: "strips the signatures off all checkpoints of a log",
        by: "what is not signed never passes",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("bad-checkpoint", &["bad-leaf"]),
        sentence: "checkpoints of log {log} ({…}) do not hold: {…}. A log signs each of them, so they were changed \
            afterwards: look into that collector's storage.",
        play: Copies(bytes::strip_checkpoints),
    },
    Attack {
        name: "A9-batches",
        who: Who::Collector,
        does: "strips the signatures off all batches, and signs the log again",
        by: "what is not signed never passes",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("forged", &[]),
        sentence: FORGED,
        play: Copies(forged::strip_batches),
    },
    Attack {
        name: "A23-collector",
        who: Who::Collector,
        does: "invents a session for a pod, and what the pod said",
        by: "the pod's token, checked against its issuer's keys",
        verdicts: AUTHENTICITY,
        exit: 1,
        shows: Finding("unattested", &[]),
        sentence: "the token by which log {log} ({…}) introduced the sidecar of pod payments/api-7 that started at \
            {time} (leaf {n}) does not vouch for it: {…}. What that session signed may not be that pod's.",
        play: Copies(forged::invented_session),
    },
    Attack {
        name: "A24",
        who: Who::Collector,
        does: "stores batches of one pod's chain that another pod's sidecar signed",
        by: "a session speaks for its own pod only",
        verdicts: AUTHENTICITY,
        exit: 1,
        shows: Finding("foreign", &[]),
        sentence: "log {log} ({…}) holds batches for the chain of container app of pod {…} that the sidecar of pod \
            payments/api-7 that started at {time} signed: another pod (leaves {n}). They are not counted as that \
            container's output. A collector must refuse them: look into that collector, and into the other pod.",
        play: Copies(forged::foreign_batches),
    },
    Attack {
        name: "A25-stored",
        who: Who::Collector,
        does: "stores a batch whose signature is S + L in place of S",
        by: "collector and verifier check alike, and strictly",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("forged", &[]),
        sentence: FORGED,
        play: Copies(forged::malleable_batch),
    },
    Attack {
        name: "A26-absent",
        who: Who::Reader,
        does: "is not given one log's source",
        by: "the policy names the logs",
        verdicts: COMPLETENESS,
        exit: 2,
        shows: Finding("absent", &[]),
        sentence: "log {log} is named by {…} and is not among the sources. {…} Add its collector, a copy of its volume, \
            or its archive.",
        play: Copies(forged::left_out),
    },
    Attack {
        name: "A26-reborn",
        who: Who::Collector,
        does: "begins a new log that says the old one was shorter than it was",
        by: "a witness that had cosigned the old log",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("abandoned", &["bad-leaf", "rewritten"]),
        sentence: "log {new} ({…}) continues log {log} and says that it had {n} leaves (leaf {n}), though a witness \
            cosigned {n}: that collector gives up leaves that were there. Trust the witness, and look for the \
            old volume.",
        play: Copies(forged::reborn),
    },
    Attack {
        name: "A28",
        who: Who::Collector,
        does: "appends the last heartbeat of a dead pod again and again",
        by: "a heartbeat counts from when it was signed",
        verdicts: FRESHNESS,
        exit: 3,
        shows: Finding("clock", &["unclosed"]),
        sentence: "{n} heartbeats of the sidecar of pod {…} that started at {time} were stored long before or after \
            they were signed, first one signed at {time} and stored at {time} (leaf {n} of log {log} ({…})). One \
            of the two clocks is wrong, or an old heartbeat was stored again.",
        play: Copies(forged::old_heartbeats),
    },
    Attack {
        name: "A29-after",
        who: Who::Sidecar,
        does: "signs more of a chain that it had ended",
        by: "the end is a record of the chain",
        verdicts: INTEGRITY,
        exit: 1,
        shows: Finding("after-final", &[]),
        sentence: "the chain of container app of pod {…} ended with record {n}, and yet the sidecar of pod {…} that \
            started at {time} signed {records} of it (from leaf {n} of log {log} ({…}) on). Look into that pod.",
        play: Copies(forged::after_the_end),
    },
    Attack {
        name: "A29-early",
        who: Who::Sidecar,
        does: "ends the chain of a container that prints on",
        by: "what the cluster says should be covered",
        verdicts: COMPLETENESS,
        exit: 2,
        shows: Finding("silent", &[]),
        sentence: "container app of pod {pod} should be covered and still runs, but its chain ended at {time} and none \
            took over. See whether the pod has its sidecar and the sidecar reaches the pool.",
        play: Copies(forged::early_end),
    },
    Attack {
        name: "A16",
        who: Who::Namespace,
        does: "runs a pod without its sidecar",
        by: "what the cluster says should be covered",
        verdicts: COMPLETENESS,
        exit: 2,
        shows: Finding("silent", &[]),
        sentence: "container app of pod {pod} should be covered and has run since {time}, {…} ago, and no chain of it \
            is in the sources. See whether the pod has its sidecar and the sidecar reaches the pool.",
        play: Copies(forged::uncovered),
    },
    Attack {
        name: "A13-empty",
        who: Who::Reader,
        does: "is given an empty directory",
        by: "what cannot be judged is neither a pass nor an accusation",
        verdicts: UNJUDGED,
        exit: 4,
        shows: Finding("unreadable", &[]),
        sentence: "the source {source} cannot be read: {…}. What only it holds is unknown.",
        play: Copies(forged::empty_source),
    },
    Attack {
        name: "A13-key",
        who: Who::Reader,
        does: "has another key under the log's name",
        by: "what cannot be judged is neither a pass nor an accusation",
        verdicts: UNJUDGED,
        exit: 4,
        shows: Finding("unknown-key", &[]),
        sentence: "the source {source} shows log {log}, and none of its checkpoints is signed by a key that was given. \
            Give the log's verifier key (--log-key, or a policy), from somewhere else than the source itself.",
        play: Copies(forged::wrong_key),
    },
    Attack {
        name: "A17-collector",
        who: Who::Failure,
        does: "sets a collector's clock back by an hour",
        by: "order is by position, never by time",
        verdicts: FRESHNESS,
        exit: 3,
        shows: Finding("clock", &[]),
        sentence: "the clock of log {log} ({…}) went back {n} times, first at leaf {n} from {time} to {time}. See to \
            the collector's clock.",
        play: Copies(forged::collector_clock),
    },
];
