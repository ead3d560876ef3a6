//! The report for scripts: the one JSON object of commands.md.
//!
//! Owns the names and their order, which never change; everything in it is the judge's. Times are RFC 3339 in UTC, or
//! null where there is none; roots are base64 as in a checkpoint, all other digests hex.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use indelible_chain::id::Time;
use indelible_chain::verify::{ChainSummary, Finding, LogSummary, Report};
use serde::Serialize;

use crate::clock::rfc3339;

#[derive(Serialize)]
struct Json<'a> {
    verdicts: Verdicts,
    logs: Vec<Log<'a>>,
    chains: Vec<Chain<'a>>,
    findings: Vec<Found<'a>>,
    counts: Counts,
    exit: u8,
}

#[derive(Serialize)]
struct Verdicts {
    integrity: &'static str,
    authenticity: &'static str,
    completeness: &'static str,
    freshness: &'static str,
}

#[derive(Serialize)]
struct Log<'a> {
    origin: &'a str,
    source: &'a str,
    size: u64,
    root: String,
    newest_leaf_time: Option<String>,
    sealed: bool,
    witnesses: &'a [String],
    bound_by: &'a [String],
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "the names are the report's own")]
struct Chain<'a> {
    chain_id: String,
    namespace: &'a str,
    pod: &'a str,
    pod_uid: &'a str,
    container: &'a str,
    records: u64,
    first_seq: u64,
    next_seq: u64,
    head: String,
    closed: bool,
    first_time: Option<String>,
    last_time: Option<String>,
    findings: u64,
}

#[derive(Serialize)]
struct Found<'a> {
    id: &'a str,
    class: &'static str,
    axis: &'static str,
    level: &'static str,
    log: Option<&'a str>,
    chain_id: Option<String>,
    first_seq: Option<u64>,
    last_seq: Option<u64>,
    batch_index: Option<u64>,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    accepted: Option<&'a str>,
}

#[derive(Serialize)]
struct Counts {
    records: u64,
    batches: u64,
    duplicates: u64,
    bytes: u64,
    /// Only while there are some: they will be records or a gap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending: Option<u64>,
}

/// The report as one JSON object.
pub fn render(report: &Report) -> String {
    let Report { verdicts, logs, chains, findings, counts, exit, routes: _ } = report;
    let json = Json {
        verdicts: Verdicts {
            integrity: verdicts.integrity.word(),
            authenticity: verdicts.authenticity.word(),
            completeness: verdicts.completeness.word(),
            freshness: verdicts.freshness.word(),
        },
        logs: logs.iter().map(log).collect(),
        chains: chains.iter().map(chain).collect(),
        findings: findings.iter().map(found).collect(),
        counts: Counts {
            records: counts.records,
            batches: counts.batches,
            duplicates: counts.duplicates,
            bytes: counts.bytes,
            pending: Some(counts.pending).filter(|pending| *pending > 0),
        },
        exit: *exit,
    };
    serde_json::to_string_pretty(&json).expect("strings and numbers can always be written as JSON")
}

fn time(time: Option<Time>) -> Option<String> {
    time.map(rfc3339)
}

fn log(log: &LogSummary) -> Log<'_> {
    let LogSummary { origin, source, size, root, newest_leaf_time, sealed, witnesses, bound_by } = log;
    let (root, sealed) = (BASE64_STANDARD.encode(root.as_bytes()), *sealed);
    Log { origin, source, size: *size, root, newest_leaf_time: time(*newest_leaf_time), sealed, witnesses, bound_by }
}

fn chain(chain: &ChainSummary) -> Chain<'_> {
    Chain {
        chain_id: chain.chain_id.to_string(),
        namespace: &chain.namespace,
        pod: &chain.pod,
        pod_uid: &chain.pod_uid,
        container: &chain.container,
        records: chain.records,
        first_seq: chain.first_seq.get(),
        next_seq: chain.next_seq.get(),
        head: chain.head.to_string(),
        closed: chain.closed,
        first_time: time(chain.first_time),
        last_time: time(chain.last_time),
        findings: chain.findings,
    }
}

fn found(finding: &Finding) -> Found<'_> {
    Found {
        id: &finding.id,
        class: finding.class.word(),
        axis: finding.axis.word(),
        level: finding.level.word(),
        log: finding.log.as_deref(),
        chain_id: finding.chain_id.map(|chain| chain.to_string()),
        first_seq: finding.first_seq.map(indelible_chain::id::Seq::get),
        last_seq: finding.last_seq.map(indelible_chain::id::Seq::get),
        batch_index: finding.batch_index.map(indelible_chain::id::LeafIndex::get),
        text: &finding.text,
        accepted: finding.accepted.as_deref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::summary;

    #[test]
    fn a_log_says_what_binds_it() {
        let summary = summary("c0", &["one receipt"]);
        let json = serde_json::to_value(log(&summary)).unwrap();
        assert_eq!(json["bound_by"], serde_json::json!(["one receipt"]));
    }
}
