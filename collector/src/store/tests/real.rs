//! The open store with its threads, on a real directory.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::id::LeafIndex;
use indelible_chain::note::Note;
use indelible_chain::statement::{SealReason, Statement};

use super::log::{START, all_of, options};
use super::pod::Pod;
use crate::clock::{Clock, ManualClock};
use crate::store::append::AppendError;
use crate::store::error::OpenError;
use crate::store::files::memory::{Fault, MemoryFiles, Outcome};
use crate::store::{OnTime, Options, Store};

fn quick() -> Options {
    Options { checkpoint_interval: Duration::from_millis(1), ..options() }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_appends_at_once_are_all_acknowledged_read_back_and_under_the_last_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Arc::new(Store::open(&data, quick()).unwrap());
    let pods: Vec<_> = (0..10).map(|n| Pod::new(n, 0)).collect();
    for pod in &pods {
        store.append(pod.session_item()).await.unwrap();
        store.append(pod.genesis_item()).await.unwrap();
    }
    let tasks = pods.iter().flat_map(|pod| (0..30).map(|n| pod.batch_at(n))).map(|item| {
        let store = store.clone();
        tokio::spawn(async move { *store.append(item).await.unwrap().get() })
    });
    let mut appended = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        appended.push(task.await.unwrap());
    }
    store.seal(SealReason::ScaleDown).await.unwrap();
    assert!(matches!(store.append(pods[0].batch_at(99)).await, Err(AppendError::Sealed)));
    assert!(matches!(store.writable(), Err(AppendError::Sealed)));
    let published = store.checkpoint();
    assert_eq!(published.size, *store.size().borrow());
    let note = Note::parse(&published.note).unwrap();
    let checkpoint = Checkpoint::open(&note, store.identity().signer().verifier_key()).unwrap();
    assert_eq!((checkpoint.size(), checkpoint.root()), (published.size, published.root));
    assert!(store.kept_checkpoints(0, 100).contains(&published.size));
    assert_eq!(store.kept_checkpoint(published.size).unwrap().unwrap(), published.note);
    assert_eq!(store.kept_checkpoint(u64::MAX).unwrap(), None);
    let before = all_of(store.frames(LeafIndex::ZERO, LeafIndex::new(u64::MAX)));
    assert_eq!(before.last().unwrap().statement(), Some(Statement::Sealed { reason: SealReason::ScaleDown }));
    for appended in &appended {
        let frame = &before[usize::try_from(appended.index.get()).unwrap()];
        assert_eq!(indelible_chain::merkle::leaf_hash(&frame.leaf), appended.leaf_hash);
    }
    drop(store);

    let store = Store::open(&data, quick()).unwrap();
    let after = all_of(store.frames(LeafIndex::ZERO, LeafIndex::new(u64::MAX)));
    assert_eq!(after[..before.len()], before);
    assert!(matches!(after[before.len()].statement(), Some(Statement::Started { .. })));
}

#[test]
fn a_second_opener_of_a_directory_is_refused_until_the_first_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path(), quick()).unwrap();
    let error = Store::open(dir.path(), quick()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(matches!(Store::init(dir.path(), &quick()), Err(OpenError::Locked { .. })));
    drop(first);
    Store::open(dir.path(), quick()).unwrap();
}

#[test]
fn init_makes_a_private_directory_whose_key_the_log_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let vkey = Store::init(&data, &quick()).unwrap().vkey().to_owned();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data), mode(&data.join("key"))), (0o700, 0o600));
    assert_eq!(std::fs::read_to_string(data.join("vkey")).unwrap(), format!("{vkey}\n"));
    assert_eq!(Store::init(&data, &quick()).unwrap().vkey(), vkey);
    let store = Store::open(&data, Options { origin: None, ..quick() }).unwrap();
    assert_eq!(store.identity().vkey(), vkey);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failed_sync_everything_is_refused_and_the_reason_is_told() {
    let files = MemoryFiles::new();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START));
    let slow = Options { checkpoint_interval: Duration::from_hours(1), ..options() };
    let store = Store::open_with(Arc::new(files.clone()), clock, slow).unwrap();
    let pod = Pod::new(1, 0);
    store.append(pod.session_item()).await.unwrap();
    let steps = files.steps().len();
    files.fail(Fault { at: steps + 1, outcome: Outcome::NotDone });
    let failed = store.append(pod.genesis_item()).await.unwrap_err();
    assert!(failed.to_string().contains("cannot sync segments/"), "{failed}");
    for _ in 0..3 {
        assert!(matches!(store.append(pod.session_item()).await, Err(AppendError::Fatal(_))));
    }
    assert!(matches!(store.writable(), Err(AppendError::Fatal(_))));
    assert!(store.failed().await.to_string().contains("injected"));
    assert!(store.seal(SealReason::Shutdown).await.is_err());
    assert_eq!(files.steps().len(), steps + 2, "nothing was written or synced after the failed sync");
    assert_eq!(all_of(store.frames(LeafIndex::ZERO, LeafIndex::new(9))).len(), 2, "what is durable can be read");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_the_volume_holds_up_makes_the_store_not_writable_until_it_is_through() {
    let (go, told) = std::sync::mpsc::channel();
    let told = std::sync::Mutex::new(told);
    let on_sync = OnTime::call(move |_| {
        let _ = told.lock().unwrap().recv();
    });
    go.send(()).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START));
    let store = Store::open_with(Arc::new(MemoryFiles::new()), clock, Options { on_sync, ..quick() }).unwrap();
    let (store, go) = (Arc::new(store), go);
    let appending = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.append(Pod::new(1, 0).session_item()).await.map(|appended| appended.get().index) }
    });
    while !in_a_group(&store) {
        tokio::task::yield_now().await;
    }
    let since = store.shared.busy().unwrap();
    let after = |time| store.writable_at(since + time);
    assert!(after(crate::limits::MAX_GROUP_TIME).is_ok());
    let stalled = after(crate::limits::MAX_GROUP_TIME + Duration::from_millis(1));
    assert!(matches!(stalled, Err(AppendError::Stalled(_))), "{stalled:?}");
    drop(go);
    assert_eq!(appending.await.unwrap().unwrap(), LeafIndex::new(1));
    while store.shared.busy().is_some() {
        tokio::task::yield_now().await;
    }
    assert!(store.writable_at(since + Duration::from_hours(1)).is_ok());
}

/// From when a group is decided, the table of the active segment is ahead of what is durable.
fn in_a_group(store: &Store) -> bool {
    let state = store.shared.state();
    state.table.next() > state.durable.leaves
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_tick_stops_the_store_too() {
    let files = MemoryFiles::new();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START));
    let store = Store::open_with(Arc::new(files.clone()), clock, quick()).unwrap();
    let at = files.steps().len();
    files.fail(Fault { at: at + 2, outcome: Outcome::NotDone });
    let _ = store.append(Pod::new(1, 0).session_item()).await;
    let fatal = store.failed().await;
    assert!(matches!(store.append(Pod::new(2, 0).session_item()).await, Err(AppendError::Fatal(_))), "{fatal}");
}

#[tokio::test]
async fn what_does_not_fit_the_queue_is_told_so_at_once() {
    let files = MemoryFiles::new();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(START));
    let store = Store::open_with(Arc::new(files), clock, quick()).unwrap();
    let pod = Pod::new(1, 0);
    store.append(pod.session_item()).await.unwrap();
    let heartbeats = vec![(pod.id(), vec![0; crate::limits::QUEUED_APPEND_BYTES])];
    let refused = store.append(crate::store::Append::Liveness(heartbeats)).await;
    assert!(matches!(refused, Err(AppendError::Busy)));
    assert_eq!(store.waiting(), (0, 0));
    assert!(!store.append(pod.session_item()).await.unwrap().get().fresh);
}
