//! A pod and the runs of its sidecar: what it prints, what it seals, where it sends it.

use std::collections::BTreeMap;

use crate::tamper::actor::{Chain, Issuer, MINUTE, Pod, SECOND, Session};
use crate::tamper::log::Log;
use crate::tamper::rng::Rng;
use crate::tamper::wire::{Digest, hex};

/// How many batches of a session go to one log before they are spread.
const AT_HOME: usize = 16;

/// A pod, its sidecar's present session, its containers.
pub(super) struct PodRun {
    pod: Pod,
    session: Session,
    home: Option<usize>,
    sent: usize,
    containers: Vec<Container>,
    /// Of each log: the newest receipt, until a heartbeat took it elsewhere.
    receipts: BTreeMap<usize, Vec<u8>>,
    /// Of each log that knows the session: when its heartbeat was kept there last.
    beats: BTreeMap<usize, i64>,
}

struct Container {
    name: String,
    chain: Chain,
    /// Records that were sealed and receipted.
    receipted: usize,
    /// Whether it prints.
    is_loud: bool,
    is_introduced: bool,
    is_closed: bool,
}

impl PodRun {
    pub(super) fn new(rng: &mut Rng, issuer: &Issuer, ordinal: usize, now: i64) -> Self {
        let namespace = rng.pick(&["shop", "bank"]).to_string();
        let uid = format!("0000{ordinal}-{}", hex(&rng.seed()[..6]));
        let pod = Pod { namespace, name: format!("pod-{ordinal}"), uid };
        let session = Session::new(rng, issuer, &pod, now);
        let names: &[&str] = if ordinal == 1 { &["app", "quiet"] } else { &["app"] };
        let containers = names.iter().map(|name| Container {
            name: (*name).into(),
            chain: Chain::new(&pod, name, 0),
            receipted: 0,
            is_loud: *name != "quiet",
            is_introduced: false,
            is_closed: false,
        });
        let containers = containers.collect();
        Self { pod, session, home: None, sent: 0, containers, receipts: BTreeMap::new(), beats: BTreeMap::new() }
    }

    /// A new run of the sidecar on the same state; it reads again from a little before where it was.
    pub(super) fn restart(&mut self, rng: &mut Rng, issuer: &Issuer, now: i64) {
        self.begin(rng, issuer, now);
        for container in &mut self.containers {
            container.receipted -= rng.between(0, container.receipted.min(20));
        }
    }

    fn begin(&mut self, rng: &mut Rng, issuer: &Issuer, now: i64) {
        self.session = Session::new(rng, issuer, &self.pod, now);
        (self.home, self.sent) = (None, 0);
        self.receipts.clear();
        self.beats.clear();
        self.containers.iter_mut().for_each(|container| container.is_introduced = false);
    }

    /// A new run of the sidecar after its chains had ended: they are followed by others.
    pub(super) fn resume(&mut self, rng: &mut Rng, issuer: &Issuer, now: i64) {
        self.begin(rng, issuer, now);
        for container in &mut self.containers {
            let last = &container.chain;
            let (next, link) = (last.len(), hex(&last.link(last.len())));
            let from = format!(r#""chain":"{}","next_seq":{next},"link":"{link}""#, hex(&last.id));
            let incarnation = u64::try_from(now).expect("after 1970");
            container.chain = Chain::new(&self.pod, &container.name, incarnation);
            container.chain.say(now, &format!(r#"{{"kind":"resumed","reason":"after-end",{from}}}"#));
            (container.receipted, container.is_closed) = (0, false);
        }
    }

    /// One of the containers prints some lines.
    pub(super) fn print(&mut self, rng: &mut Rng, now: i64) {
        let container = rng.below(self.containers.len());
        let container = &mut self.containers[container];
        if !container.is_loud || container.is_closed {
            return;
        }
        let lines = rng.between(1, 24);
        if container.chain.len() <= 1 {
            container.chain.say(now, r#"{"kind":"container-started","restart":0}"#);
        }
        for _ in 0..lines {
            let words = rng.between(1, 20);
            let line: Vec<_> = (0..words).map(|_| format!("{:x}", rng.number() >> rng.between(0, 60))).collect();
            let source = if rng.once_in(5) { 2 } else { 1 };
            container.chain.push(now, source, line.join(" ").into_bytes());
        }
    }

    /// Every container ends.
    pub(super) fn end(&mut self, now: i64) {
        for container in self.containers.iter_mut().filter(|container| !container.is_closed) {
            container.chain.say(now, r#"{"kind":"end","reason":"terminated"}"#);
            container.is_closed = true;
        }
    }

    /// Seals what is not receipted and sends it.
    pub(super) fn deliver(&mut self, rng: &mut Rng, logs: &mut [Log], open: &[usize], now: i64) {
        for at in 0..self.containers.len() {
            let (first, next) = (self.containers[at].receipted, self.containers[at].chain.len());
            // A chain is introduced even if it has printed nothing.
            if first == next && self.containers[at].is_introduced {
                continue;
            }
            self.containers[at].is_introduced = true;
            let target = self.target(rng, open);
            self.introduce(&mut logs[target], at, now);
            self.beats.entry(target).or_insert(i64::MIN);
            if first == next {
                continue;
            }
            let batch = self.containers[at].chain.seal(&self.session, first, next);
            let kept = logs[target].batch(&batch, now);
            self.receipts.insert(target, kept);
            self.containers[at].receipted = next;
            self.sent += 1;
            // Its receipt was late, and the batch went elsewhere, too.
            let second = *rng.pick(open);
            if rng.once_in(8) && second != target {
                self.introduce(&mut logs[second], at, now);
                self.beats.entry(second).or_insert(i64::MIN);
                let kept = logs[second].batch(&batch, now);
                self.receipts.insert(second, kept);
            }
        }
    }

    /// The log that a batch goes to. The first log of the pool is the busiest.
    fn target(&mut self, rng: &mut Rng, open: &[usize]) -> usize {
        let any = if rng.once_in(2) { open[0] } else { *rng.pick(open) };
        let home = *self.home.get_or_insert(any);
        if self.sent < AT_HOME && open.contains(&home) { home } else { any }
    }

    fn introduce(&self, log: &mut Log, container: usize, now: i64) {
        log.group();
        log.session(&self.pod, &self.session, now);
        let chain = &self.containers[container].chain;
        log.chain(&chain.genesis, &chain.id, &self.session.id, now);
    }

    /// The session's heartbeat for a log, if that log has kept none for five minutes.
    pub(super) fn heartbeat(&mut self, log: usize, origins: &[String], now: i64) -> Option<(Digest, Vec<u8>)> {
        let last = self.beats.get_mut(&log)?;
        if now.saturating_sub(*last) < 5 * MINUTE {
            return None;
        }
        *last = now;
        let open = self.containers.iter().filter(|container| !container.is_closed);
        let heads: Vec<_> = open
            .map(|container| {
                let next = container.receipted;
                (container.chain.id, u64::try_from(next).expect("few"), container.chain.link(next))
            })
            .collect();
        let others: Vec<_> = self.receipts.keys().copied().filter(|other| *other != log).collect();
        let receipts: Vec<_> =
            others.iter().filter_map(|other| Some((origins[*other].clone(), self.receipts.remove(other)?))).collect();
        Some((self.session.id, self.session.heartbeat(now - 2 * SECOND, &heads, &receipts)))
    }
}
