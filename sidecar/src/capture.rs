//! All chains of the pod: which containers are captured, budgets over all of them, fairness between them.
//!
//! Owns the contract with forwarding: capture hands out [`Output`]s, forwarding reports receipted prefixes. Everything
//! is synchronous, does a bounded amount a call, and never blocks on the network.

#[cfg(test)]
mod histories;
#[cfg(test)]
mod rig;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod vectors;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::batch::Commitment;
use indelible_chain::bytes::DecodeError;
use indelible_chain::control::ResumeReason;
use indelible_chain::genesis::Genesis;
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::PrivateKey;

use crate::journal::dir::StateDir;
use crate::journal::{Loaded, Store, load};
use crate::limits::{MAX_CONTAINERS, POLL_INTERVAL, READ_WINDOW};
use crate::logdir::LogDir;
use crate::logdir::kubelet::Kubelet;
use crate::metrics::spread::Spread;
use crate::tail::{Edges, Ending, Sealer, Tail, Unread, nanos};
use crate::trouble::Trouble;
use crate::watch::Changed;

/// A signed batch on its way. `upload` is the body of `POST /v1/batches`, made once, shared by all tries.
#[derive(Clone, Debug)]
pub struct Sealed {
    /// The chain.
    pub chain: ChainId,
    /// What was signed.
    pub commitment: Commitment,
    /// The bytes to send.
    pub upload: Bytes,
}

/// What capture wants from forwarding, in this order.
#[derive(Clone, Debug)]
pub enum Output {
    /// A chain exists: it is introduced to each collector before its first batch there, and named in heartbeats.
    Introduce {
        /// Its id.
        chain: ChainId,
        /// What its id is the digest of.
        genesis: Genesis,
        /// Where its first batch begins: everything before is receipted.
        head: Head,
    },
    /// Does any collector know this chain? Answered with [`Capture::known`]; without an answer in 5 s it is not known.
    Ask {
        /// The container's name.
        container: String,
        /// The genesis that it would get, of incarnation 0.
        genesis: Genesis,
        /// Sessions of earlier runs that asked the same: what they introduced is not known by anyone else.
        asked: Vec<SessionId>,
    },
    /// A batch to deliver.
    Batch(Sealed),
    /// Nothing follows in this chain: its FINAL was receipted, or another one took over from it.
    Closed(ChainId),
}

/// Who signs: a session and its key, which lives only in memory.
#[derive(Debug)]
pub struct Signer {
    /// The session.
    pub session: SessionId,
    /// Its key.
    pub key: PrivateKey,
}

/// Whose output is captured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pod {
    /// UID of the `kube-system` namespace; empty outside a cluster.
    pub cluster_uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
}

/// What capture needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pod's log directory.
    pub logs: PathBuf,
    /// Where cursor and decisions are kept.
    pub state: PathBuf,
    /// Whose output it is.
    pub pod: Pod,
    /// The node's boot id, see [`crate::capture`].
    pub boot_id: String,
    /// Containers that are never captured, the sidecar's own among them.
    pub excluded: Vec<String>,
    /// How long a record waits for others before its batch is sealed.
    pub flush_interval: Duration,
    /// Batches are sealed at this many bytes of body.
    pub max_batch_bytes: usize,
    /// Bytes of files that are no longer live, from the cursors on, that may be held.
    pub max_held_bytes: u64,
    /// Files that are held although they were removed are given up while less than this share of the node's log file
    /// system is free. To give up another would free nothing.
    pub min_node_free_percent: u8,
}

/// What there is to see of capture from outside, for metrics.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Containers that are captured.
    pub chains: u64,
    /// Records sealed since the start.
    pub records: u64,
    /// Bytes of their canonical bodies.
    pub bytes: u64,
    /// Of these, LATE records.
    pub late: u64,
    /// MALFORMED records.
    pub malformed: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Bytes of those whose size is known.
    pub gap_bytes: u64,
    /// Incarnations begun because a chain could not go on, by reason as [`ResumeReason::ALL`] has them.
    pub resumed: [u64; ResumeReason::ALL.len()],
    /// Chains that were rejected again within an hour: nothing of them is read.
    pub suspended: u64,
    /// Times that the state could not be written.
    pub state_write_failures: u64,
    /// Bytes of bodies handed out or being built that are not receipted.
    pub unreceipted_bytes: u64,
    /// Bytes of files that are no longer live, from the cursors on.
    pub held_bytes: u64,
    /// Bytes of files that were not read yet.
    pub unread_bytes: u64,
    /// Chains that are not read on before receipts come.
    pub blocked: u64,
    /// How long after its printing the first record of each batch was read.
    pub read: Spread,
    /// How long after that the batch was sealed.
    pub batch: Spread,
    /// How long a sync of the state took.
    pub state_sync: Spread,
}

impl Stats {
    /// Counts a chain that takes over from another.
    pub fn count_resumed(&mut self, reason: ResumeReason) {
        for (count, (counted, _)) in self.resumed.iter_mut().zip(ResumeReason::ALL) {
            *count += u64::from(counted == reason);
        }
    }
}

/// What is left of a container whose FINAL is not receipted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unclosed {
    /// The container.
    pub container: String,
    /// Bytes of its records that are not receipted, sealed or not.
    pub unreceipted_bytes: u64,
    /// Bytes of its files that were not read.
    pub unread_bytes: u64,
}

/// Why capture cannot start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The state directory cannot be used.
    #[error("--state {path}: {source}")]
    State {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The state directory belongs to another pod. Nothing in it was changed.
    #[error("--state {path} holds the state of another pod ({theirs}); give each pod its own directory")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Whose it is.
        theirs: String,
    },
    /// Another sidecar runs on the state directory.
    #[error("--state {path} is in use by another process; stop it, or give another directory")]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// The pod's names cannot be said in the evidence.
    #[error("the pod's identity: {0}; give the names that the cluster knows it by")]
    Pod(#[from] DecodeError),
    /// Without memory.
    #[error("no memory to pack batches: {0}")]
    Memory(std::io::Error),
}

/// All chains of the pod.
#[derive(Debug)]
pub struct Capture {
    settings: Settings,
    logs: Box<dyn LogDir>,
    store: Box<dyn Store>,
    sealer: Sealer,
    window: Vec<u8>,
    tails: BTreeMap<String, Tail>,
    /// Which container has the first turn next.
    first_turn: usize,
    ending: Ending,
    /// When everything was last looked at; `None`: it is due.
    polled: Option<Time>,
    listed: Listing,
    /// Why `--logs` cannot be listed.
    unlisted: Trouble,
    /// Why the free space of its file system cannot be told.
    untold: Trouble,
    /// Why nothing can be given up.
    ungiven: Trouble,
    /// Containers of which is logged that they are not captured.
    uncaptured: BTreeSet<String>,
    /// Something came in that `work` is to act on at once.
    stirred: bool,
    stats: Stats,
}

/// Whether the log directory could be listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Listing {
    NotYet,
    Done,
}

impl Capture {
    /// Opens the state directory and takes up the chains that it knows. Lists nothing yet: [`work`](Self::work) does.
    pub fn open(settings: Settings, signer: Arc<Signer>) -> Result<Self, OpenError> {
        let store = StateDir::open(&settings.state, &settings.pod)?;
        let logs = Kubelet::new(&settings.logs);
        Self::with(settings, signer, Box::new(logs), Box::new(store))
    }

    /// The same over other edges.
    pub fn with(
        settings: Settings,
        signer: Arc<Signer>,
        logs: Box<dyn LogDir>,
        store: Box<dyn Store>,
    ) -> Result<Self, OpenError> {
        let sealer = Sealer::new(signer, settings.max_batch_bytes).map_err(OpenError::Memory)?;
        let mut capture = Self {
            settings,
            logs,
            store,
            sealer,
            window: vec![0; READ_WINDOW],
            tails: BTreeMap::new(),
            first_turn: 0,
            ending: Ending::No,
            polled: None,
            listed: Listing::NotYet,
            unlisted: Trouble::default(),
            untold: Trouble::default(),
            ungiven: Trouble::default(),
            uncaptured: BTreeSet::new(),
            stirred: true,
            stats: Stats::default(),
        };
        let state = |source| OpenError::State { path: capture.settings.state.clone(), source };
        let mut found = Vec::new();
        for container in capture.store.containers().map_err(state)? {
            if let Some(bytes) = capture.store.load(&container).map_err(state)? {
                let loaded = load(&bytes);
                if loaded == Loaded::Lost {
                    tracing::error!(
                        container,
                        "its state cannot be read: a copy is kept (.journal.bad), a new incarnation of its chain says so"
                    );
                    capture.store.set_aside(&container).map_err(state)?;
                }
                found.push((container, loaded));
            }
        }
        // Also tells, before anything is captured, whether the pod's names fit.
        Tail::new("", &capture.settings.pod, &capture.settings.boot_id, None)?;
        for (container, loaded) in found {
            capture.add(container, Some(loaded))?;
        }
        Ok(capture)
    }

    fn add(&mut self, container: String, found: Option<Loaded>) -> Result<(), DecodeError> {
        if self.settings.excluded.contains(&container) {
            return Ok(());
        }
        if self.tails.len() >= MAX_CONTAINERS {
            if self.uncaptured.insert(container.clone()) {
                tracing::error!(
                    container,
                    limit = MAX_CONTAINERS,
                    "not captured, so not in evidence: too many containers in one pod"
                );
            }
            return Ok(());
        }
        let tail = Tail::new(&container, &self.settings.pod, &self.settings.boot_id, found)?;
        self.tails.insert(container, tail);
        Ok(())
    }

    /// Lists, reads, links and seals, within the budgets. Never blocks on the network; a bounded amount a call.
    pub fn work(&mut self, now: Time) -> Vec<Output> {
        let mut out = Vec::new();
        self.stirred = false;
        let polls = self.poll_is_due(now);
        if polls {
            self.polled = Some(now);
            self.list_containers();
            for tail in self.tails.values_mut() {
                tail.look();
            }
        }
        let names: Vec<String> = self.tails.keys().cloned().collect();
        self.first_turn = (self.first_turn + 1) % names.len().max(1);
        let (later, first) = names.split_at(self.first_turn.min(names.len()));
        for name in first.iter().chain(later) {
            self.with_tail(name, now, &mut out, Tail::work);
        }
        self.give_up(now, polls, &mut out);
        out
    }

    /// Whether everything will be looked at in the next call of [`work`](Self::work).
    pub fn poll_is_due(&self, now: Time) -> bool {
        // A clock that was set back must not stop the poll.
        self.polled.is_none_or(|polled| !(0..nanos(POLL_INTERVAL)).contains(&now.since(polled)))
    }

    fn list_containers(&mut self) {
        match self.logs.containers() {
            Ok(names) => {
                self.listed = Listing::Done;
                if self.unlisted.is_over() {
                    tracing::info!(path = %self.settings.logs.display(), "--logs can be listed again");
                }
                self.uncaptured.retain(|name| names.contains(name));
                for name in names {
                    if !self.tails.contains_key(&name)
                        && let Err(error) = self.add(name.clone(), None)
                        && self.uncaptured.insert(name)
                    {
                        tracing::error!(%error, "a container cannot be captured: what it prints is not in evidence");
                    }
                }
            }
            Err(error) if self.unlisted.failed(&error) => {
                let path = self.settings.logs.display();
                tracing::warn!(%error, %path, "--logs cannot be listed, nothing new is captured; is it there, and readable?");
            }
            Err(_) => {}
        }
    }

    fn with_tail<T>(
        &mut self,
        name: &str,
        now: Time,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Tail, &mut Edges<'_>) -> T,
    ) -> Option<T> {
        let total: u64 = self.tails.values().map(Tail::unreceipted).sum();
        let tail = self.tails.get_mut(name)?;
        let mut edges = Edges {
            logs: self.logs.as_mut(),
            store: self.store.as_mut(),
            sealer: &mut self.sealer,
            window: &mut self.window,
            now,
            boot_id: &self.settings.boot_id,
            flush_interval: self.settings.flush_interval,
            others: total - tail.unreceipted(),
            ending: self.ending,
            out,
            stats: &mut self.stats,
        };
        Some(act(tail, &mut edges))
    }

    /// Gives up the oldest unread files while more is held than may be.
    fn give_up(&mut self, now: Time, polls: bool, out: &mut Vec<Output>) {
        while self.held_bytes() > self.settings.max_held_bytes {
            if !self.give_up_oldest(Unread::Any, now, out) {
                break;
            }
        }
        // Freed space shows only after a while: one file a poll.
        if polls && self.settings.min_node_free_percent > 0 && self.oldest_unread(Unread::Removed).is_some() {
            match self.logs.free_percent() {
                Ok(free) if free < self.settings.min_node_free_percent => {
                    self.give_up_oldest(Unread::Removed, now, out);
                }
                Err(error) if self.untold.failed(&error) => {
                    tracing::warn!(%error, "the free space of --logs cannot be told; --max-held-bytes alone holds");
                }
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn oldest_unread(&self, unread: Unread) -> Option<String> {
        let times = self.tails.iter().filter_map(|(name, tail)| Some((tail.oldest_unread_time(unread)?, name)));
        times.min().map(|(_, name)| name.clone())
    }

    /// Whether something was given up.
    fn give_up_oldest(&mut self, unread: Unread, now: Time, out: &mut Vec<Output>) -> bool {
        let Some(name) = self.oldest_unread(unread) else { return false };
        let result = self.with_tail(&name, now, out, |tail, e| tail.give_up_oldest(e, unread));
        match result {
            Some(Ok(())) => {
                self.ungiven.is_over();
                self.stirred = true;
                true
            }
            Some(Err(error)) => {
                if self.ungiven.failed(&error) {
                    tracing::error!(%error, "nothing can be given up until it can be written down");
                }
                self.stats.state_write_failures += 1;
                false
            }
            None => false,
        }
    }

    /// Something changed in the log directory.
    pub fn changed(&mut self, changed: &Changed) {
        self.stirred = true;
        if changed.everything || changed.containers.keys().any(|name| !self.tails.contains_key(name)) {
            self.polled = None;
        }
        for (name, tail) in &mut self.tails {
            if let Some(made) = changed.of(name) {
                tail.told(made);
            }
        }
    }

    /// Everything of `chain` up to `head` is receipted everywhere: the cursor may move.
    pub fn receipted(&mut self, chain: ChainId, head: Head) {
        if let Some(tail) = self.tail_of(chain) {
            let stirs = tail.receipted(head);
            self.stirred |= stirs || self.ending == Ending::Yes;
        }
    }

    fn tail_of(&mut self, chain: ChainId) -> Option<&mut Tail> {
        self.tails.values_mut().find(|tail| tail.chain_id() == Some(chain))
    }

    /// The answer to [`Output::Ask`].
    pub fn known(&mut self, container: &str, known: bool) {
        self.stirred = true;
        if let Some(tail) = self.tails.get_mut(container) {
            tail.known(known);
        }
    }

    /// Two collectors answered 409 or 422: a new incarnation follows, now or when an hour has passed since the last.
    /// Batches of the chain that were handed out are to be dropped.
    pub fn rejected(&mut self, chain: ChainId) {
        self.stirred = true;
        if let Some(tail) = self.tail_of(chain) {
            tail.rejected();
        }
    }

    /// Read to the end, then `end` and FINAL for every chain, in the calls of [`work`](Self::work) that follow.
    pub fn terminate(&mut self, _now: Time) {
        self.ending = Ending::Yes;
        self.polled = None;
        self.stirred = true;
    }

    /// Whether every chain's FINAL was receipted after [`terminate`](Self::terminate).
    pub fn is_closed(&self) -> bool {
        self.ending == Ending::Yes && self.polled.is_some() && self.tails.values().all(Tail::is_closed)
    }

    /// The containers whose FINAL was not receipted, by name.
    pub fn unclosed(&self) -> Vec<Unclosed> {
        let unclosed = |tail: &Tail| Unclosed {
            container: tail.container().to_owned(),
            unreceipted_bytes: tail.unreceipted(),
            unread_bytes: tail.unread_bytes(),
        };
        self.tails.values().filter(|tail| !tail.is_closed()).map(unclosed).collect()
    }

    /// When [`work`](Self::work) is due although nothing happens (flush, watch, poll).
    pub fn next_work(&self) -> Option<Time> {
        let Some(polled) = self.polled.filter(|_| !self.stirred) else { return Some(Time::from_nanos(i64::MIN)) };
        let tails = self.tails.values().filter_map(|tail| tail.next_work(self.settings.flush_interval));
        tails.chain([polled.plus_nanos(nanos(POLL_INTERVAL))]).min()
    }

    /// Whether [`work`](Self::work) is due now. Further ahead than a poll it can only be because the clock was set back.
    pub fn is_due(&self, now: Time) -> bool {
        self.next_work().is_none_or(|due| due <= now || due.since(now) > nanos(POLL_INTERVAL))
    }

    /// Whether the log directory was listed and its files are open (`indelible-sidecar armed`).
    pub fn is_armed(&self) -> bool {
        self.listed == Listing::Done && self.tails.values().all(Tail::is_armed)
    }

    fn held_bytes(&self) -> u64 {
        self.tails.values().map(Tail::held_bytes).sum()
    }

    /// The share of the node's log file system that is free, in percent, if it can be told.
    pub fn node_free_percent(&mut self) -> Option<u8> {
        self.logs.free_percent().ok()
    }

    /// For metrics.
    pub fn stats(&self) -> Stats {
        Stats {
            chains: self.tails.values().filter(|tail| tail.chain_id().is_some()).count() as u64,
            unreceipted_bytes: self.tails.values().map(Tail::unreceipted).sum(),
            held_bytes: self.held_bytes(),
            suspended: self.tails.values().filter(|tail| tail.is_suspended()).count() as u64,
            unread_bytes: self.tails.values().map(Tail::unread_bytes).sum(),
            blocked: self.tails.values().filter(|tail| tail.waits_for_receipts()).count() as u64,
            state_sync: self.store.syncs(),
            ..self.stats
        }
    }
}
