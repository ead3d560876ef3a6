//! Forwarding over real connections: TLS, HTTP/2, every answer of the interface in turn.

#![expect(clippy::unwrap_used, reason = "everything here is a test")]

mod pool;

use std::time::{Duration, Instant};

use bytes::Bytes;
use indelible_chain::batch::BatchBuilder;
use indelible_chain::frame::Upload;
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::id::{ChainId, Head, Time};
use indelible_chain::record::{Flags, Record, Source};
use indelible_chain::stored::{Codec, Stored};
use indelible_sidecar::capture::{Output, Sealed};
use indelible_sidecar::forward::client::Settings;
use indelible_sidecar::forward::edges::{Edges, Report};
use indelible_sidecar::forward::moment::{Moment, Now};
use indelible_sidecar::forward::resolve::Resolver;
use indelible_sidecar::forward::retry::Reason;
use indelible_sidecar::forward::tls::Bundle;
use indelible_sidecar::forward::{Effect, Event, Forward, Notice};
use indelible_sidecar::session::{self, Beside, Identity};
use tokio::sync::mpsc;

use self::pool::{Authority, Collector, Names, Scripted};

const PATIENCE: Duration = Duration::from_secs(20);

/// Forwarding with its edges, and a capture that is the test.
struct Rig {
    forward: Forward,
    edges: Edges,
    reports: mpsc::Receiver<Report>,
    start: Instant,
    builder: BatchBuilder,
    signer: std::sync::Arc<indelible_sidecar::capture::Signer>,
    genesis: Genesis,
    receipted: u64,
    rejected: Vec<ChainId>,
    notices: Vec<Notice>,
}

fn genesis() -> Genesis {
    Genesis {
        capture: Capture::CriLogFile,
        cluster_uid: String::new(),
        namespace: "shop".into(),
        pod_name: "web-0".into(),
        pod_uid: "u-1".into(),
        container: "app".into(),
        path: String::new(),
        incarnation: 0,
    }
}

impl Rig {
    fn new(authority: &Authority, collectors: &[&Collector], copies: usize) -> Self {
        let urls: Vec<String> = collectors.iter().map(|collector| collector.url()).collect();
        Self::at(authority, &urls, None, copies)
    }

    fn at(authority: &Authority, urls: &[String], server_name: Option<&str>, copies: usize) -> Self {
        let identity = Identity {
            namespace: "shop".into(),
            pod_name: "web-0".into(),
            pod_uid: "u-1".into(),
            node_name: "n".into(),
            service_account: "web".into(),
        };
        let beside = Beside { cluster_uid: String::new(), audit_log: String::new(), excluded: Vec::new() };
        let own = session::begin(&identity, &beside, Time::from_nanos(1)).unwrap();
        let signer = own.signer.clone();
        let bundle = Bundle::parse(authority.pem.as_bytes()).unwrap();
        let endpoints: Vec<_> = urls.iter().map(|url| url.parse().unwrap()).collect();
        let now = Now { moment: Moment::default(), time: Time::from_nanos(1) };
        let forward = Forward::new(now, signer.session, copies, &endpoints, bundle.digest, 7);
        let settings = Settings {
            bundle,
            server_name: server_name.map(str::to_owned),
            authorization: "Bearer a.b.c".parse().unwrap(),
            resolver: Resolver::default(),
        };
        let (edges, reports) = Edges::new(own, settings);
        let chain = genesis().chain_id().unwrap();
        let mut rig = Self {
            forward,
            edges,
            reports,
            start: Instant::now(),
            builder: BatchBuilder::new(chain, Head::start_of(chain)),
            signer,
            genesis: genesis(),
            receipted: 0,
            rejected: Vec::new(),
            notices: Vec::new(),
        };
        rig.apply(Event::Output(Output::Introduce {
            chain,
            genesis: rig.genesis.clone(),
            head: Head::start_of(chain),
        }));
        rig
    }

    fn apply(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = Now { moment: Moment::after_start(self.start.elapsed()), time: Time::from_nanos(1) };
            for effect in self.forward.apply(now, event) {
                match effect {
                    Effect::Connect { collector, generation, endpoint } => {
                        self.edges.connect(collector, generation, endpoint);
                    }
                    Effect::Disconnect(collector) => self.edges.disconnect(collector),
                    Effect::Send { request, collector, call } => {
                        events.extend(self.edges.send(request, collector, call));
                    }
                    Effect::Receipted { head, .. } => self.receipted = head.next_seq.get(),
                    Effect::Known { .. } => {}
                    Effect::Rejected(chain) => self.rejected.push(chain),
                    Effect::Trust(list) => self.edges.expect_name(list.server_name),
                    Effect::Notice(notice) => self.notices.push(notice),
                }
            }
        }
    }

    /// Seals a batch of one record.
    fn seal(&mut self) {
        let payload = format!("line {}", self.builder.head().next_seq);
        let record = Record {
            time: Time::from_nanos(5),
            source: Source::Stdout,
            flags: Flags::NONE,
            payload: payload.as_bytes(),
        };
        self.builder.push(&record);
        let commitment = self.builder.seal(self.signer.session, &self.signer.key).unwrap();
        let upload = Upload { commitment, body: Stored { codec: Codec::Plain, bytes: self.builder.body() } }.encode();
        self.builder.clear();
        let sealed = Sealed { chain: commitment.chain, commitment, upload: Bytes::from(upload) };
        self.apply(Event::Output(Output::Batch(sealed)));
    }

    /// Goes on until something holds.
    async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "not in time: {what}; notices {:?}", self.notices);
            let now = Moment::after_start(self.start.elapsed());
            let sleep = self.forward.next_wake().map_or(PATIENCE, |wake| wake.since(now));
            tokio::select! {
                Some(report) = self.reports.recv() => {
                    let event = self.edges.arrived(report);
                    self.apply(event);
                }
                () = tokio::time::sleep(sleep.min(Duration::from_secs(1))) => self.apply(Event::Tick),
            }
        }
    }

    async fn deliver(&mut self) {
        let next = self.builder.head().next_seq.get() + 1;
        self.seal();
        self.until("the batch is receipted", |rig| rig.receipted == next).await;
    }

    fn retries(&self, reason: Reason) -> u64 {
        self.forward.tally().retries.get(&reason).copied().unwrap_or(0)
    }

    fn unusable(&self) -> Option<&str> {
        self.notices.iter().find_map(|notice| match notice {
            Notice::Unusable { text, .. } => Some(text.as_str()),
            _ => None,
        })
    }
}

#[tokio::test]
async fn a_batch_is_delivered_with_session_chain_and_token() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, "a", Names::Ours).await;
    let mut rig = Rig::new(&authority, &[&collector], 1);
    rig.deliver().await;
    let seen = collector.seen();
    let kinds: Vec<&str> = seen.calls.iter().map(|call| call.split('/').nth(2).unwrap()).collect();
    assert_eq!(kinds, ["log", "pool", "sessions", "chains", "batches"]);
    assert_eq!(seen.authorizations.iter().collect::<Vec<_>>(), ["Bearer a.b.c"]);
    assert_eq!(seen.session.as_ref().unwrap().pod_name, "web-0");
}

#[tokio::test]
async fn every_answer_of_the_interface_but_200_sends_the_same_bytes_on_until_they_are_receipted() {
    let authority = Authority::new();
    let (a, b) =
        (Collector::start(&authority, "a", Names::Ours).await, Collector::start(&authority, "b", Names::Ours).await);
    let answers = [
        (Scripted::status(400), Reason::Malformed),
        (Scripted::status(401), Reason::Unauthorized),
        (Scripted::status(403), Reason::Forbidden),
        (Scripted::status(404), Reason::Other),
        (Scripted::status(409), Reason::Refused),
        (Scripted::status(412), Reason::NotIntroduced),
        (Scripted::status(413), Reason::TooLarge),
        (Scripted::status(422), Reason::Refused),
        (Scripted::status(429), Reason::Busy),
        (Scripted::status(500), Reason::Other),
        (Scripted::status(503), Reason::Unavailable),
        (Scripted::status(507), Reason::NoSpace),
        (Scripted { status: 200, body: Some(b"no receipt".to_vec()), ..Scripted::default() }, Reason::BadReceipt),
    ];
    let mut rig = Rig::new(&authority, &[&a, &b], 1);
    rig.deliver().await;
    for (scripted, reason) in answers {
        // Whichever is asked first gives that answer, and the other one takes the batch.
        let before = rig.retries(reason);
        let sent = a.seen().batches.len() + b.seen().batches.len();
        a.seen().script = [scripted.clone()].into();
        b.seen().script = [scripted.clone()].into();
        rig.seal();
        let next = rig.builder.head().next_seq.get();
        if scripted.status == 409 || scripted.status == 422 {
            // Two would end the chain.
            rig.until("one judged", |rig| rig.retries(reason) > before).await;
            a.seen().script.clear();
            b.seen().script.clear();
        }
        rig.until("receipted", |rig| rig.receipted == next).await;
        assert!(rig.retries(reason) > before, "{scripted:?}");
        let (a, b) = (a.seen(), b.seen());
        assert!(a.batches.len() + b.batches.len() >= sent + 2, "{scripted:?}");
        let last = [a.batches.last(), b.batches.last()];
        assert!(last.iter().flatten().any(|bytes| Upload::decode(bytes).unwrap().commitment.next_seq().get() == next));
    }
    assert_eq!(rig.rejected, []);
}

#[tokio::test]
async fn two_judgements_end_the_chain() {
    let authority = Authority::new();
    let (a, b) =
        (Collector::start(&authority, "a", Names::Ours).await, Collector::start(&authority, "b", Names::Ours).await);
    let mut rig = Rig::new(&authority, &[&a, &b], 1);
    a.seen().script = [Scripted::status(409)].into();
    b.seen().script = [Scripted::status(422)].into();
    rig.seal();
    rig.until("rejected", |rig| !rig.rejected.is_empty()).await;
    assert_eq!(rig.rejected, [rig.genesis.chain_id().unwrap()]);
}

#[tokio::test]
async fn retry_after_is_honoured_by_the_clock() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, "a", Names::Ours).await;
    let mut rig = Rig::new(&authority, &[&collector], 1);
    rig.deliver().await;
    let busy = Scripted { status: 503, headers: vec![("retry-after", "1")], body: None };
    collector.seen().script = [busy].into();
    let asked = Instant::now();
    rig.deliver().await;
    assert!(asked.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn conflicts_are_counted_and_the_receipt_counts() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, "a", Names::Ours).await;
    let mut rig = Rig::new(&authority, &[&collector], 1);
    rig.deliver().await;
    let conflict = Scripted { status: 200, headers: vec![("indelible-conflict", "17")], body: None };
    collector.seen().script = [conflict].into();
    rig.deliver().await;
    assert_eq!(rig.forward.tally().conflicts, 1);
}

#[tokio::test]
async fn a_killed_collector_is_replaced_and_nothing_is_lost() {
    let authority = Authority::new();
    let (a, b) =
        (Collector::start(&authority, "a", Names::Ours).await, Collector::start(&authority, "b", Names::Ours).await);
    let mut rig = Rig::new(&authority, &[&a, &b], 1);
    rig.deliver().await;
    let home = if a.seen().batches.is_empty() { &b } else { &a };
    rig.seal();
    home.kill();
    rig.seal();
    rig.until("both are receipted", |rig| rig.receipted == 3).await;
}

#[tokio::test]
async fn copies_are_on_two_logs() {
    let authority = Authority::new();
    let (a, b) =
        (Collector::start(&authority, "a", Names::Ours).await, Collector::start(&authority, "b", Names::Ours).await);
    let mut rig = Rig::new(&authority, &[&a, &b], 2);
    rig.deliver().await;
    assert_eq!(a.seen().batches, b.seen().batches);
}

#[tokio::test]
async fn the_pools_list_takes_over_with_its_server_name() {
    let authority = Authority::new();
    let (service, member) = (
        Collector::start(&authority, "service", Names::Ours).await,
        Collector::start(&authority, "member", Names::Ours).await,
    );
    let list = format!(
        r#"{{"epoch":3,"server_name":"pool.test","collectors":["{}"],"ca_pem":{:?}}}"#,
        member.url(),
        authority.pem
    );
    service.seen().pool = Some(list);
    let mut rig = Rig::new(&authority, &[&service], 1);
    rig.deliver().await;
    assert_eq!(service.seen().calls, ["GET /v1/log", "GET /v1/pool"]);
    assert_eq!(member.seen().batches.len(), 1);
}

#[tokio::test]
async fn a_list_without_a_server_name_brings_back_the_one_that_was_configured() {
    let authority = Authority::new();
    let service = Collector::start(&authority, "service", Names::Ours).await;
    let member = Collector::start(&authority, "member", Names::Ours).await;
    // No certificate has this name: nobody new could be connected to while it holds.
    let list = r#"{"epoch":1,"server_name":"elsewhere.test","collectors":[]}"#;
    service.seen().pool = Some(list.to_owned());
    let mut rig = Rig::new(&authority, &[&service], 1);
    rig.deliver().await;
    service.seen().pool = Some(format!(r#"{{"epoch":2,"collectors":["{}"]}}"#, member.url()));
    let newer = Scripted { headers: vec![("indelible-pool", "2")], ..Scripted::status(200) };
    service.seen().script.push_back(newer);
    for _ in 0..100 {
        rig.deliver().await;
    }
    assert!(!member.seen().batches.is_empty());
}

#[tokio::test]
async fn a_name_in_the_certificate_can_be_given_instead_of_the_host() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, "a", Names::Ours).await;
    let mut rig = Rig::at(&authority, &[collector.url()], Some("pool.test"), 1);
    rig.deliver().await;
    let mut rig = Rig::at(&authority, &[collector.url()], Some("another.test"), 1);
    rig.seal();
    rig.until("refused", |rig| rig.unusable().is_some()).await;
    assert!(rig.unusable().unwrap().contains("--server-name"), "{:?}", rig.unusable());
}

#[tokio::test]
async fn hosts_are_resolved_without_the_c_library() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, "a", Names::Ours).await;
    let url = format!("https://localhost:{}", collector.address.port());
    let mut rig = Rig::at(&authority, &[url], Some("pool.test"), 1);
    rig.deliver().await;
}

#[tokio::test]
async fn a_collector_whose_certificate_names_another_key_or_none_is_not_used() {
    let authority = Authority::new();
    for (names, text) in
        [(Names::Another, "not the one that its certificate names"), (Names::Nobody, "names no log key")]
    {
        let collector = Collector::start(&authority, "a", names).await;
        let mut rig = Rig::new(&authority, &[&collector], 1);
        rig.seal();
        rig.until("refused", |rig| rig.unusable().is_some()).await;
        assert!(rig.unusable().unwrap().contains(text), "{:?}", rig.unusable());
        assert!(collector.seen().calls.iter().all(|call| call == "GET /v1/log"));
    }
}

#[tokio::test]
async fn a_collector_of_another_authority_is_not_trusted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let collector = Collector::start(&theirs, "a", Names::Ours).await;
    let mut rig = Rig::new(&ours, &[&collector], 1);
    rig.seal();
    rig.until("refused", |rig| rig.unusable().is_some()).await;
    assert!(rig.unusable().unwrap().contains("--ca"), "{:?}", rig.unusable());
    assert!(collector.seen().calls.is_empty());
}

#[tokio::test]
async fn the_last_heartbeat_is_signed_by_the_session() {
    let authority = Authority::new();
    let collector = Collector::start(&authority, "a", Names::Ours).await;
    let mut rig = Rig::new(&authority, &[&collector], 1);
    rig.deliver().await;
    rig.apply(Event::Drain);
    rig.until("done", |rig| rig.forward.is_done()).await;
    let seen = collector.seen();
    assert_eq!(seen.heartbeats.len(), 1, "the collector has checked the signature");
    assert_eq!(seen.heartbeats[0].heads, [(rig.genesis.chain_id().unwrap(), rig.builder.head())]);
}
