//! A container's chains against what it printed: each line once and in its order, and what is missing declared.

use std::ops::Range;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::chains::Chain;
use super::segments::Log;
use super::{CONTROL, Case, Container, Printed, Verdict};
use crate::soak::container::Written;
use crate::soak::line::Script;
use crate::tamper::wire::{Record, hex};

/// By how much two processes may see the order of two moments differently.
const SLACK: Duration = Duration::from_millis(100);
/// How many sentences about one container are enough.
const MAX_SENTENCES: usize = 5;

/// What a sidecar says in the evidence.
enum Said {
    Resumed(String),
    Gap,
    End,
    Other,
}

/// Where the comparison of one container is.
struct Comparison<'a> {
    container: &'a Container,
    /// The line that comes next.
    next: u64,
    /// What declares that lines are missing here, and when it was said.
    declared: Option<Timestamp>,
    /// When that was last said in this chain, and of how many streams the end of a line may follow whose beginning is gone.
    broken: Option<(Timestamp, u8)>,
    is_closed: bool,
    sentences: usize,
}

/// Compares, and notes what it finds in the verdict.
pub fn compare(
    case: &Case,
    logs: &[Log],
    container: &Container,
    chains: &[Chain],
    verdict: &mut Verdict,
) -> Result<()> {
    let total = container.printed.lines();
    verdict.printed += total;
    verdict.printed_bytes += container.printed.bytes();
    let mut comparison =
        Comparison { container, next: 0, declared: None, broken: None, is_closed: false, sentences: 0 };
    for chain in chains {
        (comparison.declared, comparison.broken) = (None, None);
        chain.walk(case, logs, verdict, |record, verdict| comparison.take(chain, record, verdict))?;
    }
    comparison.declared = None;
    comparison.pass_over(total, verdict);
    if !comparison.is_closed {
        verdict.wrong.push(format!("{}: its last chain has no end", container.name));
    }
    Ok(())
}

impl Comparison<'_> {
    fn wrong(&mut self, verdict: &mut Verdict, text: &str) {
        self.sentences += 1;
        if self.sentences <= MAX_SENTENCES {
            verdict.wrong.push(format!("{}: {text}", self.container.name));
        }
    }

    fn take(&mut self, chain: &Chain, record: &Record, verdict: &mut Verdict) {
        self.is_closed = false;
        if record.source == CONTROL {
            match said(&record.payload) {
                Said::Resumed(reason) => {
                    self.declares(chain.genesis.incarnation.into());
                    // A sidecar that was killed before it had written a state, and finds that files were rotated or that its
                    // chain is known since it asked for it, says so to be on the safe side. A refusal, a boot, a state that
                    // is lost: there are none in a run.
                    let is_right = match reason.as_str() {
                        "file-gone" | "after-end" => true,
                        "state-lost" => self.next == 0,
                        _ => false,
                    };
                    verdict.cautious += u64::from(is_right && reason == "state-lost");
                    // The verifier has nothing to say of one that follows an end.
                    if reason != "after-end" {
                        verdict.resumed.insert(hex(&chain.id));
                    }
                    if !is_right {
                        self.wrong(verdict, &format!("a chain took over because of {reason}"));
                    }
                }
                Said::Gap => {
                    verdict.gaps.insert(hex(&chain.id));
                    self.declares(record.time.into());
                }
                Said::End => self.is_closed = true,
                Said::Other => {}
            }
            return;
        }
        match self.container.printed.place(record, self.next) {
            Some(n) if n >= self.next => {
                self.pass_over(n, verdict);
                (self.next, self.declared) = (n + 1, None);
                verdict.held += 1;
            }
            Some(n) => {
                verdict.duplicated += 1;
                self.wrong(verdict, &format!("line {n} is there twice or too late, before line {}", self.next));
            }
            None if self.is_end_of_line(record, verdict) => {}
            None => {
                verdict.garbled += 1;
                let text = String::from_utf8_lossy(&record.payload[..record.payload.len().min(80)]).into_owned();
                self.wrong(verdict, &format!("a record that is no line that was printed: {text}"));
            }
        }
    }

    /// Of two at one place the later one counts: a chain that took over may say a gap there that was noticed before it.
    fn declares(&mut self, nanoseconds: i128) {
        self.declared = self.declared.max(Timestamp::from_nanosecond(nanoseconds).ok());
        self.broken = self.declared.map(|said| (said, 2));
    }

    /// Whether a record is the end of a line whose beginning had left the disk: that line is missing then.
    fn is_end_of_line(&mut self, record: &Record, verdict: &mut Verdict) -> bool {
        let Some((said, left @ 1..)) = self.broken else { return false };
        let Some(n) = self.container.printed.end_of_line(record, self.next) else { return false };
        self.pass_over(n, verdict);
        self.declared = Some(said);
        self.next = n;
        self.pass_over(n + 1, verdict);
        (self.next, self.broken) = (n + 1, Some((said, left - 1)));
        true
    }

    /// Lines up to `to` are not there: are they declared, and could nobody have read them?
    fn pass_over(&mut self, to: u64, verdict: &mut Verdict) {
        if to == self.next {
            return;
        }
        let missing = self.next..to;
        let (lines, bytes) = (to - self.next, self.container.printed.bytes_of(&missing));
        let why = match self.declared {
            None => Some("and nothing declares it".to_owned()),
            Some(said) => self.container.readable(&missing, said),
        };
        match why {
            None => {
                verdict.declared += lines;
                verdict.declared_bytes += bytes;
            }
            Some(why) => {
                verdict.lost += lines;
                let (first, last) = (self.next, to - 1);
                self.wrong(verdict, &format!("lines {first} to {last} are not there, {why}"));
            }
        }
    }
}

impl Container {
    /// Why the missing lines could have been read before `said`; `None`: they had left the disk by then, and the sidecar
    /// had died since they were printed, or was dead or stopped when they left.
    fn readable(&self, missing: &Range<u64>, said: Timestamp) -> Option<String> {
        let until = said + SLACK;
        for (begun, gone) in self.printed.files_of(missing) {
            let Some(gone) = gone else { return Some("although they have never left the disk".to_owned()) };
            if gone > until {
                return Some(format!("although they left the disk at {gone}, after {said}"));
            }
            let has_died = |death: &Range<Timestamp>| {
                death.start <= until && begun.is_none_or(|begun| death.start + SLACK >= begun)
            };
            let was_away = |away: &Range<Timestamp>| away.start <= gone + SLACK && gone <= away.end + SLACK;
            if !self.deaths.iter().any(has_died) && !self.deaths.iter().chain(&self.stops).any(was_away) {
                let begun = begun.map(|begun| format!(" from {begun}")).unwrap_or_default();
                return Some(format!("although the sidecar has run all the time{begun} until they left at {gone}"));
            }
        }
        None
    }
}

impl Printed {
    fn lines(&self) -> u64 {
        match self {
            Self::Script { files, .. } => files.last().map_or(0, |file| file.next),
            Self::Recorded { lines, .. } => lines.len() as u64,
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Script { files, .. } => files.iter().map(|file| file.bytes).sum(),
            Self::Recorded { lines, .. } => lines.iter().map(|line| line.payload.len() as u64).sum(),
        }
    }

    /// About how many bytes some lines had, exact where whole files are meant.
    fn bytes_of(&self, range: &Range<u64>) -> u64 {
        match self {
            Self::Script { files, .. } => shared(files, range)
                .map(|(file, lines)| u128::from(file.bytes) * u128::from(lines) / u128::from(file.next - file.first))
                .map(|bytes| u64::try_from(bytes).unwrap_or(u64::MAX))
                .sum(),
            Self::Recorded { lines, .. } => range.clone().map(|n| lines[index(n)].payload.len() as u64).sum(),
        }
    }

    /// Of the files that hold some lines: when each was made, if that is known, and when it had left the disk.
    fn files_of(&self, range: &Range<u64>) -> Vec<(Option<Timestamp>, Option<Timestamp>)> {
        match self {
            Self::Script { files, .. } => shared(files, range).map(|(file, _)| (Some(file.begun), file.gone)).collect(),
            Self::Recorded { gone, .. } => range.clone().map(|n| (None, gone[index(n)])).collect(),
        }
    }

    /// Which recorded line, from `from` on, a record is the end of.
    fn end_of_line(&self, record: &Record, from: u64) -> Option<u64> {
        let Self::Recorded { lines, .. } = self else { return None };
        let is_it = |line: &crate::oracle::Record| {
            line.source == record.source && line.flags == record.flags && line.payload.ends_with(&record.payload)
        };
        lines.get(index(from)..)?.iter().position(is_it).map(|ahead| from + ahead as u64)
    }

    /// Which line a record is; of recorded ones, which may be alike, the first from `from` on.
    fn place(&self, record: &Record, from: u64) -> Option<u64> {
        match self {
            Self::Script { script, .. } => {
                let (n, time) = script.recognise(&record.payload)?;
                let is_right = (record.time, record.source, record.flags) == (time, Script::source(n), 0);
                is_right.then_some(n)
            }
            Self::Recorded { lines, .. } => {
                let is_it = |line: &crate::oracle::Record| {
                    (line.time, line.source, line.flags, &line.payload)
                        == (record.time, record.source, record.flags, &record.payload)
                };
                let after = lines.get(index(from)..)?.iter().position(is_it).map(|ahead| from + ahead as u64);
                after.or_else(|| lines.iter().position(is_it).map(|at| at as u64))
            }
        }
    }
}

fn shared<'a>(files: &'a [Written], range: &Range<u64>) -> impl Iterator<Item = (&'a Written, u64)> {
    let (from, to) = (range.start, range.end);
    let lines = move |file: &Written| file.next.min(to).saturating_sub(file.first.max(from));
    files.iter().map(move |file| (file, lines(file))).filter(|(_, lines)| *lines > 0)
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn said(payload: &[u8]) -> Said {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(payload) else { return Said::Other };
    match value["kind"].as_str() {
        Some("resumed") => Said::Resumed(value["reason"].as_str().unwrap_or_default().to_owned()),
        Some("gap") => Said::Gap,
        Some("end") => Said::End,
        _ => Said::Other,
    }
}
