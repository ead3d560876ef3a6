//! The oracle against the vectors and against the recorded heads.

use super::*;
use crate::trace::Trace;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

#[derive(Deserialize)]
struct Vectors {
    files: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: Vec<CaseFile>,
    chain_ends: bool,
    records: Vec<CaseRecord>,
    head: String,
}

#[derive(Deserialize)]
struct CaseFile {
    name: String,
    hex: Option<String>,
    #[serde(default)]
    runs: Vec<(String, usize)>,
}

#[derive(Deserialize)]
struct CaseRecord {
    time: i64,
    source: u8,
    flags: u8,
    payload: CasePayload,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CasePayload {
    Hex(String),
    Digest { length: usize, sha256: String },
}

const IDENTITY: Identity<'_> =
    Identity { cluster_uid: "", namespace: "ns", pod: "pod", pod_uid: "uid", container: "c", incarnation: 0 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn log(name: &str, text: &str) -> File {
    File { name: name.into(), bytes: text.into() }
}

impl CaseFile {
    fn contents(&self) -> File {
        let hex = self.hex.iter().map(|hex| (hex.clone(), 1));
        let bytes = hex.chain(self.runs.iter().cloned()).flat_map(|(hex, times)| unhex(&hex).repeat(times)).collect();
        File { name: self.name.clone(), bytes }
    }
}

#[test]
fn the_vectors_file_cases_come_out_as_told() {
    let vectors: Vectors = serde_json::from_str(include_str!("../../../chain/tests/data/vectors.json")).unwrap();
    assert!(vectors.files.len() >= 17);
    for case in vectors.files {
        let files: Vec<_> = case.files.iter().map(CaseFile::contents).collect();
        let ending = if case.chain_ends { Ending::Closed } else { Ending::Open };
        let records = records(&files, ending);
        assert_eq!(records.len(), case.records.len(), "{}", case.name);
        for (record, told) in records.iter().zip(&case.records) {
            assert_eq!(
                (record.time, record.source, record.flags),
                (told.time, told.source, told.flags),
                "{}",
                case.name
            );
            match &told.payload {
                CasePayload::Hex(payload) => assert_eq!(hex(&record.payload), *payload, "{}", case.name),
                CasePayload::Digest { length, sha256 } => {
                    assert_eq!(record.payload.len(), *length, "{}", case.name);
                    assert_eq!(hex(&Sha256::digest(&record.payload)), *sha256, "{}", case.name);
                }
            }
        }
        assert_eq!(hex(&IDENTITY.head(&records)), case.head, "{}", case.name);
        assert_eq!(in_order(files.clone().into_iter().rev().collect()), files, "{}", case.name);
    }
}

#[test]
fn the_recorded_trace_gives_the_heads_that_were_told() {
    let trace = Trace::recorded().unwrap();
    assert_eq!(trace.heads().len(), 7);
    for (container, told) in trace.heads() {
        let records = records(&trace.files(container), Ending::Closed);
        let identity = trace.identity(container);
        assert_eq!(hex(&identity.chain_id()), told.chain_id, "{container}");
        assert_eq!(records.len() as u64, told.records, "{container}");
        assert_eq!(
            records.iter().map(|record| record.payload.len() as u64).sum::<u64>(),
            told.payload_bytes,
            "{container}"
        );
        assert_eq!(hex(&identity.head(&records)), told.link, "{container}");
        let unterminated = records.iter().filter(|record| record.flags & UNTERMINATED != 0).count();
        assert_eq!(unterminated as u64, told.unterminated, "{container}");
    }
}

#[test]
fn a_record_knows_its_bytes_across_a_rotation() {
    let first = "2026-11-22T20:00:01Z stdout P a\n";
    let files = [log("0.log.1", first), log("0.log", "2026-11-22T20:00:02Z stdout F b\n")];
    let records = records(&files, Ending::Open);
    let (start, end) = (Place { file: 0, offset: 0 }, Place { file: 1, offset: first.len() });
    assert_eq!(records.iter().map(|record| record.bytes.clone()).collect::<Vec<_>>(), [start..start, start..end]);
}

#[test]
fn files_come_by_restart_and_rotated_ones_by_their_first_lines_whatever_they_are_called() {
    let at = |second: u32| format!("2026-11-22T20:00:{second:02}Z stdout F a\n2026-11-22T19:00:00Z stdout F b\n");
    let files = [
        log("9.log.20261122-200900", "no line of its format\n2026-11-22T20:00:59Z stdout F a\n"),
        log("9.log.20261122-200500", &at(1)),
        log("9.log.20261122-200300", &at(2)),
        log("9.log.20261122-200400", &at(2)),
        log("9.log", &at(0)),
        log("10.log", &at(0)),
    ];
    let mut given = files.to_vec();
    given.reverse();
    given.extend([log("9.log.20261122-200600.gz.tmp", &at(0)), log("lost+found", ""), log("x.log", "")]);
    assert_eq!(in_order(given), files);
}

#[test]
fn a_file_that_is_empty_does_not_end_the_one_before() {
    let (line, begun) = ("2026-11-22T20:00:01Z stdout F a\n", "2026-11-22T20:00:02Z std");
    let files = [log("0.log.1", &format!("{line}{begun}")), log("0.log", "")];
    assert_eq!(records(&files, Ending::Open), records(&files[..1], Ending::Open));
    assert_eq!(records(&files, Ending::Open).len(), 2);
    assert_eq!(records(&files, Ending::Closed).len(), 3);
}

#[test]
fn a_chain_that_begins_at_a_later_line_says_that_its_restart_began_then() {
    let first = "2026-11-22T20:00:01Z stdout P a\n";
    let files = [log("3.log", &format!("{first}2026-11-22T20:00:02Z stdout F b\n"))];
    let records = records_from(&files, Place { file: 0, offset: first.len() }, Ending::Open);
    assert_eq!(records[0].payload, br#"{"kind":"container-started","restart":3}"#);
    assert_eq!(records[0].time, records[1].time);
    assert_eq!(records[1].payload, b"b");
}

#[test]
fn a_long_line_that_cannot_become_well_formed_is_recorded_while_it_grows() {
    let long = |start: &str| [log("0.log", &(start.to_owned() + &"x".repeat(MAX_RECORD_BYTES)))];
    assert_eq!(records(&long("2026-11-22T20:00:01Z stdout F "), Ending::Open), []);
    assert_eq!(records(&long("2026-11-22T20:00:01Z stdout F"), Ending::Open), []);
    assert_eq!(records(&long(""), Ending::Open), [], "not longer than a record");
    // So the restart before is not over by it.
    let open = log("0.log", "2026-11-22T20:00:01Z stdout P a\n");
    let after =
        |more: usize| records(&[open.clone(), log("1.log", &"x".repeat(MAX_RECORD_BYTES + more))], Ending::Open);
    assert_eq!((after(0).len(), after(1).len()), (0, 4));
    let records = records(&long("2026-11-22T20:00:01Z out F "), Ending::Open);
    assert_eq!(records.iter().map(|record| record.flags).collect::<Vec<_>>(), [0, MALFORMED | CONTINUES]);
}

#[test]
fn a_malformed_line_as_long_as_a_record_is_one_record() {
    let flags = |length: usize| -> Vec<u8> {
        let file = log("0.log", &("x".repeat(length) + "\n"));
        records(&[file], Ending::Open)[1..].iter().map(|record| record.flags).collect()
    };
    assert_eq!(flags(MAX_RECORD_BYTES), [MALFORMED]);
    assert_eq!(flags(MAX_RECORD_BYTES + 1), [MALFORMED | CONTINUES, MALFORMED]);
}

#[test]
fn times_are_taken_to_the_letter() {
    let time = |text: &str| Line::parse(format!("{text} stdout F x").as_bytes()).map(|line| line.time);
    assert_eq!(time("1970-01-01T00:00:00Z"), Some(0));
    assert_eq!(time("1970-01-01T00:00:00.000000001+00:00"), Some(1));
    assert_eq!(time("1969-12-31T23:59:59.5Z"), Some(-500_000_000));
    assert_eq!(time("2024-02-29T23:59:59-23:59"), Some(1_709_337_539_000_000_000));
    assert_eq!(time("2262-04-11T23:47:16.854775807Z"), Some(i64::MAX));
    assert_eq!(time("1677-09-21T00:12:43.145224192Z"), Some(i64::MIN));
    for wrong in [
        "2262-04-11T23:47:16.854775808Z",
        "1677-09-21T00:12:43.145224191Z",
        "0000-01-01T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "2026-11-22t20:00:01Z",
        "2026-11-22T20:00:01z",
        "2026-11-22T24:00:00Z",
        "2026-11-22T20:60:00Z",
        "2026-11-22T20:00:01.Z",
        "2026-11-22T20:00:01.1234567890Z",
        "2026-11-22T20:00:01",
        "2026-11-22T20:00:01+0100",
        "2026-11-22T20:00:01+24:00",
        "2026-11-22T20:00:01+01:60",
        "2026-11-22T20:00:01+01:00Z",
        "+026-11-22T20:00:01Z",
        "",
    ] {
        assert_eq!(time(wrong), None, "{wrong}");
    }
}
