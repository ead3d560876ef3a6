//! How a collector ends: in order when it is told to, and everything that was receipted is there afterwards.

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::note::Note;

use super::write::{Writer, receipt};
use crate::client::{Client, until};
use crate::collector::Collector;

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
async fn requests_in_flight_are_answered_and_new_connections_refused() {
    let mut collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let waiting = {
        let client = collector.client().await;
        tokio::spawn(async move { client.get("/v1/frames?from=1000&wait=30s").await })
    };
    // The one who waits is in: its connection has been seen, and its request with it.
    until(|| collector.page("/metrics"), |(_, page)| page.contains("open_connections 2")).await;
    let sends = (0..50_u32).map(|i| {
        let (client, body) = (writer.client.clone(), writer.next(&[&i.to_be_bytes()]));
        tokio::spawn(async move { client.try_call(http::Method::POST, "/v1/batches", body.into()).await })
    });
    let sends: Vec<_> = sends.collect();
    collector.signal("TERM");
    let mut receipted = 0;
    for send in sends {
        // Those that came too late were told to go away, and are sent again elsewhere.
        if let Ok(answer) = send.await.unwrap()
            && answer.status == 200
        {
            receipt(&collector, &answer);
            receipted += 1;
        }
    }
    let waited = waited(waiting).await;
    assert_eq!(waited.status, 200, "who waits for news is told that there are none");
    assert_eq!(collector.wait().await.code(), Some(0));
    assert!(Client::connect(collector.address, &collector.site.ca_pem).await.is_err());
    let collector = collector.kill().start();
    let chain = format!("/v1/chains/{}/batches", writer.chain.id());
    let stored = collector.client().await.get(&chain).await;
    assert!(stored.body.len() >= receipted * 226, "every receipted batch is there");
}

async fn waited(waiting: tokio::task::JoinHandle<crate::client::Answer>) -> crate::client::Answer {
    tokio::time::timeout(std::time::Duration::from_secs(10), waiting).await.unwrap().unwrap()
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
