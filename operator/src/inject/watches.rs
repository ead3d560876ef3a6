//! The edge of the desk: watches bring changes, the server brings questions, one task owns the desk.
//!
//! A watch that fails is tried again with a growing pause; what it has shown counts until then. A request reads nothing
//! from the API server, but for a namespace that the watch has not shown as opted in.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::stream::{BoxStream, SelectAll, StreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Event as CoreEvent, Namespace as CoreNamespace, Service};
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, oneshot, watch};

use super::desk::{self, Change, Desk};
use super::facts::{Cluster, Namespace};
use super::{Answer, Incoming};
use crate::api::AuditLog;
use crate::clock;
use crate::config::Config;
use crate::limits::{ADMISSION_PATIENCE, QUEUED_ADMISSIONS};
use crate::names::FIELD_MANAGER;
use crate::observed::Injection;

/// In which nothing is injected, whatever their labels say.
const ALWAYS_EXCLUDED: [&str; 2] = ["kube-system", "kube-node-lease"];

/// A pod about which the desk is asked.
struct Question {
    namespace: String,
    incoming: Box<Incoming>,
    live: Option<Namespace>,
    reply: oneshot::Sender<Reply>,
}

/// What comes back; the pod too, where the namespace has to be asked for first.
enum Reply {
    Answer(Answer),
    Unknown(Box<Incoming>),
}

/// Asks the desk.
#[derive(Clone)]
pub struct Asker {
    questions: mpsc::Sender<Question>,
    namespaces: Api<PartialObjectMeta<CoreNamespace>>,
}

/// Nobody is there to answer: the process ends.
#[derive(Debug, thiserror::Error)]
#[error("this operator is ending")]
pub struct Ending;

impl Asker {
    /// The answer for a pod.
    pub async fn ask(&self, namespace: String, incoming: Box<Incoming>) -> Result<Answer, Ending> {
        let incoming = match self.put(namespace.clone(), incoming, None).await? {
            Reply::Answer(answer) => return Ok(answer),
            Reply::Unknown(incoming) => incoming,
        };
        let live = match tokio::time::timeout(ADMISSION_PATIENCE, self.namespaces.get(&namespace)).await {
            Ok(Ok(object)) => desk::namespace(&object),
            Ok(Err(error)) => return Ok(unread(&namespace, &error.to_string())),
            Err(_) => return Ok(unread(&namespace, "the API server did not answer in time")),
        };
        match self.put(namespace.clone(), incoming, Some(live)).await? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Unknown(_) => Ok(unread(&namespace, "it is not known")),
        }
    }

    async fn put(&self, namespace: String, incoming: Box<Incoming>, live: Option<Namespace>) -> Result<Reply, Ending> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(Question { namespace, incoming, live, reply }).await.map_err(|_| Ending)?;
        answer.await.map_err(|_| Ending)
    }
}

/// Where it is enforced, the admission policy refuses what is let in here.
fn unread(namespace: &str, why: &str) -> Answer {
    let text = format!(
        "indelible: this pod is not audited: namespace {namespace:?} could not be read ({why}): create the pod again"
    );
    Answer::Leave { warning: Some(text) }
}

type Changes = SelectAll<BoxStream<'static, Change>>;

/// Keeps the desk.
pub struct Keeper {
    desk: Desk,
    changes: Changes,
    questions: mpsc::Receiver<Question>,
    injection: watch::Sender<Injection>,
}

/// Prepares the watches: nothing happens before the keeper runs. `injection` hears what holds injection up.
pub fn start(
    client: &Client,
    config: &Config,
    openshift: bool,
    injection: watch::Sender<Injection>,
) -> (Keeper, Asker) {
    keep(Desk::new(cluster(config, openshift)), watches(client, config), client, injection)
}

fn keep(desk: Desk, changes: Changes, client: &Client, injection: watch::Sender<Injection>) -> (Keeper, Asker) {
    let (questions, asked) = mpsc::channel(QUEUED_ADMISSIONS);
    (Keeper { desk, changes, questions: asked, injection }, Asker { questions, namespaces: Api::all(client.clone()) })
}

fn cluster(config: &Config, openshift: bool) -> Cluster {
    let served: BTreeSet<String> = config.audit_log_namespaces.iter().cloned().collect();
    let mut excluded = served.clone();
    excluded.extend(ALWAYS_EXCLUDED.map(str::to_owned));
    excluded.insert(config.namespace.clone());
    Cluster {
        // Until kube-system is seen; nothing is injected before.
        uid: String::new(),
        served,
        excluded,
        csi: config.csi,
        openshift,
        pod_security_default: config.pod_security_default,
        skip_node_selectors: config.skip_node_selectors.clone(),
        image: config.sidecar_image.clone(),
        pull_policy: config.image_pull_policy.as_str().to_owned(),
        old_kubelet: None,
    }
}

/// Whether security context constraints choose uids here.
pub async fn is_openshift(client: &Client) -> Result<bool, kube::Error> {
    let groups = client.list_api_groups().await?;
    Ok(groups.groups.iter().any(|group| group.name == "security.openshift.io"))
}

fn watches(client: &Client, config: &Config) -> Changes {
    let all = watcher::Config::default;
    let owned = || all().labels(&format!("app.kubernetes.io/managed-by={FIELD_MANAGER}"));
    let mut changes = SelectAll::new();
    changes.push(events(Api::all(client.clone()), all(), |event| Some(Change::Namespace(event))));
    changes.push(events(Api::<AuditLog>::all(client.clone()), all(), |event| Some(Change::AuditLog(event))));
    changes.push(events(Api::all(client.clone()), all(), |event| Some(Change::LimitRange(event))));
    changes.push(events(Api::all(client.clone()), all(), |event| Some(Change::Quota(event))));
    changes.push(events(Api::all(client.clone()), all(), |event| Some(Change::Node(event))));
    let refused = all().fields("reason=FailedCreate");
    changes.push(events(Api::<CoreEvent>::all(client.clone()), refused, |event| match event {
        Event::Apply(object) | Event::InitApply(object) => Some(Change::Refused(Box::new(object))),
        Event::Delete(_) | Event::Init | Event::InitDone => None,
    }));
    for namespace in &config.audit_log_namespaces {
        let services: Api<Service> = namespaced(client, namespace);
        changes.push(events(services, owned(), |event| Some(Change::Service(event))));
        let configs: Api<ConfigMap> = namespaced(client, namespace);
        changes.push(events(configs, owned(), |event| Some(Change::Config(event))));
    }
    changes
}

fn namespaced<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(
    client: &Client,
    namespace: &str,
) -> Api<K> {
    Api::namespaced(client.clone(), namespace)
}

/// A watch's events, as far as they are a change. Failures are told and tried again.
fn events<K>(api: Api<K>, config: watcher::Config, change: fn(Event<K>) -> Option<Change>) -> BoxStream<'static, Change>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let events = watcher::watcher(api, config).default_backoff();
    let changes = events.filter_map(move |event| {
        let change = match event {
            Ok(event) => change(event),
            Err(error) => {
                tracing::warn!(kind = %K::kind(&()), %error, "cannot watch; trying again");
                None
            }
        };
        std::future::ready(change)
    });
    changes.boxed()
}

impl Keeper {
    /// Serves until nobody can ask any more, or the watches are over. `ready` is called once questions can be answered.
    pub async fn run(mut self, ready: impl FnOnce()) {
        let mut ready = Some(ready);
        let mut due = None;
        loop {
            let expiry = async {
                match due {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                question = self.questions.recv(), if ready.is_none() => match question {
                    Some(question) => self.answer(question),
                    None => return,
                },
                change = self.changes.next() => match change {
                    Some(change) => self.desk.apply(change, clock::now()),
                    None => return,
                },
                () = expiry => {}
            }
            due = self.desk.expire(clock::now());
            if self.desk.is_complete()
                && let Some(ready) = ready.take()
            {
                ready();
            }
            let injection = self.desk.injection();
            self.injection.send_if_modified(|told| {
                let is_new = *told != injection;
                *told = injection;
                is_new
            });
        }
    }

    fn answer(&self, question: Question) {
        let Question { namespace, incoming, live, reply } = question;
        let answer = self.desk.answer(&namespace, &incoming, live.as_ref(), clock::now());
        // Whoever asked may have gone.
        let _ = reply.send(answer.map_or_else(|| Reply::Unknown(incoming), Reply::Answer));
    }
}

#[cfg(test)]
pub(super) mod fake;
