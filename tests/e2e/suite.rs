//! What every case has: the cluster, the programs, where things are.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::tools::{self, Output, secs};

/// Where the quickstart puts the release and its AuditLog.
pub const HOME: &str = "audit";
/// Where it puts the release.
pub const RELEASE: &str = "indelible";
/// The AuditLog that the suite lives with.
pub const POOL: &str = "main";

const LIMIT: Duration = secs(300);

/// The suite's hands.
pub struct Suite {
    pub client: kube::Client,
    pub tag: String,
    pub bin: PathBuf,
    pub root: PathBuf,
    /// `kubectl-indelible` and a `helm` that installs the images under test.
    pub path: TempDir,
    cluster: Option<String>,
}

impl Suite {
    pub async fn begin() -> Result<Self> {
        let var = |name: &str| std::env::var(name).with_context(|| format!("{name} is not set; run tests/cluster/e2e"));
        var("KUBECONFIG")?;
        let client = kube::Client::try_default().await.context("the cluster of KUBECONFIG")?;
        let version = client.apiserver_version().await.context("the cluster's API server does not answer")?;
        println!("Kubernetes {}", version.git_version);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no root")?.to_owned();
        let bin = PathBuf::from(var("INDELIBLE_E2E_BIN")?);
        let suite = Self {
            client,
            tag: var("INDELIBLE_E2E_TAG")?,
            path: tempfile::tempdir()?,
            bin,
            root,
            cluster: std::env::var("INDELIBLE_CLUSTER").ok(),
        };
        suite.put_on_path()?;
        Ok(suite)
    }

    /// The quickstart's commands are run as they stand there: `helm` adds which images are meant, and nothing else.
    fn put_on_path(&self) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let helm = tools::ok(Command::new("sh").args(["-c", "command -v helm"]), "", LIMIT)?;
        let script = format!(
            "#!/bin/sh\nverb=$1\nshift\ncase $verb in\n  install|upgrade|template) exec {} \"$verb\" --set image.tag={} \"$@\" ;;\n  *) exec {} \"$verb\" \"$@\" ;;\nesac\n",
            helm.trim(),
            self.tag,
            helm.trim()
        );
        let file = self.path.path().join("helm");
        std::fs::write(&file, script)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        for name in ["indelible", "kubectl-indelible"] {
            std::os::unix::fs::symlink(self.bin.join("indelible"), self.path.path().join(name))?;
        }
        Ok(())
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        tools::with_path(&mut command, self.path.path());
        command.current_dir(&self.root).args(args);
        command
    }

    /// `kubectl`, which must end well.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        tools::ok(&mut self.command("kubectl", args), "", LIMIT)
    }

    /// `kubectl`, however it ends.
    pub fn try_kubectl(&self, args: &[&str], input: &str) -> Result<Output> {
        tools::run(&mut self.command("kubectl", args), input, LIMIT)
    }

    /// `kubectl apply`, of one or several documents.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        tools::ok(&mut self.command("kubectl", &["apply", "-f", "-"]), manifest, LIMIT)
    }

    /// An apply that must be refused, with these words.
    pub fn refused(&self, manifest: &str, words: &[&str]) -> Result<()> {
        let output = self.try_kubectl(&["apply", "-f", "-"], manifest)?;
        ensure!(output.code != 0, "it was taken:\n{manifest}\n{}", output.out);
        for word in words {
            ensure!(output.err.contains(word), "refused without saying {word:?}:\n{}", output.err);
        }
        Ok(())
    }

    /// `helm` with the images under test.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        tools::ok(&mut self.command("helm", args), "", LIMIT)
    }

    /// A block of shell commands, as people paste it.
    pub fn shell(&self, block: &str, limit: Duration) -> Result<Output> {
        tools::run(&mut self.command("bash", &["-eu", "-o", "pipefail", "-c", block]), "", limit)
    }

    /// `kubectl indelible`, however it ends.
    pub fn indelible(&self, args: &[&str]) -> Result<Output> {
        let args: Vec<&str> = std::iter::once("indelible").chain(args.iter().copied()).collect();
        tools::run(&mut self.command("kubectl", &args), "", LIMIT)
    }

    /// The node's own tools: `exec`, `ctl`, `kill-container` of tests/cluster.
    pub fn node(&self) -> Result<Node<'_>> {
        ensure!(self.cluster.is_some(), "INDELIBLE_CLUSTER is not set: the node cannot be reached");
        Ok(Node { suite: self })
    }

    fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(kind.group, kind.version, kind.name);
        let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural);
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }

    /// An object as JSON.
    pub async fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value> {
        let namespace = (!namespace.is_empty()).then_some(namespace);
        let object = self.api(kind, namespace).get(name).await.with_context(|| format!("{} {name}", kind.name))?;
        Ok(serde_json::to_value(object)?)
    }

    /// The objects with these labels, of one namespace or all.
    pub async fn list(&self, kind: &Kind, namespace: &str, labels: &str) -> Result<Vec<Value>> {
        let namespace = (!namespace.is_empty()).then_some(namespace);
        let list = self.api(kind, namespace).list(&ListParams::default().labels(labels)).await?;
        list.items.into_iter().map(|object| Ok(serde_json::to_value(object)?)).collect()
    }

    /// The metrics page of a pod, past every NetworkPolicy.
    pub async fn metrics(&self, namespace: &str, pod: &str) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), namespace);
        let mut forwarder = pods.portforward(pod, &[9464]).await?;
        let mut stream = forwarder.take_stream(9464).context("no stream")?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await?;
        let mut page = String::new();
        tokio::time::timeout(secs(10), stream.read_to_string(&mut page)).await.context("no end of the page")??;
        Ok(page)
    }

    /// The AuditLog's condition: (status, reason, message).
    pub async fn condition(&self, name: &str, kind: &str) -> Result<(String, String, String)> {
        let object = self.get(&AUDIT_LOG, HOME, name).await?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions yet")?;
        let found =
            conditions.iter().find(|condition| condition["type"] == kind).context(format!("no condition {kind}"))?;
        let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
        Ok((text("status"), text("reason"), text("message")))
    }

    /// Until the AuditLog's condition has that status (and reason, unless it is empty).
    pub async fn until(&self, name: &str, kind: &str, status: &str, reason: &str, limit: Duration) -> Result<String> {
        tools::wait(&format!("{name} {kind}={status} {reason}"), limit, async || {
            let (is, why, message) = self.condition(name, kind).await?;
            ensure!(is == status && (reason.is_empty() || why == reason), "{kind}={is} {why}: {message}");
            Ok(message)
        })
        .await
    }
}

/// The machine under the cluster.
pub struct Node<'a> {
    suite: &'a Suite,
}

impl Node<'_> {
    fn command(&self, name: &str, args: &[&str]) -> Result<Command> {
        let path = self.suite.root.join("tests/cluster").join(name);
        Ok(self.suite.command(path.to_str().context("no text")?, args))
    }

    fn script(&self, name: &str, args: &[&str]) -> Result<String> {
        tools::ok(&mut self.command(name, args)?, "", LIMIT)
    }

    /// A command in the first node's namespaces.
    pub fn exec(&self, args: &[&str]) -> Result<String> {
        self.script("exec", args)
    }

    /// A command in the namespaces of each node; what it printed there.
    pub async fn exec_everywhere(&self, args: &[&str]) -> Result<Vec<String>> {
        let mut printed = Vec::new();
        for node in self.suite.list(&NODE, "", "").await? {
            let name = node["metadata"]["name"].as_str().context("a node without a name")?;
            printed.push(tools::ok(self.command("exec", args)?.env("INDELIBLE_NODE", name), "", LIMIT)?);
        }
        Ok(printed)
    }

    /// A component of the cluster: stop, start, restart, kill.
    pub fn ctl(&self, verb: &str, component: &str) -> Result<String> {
        self.script("ctl", &[verb, component])
    }

    /// SIGKILL to a container's first process.
    pub fn kill(&self, namespace: &str, pod: &str, container: &str) -> Result<String> {
        self.script("kill-container", &[namespace, pod, container])
    }
}

/// A resource of the API.
pub struct Kind {
    pub group: &'static str,
    pub version: &'static str,
    pub name: &'static str,
    pub plural: &'static str,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, name: kind, plural }
}

pub const AUDIT_LOG: Kind = kind("indelible.dev", "v1alpha1", "AuditLog", "auditlogs");
pub const NODE: Kind = kind("", "v1", "Node", "nodes");
pub const POD: Kind = kind("", "v1", "Pod", "pods");
pub const CLAIM: Kind = kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims");
pub const SECRET: Kind = kind("", "v1", "Secret", "secrets");
pub const STATEFUL_SET: Kind = kind("apps", "v1", "StatefulSet", "statefulsets");
pub const PDB: Kind = kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets");
