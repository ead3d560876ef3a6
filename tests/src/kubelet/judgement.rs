//! The evidence of a run beside the oracle's second opinion.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use indelible_chain::control::END_PAYLOAD;

use crate::evidence::{StoredChain, StoredRecord};
use crate::oracle::{self, Ending, Place, Record};
use crate::trace::Trace;
use crate::world::Answer;

/// What is left when a run is over.
#[derive(Debug)]
pub struct Judgement {
    trace: Arc<Trace>,
    chains: Vec<StoredChain>,
    clock: Option<(i128, f64)>,
    /// What `indelible verify` said.
    pub answer: Answer,
    /// How many logs hold batches.
    pub logs_used: usize,
    /// How many chains took over from another.
    pub resumed: usize,
}

impl Judgement {
    pub(super) fn new(
        trace: &Arc<Trace>,
        chains: Vec<StoredChain>,
        answer: Answer,
        clock: Option<(i128, f64)>,
    ) -> Self {
        let logs_used = chains.iter().flat_map(|chain| &chain.logs).collect::<BTreeSet<_>>().len();
        let resumed = chains.iter().filter(|chain| chain.genesis.incarnation > 0).count();
        Self { trace: Arc::clone(trace), chains, clock, answer, logs_used, resumed }
    }

    /// The chains of a container, in order of incarnation.
    fn chains_of(&self, container: &str) -> Vec<&StoredChain> {
        let mut chains: Vec<_> = self.chains.iter().filter(|chain| chain.container() == container).collect();
        chains.sort_by_key(|chain| chain.genesis.incarnation);
        chains
    }

    /// The payloads of all lines of a container, in order, over its incarnations.
    pub fn lines_of(&self, container: &str) -> Vec<Vec<u8>> {
        let records = self.chains_of(container).into_iter().flat_map(|chain| chain.records.values());
        records.filter(|record| record.source != oracle::CONTROL).map(|record| record.payload.clone()).collect()
    }

    /// Every container has one chain, with exactly the recorded head and then its end.
    ///
    /// # Panics
    /// If that is not so.
    pub fn assert_exact(&self) {
        for (container, expected) in self.trace.heads() {
            let chains = self.chains_of(container);
            assert_eq!(chains.len(), 1, "{container} has chains {:?}", starts(&chains));
            let records = chains[0].whole().unwrap_or_else(|error| panic!("{error}"));
            let (end, lines) = records.split_last().expect("a chain has an end");
            assert_eq!(end.payload, END_PAYLOAD, "{container}");
            assert_eq!(lines.len() as u64, expected.records, "{container}: number of records");
            assert_eq!(hex(&lines.last().expect("there are lines").link), expected.link, "{container}: head");
        }
    }

    /// Each container has the recorded head, or chains that took over from each other, between which only bytes are
    /// missing that had left the disk before the later one began.
    ///
    /// # Panics
    /// If that is not so.
    pub fn assert_nothing_lost_but_what_had_left_the_disk(&self) {
        for container in self.trace.heads().keys() {
            let files = self.trace.files(container);
            let logs = self.trace.log_files(container);
            let mut covered: Vec<Vec<bool>> = files.iter().map(|file| vec![false; file.bytes.len()]).collect();
            let mut begun = Duration::ZERO;
            let mut from = Place { file: 0, offset: 0 };
            for (n, chain) in self.chains_of(container).into_iter().enumerate() {
                let stored = chain.whole().unwrap_or_else(|error| panic!("{error}"));
                let lines = without_frame(&stored, n > 0);
                let records = find(&files, from, lines)
                    .unwrap_or_else(|| panic!("{container}: chain {n} is not what the files hold from {from:?} on"));
                for record in &records {
                    cover(&mut covered, record);
                }
                from = records.iter().map(|record| record.bytes.end).max().unwrap_or(from);
                begun = begun.max(self.trace_time(chain.genesis.incarnation));
            }
            for (file, (covered, log)) in covered.iter().zip(logs).enumerate() {
                let missing = covered.iter().filter(|covered| !**covered).count();
                let was_gone = log.gone.is_some_and(|gone| gone <= begun);
                assert!(missing == 0 || was_gone, "{container}: {missing} bytes of file {file} are missing: {log:?}");
            }
        }
    }

    /// When, by the recording's clock, a chain with this incarnation began.
    fn trace_time(&self, incarnation: u64) -> Duration {
        let Some((start, speed)) = self.clock else { return Duration::ZERO };
        let nanos = u64::try_from(i128::from(incarnation) - start).unwrap_or(0);
        Duration::from_nanos(nanos).mul_f64(speed)
    }
}

fn starts(chains: &[&StoredChain]) -> Vec<String> {
    let first = |chain: &&StoredChain| chain.records.values().next().map(|record| record.payload.clone());
    chains.iter().map(|chain| String::from_utf8_lossy(&first(chain).unwrap_or_default()).into_owned()).collect()
}

/// A chain's records without its `resumed` and its `end`.
fn without_frame<'a>(records: &'a [&'a StoredRecord], resumed: bool) -> &'a [&'a StoredRecord] {
    let records = if resumed { &records[1.min(records.len())..] } else { records };
    match records.split_last() {
        Some((end, lines)) if end.payload == END_PAYLOAD => lines,
        _ => records,
    }
}

/// The records of the files from some line at or after `from` on, if the stored ones are the first of them.
fn find(files: &[oracle::File], from: Place, stored: &[&StoredRecord]) -> Option<Vec<Record>> {
    let Some(first) = stored.iter().find(|record| record.source != oracle::CONTROL) else { return Some(Vec::new()) };
    let starts = files.iter().enumerate().flat_map(|(file, content)| {
        let lines = content.bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        std::iter::once(0).chain(lines).map(move |offset| Place { file, offset })
    });
    // A new chain may begin before what the last one covered: at the first part of a line that was open.
    starts.filter(|place| place.file + 2 > from.file).find_map(|place| {
        let rest = &files[place.file].bytes[place.offset..];
        let shown = first.payload.get(..first.payload.len().min(64)).unwrap_or_default();
        let window = &rest[..rest.len().min(shown.len() + 128)];
        if !shown.is_empty() && !window.windows(shown.len()).any(|bytes| bytes == shown) {
            return None;
        }
        let records = oracle::records_from(files, place, Ending::Closed);
        let same = records.len() >= stored.len() && records.iter().zip(stored).all(|(a, b)| is_same(a, b));
        same.then(|| records.into_iter().take(stored.len()).collect())
    })
}

fn is_same(record: &Record, stored: &StoredRecord) -> bool {
    (record.time, record.source, record.flags) == (stored.time, stored.source, stored.flags)
        && record.payload == stored.payload
}

fn cover(covered: &mut [Vec<bool>], record: &Record) {
    let (start, end) = (record.bytes.start, record.bytes.end);
    for (file, bytes) in covered.iter_mut().enumerate().take(end.file + 1).skip(start.file) {
        let from = if file == start.file { start.offset } else { 0 };
        let to = if file == end.file { end.offset } else { bytes.len() };
        bytes[from.min(to)..to].fill(true);
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String cannot fail");
        text
    })
}
