//! The task of one pool: pods, views, memory and answers in, [`Observed`] out.
//!
//! One owner of all that is known of the pool. A round over the collectors runs beside it and takes the connections
//! along; what it brings is applied here. Changes are gathered for a moment, and told once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{Api, PartialObjectMeta, Patch, PatchParams};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::pods::{Change, PodEvent, PodWatches, Pods};
use super::poll::{Answers, Order, Owed, Target, poll};
use super::volumes::Volume;
use super::{Seams, publish};
use crate::api::{AuditLog, LogState};
use crate::authority::{Acknowledgement, Lives, Why};
use crate::clock;
use crate::collectors::{Collectors, LogFacts, Session};
use crate::coverage::{Facts, confirmed, cover, heard};
use crate::limits::{ACKNOWLEDGE_TIMEOUT, OBSERVE_DEBOUNCE, POLL_INTERVAL, POLL_SOON, STATEMENTS_PER_POLL};
use crate::names::{ANNOTATION_ACKNOWLEDGE, COLLECTOR_PORT, LABEL_AUDIT_LOG};
use crate::observed::{Alarm, CollectorView, Observed, ObservedLog, PoolName, PoolView};
use crate::pods::Phase;
use crate::witness::Handle;
use crate::witness::keeper::{Ask, Durable};

/// Namespaces in which nothing is ever injected, beside those of operator and collectors.
const SYSTEM: [&str; 2] = ["kube-system", "kube-node-lease"];
/// How far back a round asks for sessions: since the one before, and some.
const OVERLAP: SignedDuration = SignedDuration::from_secs(90);

/// What is known of one pool.
pub struct Pool {
    seams: Seams,
    name: PoolName,
    views: watch::Receiver<Arc<PoolView>>,
    handle: Handle,
    watches: PodWatches,
    events: mpsc::Receiver<PodEvent>,
    pods: Pods,
    lives: Lives,
    /// Whether the lives of an earlier operator were taken over, and compared with what is there.
    is_remembered: bool,
    is_compared: bool,
    since: BTreeMap<String, Timestamp>,
    excluded: BTreeSet<String>,
    sessions: BTreeMap<String, Session>,
    logs: BTreeMap<String, LogFacts>,
    volumes: BTreeMap<String, Volume>,
    /// How far logs were cosigned when they were asked last.
    heads: BTreeMap<String, u64>,
    complete: bool,
    polled: Option<Timestamp>,
    /// A round runs beside this task, or the connections wait for the next.
    round: Round,
    next_round: Instant,
    tell_at: Option<Instant>,
}

enum Round {
    Idle(Box<Collectors>),
    Running(JoinHandle<(Box<Collectors>, Answers)>),
}

impl Pool {
    /// Nothing is known yet.
    pub fn new(seams: Seams, name: PoolName, views: watch::Receiver<Arc<PoolView>>, handle: Handle) -> Self {
        let (watches, events) = PodWatches::new(seams.client.clone());
        let collectors = Box::new(Collectors::new(seams.client.clone(), name.clone()));
        let mut excluded: BTreeSet<String> = SYSTEM.map(str::to_owned).into();
        excluded.insert(seams.config.namespace.clone());
        excluded.extend(seams.config.audit_log_namespaces.iter().cloned());
        let now = Instant::now();
        Self {
            seams,
            name,
            views,
            handle,
            watches,
            events,
            pods: Pods::default(),
            lives: Lives::default(),
            is_remembered: false,
            is_compared: false,
            since: BTreeMap::new(),
            excluded,
            sessions: BTreeMap::new(),
            logs: BTreeMap::new(),
            volumes: BTreeMap::new(),
            heads: BTreeMap::new(),
            complete: false,
            polled: None,
            round: Round::Idle(collectors),
            next_round: now,
            tell_at: Some(now),
        }
    }

    /// Observes until it is dropped, or nobody tells it anything any more.
    pub async fn run(mut self) {
        self.viewed().await;
        loop {
            let (tell_at, next_round) = (self.tell_at, self.next_round);
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.pod(event),
                    None => return,
                },
                changed = self.views.changed() => match changed {
                    Ok(()) => self.viewed().await,
                    Err(_) => return,
                },
                changed = self.handle.durable.changed() => match changed {
                    Ok(()) => self.remembered(),
                    Err(_) => return,
                },
                changed = self.seams.injection.changed() => if changed.is_ok() { self.tell_soon() },
                answers = answers(&mut self.round), if matches!(self.round, Round::Running(_)) => {
                    self.answered(answers).await;
                }
                () = sleep_until(next_round), if matches!(self.round, Round::Idle(_)) => self.begin_round().await,
                () = async { sleep_until(tell_at.unwrap_or(next_round)).await }, if tell_at.is_some() => {
                    self.tell_at = None;
                    self.tell();
                }
            }
        }
    }

    fn view(&self) -> Arc<PoolView> {
        Arc::clone(&self.views.borrow())
    }

    fn tell_soon(&mut self) {
        self.tell_at.get_or_insert(Instant::now() + OBSERVE_DEBOUNCE);
    }

    /// The reconciler has found something new.
    async fn viewed(&mut self) {
        let view = Arc::clone(&self.views.borrow_and_update());
        let namespaces: BTreeSet<String> = view.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        for left in self.watches.follow(&namespaces) {
            self.since.remove(&left);
            self.pods.leave(&left).iter().for_each(|uid| self.lives.forget(uid));
        }
        for name in &namespaces {
            if !self.since.contains_key(name)
                && let Some(since) = opted_in_since(&self.seams, name).await
            {
                self.since.insert(name.clone(), since);
            }
        }
        self.pin(&view).await;
        // A collector that is new, or has moved, is asked at once; so is one that has to be told of an acceptance.
        self.next_round = self.next_round.min(Instant::now() + OBSERVE_DEBOUNCE);
        self.tell_soon();
    }

    /// Keys that collectors tell are pinned, or raise an alarm.
    async fn pin(&self, view: &PoolView) {
        let set_aside: Arc<[_]> = view.set_aside.clone().into();
        for collector in &view.collectors {
            let Some(told) = &collector.told_key else { continue };
            let is_pinned = self
                .handle
                .durable
                .borrow()
                .memory()
                .is_some_and(|memory| memory.current(collector.ordinal).is_some_and(|log| log.seen.key() == told));
            if is_pinned {
                continue;
            }
            let (reply, _) = oneshot::channel();
            let (ordinal, told, set_aside) = (collector.ordinal, Box::new(told.clone()), Arc::clone(&set_aside));
            // A keeper that is gone is about to be replaced, and so is this task.
            let _ = self.handle.asks.send(Ask::Pin { ordinal, told, set_aside, reply }).await;
        }
    }

    /// The memory has changed, or is there for the first time.
    fn remembered(&mut self) {
        let durable = self.handle.durable.borrow_and_update().clone();
        if let Some(memory) = durable.memory()
            && !self.is_remembered
        {
            self.is_remembered = true;
            self.lives.remember(memory.live());
        }
        self.next_round = self.next_round.min(Instant::now() + OBSERVE_DEBOUNCE);
        self.tell_soon();
    }

    fn pod(&mut self, event: PodEvent) {
        let now = clock::now();
        match self.pods.apply(event) {
            Change::None => return,
            Change::There(uid) => {
                if let Some(pod) = self.pods.known.get(&uid).filter(|pod| pod.is_injected(&self.name.label())) {
                    self.lives.seen(pod, now);
                    self.next_round = self.next_round.min(Instant::now() + POLL_SOON);
                }
            }
            Change::Gone(uids) => uids.iter().for_each(|uid| self.lives.deleted(uid, now)),
        }
        self.tell_soon();
    }

    async fn begin_round(&mut self) {
        self.next_round = Instant::now() + POLL_INTERVAL;
        // Also again: the memory could not be read then, or a collector has told its key only now.
        let view = self.view();
        self.pin(&view).await;
        let order = self.order(&view).await;
        let Round::Idle(collectors) = &mut self.round else { return };
        let authority = Arc::clone(&self.seams.keys.authority);
        let placeholder = Box::new(Collectors::new(self.seams.client.clone(), self.name.clone()));
        let mut collectors = std::mem::replace(collectors, placeholder);
        let task = tokio::spawn(async move {
            let answers = poll(&mut collectors, order, &authority).await;
            (collectors, answers)
        });
        self.polled = Some(clock::now());
        self.round = Round::Running(task);
    }

    async fn order(&mut self, view: &PoolView) -> Order {
        let durable = self.handle.durable.borrow().clone();
        let targets = view.collectors.iter().filter_map(|collector| target(collector, &durable, &self.heads)).collect();
        let logs = durable.memory().into_iter().flat_map(|memory| memory.logs());
        self.heads = logs.map(|log| (log.seen.origin().to_string(), log.seen.head().size)).collect();
        let since = self.polled.map_or(Timestamp::UNIX_EPOCH, |polled| polled - OVERLAP);
        let accept = view.acknowledge.as_deref().and_then(|text| match Acknowledgement::parse(text) {
            Ok(accept) => Some(accept),
            Err(error) => {
                tracing::warn!(audit_log = %self.name, %error, "{ANNOTATION_ACKNOWLEDGE} is not taken");
                None
            }
        });
        let owed = self.owed().await;
        Order { bundle: view.bundle.clone(), targets, since, owed, accept }
    }

    /// Ends to be stated, once it is known why.
    async fn owed(&mut self) -> Vec<Owed> {
        let nodes: Api<Node> = Api::all(self.seams.client.clone());
        let asks: Vec<(String, Option<String>)> = self
            .lives
            .gone()
            .iter()
            .filter_map(|(uid, gone)| match &gone.why {
                Why::AskNode(node) => Some((uid.clone(), node.clone())),
                Why::Known(_) => None,
            })
            .take(STATEMENTS_PER_POLL)
            .collect();
        let mut answers: BTreeMap<Option<String>, bool> = BTreeMap::new();
        for (uid, node) in asks {
            if !answers.contains_key(&node) {
                let Some(is_there) = is_there(&nodes, node.as_deref()).await else { continue };
                answers.insert(node.clone(), is_there);
            }
            self.lives.node_told(&uid, answers[&node]);
        }
        let known = self.lives.gone().iter().filter_map(|(uid, gone)| match gone.why {
            Why::Known(reason) => Some(Owed { uid: uid.clone(), reason, at: gone.at }),
            Why::AskNode(_) => None,
        });
        known.take(STATEMENTS_PER_POLL).collect()
    }

    /// A round is over.
    async fn answered(&mut self, answers: Option<(Box<Collectors>, Answers)>) {
        let Some((collectors, answers)) = answers else {
            // A round that broke off is begun again with new connections.
            self.round = Round::Idle(Box::new(Collectors::new(self.seams.client.clone(), self.name.clone())));
            return;
        };
        self.round = Round::Idle(collectors);
        let Answers { logs, covering, sessions, alarms, stated, accepted } = answers;
        let view = self.view();
        let now = Instant::now();
        for (pod, facts) in logs {
            if let (Some(free), Some(total)) = (facts.free_bytes, facts.total_bytes) {
                self.volumes.entry(pod).or_default().saw(free, total, now);
            }
            self.logs.insert(facts.origin.clone(), facts);
        }
        self.volumes.retain(|pod, _| view.collectors.iter().any(|collector| collector.pod == *pod));
        self.complete = is_complete(&view, &covering);
        self.heard(sessions);
        for uid in &stated {
            self.lives.stated(uid);
        }
        if !stated.is_empty() {
            tracing::info!(audit_log = %self.name, pods = stated.len(), "stated that audited pods are gone");
        }
        for (reason, origin, message) in alarms {
            let _ = self.handle.asks.send(Ask::Raise { reason, origin, message }).await;
        }
        if accepted && let Some(text) = &view.acknowledge {
            self.accepted(text).await;
        }
        if self.is_compared {
            let _ = self.handle.asks.send(Ask::Live(self.lives.durable())).await;
        }
        self.tell_soon();
    }

    /// Sessions that collectors told.
    fn heard(&mut self, sessions: Vec<Session>) {
        let namespaces: BTreeSet<String> = self.since.keys().cloned().collect();
        let saved = self.handle.durable.borrow().memory().and_then(|memory| memory.saved());
        if self.complete && self.is_remembered && !self.is_compared && self.pods.is_complete(&namespaces) {
            self.is_compared = true;
            let there: BTreeSet<String> = self.pods.known.keys().cloned().collect();
            let is_young = |session: &&Session| saved.is_some_and(|saved| heard(session) >= saved - OVERLAP);
            let young: Vec<Session> = sessions.iter().filter(is_young).cloned().collect();
            self.lives.all_seen(&there, &young, clock::now());
        }
        for session in sessions {
            match self.sessions.get_mut(&session.pod_uid) {
                Some(held) if held.last_heartbeat >= session.last_heartbeat => {}
                Some(held) => *held = session,
                None => drop(self.sessions.insert(session.pod_uid.clone(), session)),
            }
        }
        self.sessions.retain(|uid, _| self.pods.known.contains_key(uid));
    }

    /// The acceptance stands in the logs: it closes the alarm, and the annotation is taken back, if it is still the same.
    async fn accepted(&mut self, text: &str) {
        let Ok(accept) = Acknowledgement::parse(text) else { return };
        let Acknowledgement { finding, by, .. } = accept;
        let _ = self.handle.asks.send(Ask::Acknowledge { finding: finding.clone() }).await;
        let is_durable = |durable: &Durable| durable.memory().is_some_and(|memory| memory.has_accepted(&finding));
        let mut durable = self.handle.durable.clone();
        if timeout(ACKNOWLEDGE_TIMEOUT, durable.wait_for(is_durable)).await.is_err() {
            return; // the next round tries again
        }
        let path = format!("/metadata/annotations/{}", ANNOTATION_ACKNOWLEDGE.replace('~', "~0").replace('/', "~1"));
        let patch = serde_json::from_value(serde_json::json!([
            {"op": "test", "path": path, "value": text},
            {"op": "remove", "path": path},
        ]));
        let Ok(patch) = patch else { return };
        let logs: Api<AuditLog> = Api::namespaced(self.seams.client.clone(), &self.name.namespace);
        match logs.patch(&self.name.name, &PatchParams::default(), &Patch::Json::<()>(patch)).await {
            Ok(_) => tracing::info!(audit_log = %self.name, finding, by, "a finding was accepted"),
            Err(error) => tracing::warn!(audit_log = %self.name, %error, "{ANNOTATION_ACKNOWLEDGE} was not taken back"),
        }
    }

    /// Tells what is known, if it is anything new.
    fn tell(&mut self) {
        let view = self.view();
        let now = clock::now();
        let rejected = self.seams.injection.borrow_and_update().rejected.clone();
        let address = format!("{}:{COLLECTOR_PORT}", view.server_name);
        let facts = Facts {
            pool: &self.name,
            spec: &view.spec,
            namespaces: &view.namespaces,
            since: &self.since,
            excluded: &self.excluded,
            skipped_nodes: &self.seams.config.skip_node_selectors,
            pods: &self.pods.known,
            sessions: &self.sessions,
            rejected: &rejected,
            address: &address,
        };
        let namespaces = view.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
        let is_counted = self.pods.is_complete(&namespaces) && self.polled.is_some();
        let durable = self.handle.durable.borrow().clone();
        let observed = Observed {
            logs: self.observed_logs(&durable),
            coverage: is_counted.then(|| cover(&facts, now)),
            alarms: alarms(&durable),
            confirmed: confirmed(&facts, self.complete && is_counted, now),
            storage: self.storage(),
            sidecar_versions: self.sidecar_versions(),
        };
        publish(&self.seams.observed, &self.name, Some(observed));
    }

    fn observed_logs(&self, durable: &Durable) -> Vec<ObservedLog> {
        let Some(memory) = durable.memory() else { return Vec::new() };
        let mut logs: Vec<ObservedLog> = memory
            .logs()
            .map(|log| {
                let facts = self.logs.get(log.seen.origin().as_str());
                let is_sealed = facts.map_or(log.is_retired, |facts| facts.sealed);
                ObservedLog {
                    ordinal: log.ordinal,
                    collector: self.name.pod(log.ordinal),
                    public_key: log.seen.key().clone(),
                    tree_size: facts.map_or(log.seen.head().size, |facts| facts.size),
                    newest_leaf_time: facts
                        .and_then(|facts| Timestamp::from_nanosecond(facts.newest_leaf_time?.into()).ok()),
                    witnessed_size: log.seen.head().size,
                    state: if is_sealed { LogState::Sealed } else { LogState::Open },
                }
            })
            .collect();
        // By ordinal; a log that is no longer its collector's is older than the one that is.
        let is_current =
            |log: &ObservedLog| memory.current(log.ordinal).is_some_and(|log_| *log_.seen.key() == log.public_key);
        logs.sort_by_key(|log| (log.ordinal, is_current(log)));
        logs
    }

    fn storage(&self) -> BTreeMap<String, crate::observed::Storage> {
        let now = Instant::now();
        self.volumes.iter().filter_map(|(pod, volume)| Some((pod.clone(), volume.storage(now)?))).collect()
    }

    fn sidecar_versions(&self) -> BTreeSet<String> {
        let runs =
            |session: &&Session| self.pods.known.get(&session.pod_uid).is_some_and(|pod| pod.phase == Phase::Running);
        self.sessions.values().filter(runs).filter_map(|session| session.software.clone()).collect()
    }
}

/// How a collector is asked: its key is pinned, and it has an address.
fn target(collector: &CollectorView, durable: &Durable, heads: &BTreeMap<String, u64>) -> Option<Target> {
    let log = durable.memory()?.current(collector.ordinal)?;
    let (pod, key) = (collector.pod.clone(), log.seen.key().clone());
    let is_behind = heads.get(key.name().as_str()) == Some(&log.seen.head().size);
    Some(Target { pod, address: collector.address?, key, head: log.seen.head(), is_behind, kept: collector.kept })
}

/// The answers of the round that runs; nothing if it broke off.
async fn answers(round: &mut Round) -> Option<(Box<Collectors>, Answers)> {
    match round {
        Round::Running(task) => task.await.ok(),
        Round::Idle(_) => std::future::pending().await,
    }
}

/// Whether every collector that is ready told whom it covers.
fn is_complete(view: &PoolView, covering: &[String]) -> bool {
    let ready: Vec<&CollectorView> =
        view.collectors.iter().filter(|collector| collector.ready && !collector.kept).collect();
    !ready.is_empty() && ready.iter().all(|collector| covering.contains(&collector.pod))
}

fn alarms(durable: &Durable) -> Vec<Alarm> {
    match durable {
        Durable::Unread => Vec::new(),
        Durable::Read(memory) => memory.alarms(),
        Durable::Unreadable(why) => {
            let message = format!("the witness' memory cannot be read, so nothing is cosigned: {why}");
            vec![Alarm { id: String::new(), reason: "MemoryUnreadable", message }]
        }
    }
}

/// Whether a node is there and ready; `None` if that cannot be known now.
async fn is_there(nodes: &Api<Node>, node: Option<&str>) -> Option<bool> {
    let Some(node) = node else { return Some(true) };
    let node = nodes.get_opt(node).await.ok()?;
    let conditions = node.and_then(|node| node.status?.conditions).unwrap_or_default();
    Some(conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True"))
}

/// Since when a namespace has its label: when whoever set it last wrote it. Asked once for each namespace.
async fn opted_in_since(seams: &Seams, name: &str) -> Option<Timestamp> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(seams.client.clone());
    let namespace = timeout(Duration::from_secs(5), api.get_metadata_opt(name)).await.ok()?.ok()??;
    let label = format!("f:{LABEL_AUDIT_LOG}");
    let fields = namespace.metadata.managed_fields.unwrap_or_default();
    let set = fields.iter().filter(|entry| {
        entry.fields_v1.as_ref().is_some_and(|fields| {
            fields.0.pointer("/f:metadata/f:labels").is_some_and(|labels| labels.get(&label).is_some())
        })
    });
    let set = set.filter_map(|entry| entry.time.as_ref().map(clock::from_time)).max();
    Some(set.or_else(|| namespace.metadata.creation_timestamp.as_ref().map(clock::from_time)).unwrap_or_default())
}
