//! Who keeps a pool's memory: one task of the leader, the one owner of the ConfigMap.
//!
//! It is written by Update with the resourceVersion that was read, at most once in [`MEMORY_WRITE_INTERVAL`] for all that
//! changed meanwhile; what asks for a cosignature waits for that write. A conflict means that somebody else is the
//! witness: nothing is signed, and the memory is read again. After any other failure it is read again, too, since nobody
//! knows then whether the write came through.
//!
//! A crash before the write leaves the old memory, and nobody has got an answer; one after it leaves a head that is not
//! cosigned yet, and the collector asks again from there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use indelible_chain::note::VerifierKey;
use indelible_chain::witness::{AddCheckpoint, Refusal};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::memory::{Memory, MemoryError, Pinned, Reason};
use crate::clock;
use crate::limits::{
    LAZY_WRITE_INTERVAL, MEMORY_API_TIMEOUT, MEMORY_RETRY, MEMORY_WRITE_INTERVAL, QUEUED_ASKS, WAITING_COSIGNATURES,
};
use crate::names::FIELD_MANAGER;
use crate::observed::SetAside;

/// What the keeper is asked.
#[derive(Debug)]
pub enum Ask {
    /// A checkpoint of the log with this origin; answered once it is durable.
    Add {
        /// The log.
        origin: String,
        /// The request.
        request: Box<AddCheckpoint>,
        /// Where the answer goes.
        reply: oneshot::Sender<Added>,
    },
    /// What a collector tells of its key.
    Pin {
        /// Its place in the pool.
        ordinal: u32,
        /// The key.
        told: Box<VerifierKey>,
        /// Volumes that were set aside.
        set_aside: Arc<[SetAside]>,
        /// Where the answer goes, at once: what was pinned counts when it is in the durable memory.
        reply: oneshot::Sender<Pinned>,
    },
    /// Something is wrong with a log.
    Raise {
        /// What.
        reason: Reason,
        /// The log.
        origin: String,
        /// For people.
        message: String,
    },
    /// A finding was accepted, and the statement that says so is in the log.
    Acknowledge {
        /// Its id.
        finding: String,
    },
    /// These audited pods are alive. Written within a minute.
    Live(BTreeSet<String>),
}

/// What became of a checkpoint.
#[derive(Debug)]
pub enum Added {
    /// It is the log's head, durably.
    Good,
    /// It is refused.
    Refused(Refusal),
    /// The log is none of this pool's.
    Unknown,
    /// The memory could not be written: nothing is signed.
    Away,
}

/// A pool's memory, for those who ask it.
#[derive(Debug, Clone)]
pub struct Handle {
    /// Where to ask.
    pub asks: mpsc::Sender<Ask>,
    /// What is durable; nothing until it was read.
    pub durable: watch::Receiver<Durable>,
}

/// What is durable of a memory.
#[derive(Debug, Clone, Default)]
pub enum Durable {
    /// It was not read yet.
    #[default]
    Unread,
    /// As it stands in the ConfigMap.
    Read(Arc<Memory>),
    /// It cannot be read: why, for people.
    Unreadable(String),
}

impl Durable {
    /// The memory, if there is one.
    pub fn memory(&self) -> Option<&Arc<Memory>> {
        match self {
            Self::Read(memory) => Some(memory),
            Self::Unread | Self::Unreadable(_) => None,
        }
    }
}

/// How often the memory is written at most.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The time between two writes.
    pub interval: Duration,
    /// How long a change that nobody waits for may wait.
    pub lazy: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { interval: MEMORY_WRITE_INTERVAL, lazy: LAZY_WRITE_INTERVAL }
    }
}

/// Keeps one memory until everyone who could ask is gone.
pub struct Keeper {
    api: Api<ConfigMap>,
    pace: Pace,
    name: String,
    asks: mpsc::Receiver<Ask>,
    durable: watch::Sender<Durable>,
}

/// What the keeper has in hand.
struct Hand {
    memory: Memory,
    /// Of the ConfigMap; none while there is none.
    version: Option<String>,
    pace: Pace,
    /// When a change has to be written.
    due: Option<Instant>,
    written: Option<Instant>,
    waiting: Vec<oneshot::Sender<Added>>,
}

/// Why the memory was not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("somebody else has written the witness memory: is there a second operator?")]
    Conflict,
    #[error("the witness memory could not be written: {0}")]
    Api(#[from] kube::Error),
    #[error("the API server did not answer in time")]
    Silent,
}

impl Keeper {
    /// The keeper of this ConfigMap, and how it is asked.
    pub fn new(api: Api<ConfigMap>, name: String, pace: Pace) -> (Self, Handle) {
        let (sender, asks) = mpsc::channel(QUEUED_ASKS);
        let (durable, reader) = watch::channel(Durable::Unread);
        (Self { api, pace, name, asks, durable }, Handle { asks: sender, durable: reader })
    }

    /// Keeps the memory.
    pub async fn run(mut self) {
        loop {
            let Some(mut hand) = self.read().await else { return };
            match self.keep(&mut hand).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(configmap = self.name, %error, "nothing is cosigned; the memory is read again");
                    hand.waiting.drain(..).for_each(|reply| drop(reply.send(Added::Away)));
                    tokio::time::sleep(MEMORY_RETRY).await;
                }
            }
        }
    }

    /// Reads the memory until it can be read. `None` when nobody asks any more.
    async fn read(&mut self) -> Option<Hand> {
        loop {
            let why = match timeout(MEMORY_API_TIMEOUT, self.api.get_opt(&self.name)).await {
                Err(_) => WriteError::Silent.to_string(),
                Ok(Err(error)) => error.to_string(),
                Ok(Ok(map)) => match self.opened(map) {
                    Ok(hand) => {
                        self.durable.send_replace(Durable::Read(Arc::new(hand.memory.clone())));
                        return Some(hand);
                    }
                    Err(error) => {
                        let name = &self.name;
                        let why = format!("ConfigMap {name}: {error}; restore it, or delete it to begin anew");
                        tracing::error!(configmap = name, %error, "the witness memory cannot be read");
                        self.durable.send_replace(Durable::Unreadable(why.clone()));
                        why
                    }
                },
            };
            tracing::debug!(configmap = self.name, why, "the witness memory was not read");
            let retry = Instant::now() + MEMORY_RETRY;
            loop {
                tokio::select! {
                    ask = self.asks.recv() => decline(ask?),
                    () = sleep_until(retry) => break,
                }
            }
        }
    }

    fn opened(&self, map: Option<ConfigMap>) -> Result<Hand, MemoryError> {
        let version = map.as_ref().and_then(|map| map.metadata.resource_version.clone());
        let data = map.map(|map| map.data.unwrap_or_default());
        let memory = Memory::read(data.as_ref())?;
        Ok(Hand { memory, version, pace: self.pace, due: None, written: None, waiting: Vec::new() })
    }

    /// Answers and writes until nobody asks any more, or a write fails.
    async fn keep(&mut self, hand: &mut Hand) -> Result<(), WriteError> {
        loop {
            let due = hand.due;
            tokio::select! {
                biased;
                () = async { sleep_until(due.unwrap_or_else(Instant::now)).await }, if due.is_some() => {
                    self.write(hand).await?;
                }
                ask = self.asks.recv(), if hand.waiting.len() < WAITING_COSIGNATURES => match ask {
                    Some(ask) => hand.apply(ask),
                    None => return Ok(()),
                }
            }
        }
    }

    async fn write(&mut self, hand: &mut Hand) -> Result<(), WriteError> {
        hand.memory.set_saved(clock::now());
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: hand.version.clone(),
                labels: Some([("app.kubernetes.io/managed-by".to_owned(), FIELD_MANAGER.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(hand.memory.data()),
            ..ConfigMap::default()
        };
        let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let request = async {
            match hand.version {
                Some(_) => self.api.replace(&self.name, &params, &map).await,
                None => self.api.create(&params, &map).await,
            }
        };
        let written = match timeout(MEMORY_API_TIMEOUT, request).await {
            Err(_) => return Err(WriteError::Silent),
            Ok(Err(kube::Error::Api(status))) if [404, 409].contains(&status.code) => return Err(WriteError::Conflict),
            Ok(written) => written?,
        };
        hand.version = written.metadata.resource_version;
        hand.written = Some(Instant::now());
        hand.due = None;
        self.durable.send_replace(Durable::Read(Arc::new(hand.memory.clone())));
        hand.waiting.drain(..).for_each(|reply| drop(reply.send(Added::Good)));
        Ok(())
    }
}

impl Hand {
    fn apply(&mut self, ask: Ask) {
        match ask {
            Ask::Add { origin, request, reply } => {
                let alarms = self.memory.alarms().len();
                let added = match self.memory.add(&origin, &request) {
                    None => Added::Unknown,
                    Some(Err(refusal)) => Added::Refused(refusal),
                    // What is written already, and what waits to be, is answered at its time.
                    Some(Ok(false)) if self.due.is_none() => Added::Good,
                    Some(Ok(_)) => {
                        self.waiting.push(reply);
                        return self.write_within(Duration::ZERO);
                    }
                };
                if self.memory.alarms().len() != alarms {
                    self.write_within(Duration::ZERO);
                }
                let _ = reply.send(added);
            }
            Ask::Pin { ordinal, told, set_aside, reply } => {
                let alarms = self.memory.alarms().len();
                let pinned = self.memory.pin(ordinal, &told, &set_aside);
                if pinned == Pinned::New || self.memory.alarms().len() != alarms {
                    self.write_within(Duration::ZERO);
                }
                let _ = reply.send(pinned);
            }
            Ask::Raise { reason, origin, message } => {
                if self.memory.raise(reason, &origin, message) {
                    self.write_within(Duration::ZERO);
                }
            }
            Ask::Acknowledge { finding } => {
                self.memory.acknowledge(&finding);
                self.write_within(Duration::ZERO);
            }
            Ask::Live(live) => {
                if self.memory.set_live(live) {
                    self.write_within(self.pace.lazy);
                }
            }
        }
    }

    /// A write is due within `patience`, and not before the last one is old enough.
    fn write_within(&mut self, patience: Duration) {
        let now = Instant::now();
        let earliest = self.written.map_or(now, |written| written + self.pace.interval);
        let due = earliest.max(now + patience);
        self.due = Some(self.due.map_or(due, |before| before.min(due)));
    }
}

/// The memory cannot be read: nothing is decided.
fn decline(ask: Ask) {
    match ask {
        Ask::Add { reply, .. } => drop(reply.send(Added::Away)),
        // Whoever waits is told by the answer that does not come, and asks again from what it sees then.
        Ask::Pin { .. } | Ask::Raise { .. } | Ask::Acknowledge { .. } | Ask::Live(_) => {}
    }
}
