//! The cluster's API server, as the user's kubeconfig names it.
//!
//! Edge: finds the kubeconfig as kubectl does, asks with a time limit, and explains each refusal. In a pod without a
//! kubeconfig it is the pod's own ServiceAccount that asks, so that a verification can run as a CronJob.

use std::path::PathBuf;

use http::Request;
use k8s_openapi::NamespaceResourceScope;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Api, Client, Config, Resource};
use tokio::time::timeout;

use super::right::{AskError, Right, why};
use crate::args::ClusterArgs;
use crate::exit::CommandError;
use crate::limits::{API_CONNECT_TIMEOUT, API_TIMEOUT};
use crate::text::one_line;

/// A cluster that can be asked.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    server: String,
    namespace: String,
}

/// Why there is no cluster to ask.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// A flag names what cannot be used.
    #[error("{0}")]
    Flag(String),
    /// There is none, or it is of no use.
    #[error("{0}")]
    Kubeconfig(String),
}

impl From<ConnectError> for CommandError {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Flag(line) => Self::Usage(line),
            ConnectError::Kubeconfig(line) => Self::Failed(anyhow::anyhow!(line)),
        }
    }
}

impl Cluster {
    /// The cluster that the flags, `KUBECONFIG` or `~/.kube/config` name. It is not asked yet.
    pub async fn connect(args: &ClusterArgs) -> Result<Self, ConnectError> {
        let mut config = config(args).await?;
        config.connect_timeout = Some(API_CONNECT_TIMEOUT);
        let server = one_line(config.cluster_url.to_string().trim_end_matches('/'));
        let namespace = args.audit_log_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).map_err(|e| {
            ConnectError::Kubeconfig(format!("the cluster {server} of your kubeconfig cannot be used: {}", why(&e)))
        })?;
        Ok(Self { client, server, namespace })
    }

    /// Where its API server is.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The namespace that the flags or the kubeconfig's context name.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Objects of a kind in a namespace.
    pub fn within<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Objects of a kind in the whole cluster.
    pub fn all<K: Resource>(&self) -> Api<K>
    where
        K::DynamicType: Default,
    {
        Api::all(self.client.clone())
    }

    /// Waits for an answer, not for ever; `right` is what it takes to get one.
    pub async fn ask<T>(&self, right: &Right, call: impl Future<Output = kube::Result<T>>) -> Result<T, AskError> {
        match timeout(API_TIMEOUT, call).await {
            Ok(answer) => answer.map_err(|e| AskError::new(right, &self.server, &e)),
            Err(_) => Err(AskError::late(right, &self.server, API_TIMEOUT.as_secs())),
        }
    }

    /// The text at a path that is no resource.
    pub async fn get(&self, path: &'static str) -> Result<String, AskError> {
        let request = Request::get(path).body(Vec::new()).expect("a constant path makes a request");
        self.ask(&Right::to(&["get"], path), self.client.request_text(request)).await
    }
}

async fn config(args: &ClusterArgs) -> Result<Config, ConnectError> {
    let file = |path: &PathBuf| {
        Kubeconfig::read_from(path)
            .map_err(|e| ConnectError::Flag(format!("--kubeconfig {}: {}", path.display(), one_line(&why(&e)))))
    };
    let kubeconfig = match &args.kubeconfig {
        Some(path) => file(path)?,
        None => match Kubeconfig::read() {
            Ok(kubeconfig) => kubeconfig,
            Err(e) => return in_a_pod(&e, args),
        },
    };
    if let (Some(context), false) = (&args.context, kubeconfig.contexts.is_empty())
        && !kubeconfig.contexts.iter().any(|of| of.name == *context)
    {
        let names: Vec<_> = kubeconfig.contexts.iter().map(|of| one_line(&of.name)).collect();
        let text =
            format!("--context {}: there is none of that name; there are {}", one_line(context), names.join(", "));
        return Err(ConnectError::Flag(text));
    }
    if args.context.is_none() && kubeconfig.current_context.as_ref().is_none_or(String::is_empty) {
        let text = "your kubeconfig has no current context: name one with --context, or `kubectl config use-context`";
        return Err(ConnectError::Kubeconfig(text.to_owned()));
    }
    let proxy = proxy(&kubeconfig, args.context.as_ref());
    let options = KubeConfigOptions { context: args.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    let mut config = config
        .map_err(|e| ConnectError::Kubeconfig(format!("your kubeconfig cannot be used: {}", one_line(&why(&e)))))?;
    if let Some(proxy) = proxy {
        return Err(ConnectError::Kubeconfig(format!(
            "the cluster of your kubeconfig is behind the proxy {} (proxy-url), and this program speaks to none: name a \
             context without it, for example one that goes through an SSH tunnel",
            one_line(&proxy)
        )));
    }
    // The environment's proxy is for other things than a cluster more often than not; NO_PROXY need not be asked.
    config.proxy_url = None;
    Ok(config)
}

/// The proxy that the context's cluster asks for.
fn proxy(kubeconfig: &Kubeconfig, context: Option<&String>) -> Option<String> {
    let context = context.or(kubeconfig.current_context.as_ref())?;
    let context = kubeconfig.contexts.iter().find(|of| of.name == *context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|of| of.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.clone().filter(|url| !url.is_empty())
}

/// Without a kubeconfig: the pod's own account, if this is one.
fn in_a_pod(error: &KubeconfigError, args: &ClusterArgs) -> Result<Config, ConnectError> {
    let is_there = !matches!(error, KubeconfigError::FindPath)
        && !matches!(error, KubeconfigError::ReadConfig(e, _) if e.kind() == std::io::ErrorKind::NotFound);
    let named = std::env::var_os("KUBECONFIG").is_some_and(|path| !path.is_empty());
    if is_there || named || args.context.is_some() {
        return Err(ConnectError::Kubeconfig(format!("your kubeconfig cannot be read: {}", one_line(&why(error)))));
    }
    Config::incluster_env().map_err(|_| {
        let text = "there is no kubeconfig: name one with --kubeconfig or KUBECONFIG, or make ~/.kube/config";
        ConnectError::Kubeconfig(text.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_asked_for_by_the_cluster_of_the_context_that_is_meant() {
        let config = "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts:\n- {name: a, context: {cluster: plain, user: \
            u}}\n- {name: b, context: {cluster: far, user: u}}\nclusters:\n- {name: plain, cluster: {server: \
            'https://a'}}\n- {name: far, cluster: {server: 'https://b', proxy-url: 'http://proxy:3128'}}\n";
        let config = Kubeconfig::from_yaml(config).unwrap();
        assert_eq!(proxy(&config, None), None);
        assert_eq!(proxy(&config, Some(&"b".to_owned())).as_deref(), Some("http://proxy:3128"));
        assert_eq!(proxy(&config, Some(&"none".to_owned())), None);
    }
}
