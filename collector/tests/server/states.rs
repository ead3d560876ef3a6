//! What is answered in states to which a process does not come by being asked: a full volume, a log that is sealed, a
//! token that has ended. A server in this process, on a real socket, on the directory of a collector that was killed.

use std::sync::Arc;

use indelible_chain::digest::Digest;
use indelible_chain::id::Time;
use indelible_chain::leaf::Leaf;
use indelible_chain::stored::Codec;
use indelible_collector::clock::{Clock, ManualClock};
use indelible_collector::desk::Desk;
use indelible_collector::http::{App, Gate, Server};
use indelible_collector::ingest::{ByteLimits, Namespaces};
use indelible_collector::metrics::Metrics;
use indelible_collector::readers::Readers;
use indelible_collector::reload::{certified_key, server_config};
use indelible_collector::settings::fixed;
use indelible_collector::store::{Options, SealReason, Store};
use indelible_collector::token::{Issuer, KeySet, Tokens};
use tokio::sync::watch;

use super::read::frames;
use super::write::{Writer, put_chain, put_session};
use crate::client::Client;
use crate::collector::{Collector, Site, now_seconds};
use crate::issuer::{AUDIENCE, READER_AUDIENCE};
use crate::sidecar::{Chain, Sidecar};

struct Inside {
    clock: Arc<ManualClock>,
    store: Arc<Store>,
    desk: Desk,
    client: Client,
    _drain: watch::Sender<bool>,
}

impl Inside {
    async fn start(site: &Site, options: Options) -> Self {
        let read = |name: &str| std::fs::read(site.path(name)).unwrap();
        let store = Arc::new(Store::open(&site.path("data"), options).unwrap());
        let clock = Arc::new(ManualClock::new(seconds(now_seconds())));
        let metrics = Arc::new(Metrics::new());
        let keys = watch::channel(Arc::new(KeySet::parse(&read("jwks.json")).unwrap())).1;
        let issuer = Issuer { url: site.issuer.url.clone(), keys, wanted: None };
        let (drain, draining) = watch::channel(false);
        let desk = Desk::start(
            Arc::clone(&store),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::clone(&metrics),
            ByteLimits::default(),
        );
        let app = App {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            tokens: Tokens::new(vec![issuer], AUDIENCE.into(), READER_AUDIENCE.into()),
            authorities: Vec::new(),
            readers: Readers::None,
            cluster_uid: String::new(),
            namespaces: fixed(Namespaces::Any),
            pool: fixed(None),
            desk: desk.clone(),
            gate: Gate::new(Arc::clone(&metrics)),
            closing: draining.clone(),
            draining,
            metrics,
        };
        let certificate = certified_key(&read("cert.pem"), &read("key.pem"), &site.vkey.to_string()).unwrap();
        let tls = server_config(watch::channel(Arc::new(certificate)).1);
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        tokio::spawn(server.serve(Arc::new(app), tls));
        let client = Client::connect(address, &site.ca_pem).await.unwrap();
        Self { clock, store, desk, client, _drain: drain }
    }
}

fn seconds(seconds: i64) -> Time {
    Time::from_nanos(seconds * Time::SECOND)
}

fn options() -> Options {
    Options::new("test/1")
}

#[tokio::test]
async fn on_a_full_volume_what_is_known_is_receipted_again_and_what_is_new_is_507() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let body = writer.next(&[b"stored"]);
    let before = writer.client.post("/v1/batches", body.clone()).await;
    let site = collector.kill();
    let inside = Inside::start(&site, Options { min_free_bytes: u64::MAX, ..options() }).await;
    let client = inside.client.with_token(&site.issuer.token(&writer.pod, now_seconds()));
    let known = client.post("/v1/batches", body).await;
    assert_eq!((known.status, known.body), (before.status, before.body));
    let new = [
        client.post("/v1/batches", writer.next(&[b"new"])).await,
        put_session(&client, &Sidecar::new(&writer.pod, 9)).await,
        put_chain(&client, &writer.sidecar, &Chain::of(&writer.pod, "new")).await,
    ];
    for refused in new {
        assert_eq!((refused.status.as_u16(), refused.problem()), (507, "no-space".into()));
        assert_eq!(refused.header("retry-after"), Some("30"));
    }
    assert_eq!(client.get("/v1/frames").await.status, 200);
}

#[tokio::test]
async fn a_log_that_is_sealed_is_read_and_not_written() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let site = collector.kill();
    let inside = Inside::start(&site, options()).await;
    let client = inside.client.with_token(&site.issuer.token(&writer.pod, now_seconds()));
    assert_eq!(client.post("/v1/batches", writer.next(&[b"in time"])).await.status, 200);
    inside.desk.write_all().await;
    inside.store.seal(SealReason::Shutdown).await.unwrap();
    let heartbeat = writer.sidecar.heartbeat(seconds(now_seconds()), vec![]).encode().unwrap();
    let late = [
        client.post("/v1/heartbeats", heartbeat).await,
        client.post("/v1/batches", writer.next(&[b"late"])).await,
        put_session(&client, &Sidecar::new(&writer.pod, 9)).await,
    ];
    for refused in late {
        assert_eq!((refused.status.as_u16(), refused.problem()), (503, "sealed".into()));
        assert_eq!(refused.header("retry-after"), Some("5"));
    }
    assert_eq!(client.get("/v1/frames").await.status, 200);
}

#[tokio::test]
async fn a_token_is_given_out_when_it_is_taken_for_nothing_but_late_batches() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let site = collector.kill();
    let inside = Inside::start(&site, options()).await;
    let given = || async {
        let got = frames(&inside.client.get("/v1/frames").await.body);
        let is_session = |leaf: &[u8]| matches!(Leaf::decode(leaf), Ok(Leaf::Session { .. }));
        got.into_iter().find(|frame| is_session(&frame.leaf)).unwrap()
    };
    let Ok(Leaf::Session { attested, .. }) = Leaf::decode(&given().await.leaf) else { unreachable!() };
    let after = |seconds: i64| attested.token_expires.plus_nanos(seconds * Time::SECOND);
    for still in [1, 60] {
        inside.clock.set(after(still));
        assert_eq!(given().await.codec, Codec::Withheld, "{still} s after its end");
    }
    inside.clock.set(after(61));
    let frame = given().await;
    assert_eq!(Digest::sha256(&frame.body), attested.token_digest);
    let token = String::from_utf8(frame.body).unwrap();
    let client = inside.client.with_token(&token);
    for refused in [
        put_session(&client, &Sidecar::new(&writer.pod, 9)).await,
        put_chain(&client, &writer.sidecar, &Chain::of(&writer.pod, "new")).await,
    ] {
        assert_eq!((refused.status.as_u16(), refused.problem()), (401, "token".into()));
    }
    inside.clock.set(after(24 * 3600));
    assert_eq!(client.post("/v1/batches", writer.next(&[b"late"])).await.status, 200);
    inside.clock.set(after(24 * 3600 + 1));
    let refused = client.post("/v1/batches", writer.next(&[b"too late"])).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (401, "token".into()));
}
