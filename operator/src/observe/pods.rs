//! The watches of pods: one for each opted-in namespace, all into one channel.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use kube::Client;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::limits::{PODS_PER_PAGE, QUEUED_POD_EVENTS};
use crate::pods::{Pod, Sketch};

/// What a watch tells.
#[derive(Debug)]
pub enum PodEvent {
    /// A list begins: what is not in it is gone.
    Begin(String),
    /// A pod is there.
    There(Box<Pod>),
    /// A pod is gone.
    Gone(Box<Pod>),
    /// The list of this namespace is complete.
    Listed(String),
}

/// The watches of one pool.
pub struct PodWatches {
    client: Client,
    events: mpsc::Sender<PodEvent>,
    tasks: JoinSet<()>,
    running: BTreeMap<String, AbortHandle>,
}

impl PodWatches {
    /// None yet, and where their events will come from.
    pub fn new(client: Client) -> (Self, mpsc::Receiver<PodEvent>) {
        let (events, receiver) = mpsc::channel(QUEUED_POD_EVENTS);
        (Self { client, events, tasks: JoinSet::new(), running: BTreeMap::new() }, receiver)
    }

    /// Watches these namespaces and no others; gives those that are left.
    pub fn follow(&mut self, namespaces: &BTreeSet<String>) -> Vec<String> {
        let left: Vec<String> = self.running.keys().filter(|name| !namespaces.contains(*name)).cloned().collect();
        for name in &left {
            if let Some(task) = self.running.remove(name) {
                task.abort();
            }
        }
        for name in namespaces {
            if !self.running.contains_key(name) {
                let api = Api::namespaced(self.client.clone(), name);
                let task = self.tasks.spawn(watch(api, name.clone(), self.events.clone()));
                self.running.insert(name.clone(), task);
            }
        }
        while self.tasks.try_join_next().is_some() {}
        left
    }
}

async fn watch(api: Api<Sketch>, namespace: String, events: mpsc::Sender<PodEvent>) {
    let config = watcher::Config::default().page_size(PODS_PER_PAGE);
    let mut changes = std::pin::pin!(watcher::watcher(api, config).default_backoff());
    while let Some(change) = changes.next().await {
        let event = match change {
            Ok(watcher::Event::Init) => Some(PodEvent::Begin(namespace.clone())),
            Ok(watcher::Event::InitApply(pod) | watcher::Event::Apply(pod)) => {
                Pod::of(pod).map(|pod| PodEvent::There(Box::new(pod)))
            }
            Ok(watcher::Event::Delete(pod)) => Pod::of(pod).map(|pod| PodEvent::Gone(Box::new(pod))),
            Ok(watcher::Event::InitDone) => Some(PodEvent::Listed(namespace.clone())),
            Err(error) => {
                tracing::debug!(namespace, %error, "a watch of pods broke; it is begun again");
                None
            }
        };
        if let Some(event) = event
            && events.send(event).await.is_err()
        {
            return;
        }
    }
}

/// The pods of a pool's namespaces, as the watches tell them.
#[derive(Debug, Default)]
pub struct Pods {
    /// By uid.
    pub known: BTreeMap<String, Pod>,
    /// Namespaces of which all pods have been listed.
    listed: BTreeSet<String>,
    /// Uids seen since a namespace's list began.
    listing: BTreeMap<String, BTreeSet<String>>,
}

/// What an event means.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing to anybody.
    None,
    /// A pod is there, or has changed.
    There(String),
    /// A pod is gone.
    Gone(Vec<String>),
}

impl Pods {
    /// Takes note of an event.
    pub fn apply(&mut self, event: PodEvent) -> Change {
        match event {
            PodEvent::Begin(namespace) => {
                self.listing.insert(namespace, BTreeSet::new());
                Change::None
            }
            PodEvent::There(pod) => {
                if let Some(seen) = self.listing.get_mut(&pod.namespace) {
                    seen.insert(pod.uid.clone());
                }
                let uid = pod.uid.clone();
                let is_same = self.known.insert(uid.clone(), (*pod).clone()).is_some_and(|held| held == *pod);
                if is_same { Change::None } else { Change::There(uid) }
            }
            PodEvent::Gone(pod) => {
                self.known.remove(&pod.uid);
                Change::Gone(vec![pod.uid])
            }
            PodEvent::Listed(namespace) => {
                let seen = self.listing.remove(&namespace).unwrap_or_default();
                self.listed.insert(namespace.clone());
                let is_gone = |pod: &&Pod| pod.namespace == namespace && !seen.contains(&pod.uid);
                let gone: Vec<String> = self.known.values().filter(is_gone).map(|pod| pod.uid.clone()).collect();
                for uid in &gone {
                    self.known.remove(uid);
                }
                Change::Gone(gone)
            }
        }
    }

    /// A namespace has opted out: its pods are nobody's here.
    pub fn leave(&mut self, namespace: &str) -> Vec<String> {
        self.listed.remove(namespace);
        self.listing.remove(namespace);
        let left: Vec<String> =
            self.known.values().filter(|pod| pod.namespace == namespace).map(|pod| pod.uid.clone()).collect();
        for uid in &left {
            self.known.remove(uid);
        }
        left
    }

    /// Whether all pods of these namespaces are known.
    pub fn is_complete(&self, namespaces: &BTreeSet<String>) -> bool {
        namespaces.is_subset(&self.listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::Phase;

    fn pod(namespace: &str, uid: &str) -> Box<Pod> {
        Box::new(Pod {
            uid: uid.to_owned(),
            namespace: namespace.to_owned(),
            name: uid.to_owned(),
            labels: BTreeMap::new(),
            created: jiff::Timestamp::UNIX_EPOCH,
            node: None,
            phase: Phase::Running,
            is_deleting: false,
            is_foreign: false,
            node_selector: BTreeMap::new(),
        })
    }

    fn listed(pods: &mut Pods, namespace: &str, uids: &[&str]) -> Vec<String> {
        pods.apply(PodEvent::Begin(namespace.to_owned()));
        for uid in uids {
            pods.apply(PodEvent::There(pod(namespace, uid)));
        }
        match pods.apply(PodEvent::Listed(namespace.to_owned())) {
            Change::Gone(gone) => gone,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_list_that_is_made_again_tells_who_went_meanwhile_and_only_in_its_namespace() {
        let mut pods = Pods::default();
        let both = BTreeSet::from(["shop".to_owned(), "bank".to_owned()]);
        assert!(listed(&mut pods, "shop", &["a", "b"]).is_empty());
        assert!(!pods.is_complete(&both));
        assert!(listed(&mut pods, "bank", &["c"]).is_empty());
        assert!(pods.is_complete(&both));
        assert_eq!(listed(&mut pods, "shop", &["b"]), ["a"]);
        assert_eq!(pods.known.keys().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn what_has_not_changed_is_no_change() {
        let mut pods = Pods::default();
        assert_eq!(pods.apply(PodEvent::There(pod("shop", "a"))), Change::There("a".to_owned()));
        assert_eq!(pods.apply(PodEvent::There(pod("shop", "a"))), Change::None);
        assert_eq!(pods.apply(PodEvent::Gone(pod("shop", "a"))), Change::Gone(vec!["a".to_owned()]));
    }

    #[test]
    fn a_namespace_that_is_left_takes_its_pods_along() {
        let mut pods = Pods::default();
        listed(&mut pods, "shop", &["a"]);
        assert_eq!(pods.leave("shop"), ["a"]);
        assert!(pods.known.is_empty() && !pods.is_complete(&BTreeSet::from(["shop".to_owned()])));
    }
}
