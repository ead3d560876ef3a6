//! Clients that are slow on purpose: in the handshake, before the first request, in a body.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use indelible_tests::crowd::{Target, endless, request, status_of, threads};
use indelible_tests::world::{PodIdentity, World, eventually};
use tokio::io::AsyncWriteExt as _;

use super::honest::{BOUND, Honest};

/// Of those without a token, of each kind.
const CROWD: usize = 100;
/// Bodies of one pod: more than it may have in flight.
const BODIES: usize = 160;
const PAUSE: Duration = Duration::from_secs(1);

/// The first bytes of a TLS 1.3 record that says it is 512 bytes long.
const HELLO: [u8; 6] = [22, 3, 1, 2, 0, 1];
/// The first bytes that a client of HTTP/2 sends.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[test]
fn slow_clients_are_cut_off_and_keep_nobody_from_receipts() {
    let mut world = World::start(1).unwrap();
    let mut honest = Honest::start(&world, Vec::new());
    let pod = PodIdentity::new("shop", "slow-1", "55555555-8a44-4a55-b8f6-5b1d0f8f2c55");
    let token = Arc::new(world.issuer.pod_token(&pod).unwrap());
    let before = world.collectors[0].process().unwrap().peak_kib().unwrap();
    let (target, threads) = (Target::of(&world, 0).unwrap(), threads().unwrap());
    for _ in 0..CROWD {
        let (hello, preface) = (target.clone(), target.clone());
        threads.spawn(async move {
            let mut stream = hello.tcp().await.unwrap();
            // Until the collector has had enough.
            for byte in HELLO.into_iter().chain(std::iter::repeat(0)) {
                if stream.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        threads.spawn(async move {
            let mut stream = preface.tls().await.unwrap();
            for byte in PREFACE {
                if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
    for _ in 0..4 {
        let sender = threads.block_on(target.http()).unwrap();
        for _ in 0..BODIES / 4 {
            let (mut sender, token) = (sender.clone(), token.clone());
            threads.spawn(async move {
                let dribble = request(Method::POST, "/v1/batches", &token, endless(1, Some(PAUSE))).unwrap();
                let status = status_of(&mut sender, dribble).await.unwrap();
                assert!([408, 429].contains(&status), "{status}");
            });
        }
    }
    let collector = &mut world.collectors[0];
    #[expect(clippy::cast_precision_loss, reason = "a hundred")]
    let crowd = CROWD as f64;
    let told = eventually("the slow ones are cut off", BOUND, || {
        honest.print();
        let told = collector.metrics()?;
        let unserved = |reason| told.sum("indelible_collector_refused_connections_total", &[reason]);
        let rejected = |labels: &[&str]| told.sum("indelible_collector_rejected_requests_total", labels);
        let slow = rejected(&["reason=\"slow-body\"", "status=\"408\""]);
        let busy = rejected(&["reason=\"overloaded\"", "status=\"429\""]);
        let all = unserved("handshake") >= crowd && unserved("not-admitted") >= crowd && slow >= crowd && busy >= 32.0;
        Ok(all.then_some(told))
    })
    .unwrap();
    let strangers = told.sum("indelible_collector_unadmitted_connections", &[]);
    assert!(strangers < 10.0, "{strangers} are left");
    let after = collector.process().unwrap().peak_kib().unwrap();
    assert!(after < before + (64 << 10), "from {before} KiB to {after} KiB");
    println!("an honest pod's receipts took {:?} at most", honest.slowest);
    threads.shutdown_background();
    honest.end(world);
}
