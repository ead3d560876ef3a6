//! What each call does: one function a call.

use std::sync::Arc;

use tokio::sync::{Mutex, watch};
use tonic::Status;

use crate::layout::{DRIVER, Layout};
use crate::messages::{
    BoolValue, Empty, NodeInfoResponse, PluginInfo, PluginInfoResponse, ProbeResponse, PublishRequest,
    RegistrationStatus, UnpublishRequest,
};
use crate::metrics::{Metrics, Operation, Outcome};
use crate::publish::{PublishError, Published, Publisher, Unpublished};
use crate::request::{self, Content, Publish, Refusal, Target};

/// `GetPluginInfo`: who we are.
pub(super) fn plugin_info() -> PluginInfoResponse {
    PluginInfoResponse { name: DRIVER.to_owned(), vendor_version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// `Probe`: who answers is ready.
pub(super) const fn probe() -> ProbeResponse {
    ProbeResponse { ready: Some(BoolValue { value: true }) }
}

/// Everything that a call may need.
#[derive(Debug)]
pub struct Driver {
    node_id: String,
    layout: Layout,
    /// Calls that mount wait for each other, so that a disk that hangs holds one thread.
    publisher: Arc<Mutex<Publisher>>,
    metrics: Arc<Metrics>,
    /// Whether the kubelet has registered the driver.
    registered: watch::Sender<bool>,
}

impl Driver {
    /// Of a node, with the one who mounts there.
    pub fn new(node_id: String, layout: Layout, publisher: Publisher, metrics: Arc<Metrics>) -> Self {
        let publisher = Arc::new(Mutex::new(publisher));
        Self { node_id, layout, publisher, metrics, registered: watch::Sender::new(false) }
    }

    /// Whether the kubelet has registered the driver.
    pub fn is_registered(&self) -> bool {
        *self.registered.borrow()
    }

    /// `NodeGetInfo`: where we are.
    pub(super) fn node_info(&self) -> NodeInfoResponse {
        NodeInfoResponse { node_id: self.node_id.clone() }
    }

    /// `NodePublishVolume`.
    pub(super) async fn publish(self: Arc<Self>, request: PublishRequest) -> Result<Empty, Status> {
        let asked = request::publish(&self.layout, &request);
        let publish = asked.map_err(|refusal| self.refuse(Operation::Publish, &refusal))?;
        let Target { uid, volume } = publish.target.clone();
        let content = content(&publish);
        match self.change(move |publisher| publisher.publish(&publish)).await {
            Ok(published) => {
                let (outcome, text) = match published {
                    Published::Mounted => (Outcome::Done, "published"),
                    Published::Already => (Outcome::Already, "published already"),
                    Published::Repaired => (Outcome::Repaired, "published again: what was mounted there was not right"),
                };
                self.metrics.count(Operation::Publish, outcome);
                tracing::info!(pod = uid.as_str(), volume = volume.as_str(), content, "{text}");
                Ok(Empty {})
            }
            Err(error) => Err(self.fail(Operation::Publish, &error)),
        }
    }

    /// `NodeUnpublishVolume`.
    pub(super) async fn unpublish(self: Arc<Self>, request: UnpublishRequest) -> Result<Empty, Status> {
        let asked = request::unpublish(&self.layout, &request);
        let target = asked.map_err(|refusal| self.refuse(Operation::Unpublish, &refusal))?;
        let Target { uid, volume } = target.clone();
        match self.change(move |publisher| publisher.unpublish(&target)).await {
            Ok(unpublished) => {
                let (outcome, text) = match unpublished {
                    Unpublished::Removed => (Outcome::Done, "unpublished"),
                    Unpublished::Already => (Outcome::Already, "unpublished already"),
                };
                self.metrics.count(Operation::Unpublish, outcome);
                tracing::info!(pod = uid.as_str(), volume = volume.as_str(), "{text}");
                Ok(Empty {})
            }
            Err(error) => Err(self.fail(Operation::Unpublish, &error)),
        }
    }

    /// `GetInfo` of the registration: where to call us.
    pub(super) fn registration(&self) -> PluginInfo {
        PluginInfo {
            r#type: "CSIPlugin".to_owned(),
            name: DRIVER.to_owned(),
            endpoint: self.layout.endpoint().display().to_string(),
            supported_versions: vec!["1.0.0".to_owned()],
        }
    }

    /// `NotifyRegistrationStatus`: what became of it.
    pub(super) fn registered(&self, status: RegistrationStatus) -> Empty {
        let RegistrationStatus { plugin_registered, error } = status;
        self.registered.send_replace(plugin_registered);
        self.metrics.registered.set(i64::from(plugin_registered));
        if plugin_registered {
            tracing::info!("the kubelet has registered the driver");
        } else {
            tracing::error!(error, "the kubelet does not register the driver");
        }
        Empty {}
    }

    /// Removes the state of pods that are gone.
    pub async fn sweep(&self) {
        match self.change(Publisher::sweep).await {
            Ok((kept, removed)) => {
                self.metrics.swept(kept, removed);
                if removed > 0 {
                    tracing::info!(removed, kept, "state of pods that are gone was removed");
                }
            }
            Err(error) => {
                self.metrics.count(Operation::Sweep, Outcome::Failed);
                tracing::error!(%error, "state of pods that are gone cannot be removed");
            }
        }
    }

    /// Changes the node, on a thread that may wait for the disk. What has begun goes on, also when the caller is gone.
    async fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Publisher) -> Result<T, PublishError> + Send + 'static,
    ) -> Result<T, ChangeError> {
        let mut publisher = Arc::clone(&self.publisher).lock_owned().await;
        Ok(tokio::task::spawn_blocking(move || change(&mut publisher)).await??)
    }

    fn refuse(&self, operation: Operation, refusal: &Refusal) -> Status {
        self.metrics.count(operation, Outcome::Refused);
        tracing::warn!(operation = operation.label(), %refusal, "a call is refused");
        Status::invalid_argument(refusal.to_string())
    }

    fn fail(&self, operation: Operation, error: &ChangeError) -> Status {
        self.metrics.count(operation, Outcome::Failed);
        tracing::error!(operation = operation.label(), %error, "a call has failed; the kubelet tries again");
        Status::internal(error.to_string())
    }
}

/// Why the node was not changed.
#[derive(Debug, thiserror::Error)]
enum ChangeError {
    #[error(transparent)]
    Publish(#[from] PublishError),
    #[error("the driver has an error of its own: {0}")]
    Panic(#[from] tokio::task::JoinError),
}

const fn content(publish: &Publish) -> &'static str {
    match publish.content {
        Content::Logs(_) => "logs",
        Content::State => "state",
    }
}
