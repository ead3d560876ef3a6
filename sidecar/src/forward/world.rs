//! A pool of collectors in memory, for tests of the core: what the effects ask for is done when the test says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use indelible_chain::batch::Commitment;
use indelible_chain::digest::Digest;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, Head, LeafIndex, LogId, Seq, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle;
use indelible_chain::receipt::Receipt;

use super::collector::{CollectorId, Generation};
use super::endpoint::Endpoint;
use super::moment::{Moment, Now};
use super::receipts::LogIdentity;
use super::retry::Reason;
use super::{Answer, Call, Effect, Event, Failure, Forward, Notice, RequestId};
use crate::capture::{Output, Sealed};

/// A collector's log.
pub struct Log {
    pub key: PrivateKey,
    pub identity: LogIdentity,
    pub next: u64,
}

/// A request that is not answered.
#[derive(Debug)]
pub struct Open {
    pub request: RequestId,
    pub collector: CollectorId,
    pub endpoint: String,
    pub call: Call,
}

pub struct World {
    pub forward: Forward,
    pub now: Duration,
    pub logs: BTreeMap<String, Log>,
    pub connecting: Vec<(CollectorId, Generation, String)>,
    pub connected: BTreeMap<CollectorId, (Generation, String)>,
    pub requests: Vec<Open>,
    pub receipted: BTreeMap<ChainId, Head>,
    pub known: Vec<(String, bool)>,
    pub rejected: Vec<ChainId>,
    pub notices: Vec<Notice>,
    pub heartbeats: Vec<(String, Heartbeat)>,
    pub chains: BTreeMap<ChainId, Genesis>,
    heads: BTreeMap<ChainId, Head>,
    sealed: BTreeMap<Bytes, Commitment>,
}

pub const SESSION: SessionId = SessionId::new(Digest::new([5; 32]));

pub fn genesis(container: &str) -> Genesis {
    Genesis {
        capture: Capture::CriLogFile,
        cluster_uid: String::new(),
        namespace: "n".into(),
        pod_name: "p".into(),
        pod_uid: "u".into(),
        container: container.into(),
        path: String::new(),
        incarnation: 0,
    }
}

impl World {
    /// A session with these collectors configured, each a log of its own.
    pub fn new(collectors: &[&str], copies: usize, seed: u64) -> Self {
        let endpoints: Vec<Endpoint> = collectors.iter().map(|url| url.parse().unwrap()).collect();
        let now = Now { moment: Moment::default(), time: Time::default() };
        let mut world = Self {
            forward: Forward::new(now, SESSION, copies, &endpoints, Digest::sha256(b"ca"), seed),
            now: Duration::ZERO,
            logs: BTreeMap::new(),
            connecting: Vec::new(),
            connected: BTreeMap::new(),
            requests: Vec::new(),
            receipted: BTreeMap::new(),
            known: Vec::new(),
            rejected: Vec::new(),
            notices: Vec::new(),
            heartbeats: Vec::new(),
            chains: BTreeMap::new(),
            heads: BTreeMap::new(),
            sealed: BTreeMap::new(),
        };
        for url in collectors {
            world.add_log(url);
        }
        world.tick();
        world
    }

    pub fn add_log(&mut self, url: &str) {
        let origin = format!("log at {url}").replace(' ', "-");
        let id = LogId::new(Digest::sha256(origin.as_bytes()));
        let key = PrivateKey::from_seed(Digest::sha256(url.as_bytes()).as_bytes());
        let identity = LogIdentity { origin, id, key: key.public() };
        self.logs.insert(url.to_owned(), Log { key, identity, next: 0 });
    }

    pub fn moment(&self) -> Moment {
        Moment::after_start(self.now)
    }

    pub fn clocks(&self) -> Now {
        let nanos = i64::try_from(self.now.as_nanos()).unwrap();
        Now { moment: self.moment(), time: Time::from_nanos(nanos) }
    }

    pub fn apply(&mut self, event: Event) {
        for effect in self.forward.apply(self.clocks(), event) {
            self.take(effect);
        }
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::Connect { collector, generation, endpoint } => {
                assert!(!self.connected.contains_key(&collector), "connected twice");
                self.connecting.push((collector, generation, endpoint.to_string()));
            }
            Effect::Disconnect(collector) => self.drop_connection(collector),
            Effect::Send { request, collector, call } => {
                let (_, endpoint) = self.connected.get(&collector).expect("sent on an open connection");
                let endpoint = endpoint.clone();
                if let Call::Batch(upload) = &call {
                    let twice = |open: &Open| {
                        open.collector == collector && matches!(&open.call, Call::Batch(b) if b == upload)
                    };
                    assert!(!self.requests.iter().any(twice), "one batch twice in flight to one collector");
                }
                self.requests.push(Open { request, collector, endpoint, call });
            }
            Effect::Receipted { chain, head } => {
                let before = self.receipted.insert(chain, head);
                assert!(before.is_none_or(|before| before.next_seq < head.next_seq), "a prefix went back");
            }
            Effect::Known { container, known } => self.known.push((container, known)),
            Effect::Rejected(chain) => self.rejected.push(chain),
            Effect::Trust(_) => {}
            Effect::Notice(notice) => self.notices.push(notice),
        }
    }

    fn drop_connection(&mut self, collector: CollectorId) {
        self.connecting.retain(|(id, ..)| *id != collector);
        self.connected.remove(&collector);
        self.requests.retain(|open| open.collector != collector);
    }

    pub fn tick(&mut self) {
        self.apply(Event::Tick);
    }

    /// Lets time pass in the steps that the core asks for.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            let wake = self.forward.next_wake().map(|wake| wake.since(Moment::default()));
            match wake {
                Some(wake) if wake <= end => self.now = wake,
                _ => {
                    self.now = end;
                    return self.tick();
                }
            }
            self.tick();
        }
        panic!("the core wakes without end");
    }

    /// Makes every connection that is being made.
    pub fn accept(&mut self) {
        while !self.connecting.is_empty() {
            let (collector, generation, url) = self.connecting.remove(0);
            let log = self.logs[&url].identity.clone();
            self.connected.insert(collector, (generation, url));
            self.apply(Event::Connected { collector, generation, log });
        }
    }

    pub fn refuse(&mut self, url: &str) {
        if let Some(at) = self.connecting.iter().position(|(.., at)| at == url) {
            let (collector, generation, _) = self.connecting.remove(at);
            let (reason, text) = (Reason::Transport, "refused".to_owned());
            self.apply(Event::ConnectFailed { collector, generation, reason, text });
        }
    }

    pub fn cut(&mut self, url: &str) {
        let found =
            self.connected.iter().find(|(_, (_, at))| at == url).map(|(id, (generation, _))| (*id, *generation));
        if let Some((collector, generation)) = found {
            self.drop_connection(collector);
            self.apply(Event::Disconnected { collector, generation, text: "cut".to_owned() });
        }
    }

    pub fn answer(&mut self, open: &Open, answer: Result<Answer, Failure>) {
        self.requests.retain(|other| other.request != open.request);
        self.apply(Event::Answered { request: open.request, answer });
    }

    /// Takes the first request that fits.
    pub fn request(&mut self, fits: impl Fn(&Open) -> bool) -> Option<Open> {
        let at = self.requests.iter().position(fits)?;
        Some(self.requests.remove(at))
    }

    pub fn batch(&mut self) -> Open {
        self.request(|open| matches!(open.call, Call::Batch(_))).expect("a batch is in flight")
    }

    pub fn batches(&self) -> Vec<&Open> {
        self.requests.iter().filter(|open| matches!(open.call, Call::Batch(_))).collect()
    }

    /// What a collector that has nothing to object to answers. There is no pool list.
    pub fn good(&mut self, open: &Open) -> Answer {
        let status = |status| Answer { status, ..Answer::default() };
        match &open.call {
            Call::Pool => status(404),
            Call::Heartbeat(heartbeat) => {
                self.heartbeats.push((open.endpoint.clone(), heartbeat.clone()));
                status(204)
            }
            Call::Session => {
                let leaf = Leaf::decode(&[1, 9]).unwrap();
                Answer { body: self.receipt(&open.endpoint, &leaf), ..status(201) }
            }
            Call::Chain { genesis, .. } => {
                let genesis = Genesis::decode(genesis).unwrap();
                let leaf = Leaf::Genesis { genesis, session: SESSION, received_at: Time::from_nanos(9) };
                Answer { body: self.receipt(&open.endpoint, &leaf), ..status(201) }
            }
            Call::Batch(upload) => {
                let commitment = self.sealed[upload];
                let leaf = Leaf::Batch { commitment, received_at: Time::from_nanos(9) };
                Answer { body: self.receipt(&open.endpoint, &leaf), ..status(200) }
            }
        }
    }

    pub fn receipt(&mut self, url: &str, leaf: &Leaf) -> Bytes {
        let log = self.logs.get_mut(url).unwrap();
        log.next += 1;
        let hash = merkle::leaf_hash(&leaf.encode().unwrap());
        let index = LeafIndex::new(log.next - 1);
        let receipt = Receipt::sign(&log.key, log.identity.id, index, hash, Time::from_nanos(9));
        Bytes::copy_from_slice(&receipt.encode())
    }

    pub fn answer_well(&mut self, open: &Open) {
        let answer = self.good(open);
        self.answer(open, Ok(answer));
    }

    pub fn answer_status(&mut self, open: &Open, status: u16) {
        self.answer(open, Ok(Answer { status, ..Answer::default() }));
    }

    /// Connects and answers everything well until nothing is left.
    pub fn settle(&mut self) {
        while !self.connecting.is_empty() || !self.requests.is_empty() {
            self.accept();
            while let Some(open) = self.request(|_| true) {
                self.answer_well(&open);
            }
        }
    }

    /// As [`settle`](Self::settle), but leaves batches unanswered.
    pub fn settle_introductions(&mut self) {
        let other = |open: &Open| !matches!(open.call, Call::Batch(_));
        loop {
            self.accept();
            let Some(open) = self.request(other) else {
                if self.connecting.is_empty() {
                    return;
                }
                continue;
            };
            self.answer_well(&open);
        }
    }

    pub fn introduce(&mut self, container: &str) -> ChainId {
        let genesis = genesis(container);
        let chain = genesis.chain_id().unwrap();
        self.chains.insert(chain, genesis.clone());
        let head = self.heads.get(&chain).copied().unwrap_or(Head::start_of(chain));
        self.apply(Event::Output(Output::Introduce { chain, genesis, head }));
        chain
    }

    /// Seals the next batch of a chain.
    pub fn seal(&mut self, chain: ChainId, bytes: usize) -> Head {
        let head = self.heads.get(&chain).copied().unwrap_or(Head::start_of(chain));
        let commitment = Commitment {
            is_final: false,
            session: SESSION,
            chain,
            first_seq: head.next_seq,
            count: 1,
            prev_link: head.link,
            last_link: Digest::sha256(&[chain.as_bytes().as_slice(), &head.next_seq.get().to_be_bytes()].concat()),
            first_time: Time::from_nanos(1),
            last_time: Time::from_nanos(1),
            body_len: 20,
            signature: [7; 64],
        };
        let mut upload = commitment.encode().to_vec();
        upload.resize(upload.len().max(bytes), 0);
        let upload = Bytes::from(upload);
        self.heads.insert(chain, commitment.head_after());
        self.sealed.insert(upload.clone(), commitment);
        self.apply(Event::Output(Output::Batch(Sealed { chain, commitment, upload })));
        commitment.head_after()
    }

    pub fn urls(&self) -> BTreeSet<String> {
        self.connected.values().map(|(_, url)| url.clone()).collect()
    }

    pub fn receipted_to(&self, chain: ChainId) -> u64 {
        self.receipted.get(&chain).map_or(Seq::ZERO, |head| head.next_seq).get()
    }
}
