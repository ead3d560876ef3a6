//! Who observes: for each pool one task of the leader, which knows what the API server does not.
//!
//! Owns what the parts around it decide from: pods of the opted-in namespaces ([`pods`]), what collectors answer
//! ([`crate::collectors`]), the witness' memory ([`crate::witness`]), who is alive ([`crate::authority`]). It hands out
//! [`Observed`], and only when that has changed. The API server is watched and never polled; collectors are asked each
//! [`POLL_INTERVAL`].
//!
//! | module | owns |
//! | --- | --- |
//! | [`pool`] | the task of one pool: events in, [`Observed`] out |
//! | [`poll`] | one round over the collectors: logs, coverage, statements |
//! | [`pods`] | the watches of pods |
//! | [`volumes`] | how fast volumes fill |
//!
//! [`POLL_INTERVAL`]: crate::limits::POLL_INTERVAL

pub mod pods;
pub mod poll;
pub mod pool;
pub mod volumes;

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::Api;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

use crate::config::Config;
use crate::keys::Keys;
use crate::observed::{Injection, Observations, Observed, PoolName, PoolView, PoolViews};
use crate::witness::keeper::{Keeper, Pace};
use crate::witness::{Board, Handle};

/// What observing needs of the rest of the process.
#[derive(Clone)]
pub struct Seams {
    /// The API server.
    pub client: Client,
    /// The flags.
    pub config: Arc<Config>,
    /// The operator's keys.
    pub keys: Keys,
    /// Pools, as the reconciler found them.
    pub views: watch::Receiver<PoolViews>,
    /// Where observations are published.
    pub observed: watch::Sender<Observations>,
    /// Where the witness finds the memories.
    pub board: Board,
    /// What holds injection up.
    pub injection: watch::Receiver<Injection>,
}

/// The tasks of one pool.
struct Running {
    view: watch::Sender<Arc<PoolView>>,
    handle: Handle,
    tasks: [AbortHandle; 2],
}

/// Takes the memories off the board when this process no longer leads, whatever ends it.
struct OnBoard(Board);

impl Drop for OnBoard {
    fn drop(&mut self) {
        self.0.send_replace(None);
    }
}

/// Observes all pools until it is dropped.
pub async fn run(mut seams: Seams) {
    let _on_board = OnBoard(seams.board.clone());
    let mut tasks = JoinSet::new();
    let mut running: BTreeMap<PoolName, Running> = BTreeMap::new();
    loop {
        let views = seams.views.borrow_and_update().clone();
        let gone: Vec<PoolName> = running.keys().filter(|name| !views.contains_key(name)).cloned().collect();
        for name in gone {
            if let Some(Running { tasks, .. }) = running.remove(&name) {
                tasks.iter().for_each(AbortHandle::abort);
            }
            publish(&seams.observed, &name, None);
        }
        for (name, view) in views {
            match running.get(&name) {
                Some(pool) => drop(pool.view.send_if_modified(|held| {
                    let is_new = **held != *view;
                    *held = view;
                    is_new
                })),
                None => drop(running.insert(name.clone(), start(&seams, &mut tasks, name, view))),
            }
        }
        let board = running.iter().map(|(name, pool)| (name.clone(), pool.handle.clone())).collect();
        seams.board.send_replace(Some(Arc::new(board)));
        // Tasks that were aborted are taken out of the set.
        while tasks.try_join_next().is_some() {}
        if seams.views.changed().await.is_err() {
            // Nobody reconciles any more: this process is about to end.
            return std::future::pending().await;
        }
    }
}

fn start(seams: &Seams, tasks: &mut JoinSet<()>, name: PoolName, view: Arc<PoolView>) -> Running {
    let maps: Api<ConfigMap> = Api::namespaced(seams.client.clone(), &seams.config.namespace);
    let map = crate::names::witness_config(&name);
    let (keeper, handle) = Keeper::new(maps, map, Pace::default());
    let (view, views) = watch::channel(view);
    let pool = pool::Pool::new(seams.clone(), name, views, handle.clone());
    let tasks = [tasks.spawn(keeper.run()), tasks.spawn(pool.run())];
    Running { view, handle, tasks }
}

/// Tells what was observed, if it is anything new.
fn publish(observed: &watch::Sender<Observations>, name: &PoolName, new: Option<Observed>) {
    observed.send_if_modified(|all| match new {
        None => all.remove(name).is_some(),
        Some(new) if all.get(name).is_some_and(|held| **held == new) => false,
        Some(new) => {
            all.insert(name.clone(), Arc::new(new));
            true
        }
    });
}
