//! How a collector ends: in order when it is told to, and everything that was receipted is there afterwards.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::id::Time;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::leaf_hash;
use indelible_chain::note::Note;

use super::read::frames;
use super::write::{Writer, receipt};
use crate::client::{Client, until};
use crate::collector::{Collector, now_seconds};

#[tokio::test]
async fn a_collector_that_is_told_to_end_seals_its_log_and_exits_0() {
    for signal in ["TERM", "INT"] {
        let mut collector = Collector::start(&[]);
        let mut writer = Writer::new(&collector, "a").await;
        let last = receipt(&collector, &writer.send(&[b"last"]).await);
        // A peer that is there and says nothing holds nobody up.
        let _silent = std::net::TcpStream::connect(collector.address).unwrap();
        let since = std::time::Instant::now();
        collector.signal(signal);
        let status = collector.wait().await;
        assert_eq!(status.code(), Some(0), "{:?}", collector.stderr.iter().collect::<Vec<_>>());
        assert!(since.elapsed().as_secs() < 5, "{:?}", since.elapsed());
        let note = std::fs::read(collector.site.path("data/checkpoint")).unwrap();
        let checkpoint = Checkpoint::open(&Note::parse(&note).unwrap(), &collector.site.vkey).unwrap();
        assert!(checkpoint.size() > last.index.get() + 1, "the seal comes after what was receipted");
    }
}

#[tokio::test]
async fn a_heartbeat_that_was_answered_is_in_the_log_after_the_end() {
    let mut collector = Collector::start(&[]);
    let writer = Writer::new(&collector, "a").await;
    let now = Time::from_nanos(now_seconds() * Time::SECOND);
    let heartbeat = writer.sidecar.heartbeat(now, vec![]).encode().unwrap();
    assert_eq!(writer.client.post("/v1/heartbeats", heartbeat.clone()).await.status, 204);
    collector.signal("TERM");
    assert_eq!(collector.wait().await.code(), Some(0));
    let collector = collector.kill().start();
    let stored = frames(&collector.client().await.get("/v1/frames").await.body);
    let is_liveness = |leaf: &[u8]| matches!(Leaf::decode(leaf), Ok(Leaf::Liveness { .. }));
    let liveness: Vec<_> = stored.iter().filter(|frame| is_liveness(&frame.leaf)).collect();
    assert_eq!(liveness.len(), 1);
    assert!(liveness[0].body.ends_with(&heartbeat));
}

#[tokio::test]
async fn who_goes_on_asking_is_told_to_go_away_and_does_not_hold_the_end_up() {
    let mut collector = Collector::start(&[]);
    let reader = collector.client().await;
    assert_eq!(reader.get("/v1/log").await.status, 200);
    let asking = tokio::spawn(async move {
        // Every answer is followed by the next question, until the connection is gone.
        while let Ok(answer) = reader.start(Method::GET, "/v1/log", Bytes::new()).await {
            if answer.await.is_err() {
                return;
            }
        }
    });
    let since = std::time::Instant::now();
    collector.signal("TERM");
    assert_eq!(collector.wait().await.code(), Some(0));
    assert!(since.elapsed().as_secs() < 12, "{:?}", since.elapsed());
    asking.await.unwrap();
    assert!(!collector.stderr.iter().any(|line| line.contains("cut off")), "each request was answered");
}

#[tokio::test]
async fn requests_in_flight_are_answered_and_new_connections_refused() {
    let mut collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let reader = collector.client().await;
    let waiting = reader.start(Method::GET, "/v1/frames?from=1000&wait=30s", Bytes::new()).await.unwrap();
    reader.arrived().await;
    let mut sends = Vec::new();
    for i in 0..50_u32 {
        let body = writer.next(&[&i.to_be_bytes()]);
        sends.push(writer.client.start(Method::POST, "/v1/batches", body.into()).await.unwrap());
    }
    writer.client.arrived().await;
    collector.signal("TERM");
    let mut receipts = Vec::new();
    for send in sends {
        receipts.push(receipt(&collector, &send.await.unwrap()));
    }
    let waited = tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap();
    assert_eq!((waited.status.as_u16(), waited.body.len()), (200, 0), "who waits for news is told that there are none");
    assert_eq!(collector.wait().await.code(), Some(0));
    assert!(Client::connect(collector.address, &collector.site.ca_pem).await.is_err());
    let collector = collector.kill().start();
    let stored = frames(&collector.client().await.get("/v1/frames").await.body);
    for receipt in receipts {
        let leaf = &stored[usize::try_from(receipt.index.get()).unwrap()].leaf;
        assert_eq!(leaf_hash(leaf), receipt.leaf_hash, "every receipted batch is there");
    }
}

#[tokio::test]
async fn an_answer_that_is_streamed_comes_to_its_end_although_the_collector_is_ending() {
    let mut collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let mut noise = super::bounds::Noise(7);
    for _ in 0..40 {
        let line = noise.bytes(100_000);
        assert_eq!(writer.send(&[&line, &line[1..]]).await.status, 200);
    }
    // More than the client's windows and all buffers take: the rest is only sent when it is asked for.
    let mut answer = collector.client().await.open("/v1/frames").await;
    let mut got = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().to_vec();
    collector.signal("TERM");
    let since = std::time::Instant::now();
    until(|| async { Client::connect(collector.address, &collector.site.ca_pem).await.is_err() }, |gone| *gone).await;
    // Longer than what is left of a collector that has answered everything.
    until(|| async { since.elapsed().as_millis() }, |passed| *passed > 2000).await;
    got.extend_from_slice(&answer.collect().await.unwrap().to_bytes());
    assert_eq!(frames(&got).iter().filter(|frame| frame.body.len() > 1000).count(), 40);
    assert_eq!(collector.wait().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_receipted_is_receipted_the_same_after_a_kill() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let body = writer.next(&[b"one"]);
    let before = writer.client.post("/v1/batches", body.clone()).await;
    assert_eq!(before.status, 200);
    let token = collector.site.issuer.token(&writer.pod, crate::collector::now_seconds());
    let collector = collector.kill().start();
    let client = collector.client().await.with_token(&token);
    let after = client.post("/v1/batches", body).await;
    assert_eq!((after.status.as_u16(), after.body), (200, before.body));
}
