//! What bounds each row of the table, seen from inside: whose memory an answer takes, whose places a request.

use http::header::AUTHORIZATION;

use super::*;
use crate::clock::ManualClock;
use crate::ingest::ByteLimits;
use crate::limits::{MAX_ANSWER_BYTES_IN_FLIGHT, MAX_POD_ANSWER_BYTES, MAX_POD_CONNECTIONS, MAX_POD_REQUESTS};
use crate::settings::fixed;
use crate::store::Options;
use crate::testing::issuer::{AUDIENCE, Issuer as Minter, Pod, READER_AUDIENCE};
use crate::token::{Issuer, KeySet, Use};
use indelible_chain::id::Time;

const NOW: i64 = 1_795_400_000;

struct Inside {
    app: Arc<App>,
    minter: Minter,
    _dir: tempfile::TempDir,
}

impl Inside {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { origin: Some("test/c0".into()), ..Options::new("test/1") };
        let store = Arc::new(Store::open(dir.path(), options).unwrap());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(Time::from_nanos(NOW * Time::SECOND)));
        let metrics = Arc::new(Metrics::new());
        let minter = Minter::new("https://cluster.example");
        let keys = watch::channel(Arc::new(KeySet::parse(minter.jwks().as_bytes()).unwrap())).1;
        let issuer = Issuer { url: minter.url.clone(), keys, wanted: None };
        let ending = watch::channel(false).1;
        let app = App {
            desk: Desk::start(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&metrics), ByteLimits::default()),
            gate: Gate::new(Arc::clone(&metrics)),
            store,
            clock,
            tokens: Tokens::new(vec![issuer], AUDIENCE.into(), READER_AUDIENCE.into()),
            authorities: Vec::new(),
            readers: Readers::Jwks,
            cluster_uid: String::new(),
            namespaces: fixed(Namespaces::Any),
            pool: fixed(None),
            draining: ending.clone(),
            closing: ending,
            metrics,
        };
        Self { app: Arc::new(app), minter, _dir: dir }
    }

    /// A request of a pod, on a connection of its own.
    fn request(&self, pod: &str, issued: i64) -> Request<()> {
        let token = self.minter.token(&Pod::named(pod), issued);
        let request = Request::get("/").header(AUTHORIZATION, format!("Bearer {token}"));
        request.extension(Peer::default()).body(()).unwrap()
    }
}

fn status<T: std::fmt::Debug>(answer: Result<T, Problem>) -> u16 {
    answer.unwrap_err().status()
}

#[tokio::test]
async fn the_list_of_checkpoints_is_within_the_memory_for_answers() {
    let inside = Inside::new();
    let request = inside.request("a", NOW);
    let all = inside.app.gate.answer(vec![0; MAX_ANSWER_BYTES_IN_FLIGHT].into(), None).unwrap();
    assert_eq!(status(read::checkpoints(&inside.app, &request)), 503);
    drop(all);
    assert!(read::checkpoints(&inside.app, &request).is_ok());
}

#[tokio::test]
async fn a_pod_that_does_not_take_its_answers_is_told_so_and_another_is_answered() {
    let inside = Inside::new();
    let (one, other) = (inside.request("a", NOW), inside.request("a", NOW));
    access::anyone(&inside.app, &one).unwrap();
    let untaken = held(&inside.app, &one, vec![0; MAX_POD_ANSWER_BYTES]).unwrap();
    assert_eq!(status(read::checkpoints(&inside.app, &one)), 429);
    assert_eq!(status(read::checkpoints(&inside.app, &other)), 429, "on another connection");
    assert!(read::checkpoints(&inside.app, &inside.request("b", NOW)).is_ok());
    drop(untaken);
    assert!(read::checkpoints(&inside.app, &one).is_ok());
}

#[tokio::test]
async fn a_pod_does_not_fill_the_places_for_connections_by_asking_who_the_log_is() {
    let inside = Inside::new();
    let connections: Vec<_> = (0..MAX_POD_CONNECTIONS).map(|_| inside.request("a", NOW)).collect();
    assert!(connections.iter().all(|request| read::log(&inside.app, request).is_ok()));
    assert_eq!(status(read::log(&inside.app, &inside.request("a", NOW))), 429);
    assert_eq!(status(access::writer(&inside.app, &inside.request("a", NOW), Use::Batch).await), 429);
    assert!(read::log(&inside.app, &connections[0]).is_ok(), "one that is admitted stays so");
    assert!(read::log(&inside.app, &inside.request("b", NOW)).is_ok());
}

#[tokio::test]
async fn who_has_a_pods_ended_token_cannot_keep_the_pod_from_delivering() {
    let inside = Inside::new();
    let ended = NOW - 2 * 3600;
    let mut taken = Vec::new();
    for _ in 0..MAX_POD_CONNECTIONS {
        let request = inside.request("a", ended);
        taken.push((access::writer(&inside.app, &request, Use::Batch).await.unwrap(), request));
    }
    assert_eq!(status(access::writer(&inside.app, &inside.request("a", ended), Use::Batch).await), 429);
    while taken.len() < MAX_POD_REQUESTS {
        let (_, request) = &taken[0];
        taken.push((access::writer(&inside.app, request, Use::Batch).await.unwrap(), inside.request("a", ended)));
    }
    assert_eq!(status(access::writer(&inside.app, &taken[0].1, Use::Batch).await), 429);
    assert!(access::writer(&inside.app, &inside.request("a", NOW), Use::Batch).await.is_ok());
}
