//! What a record costs a collector in allocations: counted over a million, from the upload's bytes to the durable append.
//!
//! One test alone in its program, because the count is of the whole process.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "support/issuer.rs"]
mod issuer;
#[path = "support/sidecar.rs"]
mod sidecar;

use bytes::Bytes;
use indelible_chain::digest::Digest;
use indelible_chain::id::Time;
use indelible_chain::stored::Packer;
use indelible_collector::ingest;
use indelible_collector::store::{Append, Options, Store};
use indelible_collector::token::PodToken;

use issuer::Pod;
use sidecar::{Chain, Sidecar, upload};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const RECORDS: u64 = 1_000_000;
const BATCH: usize = 4_000;

fn token(pod: &Pod) -> PodToken {
    PodToken {
        issuer: "https://i".into(),
        subject: format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account),
        namespace: pod.namespace.clone(),
        pod_name: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        node_name: pod.node.clone(),
        service_account: pod.service_account.clone(),
        token_id: "t".into(),
        digest: Digest::sha256(b"jwt"),
        expires: Time::from_nanos(i64::MAX),
    }
}

async fn take(store: &Store, token: &PodToken, packer: &mut Packer, body: &Bytes) {
    let checked = ingest::batch(body, token, store, packer).unwrap();
    let appended = store.append(Append::Batch(checked)).await.unwrap();
    assert!(appended.get().fresh);
}

#[tokio::test]
async fn a_million_records_take_at_most_ten_thousand_allocations() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { origin: Some("test/a".into()), ..Options::new("test/1") };
    let store = Store::open(&dir.path().join("data"), options).unwrap();
    let pod = Pod::named("a");
    let (sidecar, mut chain, token) = (Sidecar::new(&pod, 1), Chain::of(&pod, "app"), token(&pod));
    let (session, attested) = ingest::session(sidecar.id(), &sidecar.body(), &token, "").unwrap();
    store.append(Append::Session { session, attested, token: Bytes::new() }).await.unwrap();
    let (genesis, session) = ingest::chain(chain.id(), &chain.body(sidecar.id()), &token, &store).unwrap();
    store.append(Append::Genesis { genesis, session }).await.unwrap();

    let lines: Vec<_> = (0..BATCH).map(|n| format!(r#"{{"n":{n},"msg":"order placed"}}"#)).collect();
    let lines: Vec<_> = lines.iter().map(String::as_bytes).collect();
    let mut bodies = (0..=RECORDS / BATCH as u64).map(|_| {
        let (commitment, body) = chain.batch(&sidecar, &lines);
        Bytes::from(upload(&commitment, &body))
    });
    let mut packer = Packer::new().unwrap();
    // Buffers grow to their sizes first.
    take(&store, &token, &mut packer, &bodies.next().unwrap()).await;
    let bodies: Vec<_> = bodies.collect();

    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    for body in &bodies {
        take(&store, &token, &mut packer, body).await;
    }
    let counted = dhat::HeapStats::get().total_blocks;
    println!("{counted} allocations for {RECORDS} records");
    assert!(counted <= RECORDS / 100, "{counted} allocations for {RECORDS} records: at most 0.01 each");
}
