//! Connections that say nothing: with a token, and without one.

use http::Method;
use indelible_tests::crowd::{Sender, Target, request, status_of, threads, whole};
use indelible_tests::world::{PodIdentity, World, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::JoinSet;

use super::honest::{BOUND, Honest};

/// Pods, each with as many connections as one may have.
const PODS: usize = 47;
const CONNECTIONS: usize = 64;
/// Connections without a token: with the others more than a collector takes.
const STRANGERS: usize = 1_500;

/// The test itself needs a descriptor for each.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
}

/// Connections of one pod, on each of which its token was shown once.
async fn idle(target: Target, token: String) -> Vec<Sender> {
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut sender = target.http().await.unwrap();
        let pool = request(Method::GET, "/v1/pool", &token, whole(&b""[..])).unwrap();
        // There is no pool file here; that the token is good is what counts.
        assert_eq!(status_of(&mut sender, pool).await.unwrap(), 404);
        open.push(sender);
    }
    open
}

#[test]
fn three_thousand_idle_connections_and_a_crowd_without_tokens_keep_nobody_from_receipts() {
    raise_open_files();
    let mut world = World::start(1).unwrap();
    let (target, threads) = (Target::of(&world, 0).unwrap(), threads().unwrap());
    let mut pods = JoinSet::new();
    for n in 0..PODS {
        let pod = PodIdentity::new("idle", &format!("p-{n}"), &format!("00000000-8a44-4a55-b8f6-{n:012}"));
        let token = world.issuer.pod_token(&pod).unwrap();
        pods.spawn_on(idle(target.clone(), token), threads.handle());
    }
    let open: Vec<Vec<Sender>> = threads.block_on(pods.join_all());
    let told = world.collectors[0].metrics().unwrap();
    assert!(told.sum("indelible_collector_open_connections", &[]) >= 3000.0);
    let mut honest = Honest::start(&world, Vec::new());
    honest.print();
    let idle = world.collectors[0].process().unwrap().peak_kib().unwrap();
    println!("{} idle connections: {idle} KiB", open.iter().map(Vec::len).sum::<usize>());
    assert!(idle < 150_000, "{idle} KiB");

    // Who comes now finds every place taken, by those who have a token and by those who have none.
    let crowd: Vec<_> = (0..STRANGERS).map(|_| threads.block_on(target.tcp()).unwrap()).collect();
    let collector = &mut world.collectors[0];
    eventually("the oldest strangers give way", BOUND, || {
        let told = collector.metrics()?;
        let crowded = told.sum("indelible_collector_refused_connections_total", &["reason=\"crowd\""]);
        assert!(told.sum("indelible_collector_unadmitted_connections", &[]) <= 1024.0);
        assert!(told.sum("indelible_collector_open_connections", &[]) <= 4096.0);
        Ok((crowded >= 400.0).then_some(()))
    })
    .unwrap();
    // A sidecar that starts now comes in all the same.
    honest.restart();
    honest.print();
    let told = collector.metrics().unwrap();
    assert!(told.sum("indelible_collector_open_connections", &[]) >= 3000.0, "those with a token have stayed");
    let full = collector.process().unwrap().peak_kib().unwrap();
    assert!(full < 200_000, "{full} KiB");
    println!("with a crowd without tokens: {full} KiB; receipts took {:?} at most", honest.slowest);
    drop((crowd, open));
    threads.shutdown_background();
    honest.end(world);
}
