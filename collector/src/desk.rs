//! The desk: the one owner of what the collector remembers about pods beside its log.
//!
//! A task that owns [`Heartbeats`], [`Quota`] and [`OptIn`]: requests send it a question over a bounded channel and
//! wait for the answer, and once a minute it writes the liveness leaves. It awaits in one place and decides in pure
//! ones. When the channel is full the request is told to come again; when the task is gone the collector is ending.

use std::sync::Arc;
use std::time::Duration;

use indelible_chain::id::{SessionId, Time};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::heartbeats::{Covered, Group, Heartbeats, NoteError};
use crate::ingest::{Budget, ByteLimits, CheckedHeartbeat, Introduced, Namespaces, OptIn, Quota, Refusal, Spending};
use crate::limits::{DESK_QUEUE, LIVENESS_TICK};
use crate::metrics::Metrics;
use crate::readers::Rights;
use crate::store::{Append, KnownSession, Store};

/// Asks the desk.
#[derive(Debug, Clone)]
pub struct Desk {
    questions: mpsc::Sender<Question>,
    /// Whether bytes are counted.
    counts_bytes: bool,
}

/// The desk does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{DESK_QUEUE} requests wait for what is known of pods, which is the limit; try again")]
pub struct Unanswered;

#[derive(Debug)]
enum Question {
    MayWrite {
        list: Arc<Namespaces>,
        namespace: String,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    Introduce {
        pod_uid: String,
        what: Introduced,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    GiveBack {
        pod_uid: String,
        what: Introduced,
    },
    Spend {
        what: Spending,
        answer: oneshot::Sender<Result<(), Refusal>>,
    },
    Refund {
        what: Spending,
    },
    Note {
        heartbeat: Box<CheckedHeartbeat>,
        answer: oneshot::Sender<Result<(), NoteError>>,
    },
    Coverage {
        since: Time,
        after: Option<SessionId>,
        limit: usize,
        rights: Arc<Rights>,
        answer: oneshot::Sender<Vec<Covered>>,
    },
    WriteAll {
        answer: oneshot::Sender<()>,
    },
}

struct State {
    heartbeats: Heartbeats,
    quota: Quota,
    budget: Budget,
    opt_in: OptIn,
    /// Everything that is held was written for the last time: what is noted now would be in no log.
    written: bool,
}

impl Desk {
    /// Starts the task; it ends when the last [`Desk`] is dropped.
    pub fn start(store: Arc<Store>, clock: Arc<dyn Clock>, metrics: Arc<Metrics>, limits: ByteLimits) -> Self {
        Self::start_with(store, clock, metrics, (limits, LIVENESS_TICK))
    }

    fn start_with(
        store: Arc<Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        (limits, tick): (ByteLimits, Duration),
    ) -> Self {
        let (sender, questions) = mpsc::channel(DESK_QUEUE);
        let state = State {
            heartbeats: Heartbeats::default(),
            quota: Quota::default(),
            budget: Budget::new(limits),
            opt_in: OptIn::default(),
            written: false,
        };
        tokio::spawn(serve(state, questions, store, clock, metrics, tick));
        Self { questions: sender, counts_bytes: limits.are_set() }
    }

    /// Whether a namespace that is not in the list may write.
    pub async fn may_write(&self, list: Arc<Namespaces>, namespace: String) -> Result<Result<(), Refusal>, Unanswered> {
        self.ask(|answer| Question::MayWrite { list, namespace, answer }).await
    }

    /// Counts something that a pod introduces, or refuses it.
    pub async fn introduce(&self, pod_uid: String, what: Introduced) -> Result<Result<(), Refusal>, Unanswered> {
        self.ask(|answer| Question::Introduce { pod_uid, what, answer }).await
    }

    /// Takes back what was counted and was not stored. When too much waits the pod goes without: it is a count, no more.
    pub fn give_back(&self, pod_uid: String, what: Introduced) {
        let _ = self.questions.try_send(Question::GiveBack { pod_uid, what });
    }

    /// Counts a batch that is to be stored, or refuses it.
    pub async fn spend(&self, what: Spending) -> Result<Result<(), Refusal>, Unanswered> {
        if !self.counts_bytes {
            return Ok(Ok(()));
        }
        self.ask(|answer| Question::Spend { what, answer }).await
    }

    /// Takes back a batch that was not stored; likewise.
    pub fn refund(&self, what: Spending) {
        if self.counts_bytes {
            let _ = self.questions.try_send(Question::Refund { what });
        }
    }

    /// Takes note of a heartbeat.
    pub async fn note(&self, heartbeat: CheckedHeartbeat) -> Result<Result<(), NoteError>, Unanswered> {
        self.ask(|answer| Question::Note { heartbeat: Box::new(heartbeat), answer }).await
    }

    /// Who is alive, as far as a reader may know.
    pub async fn coverage(
        &self,
        since: Time,
        after: Option<SessionId>,
        limit: usize,
        rights: Arc<Rights>,
    ) -> Result<Vec<Covered>, Unanswered> {
        self.ask(|answer| Question::Coverage { since, after, limit, rights, answer }).await
    }

    /// Appends every heartbeat that is held and not in the log yet: for the end, before the log is sealed. From then on none
    /// is noted.
    pub async fn write_all(&self) {
        let (answer, answered) = oneshot::channel();
        // Not refused when much waits: it is asked once, and nothing after it.
        if self.questions.send(Question::WriteAll { answer }).await.is_ok() {
            let _ = answered.await;
        }
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Question) -> Result<T, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.questions.try_send(question(answer)).map_err(|_| Unanswered)?;
        answered.await.map_err(|_| Unanswered)
    }
}

async fn serve(
    mut state: State,
    mut questions: mpsc::Receiver<Question>,
    store: Arc<Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tick: Duration,
) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + tick, tick);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            question = questions.recv() => match question {
                Some(question) => state.answer(question, clock.now(), &store).await,
                None => return,
            },
            _ = ticks.tick() => state.write_liveness(state.heartbeats.due(clock.now()), &store).await,
        }
        metrics.sessions_heard.set(i64::try_from(state.heartbeats.len()).unwrap_or(i64::MAX));
    }
}

impl State {
    async fn answer(&mut self, question: Question, now: Time, store: &Store) {
        // Who asked may have gone away meanwhile: then nobody misses the answer.
        match question {
            Question::MayWrite { list, namespace, answer } => {
                let _ = answer.send(self.opt_in.check(&list, &namespace, now));
            }
            Question::Introduce { pod_uid, what, answer } => {
                let _ = answer.send(self.quota.take(&pod_uid, what, now));
            }
            Question::GiveBack { pod_uid, what } => self.quota.give_back(&pod_uid, what),
            Question::Spend { what, answer } => {
                let _ = answer.send(self.budget.spend(&what, now));
            }
            Question::Refund { what } => self.budget.give_back(&what),
            Question::Note { heartbeat, answer } => {
                let sealed = self.written.then_some(NoteError::Sealed);
                let _ = answer.send(sealed.map_or_else(|| self.heartbeats.note(*heartbeat, now), Err));
            }
            Question::Coverage { since, after, limit, rights, answer } => {
                let seen = |session: &KnownSession| rights.reach(session);
                let _ = answer.send(self.heartbeats.coverage(since, after, limit, seen));
            }
            Question::WriteAll { answer } => {
                self.written = true;
                self.write_liveness(self.heartbeats.held(), store).await;
                let _ = answer.send(());
            }
        }
    }

    /// Appends liveness leaves. What could not be appended is due again a minute later; a crash here
    /// loses heartbeats that nobody was given a receipt for, and the sessions' next ones take their place.
    async fn write_liveness(&mut self, groups: Vec<Group>, store: &Store) {
        for group in groups {
            let sessions: Vec<SessionId> = group.iter().map(|(id, _)| *id).collect();
            match tokio::time::timeout(Duration::from_secs(30), store.append(Append::Liveness(group))).await {
                Ok(Ok(appended)) => self.heartbeats.logged(sessions, appended.get().received_at),
                Ok(Err(error)) => {
                    tracing::warn!(%error, sessions = sessions.len(), "cannot append a liveness leaf, will try again");
                    return;
                }
                Err(_) => {
                    tracing::warn!(sessions = sessions.len(), "a liveness leaf was not durable within 30 s");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::heartbeat::Heartbeat;
    use indelible_chain::id::LeafIndex;
    use indelible_chain::leaf::{Leaf, liveness_heartbeats};
    use indelible_chain::stored::Packer;

    use super::*;
    use crate::clock::SystemClock;
    use crate::store::Options;
    use crate::testing::issuer::Pod;
    use crate::testing::sidecar::Sidecar;

    /// The heartbeats of all liveness leaves of a log.
    fn logged(store: &Store) -> Vec<Heartbeat> {
        let mut frames = store.frames(LeafIndex::ZERO, LeafIndex::new(u64::MAX));
        let mut packer = Packer::new().unwrap();
        let mut heartbeats = Vec::new();
        while let Some(frame) = frames.next_frame().unwrap() {
            if let Leaf::Liveness { count, body_len, .. } = Leaf::decode(frame.leaf).unwrap() {
                let body = packer.unpack(frame.body, body_len as usize).unwrap();
                heartbeats.extend(liveness_heartbeats(count, body).unwrap());
            }
        }
        heartbeats
    }

    fn open(dir: &std::path::Path) -> Arc<Store> {
        let options = Options { origin: Some("test/c0".into()), ..Options::new("test/1") };
        Arc::new(Store::open(dir, options).unwrap())
    }

    /// A sidecar's heartbeat so many seconds from now, and as it is asked to be noted.
    fn heartbeat(sidecar: &Sidecar, seconds: i64) -> (Heartbeat, CheckedHeartbeat) {
        let heartbeat = sidecar.heartbeat(SystemClock.now().plus_nanos(seconds * Time::SECOND), vec![]);
        let session = Arc::new(KnownSession::of(sidecar.session.clone()));
        (heartbeat.clone(), CheckedHeartbeat { heartbeat, session, containers: vec![] })
    }

    #[tokio::test]
    async fn a_heartbeat_that_is_not_due_is_written_at_the_end_and_none_is_noted_after_that() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let tick = Duration::from_millis(1);
        let desk = Desk::start_with(
            Arc::clone(&store),
            Arc::new(SystemClock),
            Arc::new(Metrics::new()),
            (ByteLimits::default(), tick),
        );
        let sidecar = Sidecar::new(&Pod::named("a"), 1);
        let mut size = store.size();
        let before = *size.borrow();
        let (due, checked) = heartbeat(&sidecar, 0);
        desk.note(checked).await.unwrap().unwrap();
        size.wait_for(|size| *size > before).await.unwrap();
        let (not_due, checked) = heartbeat(&sidecar, 1);
        desk.note(checked).await.unwrap().unwrap();
        desk.write_all().await;
        let (_, checked) = heartbeat(&sidecar, 2);
        assert_eq!(desk.note(checked).await.unwrap(), Err(NoteError::Sealed));
        assert_eq!(logged(&store), [due, not_due]);
    }

    #[tokio::test]
    async fn a_noted_heartbeat_comes_into_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let (clock, metrics) = (Arc::new(SystemClock), Arc::new(Metrics::new()));
        let tick = Duration::from_millis(1);
        let desk = Desk::start_with(Arc::clone(&store), clock, Arc::clone(&metrics), (ByteLimits::default(), tick));

        let (heartbeat, checked) = heartbeat(&Sidecar::new(&Pod::named("a"), 1), 0);
        let mut size = store.size();
        let before = *size.borrow();
        desk.note(checked).await.unwrap().unwrap();
        size.wait_for(|size| *size > before).await.unwrap();
        assert_eq!(logged(&store), [heartbeat]);
        assert_eq!(metrics.sessions_heard.get(), 1);
        assert_eq!(desk.coverage(Time::default(), None, 10, Arc::new(Rights::Everything)).await.unwrap().len(), 1);
    }
}
