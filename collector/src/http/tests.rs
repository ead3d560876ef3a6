//! What bounds each row of the table, seen from inside: whose memory an answer takes, whose places a request.

use http::header::AUTHORIZATION;

use super::*;
use crate::clock::ManualClock;
use crate::limits::MAX_ANSWER_BYTES_IN_FLIGHT;
use crate::store::Options;
use crate::testing::issuer::{AUDIENCE, Issuer as Minter, Pod, READER_AUDIENCE};
use crate::token::{Issuer, KeySet};
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
        let issuer = Issuer { url: minter.url.clone(), keys };
        let ending = watch::channel(false).1;
        let app = App {
            desk: Desk::start(Arc::clone(&store), Arc::clone(&clock), Arc::clone(&metrics)),
            gate: Gate::new(Arc::clone(&metrics)),
            store,
            clock,
            tokens: Tokens::new(vec![issuer], AUDIENCE.into(), READER_AUDIENCE.into()),
            readers: Readers::Jwks,
            cluster_uid: String::new(),
            namespaces: None,
            pool: None,
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
    let all = held(&inside.app, vec![0; MAX_ANSWER_BYTES_IN_FLIGHT]).unwrap();
    assert_eq!(status(read::checkpoints(&inside.app, &request)), 503);
    drop(all);
    assert!(read::checkpoints(&inside.app, &request).is_ok());
}
