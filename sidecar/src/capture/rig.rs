//! A sidecar's capture over twins, and everything that forwarding would have seen of it.
//!
//! Every batch is unpacked and checked when it is handed out; a position that gets a second, different link is a fork
//! and fails the test at once. What is receipted, and when, is the test's choice.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Once};
use std::time::Duration;

use indelible_chain::batch::Batch;
use indelible_chain::control::Control;
use indelible_chain::digest::Digest;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::stored::Packer;

use super::{Capture, Output, Pod, Sealed, Settings, Signer};
use crate::journal::memory::MemoryStore;
use crate::logdir::memory::MemoryLogs;

/// A record that was handed out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) time: i64,
    pub(crate) source: Source,
    pub(crate) flags: Flags,
    pub(crate) payload: Vec<u8>,
    pub(crate) link: Digest,
}

impl std::fmt::Debug for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.payload[..self.payload.len().min(60)];
        write!(f, "{:?}/{:x} {:?}", self.source, self.flags.bits(), String::from_utf8_lossy(shown))
    }
}

impl Said {
    pub(crate) fn control(&self) -> Option<Control> {
        (self.source == Source::Control).then(|| Control::decode(&self.payload).unwrap())
    }
}

/// A chain as a collector that has everything would have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    pub(crate) genesis: Option<Genesis>,
    pub(crate) records: Vec<Said>,
    pub(crate) closed: bool,
}

pub(crate) struct Rig {
    pub(crate) logs: MemoryLogs,
    pub(crate) store: MemoryStore,
    pub(crate) settings: Settings,
    pub(crate) now: Time,
    pub(crate) capture: Option<Capture>,
    /// In the order in which they were introduced first.
    pub(crate) chains: Vec<ChainId>,
    pub(crate) stored: BTreeMap<ChainId, Stored>,
    /// The heads with which chains were introduced last.
    pub(crate) introduced: BTreeMap<ChainId, Head>,
    /// Batches that this run handed out and that are not receipted.
    pub(crate) flying: Vec<Sealed>,
    /// What collectors answer to questions; `None`: nothing.
    pub(crate) known: Option<bool>,
    signer: Arc<Signer>,
    packer: Packer,
    run: u8,
}

pub(crate) fn pod() -> Pod {
    Pod { cluster_uid: String::new(), namespace: "ns".into(), name: "pod".into(), uid: "uid".into() }
}

pub(crate) fn signer(seed: u8) -> Arc<Signer> {
    let session = SessionId::new(Digest::sha256(&[seed]));
    Arc::new(Signer { session, key: PrivateKey::from_seed(&[seed; 32]) })
}

pub(crate) fn settings() -> Settings {
    Settings {
        logs: "/nowhere".into(),
        state: "/nowhere".into(),
        pod: pod(),
        boot_id: "boot one".into(),
        excluded: vec!["indelible".into()],
        flush_interval: Duration::from_millis(250),
        max_batch_bytes: 256 << 10,
        max_held_bytes: 64 << 20,
        min_node_free_percent: 0,
    }
}

pub(crate) const START: i64 = 1_800_000_000 * Time::SECOND;

impl Rig {
    pub(crate) fn new() -> Self {
        let mut rig = Self {
            logs: MemoryLogs::default(),
            store: MemoryStore::default(),
            settings: settings(),
            now: Time::from_nanos(START),
            capture: None,
            chains: Vec::new(),
            stored: BTreeMap::new(),
            introduced: BTreeMap::new(),
            flying: Vec::new(),
            known: Some(false),
            signer: signer(0),
            packer: Packer::new().unwrap(),
            run: 0,
        };
        rig.start();
        rig
    }

    /// A new run of the sidecar over what is there.
    pub(crate) fn start(&mut self) {
        self.run = self.run.wrapping_add(1);
        self.signer = signer(self.run);
        self.flying.clear();
        // A new run's watch tells of nothing that was made before.
        self.logs.take_made();
        let (logs, store) = (Box::new(self.logs.clone()), Box::new(self.store.clone()));
        self.capture = Some(Capture::with(self.settings.clone(), self.signer.clone(), logs, store).unwrap());
    }

    /// SIGKILL: what is in memory is gone.
    pub(crate) fn kill(&mut self) {
        self.capture = None;
        self.flying.clear();
    }

    pub(crate) fn capture(&mut self) -> &mut Capture {
        self.capture.as_mut().unwrap()
    }

    /// One call of `work`.
    pub(crate) fn work(&mut self) {
        let now = self.now;
        for output in self.capture().work(now) {
            match output {
                Output::Introduce { chain, genesis, head } => {
                    assert_eq!(genesis.chain_id().unwrap(), chain);
                    self.introduced.insert(chain, head);
                    if !self.chains.contains(&chain) {
                        self.chains.push(chain);
                    }
                    self.stored.entry(chain).or_default().genesis = Some(genesis);
                }
                Output::Ask { container, genesis, .. } => {
                    assert_eq!(genesis.incarnation, 0);
                    if let Some(known) = self.known {
                        self.capture().known(&container, known);
                    }
                }
                Output::Batch(sealed) => self.store_batch(sealed),
                Output::Closed(chain) => self.stored.get_mut(&chain).unwrap().closed = true,
            }
        }
    }

    fn store_batch(&mut self, sealed: Sealed) {
        let upload = Upload::decode(&sealed.upload).unwrap();
        let commitment = upload.commitment;
        assert_eq!((commitment, commitment.chain), (sealed.commitment, sealed.chain));
        assert!(self.chains.contains(&sealed.chain), "a chain is introduced before its first batch");
        let body = self.packer.unpack(upload.body, commitment.body_len as usize).unwrap();
        let batch = Batch::new(commitment, body).check(&self.signer.key.public()).unwrap();
        let stored = self.stored.get_mut(&sealed.chain).unwrap();
        for (head, record) in batch.records() {
            let Record { time, source, flags, payload } = record;
            let said = Said { time: time.nanos(), source, flags, payload: payload.to_vec(), link: head.link };
            let seq = usize::try_from(head.next_seq.get() - 1).unwrap();
            match stored.records.get(seq) {
                Some(known) => assert_eq!(*known, said, "fork at {seq}"),
                None if stored.records.len() == seq => stored.records.push(said),
                None => panic!("a hole before {seq}: {} records are there", stored.records.len()),
            }
        }
        self.flying.push(sealed);
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.plus_nanos(i64::try_from(time.as_nanos()).unwrap());
    }

    /// Works until there is nothing to do at once, with the directory announced as changed.
    pub(crate) fn settle(&mut self) {
        let changed = crate::watch::Changed { everything: true, blind: false, containers: self.logs.take_made() };
        self.capture().changed(&changed);
        for _ in 0..1000 {
            self.work();
            let now = self.now;
            if self.capture().next_work().is_some_and(|due| due > now) {
                return;
            }
        }
        panic!("there is no end to the work");
    }

    /// Time passes, so that everything is sealed; nothing is receipted.
    pub(crate) fn flush(&mut self) {
        self.settle();
        self.pass(Duration::from_millis(1100));
        self.settle();
    }

    /// The oldest `count` batches of each chain are receipted.
    pub(crate) fn receipt(&mut self, count: usize) {
        let mut left: BTreeMap<ChainId, usize> = BTreeMap::new();
        let mut heads: BTreeMap<ChainId, Head> = BTreeMap::new();
        self.flying.retain(|sealed| {
            let left = left.entry(sealed.chain).or_insert(count);
            if *left == 0 {
                return true;
            }
            *left -= 1;
            heads.insert(sealed.chain, sealed.commitment.head_after());
            false
        });
        for (chain, head) in heads {
            self.capture().receipted(chain, head);
        }
    }

    /// Everything that can be read is read, sealed and receipted.
    pub(crate) fn drain(&mut self) {
        self.flush();
        for _ in 0..10_000 {
            if self.flying.is_empty() {
                self.flush();
                if self.flying.is_empty() {
                    return;
                }
            }
            self.receipt(usize::MAX);
            self.settle();
        }
        panic!("there is no end to the batches");
    }

    pub(crate) fn terminate(&mut self) {
        let now = self.now;
        self.capture().terminate(now);
        self.drain();
    }

    /// The records of the only chain.
    pub(crate) fn only(&self) -> &[Said] {
        assert_eq!(self.chains.len(), 1, "{:?}", self.chains);
        &self.stored[&self.chains[0]].records
    }

    pub(crate) fn chain(&self, index: usize) -> &Stored {
        &self.stored[&self.chains[index]]
    }
}

/// The lines of records, for a look: control records as their kind, flags after a slash.
pub(crate) fn shown(records: &[Said]) -> Vec<String> {
    let mut out = Vec::new();
    for said in records {
        let text = match said.control() {
            Some(Control::ContainerStarted { restart }) => format!("started {restart}"),
            Some(Control::Gap { reason, file, bytes }) => {
                format!("gap {} {file} {}", reason.word(), bytes.map_or("?".into(), |bytes| bytes.to_string()))
            }
            Some(Control::End) => "end".into(),
            Some(Control::Resumed { reason, .. }) => format!("resumed {}", reason.word()),
            None => String::from_utf8_lossy(&said.payload).into_owned(),
        };
        let mut flags = String::new();
        for (flag, letter) in
            [(Flags::CONTINUES, 'c'), (Flags::UNTERMINATED, 'u'), (Flags::LATE, 'l'), (Flags::MALFORMED, 'm')]
        {
            if said.flags.contains(flag) {
                flags.push(letter);
            }
        }
        out.push(if flags.is_empty() { text } else { format!("{text}/{flags}") });
    }
    out
}

/// A line of a runtime: second `at` of a minute.
pub(crate) fn line(at: u32, tag: &str, text: &str) -> Vec<u8> {
    format!("2026-11-22T20:{:02}:{:02}Z stdout {tag} {text}\n", at / 60, at % 60).into_bytes()
}

thread_local! {
    static LOGGED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

struct Logged;

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.with_borrow_mut(|logged| logged.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that `act` logs.
pub(crate) fn logged(act: impl FnOnce()) -> Vec<String> {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let log = tracing_subscriber::fmt().with_writer(|| Logged).with_ansi(false).with_target(false);
        tracing::subscriber::set_global_default(log.finish()).unwrap();
        // What other threads logged meanwhile asked before there was one.
        tracing::callsite::rebuild_interest_cache();
    });
    LOGGED.take();
    act();
    String::from_utf8(LOGGED.take()).unwrap().lines().map(str::to_owned).collect()
}
