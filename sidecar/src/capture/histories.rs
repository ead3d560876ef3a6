//! Random histories of a container, of its log files, and of the sidecar that reads them, against a simple model.
//!
//! The model knows what the runtime printed, in which file it is, and which files nobody could read any more. Whatever
//! the history: no fork, no hole (the rig refuses both); while nothing was lost, one chain with exactly the records that
//! were printed, in their order; what was lost is said, and no more is missing than what was lost.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use indelible_chain::control::{Control, ResumeReason};
use indelible_chain::id::ChainId;
use indelible_chain::record::{Flags, Source};
use proptest::prelude::*;

use super::rig::{Rig, Said, shown};
use crate::logdir::memory::MemoryFile;

const APP: &str = "app";

#[derive(Clone, Debug)]
enum Act {
    /// The container prints: a part that leaves the line open, or its end.
    Print {
        stderr: bool,
        open: bool,
        len: usize,
    },
    /// A line of which the sidecar may see half.
    Half,
    Rotate,
    /// The runtime writes to the file that was rotated last.
    Late,
    /// The oldest file that is not packed, but for the newest.
    Pack,
    /// The oldest file of a restart.
    Delete {
        newest: bool,
    },
    Restart,
    Settle,
    Flush,
    Receipt(usize),
    Wait(u64),
    Kill,
    Start,
    Reboot {
        power_lost: bool,
    },
    Fault {
        calls: u32,
        torn_at: usize,
    },
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (any::<bool>(), prop::bool::weighted(0.3), prop_oneof![9 => 0_usize..40, 1 => 5_000_usize..80_000])
            .prop_map(|(stderr, open, len)| Act::Print { stderr, open, len }),
        2 => Just(Act::Half),
        3 => Just(Act::Rotate),
        2 => Just(Act::Late),
        2 => Just(Act::Pack),
        2 => any::<bool>().prop_map(|newest| Act::Delete { newest }),
        1 => Just(Act::Restart),
        6 => Just(Act::Settle),
        5 => Just(Act::Flush),
        5 => (1_usize..4).prop_map(Act::Receipt),
        1 => (1_u64..15).prop_map(Act::Wait),
        2 => Just(Act::Kill),
        4 => Just(Act::Start),
        1 => (0_u32..6, 0_usize..300).prop_map(|(calls, torn_at)| Act::Fault { calls, torn_at }),
    ]
}

fn with_reboots() -> impl Strategy<Value = Act> {
    prop_oneof![20 => act(), 1 => any::<bool>().prop_map(|power_lost| Act::Reboot { power_lost })]
}

/// What the first run of the sidecar saw.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// A directory without files: whether rotated ones that another run finds are the first, it cannot know.
    Empty,
    /// A file, which later ones can be seen to follow.
    Seen,
}

/// Whether the file system tells when files were made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Births {
    Told,
    Untold,
}

fn births() -> impl Strategy<Value = Births> {
    prop_oneof![Just(Births::Told), Just(Births::Untold)]
}

fn start() -> impl Strategy<Value = Start> {
    prop_oneof![Just(Start::Seen), Just(Start::Empty)]
}

/// What a record of the container is expected to be.
type Line = (Source, Flags, String);

struct Log {
    name: String,
    file: Rc<MemoryFile>,
    /// Ids of what is in it.
    ids: Vec<u32>,
}

struct Model {
    rig: Rig,
    restart: u32,
    second: u32,
    next: u32,
    /// The rest of a line of which half is there.
    half: Option<Vec<u8>>,
    /// Files with a name, oldest first; the last one is live if there is a live one.
    files: Vec<Log>,
    /// Files without a name that a run of the sidecar may still hold.
    nameless: Vec<Log>,
    open: BTreeMap<Source, String>,
    expected: Vec<Line>,
    /// Ids of parts that were printed in order, and of those written late.
    parts: Vec<u32>,
    late: Vec<u32>,
    /// Ids in files that nobody can read any more.
    lost: Vec<u32>,
    lost_files: u32,
    /// The newest restart of which the sidecar has seen a file. What was rotated before it has, may have had others
    /// before it, for all that a new run can know.
    seen: u32,
    unseen_rotations: u32,
    boots: u32,
    /// What could not be written down before a kill, or was lost with the power, the next run does not know.
    faults: u32,
    start: Start,
}

impl Model {
    fn new(start: Start, births: Births) -> Self {
        let mut rig = Rig::new();
        if births == Births::Told {
            rig.logs.tell_births();
        }
        rig.logs.make(APP);
        rig.settle();
        let mut model = Self {
            rig,
            restart: 0,
            second: 0,
            next: 0,
            half: None,
            files: Vec::new(),
            nameless: Vec::new(),
            open: BTreeMap::new(),
            expected: Vec::new(),
            parts: Vec::new(),
            late: Vec::new(),
            lost: Vec::new(),
            lost_files: 0,
            seen: 0,
            unseen_rotations: 0,
            boots: 0,
            faults: 0,
            start,
        };
        if start == Start::Seen {
            model.act(&Act::Print { stderr: false, open: false, len: 1 });
            model.rig.settle();
        }
        model
    }

    fn id(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn live_name(&self) -> String {
        format!("{}.log", self.restart)
    }

    /// What the runtime had begun to write is written.
    fn complete(&mut self) {
        if let Some(rest) = self.half.take() {
            self.files.last().unwrap().file.add(&rest);
        }
    }

    fn live(&mut self) -> &mut Log {
        let name = self.live_name();
        if self.files.last().is_none_or(|log| log.name != name) {
            let file = self.rig.logs.append(APP, &name, b"");
            self.files.push(Log { name, file, ids: Vec::new() });
        }
        self.files.last_mut().unwrap()
    }

    fn print(&mut self, source: Source, open: bool, len: usize) -> Vec<u8> {
        self.complete();
        self.second += 1;
        let (id, second) = (self.id(), self.second);
        let (stream, tag) = (if source == Source::Stderr { "stderr" } else { "stdout" }, if open { "P" } else { "F" });
        let content = format!("<{id}>{}", "x".repeat(len));
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let raw = format!("2026-11-22T{hour:02}:{minute:02}:{:02}Z {stream} {tag} {content}\n", second % 60);
        self.parts.push(id);
        self.live().ids.push(id);
        self.open.entry(source).or_default().push_str(&content);
        if !open {
            let line = self.open.remove(&source).unwrap();
            self.expected.push((source, Flags::NONE, line));
        }
        raw.into_bytes()
    }

    fn interrupt(&mut self, first_parts: &BTreeMap<Source, u32>) {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_iter().collect();
        open.sort_by_key(|(source, _)| first_parts[source]);
        self.expected.extend(open.into_iter().map(|(source, line)| (source, Flags::UNTERMINATED, line)));
    }

    /// Ids are given in the order of time: the first of an open line tells when it began.
    fn first_parts(&self) -> BTreeMap<Source, u32> {
        let first = |line: &String| line[1..].split('>').next().unwrap().parse().unwrap();
        self.open.iter().map(|(source, line)| (*source, first(line))).collect()
    }

    fn is_down(&self) -> bool {
        self.rig.capture.is_none()
    }

    fn delete(&mut self, index: usize) {
        // A file that lives longer than a look is opened.
        self.settle();
        let log = self.files.remove(index);
        self.rig.logs.remove(APP, &log.name);
        if self.is_down() {
            self.lose(log);
        } else {
            self.nameless.push(log);
        }
    }

    fn settle(&mut self) {
        if !self.is_down() {
            self.rig.settle();
            self.seen = self.restart;
        }
    }

    fn kill(&mut self) {
        if !self.is_down() {
            self.rig.kill();
            for log in std::mem::take(&mut self.nameless) {
                self.lose(log);
            }
        }
    }

    fn lose(&mut self, log: Log) {
        self.lost.extend(log.ids);
        self.lost_files += 1;
    }

    fn start(&mut self) {
        if self.is_down() {
            self.rig.start();
        }
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Print { stderr, open, len } => {
                let source = if *stderr { Source::Stderr } else { Source::Stdout };
                let raw = self.print(source, *open, *len);
                self.live().file.add(&raw);
            }
            Act::Half => {
                let raw = self.print(Source::Stdout, false, 30);
                let (first, rest) = raw.split_at(raw.len() / 2);
                self.half = Some(rest.to_vec());
                self.live().file.add(first);
            }
            Act::Rotate => self.rotate(),
            Act::Late => self.write_late(),
            Act::Pack => {
                let plain = |log: &Log| log.name.contains(".log.") && !is_packed(&log.name);
                let candidates: Vec<usize> = (0..self.files.len()).filter(|i| plain(&self.files[*i])).collect();
                if candidates.len() > 1 {
                    self.pack(candidates[0]);
                }
            }
            Act::Delete { newest } => {
                let candidates = self.deletable();
                if let Some(index) = if *newest { candidates.last() } else { candidates.first() } {
                    self.delete(*index);
                }
            }
            Act::Restart if self.restart < 6 => self.restart(),
            Act::Settle => self.settle(),
            Act::Flush if !self.is_down() => {
                self.settle();
                self.rig.flush();
            }
            Act::Receipt(count) if !self.is_down() => self.rig.receipt(*count),
            Act::Restart | Act::Flush | Act::Receipt(_) => {}
            Act::Wait(seconds) => self.rig.pass(Duration::from_secs(*seconds)),
            Act::Kill => self.kill(),
            Act::Start => self.start(),
            Act::Reboot { power_lost } => {
                self.kill();
                if *power_lost {
                    self.rig.store.lose_unsynced();
                    self.faults += 1;
                }
                self.boots += 1;
                self.rig.settings.boot_id = format!("boot {}", self.boots);
            }
            Act::Fault { calls, torn_at } => {
                self.rig.store.fail_after(*calls, *torn_at);
                self.faults += 1;
            }
        }
    }

    /// A kubelet removes the oldest of a restart's rotated files, never the last of them.
    fn deletable(&self) -> Vec<usize> {
        let restart_of = |log: &Log| log.name.split('.').next().map(str::to_owned);
        let rotated = |index: &usize| self.files[*index].name.contains(".log.");
        let same = |a: usize, b: usize| restart_of(&self.files[a]) == restart_of(&self.files[b]);
        let all: Vec<usize> = (0..self.files.len()).filter(rotated).collect();
        let oldest = |i: &usize| all.iter().all(|j| j >= i || !same(*i, *j));
        let not_last = |i: &usize| all.iter().any(|j| j > i && same(*i, *j));
        all.iter().copied().filter(|i| oldest(i) && not_last(i)).collect()
    }

    fn rotate(&mut self) {
        self.complete();
        let live = self.live_name();
        if self.files.last().is_some_and(|log| log.name == live && !log.ids.is_empty()) {
            self.second += 1;
            self.unseen_rotations += u32::from(self.restart > self.seen);
            let name = format!("{live}.20261122-{:06}", self.second);
            self.rig.logs.rename(APP, &live, &name);
            self.files.last_mut().unwrap().name = name;
        }
    }

    fn write_late(&mut self) {
        let rotated = |log: &Log| log.name.contains(".log.") && !is_packed(&log.name);
        if let Some(index) = self.files.iter().rposition(rotated).filter(|_| self.half.is_none()) {
            let id = self.id();
            self.late.push(id);
            self.files[index].ids.push(id);
            self.files[index].file.add(format!("late <{id}>\n").as_bytes());
        }
    }

    fn pack(&mut self, index: usize) {
        let name = self.files[index].name.clone();
        self.rig.logs.gzip(APP, &name);
        let packed = format!("{name}.gz");
        let file = self.rig.logs.append(APP, &packed, b"");
        self.files[index].name = packed;
        self.files[index].file = file;
    }

    /// The container dies and comes back; of the runs before, the last one's files stay.
    fn restart(&mut self) {
        self.complete();
        let first = self.first_parts();
        self.interrupt(&first);
        self.live();
        let stays = format!("{}.log", self.restart);
        self.restart += 1;
        self.second += 1;
        if self.start == Start::Seen {
            // A file that is seen without bytes cannot be known again when it was packed.
            let raw = self.print(Source::Stderr, false, 1);
            self.live().file.add(&raw);
        }
        self.live();
        while !self.files[0].name.starts_with(&stays) && self.files.len() > 1 {
            self.delete(0);
        }
    }

    fn finish(&mut self) {
        self.complete();
        self.start();
        self.rig.pass(Duration::from_secs(2));
        self.rig.settle();
        self.rig.pass(Duration::from_secs(2));
        self.rig.terminate();
        let first = self.first_parts();
        self.interrupt(&first);
    }
}

fn ids(records: &[Said]) -> Vec<u32> {
    let mut ids = Vec::new();
    for said in records.iter().filter(|said| said.source != Source::Control) {
        let text = String::from_utf8_lossy(&said.payload);
        ids.extend(text.split('<').skip(1).map(|rest| rest.split('>').next().unwrap().parse::<u32>().unwrap()));
    }
    ids
}

fn resumed(said: &Said) -> Option<(ResumeReason, ChainId, usize)> {
    match said.control() {
        Some(Control::Resumed { reason, from: Some((chain, head)) }) => {
            Some((reason, chain, usize::try_from(head.next_seq.get()).unwrap()))
        }
        _ => None,
    }
}

fn check(model: &Model) -> Result<(), TestCaseError> {
    let Model { rig, expected, parts, late, lost, lost_files, boots, start, .. } = model;
    let chains: Vec<&[Said]> = rig.chains.iter().map(|chain| rig.stored[chain].records.as_slice()).collect();
    let (mut said, mut reasons) = (Vec::new(), Vec::new());
    for (n, records) in chains.iter().enumerate() {
        prop_assert_eq!(records.last().and_then(Said::control) == Some(Control::End), n + 1 == chains.len());
        let next = chains.get(n + 1).map(|next| resumed(&next[0]).unwrap());
        prop_assert!(next.is_none_or(|(_, chain, _)| chain == rig.chains[n]), "a chain is closed by the next one");
        said.extend(ids(&records[..next.map_or(records.len(), |(.., upto)| upto)]));
        reasons.extend(records.first().and_then(resumed).map(|(reason, ..)| reason));
    }
    let story = || chains.iter().map(|records| shown(records)).collect::<Vec<_>>();
    let missing: Vec<u32> = parts.iter().chain(late).copied().filter(|id| !said.contains(id)).collect();
    // What a later incarnation reads again is said twice; nothing else is.
    prop_assert!(missing.iter().all(|id| lost.contains(id)), "missing {missing:?}, lost {lost:?}: {:#?}", story());
    let declared = reasons.contains(&ResumeReason::FileGone)
        || rig.chains.iter().any(|chain| {
            rig.stored[chain].records.iter().any(|said| matches!(said.control(), Some(Control::Gap { .. })))
        });
    // What is written to a file that was left, while no sidecar runs, and removed before one does, nobody can know of.
    let known_missing = missing.iter().any(|id| parts.contains(id));
    prop_assert!(!known_missing || declared, "missing {missing:?} is not declared: {:#?}", story());
    let unsure = *start == Start::Empty || model.unseen_rotations + model.faults > 0;
    let may_be_gone = *lost_files > 0 || unsure;
    prop_assert!(!reasons.contains(&ResumeReason::FileGone) || may_be_gone, "{:#?}", story());
    prop_assert!(!reasons.contains(&ResumeReason::Reboot) || *boots > 0);
    if *lost_files == 0 && *boots == 0 && (!unsure || chains.len() == 1) {
        prop_assert_eq!(chains.len(), 1);
        let printed = |said: &&Said| said.source != Source::Control && !said.flags.contains(Flags::MALFORMED);
        let lines: Vec<Line> = chains[0]
            .iter()
            .filter(printed)
            .map(|said| (said.source, said.flags, String::from_utf8(said.payload.clone()).unwrap()))
            .collect();
        prop_assert_eq!(&lines, expected, "{:#?}", story());
        let mut sorted = said;
        sorted.sort_unstable();
        let printed: Vec<u32> = (1..=u32::try_from(parts.len() + late.len()).unwrap()).collect();
        prop_assert_eq!(sorted, printed, "each once: {:#?}", story());
    }
    Ok(())
}

fn run(start: Start, births: Births, acts: &[Act]) -> Result<(), TestCaseError> {
    let mut model = Model::new(start, births);
    for act in acts {
        model.act(act);
    }
    model.finish();
    check(&model)
}

fn config() -> ProptestConfig {
    // More than these 200 in the hope of a rare one: `HISTORIES=60000`.
    let cases = std::env::var("HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(200);
    ProptestConfig { cases, max_shrink_iters: 20_000, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_history_of_a_container_is_told_as_it_was(
        start in start(), births in births(), acts in prop::collection::vec(act(), 1..80)
    ) {
        run(start, births, &acts)?;
    }

    #[test]
    fn any_history_with_reboots_is_told_as_it_was(
        start in start(), births in births(), acts in prop::collection::vec(with_reboots(), 1..80)
    ) {
        run(start, births, &acts)?;
    }
}

fn is_packed(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "gz")
}
