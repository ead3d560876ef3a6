//! An authenticated pod that sends what is malformed as fast as it can, and bodies without an end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use http::Method;
use indelible_tests::crowd::{Content, Target, endless, request, status_of, threads, whole};
use indelible_tests::peer::{Peer, Puppet, upload};
use indelible_tests::world::{PodIdentity, World, eventually};

use super::honest::{BOUND, Honest};

const REJECTED: &str = "indelible_collector_rejected_requests_total";

fn flooder() -> PodIdentity {
    PodIdentity::new("shop", "flood-1", "77777777-8a44-4a55-b8f6-5b1d0f8f2c77")
}

/// One of several kinds of nonsense. `batch` is a batch that would hold.
fn nonsense(n: u64, batch: &[u8]) -> (Method, String, Content) {
    let (post, put) = (Method::POST, Method::PUT);
    match n % 5 {
        0 => (post, "/v1/batches".into(), whole(vec![7; 300])),
        // Signed, and then changed: the dearest to refuse.
        1 => {
            let mut changed = batch.to_vec();
            let at = changed.len() - 1;
            changed[at] ^= 1;
            (post, "/v1/batches".into(), whole(changed))
        }
        2 => (put, format!("/v1/sessions/{n:064x}"), whole(vec![0; 200])),
        3 => (post, "/v1/heartbeats".into(), whole(&b"{}"[..])),
        _ => (put, "/v1/chains/none".into(), whole(vec![1; 50])),
    }
}

#[test]
fn a_pod_that_floods_a_collector_with_malformed_requests_keeps_nobody_else_from_receipts() {
    const ENOUGH: u64 = 10_000;
    let mut world = World::start(1).unwrap();
    let mut honest = Honest::start(&world, Vec::new());
    honest.print();
    let mut peer = Peer::connect(&world, 0).unwrap();
    let mut puppet = Puppet::new(&world, &flooder(), 1).unwrap();
    puppet.introduce(&mut peer).unwrap();
    puppet.print(3).unwrap();
    puppet.end().unwrap();
    let batch = puppet.seal();
    let (token, body) = (Arc::new(puppet.session.token.clone()), Arc::new(upload(&batch)));
    let before = world.collectors[0].process().unwrap().peak_kib().unwrap();

    let said = |world: &mut World, honest: &mut Honest| {
        let (collector, sidecar) = (world.collectors[0].process().unwrap(), honest.sidecar.process().unwrap());
        (collector.stderr().unwrap(), sidecar.stderr().unwrap())
    };
    let before_it = said(&mut world, &mut honest);
    let (target, threads, answered) = (Target::of(&world, 0).unwrap(), threads().unwrap(), Arc::new(AtomicU64::new(0)));
    let since = Instant::now();
    for _ in 0..8 {
        let sender = threads.block_on(target.http()).unwrap();
        for lane in 0..20_u64 {
            let (mut sender, token, body, answered) = (sender.clone(), token.clone(), body.clone(), answered.clone());
            threads.spawn(async move {
                for n in lane.. {
                    let (method, path, content) = nonsense(n, &body);
                    let status = status_of(&mut sender, request(method, &path, &token, content).unwrap()).await;
                    match status {
                        Ok(status) => assert!([400, 412, 422, 429].contains(&status), "{status}"),
                        // The end of the test.
                        Err(_) => return,
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    while answered.load(Ordering::Relaxed) < ENOUGH || since.elapsed().as_secs() < 3 {
        honest.print();
    }
    let (count, took) = (answered.load(Ordering::Relaxed), since.elapsed());
    threads.shutdown_background();
    println!(
        "{count} malformed requests refused, {:.0} a second; an honest pod's receipts took {:?} at most",
        f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64(),
        honest.slowest
    );

    // Neither a flood nor steady load is worth a line in a log: counters tell of both.
    assert_eq!(said(&mut world, &mut honest), before_it);
    let told = world.collectors[0].metrics().unwrap();
    let refused = |reason| told.sum(REJECTED, &[reason]);
    assert!(refused("malformed") >= 1000.0 && refused("batch-does-not-hold") >= 1000.0, "{:?}", told.samples(REJECTED));
    let after = world.collectors[0].process().unwrap().peak_kib().unwrap();
    assert!(after < before + (64 << 10), "from {before} KiB to {after} KiB");
    // Its own good batch is taken still.
    let mut peer = Peer::connect(&world, 0).unwrap();
    peer.batch(&puppet.session, &batch).unwrap().expect(&[200]).unwrap();
    drop(peer);
    honest.print();
    honest.end(world);
}

#[test]
fn bodies_without_an_end_are_refused_at_their_limit_and_take_no_memory() {
    let mut world = World::start(1).unwrap();
    let mut honest = Honest::start(&world, Vec::new());
    honest.print();
    let token = Arc::new(world.issuer.pod_token(&flooder()).unwrap());
    let before = world.collectors[0].process().unwrap().peak_kib().unwrap();
    let (target, threads) = (Target::of(&world, 0).unwrap(), threads().unwrap());
    let paths = ["/v1/batches", "/v1/heartbeats", "/v1/statements"];
    for _ in 0..4 {
        let sender = threads.block_on(target.http()).unwrap();
        for lane in 0..24 {
            let (mut sender, token) = (sender.clone(), token.clone());
            threads.spawn(async move {
                loop {
                    let endless = request(Method::POST, paths[lane % 3], &token, endless(16 << 10, None)).unwrap();
                    // However it is told: a refusal, or a stream that is reset.
                    if status_of(&mut sender, endless).await.is_err() && sender.is_closed() {
                        return;
                    }
                }
            });
        }
    }
    let collector = &mut world.collectors[0];
    eventually("endless bodies are refused", BOUND, || {
        honest.print();
        let told = collector.metrics()?;
        Ok((told.sum(REJECTED, &["reason=\"too-large\"", "status=\"413\""]) >= 100.0).then_some(()))
    })
    .unwrap();
    threads.shutdown_background();
    eventually("what they took is given back", BOUND, || {
        let told = collector.metrics()?;
        Ok((told.sum("indelible_collector_body_in_flight_bytes", &[]) == 0.0).then_some(()))
    })
    .unwrap();
    let after = collector.process().unwrap().peak_kib().unwrap();
    assert!(after < before + (64 << 10), "from {before} KiB to {after} KiB");
    println!("an honest pod's receipts took {:?} at most", honest.slowest);
    honest.end(world);
}
