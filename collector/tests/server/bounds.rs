//! Malformed, oversized and hostile input: a clear answer, bounded memory, and the service goes on.

use bytes::Bytes;
use http::Method;
use indelible_chain::frame::Upload;
use indelible_chain::stored::{Codec, Stored};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::write::Writer;
use crate::client::{tls, until};
use crate::collector::{Collector, now_seconds};
use crate::issuer::Pod;
use crate::sidecar::upload;

/// A generator that gives the same bytes in each run.
pub struct Noise(pub u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// Attack A22.
#[tokio::test]
async fn ten_thousand_malformed_bodies_are_refused_in_bounded_memory_and_the_service_goes_on() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let good = writer.next(&[b"a line", b"another"]);
    let mut noise = Noise(42);
    let mut before = 0;
    for round in 0..100 {
        let mut calls = Vec::new();
        for i in 0..100_usize {
            let mut body = match i % 4 {
                0 => noise.bytes(1 + i * 40),
                1 => good[..=i % (good.len() - 1)].to_vec(),
                _ => good.clone(),
            };
            let at = usize::try_from(noise.next()).unwrap() % body.len();
            body[at] ^= 1 << (noise.next() % 8);
            let (client, path) = (writer.client.clone(), ["/v1/batches", "/v1/heartbeats", "/v1/statements"][i % 3]);
            calls.push(tokio::spawn(async move { client.post(path, body).await.status.as_u16() }));
            if calls.len() == 50 {
                for call in calls.drain(..) {
                    let status = call.await.unwrap();
                    assert!([400, 403, 412, 413, 422, 429].contains(&status), "{status}");
                }
            }
        }
        if round == 10 {
            before = collector.resident_bytes();
        }
    }
    let after = collector.resident_bytes();
    assert!(after < before + (32 << 20), "{before} bytes became {after}");
    assert_eq!(writer.client.post("/v1/batches", good).await.status, 200);
}

/// Attack A22: a few hundred bytes that unpack to a mebibyte, and ones that claim to be short.
#[tokio::test]
async fn a_zip_bomb_is_refused_before_it_unfolds() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let (sealed, _) = writer.chain.batch(&writer.sidecar, &[b"small"]);
    let bomb = upload(&sealed, &vec![0; 1 << 20]);
    assert!(bomb.len() < 1000);
    let refused = writer.client.post("/v1/batches", bomb).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (422, "batch-does-not-hold".into()));
    let plain = vec![0x28; 1 << 20];
    for codec in [Codec::Plain, Codec::Zstd] {
        let sent = Upload { commitment: sealed, body: Stored { codec, bytes: &plain } }.encode();
        assert_eq!(writer.client.post("/v1/batches", sent).await.status, 422);
    }
}

#[tokio::test]
async fn a_body_over_the_limit_of_its_call_is_413() {
    let collector = Collector::start(&[]);
    let writer = Writer::new(&collector, "a").await;
    let session = format!("/v1/sessions/{}", writer.sidecar.id());
    let chain = format!("/v1/chains/{}", writer.chain.id());
    for (method, path, size) in [
        (Method::POST, "/v1/batches", (1 << 20) + (16 << 10) + 232),
        (Method::POST, "/v1/heartbeats", 40_000),
        (Method::POST, "/v1/statements", 17_000),
        (Method::PUT, &*session, 10_000),
        (Method::PUT, &*chain, 10_000),
    ] {
        let refused = writer.client.call(method, path, Bytes::from(vec![1; size])).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (413, "too-large".into()), "{path}");
    }
}

#[tokio::test]
async fn other_media_types_are_415() {
    let collector = Collector::start(&[]);
    let writer = Writer::new(&collector, "a").await;
    let refused = writer.client.as_json().post("/v1/batches", "{}").await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (415, "media-type".into()));
}

#[tokio::test]
async fn a_token_or_head_that_is_too_large_is_refused_and_the_service_goes_on() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let bare = collector.client().await;
    let refused = bare.with_token(&"x".repeat(17 << 10)).post("/v1/batches", "x").await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (401, "token".into()));
    let huge = bare.with_token(&"x".repeat(64 << 10)).try_call(Method::GET, "/v1/log", Bytes::new()).await;
    assert!(huge.is_err() || huge.unwrap().status == 431);
    let query = format!("/v1/chains?pod={}", "x".repeat(5000));
    assert_eq!(bare.get(&query).await.problem(), "malformed");
    assert_eq!(writer.send(&[b"x"]).await.status, 200);
}

#[tokio::test]
async fn only_tls_1_3_and_http_2_are_spoken() {
    let collector = Collector::start(&[]);
    let ca = &collector.site.ca_pem;
    let name = || rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let connect = |connector: tokio_rustls::TlsConnector| async move {
        connector.connect(name(), TcpStream::connect(collector.address).await.unwrap()).await
    };
    assert!(connect(tls(ca, &[&rustls::version::TLS13], &[b"h2"])).await.is_ok());
    assert!(connect(tls(ca, &[&rustls::version::TLS13], &[b"http/1.1"])).await.is_err());
    let mut plain = TcpStream::connect(collector.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP"), "nothing is said without TLS");
}

#[tokio::test]
async fn the_counts_on_the_page_are_those_of_what_happened() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"one", b"two"]).await;
    let body = writer.next(&[b"three"]);
    writer.client.post("/v1/batches", body.clone()).await;
    writer.client.post("/v1/batches", body).await;
    writer.client.post("/v1/batches", "x").await;
    collector.client().await.with_token("x").post("/v1/batches", "x").await;
    let page = until(|| collector.page("/metrics"), |(_, page)| page.contains("tree_leaves")).await.1;
    for line in [
        r#"indelible_collector_appended_leaves_total{type="session"} 1"#,
        r#"indelible_collector_appended_leaves_total{type="batch"} 2"#,
        "indelible_collector_appended_records_total 3",
        r#"indelible_collector_batches_total{outcome="stored"} 2"#,
        r#"indelible_collector_batches_total{outcome="known"} 1"#,
        r#"indelible_collector_batches_total{outcome="refused"} 2"#,
        r#"indelible_collector_rejected_requests_total{status="400",reason="malformed"} 1"#,
        r#"indelible_collector_rejected_requests_total{status="401",reason="token"} 1"#,
        "indelible_collector_body_in_flight_bytes 0",
        "indelible_collector_queued_appends 0",
        "indelible_collector_append_seconds_count 5",
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    let synced = page.lines().find_map(|line| line.strip_prefix("indelible_collector_fsync_seconds_count "));
    assert!(synced.is_some_and(|count| count.parse::<u64>().unwrap() >= 4), "{page}");
    assert_eq!(collector.page("/livez").await, (200, "alive\n".into()));
    assert_eq!(collector.page("/readyz").await, (200, "ready\n".into()));
    assert_eq!(collector.page("/").await.0, 404);
}

#[tokio::test]
async fn many_requests_of_one_pod_at_once_are_told_to_wait_and_other_pods_are_not() {
    let collector = Collector::start(&[]);
    let pod = Pod::named("a");
    let token = collector.site.issuer.token(&pod, now_seconds());
    let client = collector.client().await.with_token(&token);
    // Bodies that never end hold their places until the pod has no more.
    let mut held = Vec::new();
    for _ in 0..128 {
        held.push(client.begin("/v1/batches", "").await);
    }
    // A few more than there are places: what is asked below may have one while these arrive.
    let client = collector.client().await.with_token(&token);
    for _ in 0..8 {
        held.push(client.begin("/v1/batches", "").await);
    }
    let client = collector.client().await.with_token(&token);
    let refused = until(|| client.post("/v1/batches", "x"), |answer| answer.status == 429).await;
    assert_eq!((refused.problem(), refused.header("retry-after")), ("overloaded".into(), Some("1")));
    let mut other = Writer::new(&collector, "b").await;
    assert_eq!(other.send(&[b"x"]).await.status, 200);
    drop(held);
    let answer = until(|| client.post("/v1/batches", "x"), |answer| answer.status != 429).await;
    assert_eq!(answer.status, 400);
}

/// Begins bodies of a mebibyte each for one pod.
async fn begin_bodies(collector: &Collector, name: &str, count: usize) -> Vec<crate::client::Begun> {
    let token = collector.site.issuer.token(&Pod::named(name), now_seconds());
    let client = collector.client().await.with_token(&token);
    let mebibyte = Bytes::from(vec![1; 1 << 20]);
    let mut begun = Vec::new();
    for _ in 0..count {
        begun.push(client.begin("/v1/batches", mebibyte.clone()).await);
    }
    begun
}

async fn held_bytes(collector: &Collector, mebibytes: usize) {
    let line = format!("body_in_flight_bytes {}", mebibytes << 20);
    until(|| collector.page("/metrics"), |(_, page)| page.lines().any(|found| found.ends_with(&line))).await;
}

#[tokio::test]
async fn a_pod_whose_bodies_are_slow_is_told_to_wait_and_another_is_served() {
    let collector = Collector::start(&[]);
    let mut other = Writer::new(&collector, "b").await;
    let held = begin_bodies(&collector, "a", 16).await;
    held_bytes(&collector, 16).await;
    let token = collector.site.issuer.token(&Pod::named("a"), now_seconds());
    let client = collector.client().await.with_token(&token);
    let refused = client.post("/v1/batches", "x").await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "overloaded".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    assert_eq!(other.send(&[b"x"]).await.status, 200);
    drop(held);
    let answer = until(|| client.post("/v1/batches", "x"), |answer| answer.status != 429).await;
    assert_eq!(answer.status, 400);
    held_bytes(&collector, 0).await;
}

#[tokio::test]
async fn bodies_over_the_memory_for_all_are_503_until_some_are_gone() {
    let collector = Collector::start(&[]);
    let mut other = Writer::new(&collector, "z").await;
    let mut held = Vec::new();
    for name in ["a", "b", "c", "d", "e", "f"] {
        held.push(begin_bodies(&collector, name, 16).await);
    }
    held_bytes(&collector, 96).await;
    let body = other.next(&[b"x"]);
    let refused = other.client.post("/v1/batches", body.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (503, "overloaded".into()));
    assert_eq!(refused.header("retry-after"), Some("1"));
    held.pop();
    let answer = until(|| other.client.post("/v1/batches", body.clone()), |answer| answer.status != 503).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_connection_that_shows_no_good_token_is_closed_and_one_that_has_shown_one_stays() {
    let collector = Collector::start(&["--readers", "jwks"]);
    let mut writer = Writer::new(&collector, "a").await;
    let bad = collector.client().await.with_token("x");
    assert_eq!(bad.get("/v1/log").await.status, 401);
    let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tls(&collector.site.ca_pem, &[&rustls::version::TLS13], &[b"h2"]);
    let mut silent = tls.connect(name, TcpStream::connect(collector.address).await.unwrap()).await.unwrap();
    let closed = async { while silent.read_u8().await.is_ok() {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), closed).await.expect("it is closed");
    let ask = || bad.try_call(Method::GET, "/v1/log", Bytes::new());
    assert!(until(ask, Result::is_err).await.is_err(), "one whose token is bad is closed as well");
    assert_eq!(writer.send(&[b"x"]).await.status, 200);
}

#[tokio::test]
async fn a_get_with_a_body_is_refused_at_once() {
    let collector = Collector::start(&[]);
    let client = collector.client().await;
    let refused = client.call(Method::GET, "/v1/frames?from=1000&wait=30s", Bytes::from_static(b"x"));
    let refused = tokio::time::timeout(std::time::Duration::from_secs(10), refused).await.unwrap();
    assert_eq!((refused.status.as_u16(), refused.problem()), (400, "malformed".into()));
}
