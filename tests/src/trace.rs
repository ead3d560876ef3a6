//! What a real kubelet and its runtime did to the log directories of four pods, and a way to have it done again.
//!
//! [`Trace`] knows the recording (`tests/data/README.md` tells its story): its pods, the bytes of every file, also of
//! those that were rotated or deleted, and the heads of the chains that these bytes must give. [`Replay`] does the same
//! operations again, in the same order and at the recorded times, below a directory of the caller's.

mod operation;
mod replay;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::oracle::{File, Identity};

pub use operation::{Action, Inode, Operation};
pub use replay::{Progress, Replay, Replayed, Speed};

const RECORDING: &[u8] = include_bytes!("../data/kubelet-trace.jsonl.zst");
const HEADS: &str = include_str!("../data/kubelet-trace.heads.json");

/// A recording of everything that happened below a directory of pod logs.
///
/// Containers go by the path of their directory below it: `<namespace>_<pod>_<uid>/<container>`.
#[derive(Debug)]
pub struct Trace {
    operations: Vec<Operation>,
    pods: Vec<Pod>,
    files: BTreeMap<String, Vec<LogFile>>,
    heads: BTreeMap<String, Head>,
}

/// A pod whose logs were recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// The name of its log directory: `<namespace>_<pod>_<uid>`.
    pub directory: String,
    /// The names of its containers, in the order in which their directories appeared.
    pub containers: Vec<String>,
}

/// A log file that a container wrote: one inode, whatever names it had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// The inode.
    pub inode: Inode,
    /// The name it was created with, `<restart>.log`.
    pub name: String,
    /// Everything that was written to it.
    pub bytes: Vec<u8>,
    /// When it was created, since the recording began.
    pub created: Duration,
    /// When its bytes left the disk for whoever did not hold it open: it was deleted, and so was the `.gz` made of it.
    pub gone: Option<Duration>,
    /// The operation that did it, by its number.
    pub gone_by: Option<usize>,
}

/// The chain that a container's files must give: cluster UID empty, all bytes read, open lines closed, no `end` record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Head {
    /// The chain's id, hex.
    pub chain_id: String,
    /// How many records it has.
    pub records: u64,
    /// The bytes of their payloads together.
    pub payload_bytes: u64,
    /// The last link, hex.
    pub link: String,
    /// How many records are from standard output.
    pub stdout: u64,
    /// How many are from standard error.
    pub stderr: u64,
    /// How many are the sidecar's own.
    pub control: u64,
    /// How many lines were still open when their restart ended.
    pub unterminated: u64,
    /// How many log files the container wrote.
    pub files: u64,
    /// How many times it ran.
    pub restarts: u64,
}

impl Trace {
    /// The recording that the project carries.
    pub fn recorded() -> Result<Self> {
        let lines = zstd::decode_all(RECORDING).context("unpacking the recorded trace")?;
        let heads = serde_json::from_str(HEADS).context("reading the heads of the recorded trace")?;
        let operations: Vec<_> = lines
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .zip(1..)
            .map(|(line, number)| {
                Operation::parse(line).with_context(|| format!("line {number} of the recorded trace"))
            })
            .collect::<Result<_>>()?;
        Ok(Self { pods: pods(&operations)?, files: files(&operations)?, operations, heads })
    }

    /// Everything that happened, in order.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The pods, in the order in which their directories appeared.
    pub fn pods(&self) -> &[Pod] {
        &self.pods
    }

    /// The chain that each container's files must give.
    pub fn heads(&self) -> &BTreeMap<String, Head> {
        &self.heads
    }

    /// The log files of a container in the order in which they were created, which is the order of its output.
    ///
    /// # Panics
    /// If the trace has no such container.
    pub fn log_files(&self, container: &str) -> &[LogFile] {
        self.files.get(container).unwrap_or_else(|| panic!("no container {container} in the trace"))
    }

    /// The same as the oracle takes them.
    pub fn files(&self, container: &str) -> Vec<File> {
        let file = |log: &LogFile| File { name: log.name.clone(), bytes: log.bytes.clone() };
        self.log_files(container).iter().map(file).collect()
    }

    /// All bytes that a container's log files ever held, in the order in which the files were created.
    pub fn expected_bytes(&self, container: &str) -> Vec<u8> {
        self.log_files(container).iter().flat_map(|log| &log.bytes).copied().collect()
    }

    /// What the chain of a container is the chain of, outside a cluster and in its first incarnation.
    ///
    /// # Panics
    /// If the trace has no such container.
    pub fn identity<'a>(&'a self, container: &'a str) -> Identity<'a> {
        let (directory, container) = container.split_once('/').expect("<pod directory>/<container>");
        let pod = self.pods.iter().find(|pod| pod.directory == directory).expect("a pod of the trace");
        Identity {
            cluster_uid: "",
            namespace: &pod.namespace,
            pod: &pod.pod,
            pod_uid: &pod.uid,
            container,
            incarnation: 0,
        }
    }

    /// When a pod was gone: the last of its log files had left the disk. None if it outlived the recording.
    pub fn gone(&self, pod: &Pod) -> Option<Duration> {
        let of_pod = |container: &str| container.split_once('/').is_some_and(|(dir, _)| dir == pod.directory);
        let files = self.files.iter().filter(|(container, _)| of_pod(container)).flat_map(|(_, files)| files);
        files.map(|file| file.gone).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How long the recording is.
    pub fn duration(&self) -> Duration {
        self.operations.last().map_or(Duration::ZERO, |operation| operation.at)
    }
}

/// A pod for each directory at the top, a container for each one below.
fn pods(operations: &[Operation]) -> Result<Vec<Pod>> {
    let mut pods: Vec<Pod> = Vec::new();
    for operation in operations {
        let Action::MakeDir { path } = &operation.action else { continue };
        let (directory, container) =
            path.split_once('/').map_or((path.as_str(), None), |(dir, name)| (dir, Some(name)));
        match (pods.iter_mut().find(|pod| pod.directory == directory), container) {
            (Some(pod), Some(container)) => pod.containers.push(container.into()),
            (None, None) => {
                let [namespace, pod, uid] = directory.split('_').collect::<Vec<_>>()[..] else {
                    bail!("{directory} is no <namespace>_<pod>_<uid>");
                };
                let (namespace, pod, uid) = (namespace.into(), pod.into(), uid.into());
                pods.push(Pod { namespace, pod, uid, directory: directory.into(), containers: Vec::new() });
            }
            _ => bail!("{path} was made twice or without the directory above it"),
        }
    }
    Ok(pods)
}

/// The log files of each container. A `.gz` is not one of them: it is another name of the bytes that it was made of.
fn files(operations: &[Operation]) -> Result<BTreeMap<String, Vec<LogFile>>> {
    let mut logs: BTreeMap<Inode, (String, LogFile)> = BTreeMap::new();
    let mut names: HashMap<&str, Inode> = HashMap::new();
    let mut copies: HashMap<Inode, Inode> = HashMap::new();
    for (number, Operation { at, action }) in operations.iter().enumerate() {
        match action {
            Action::MakeDir { .. } | Action::RemoveDir { .. } => {}
            Action::Create { path, inode } => {
                ensure!(names.insert(path, *inode).is_none(), "{path} was created while it was there");
                let (container, name) = path.rsplit_once('/').context("a file outside every container")?;
                if name.strip_suffix(".log").is_some_and(|restart| restart.parse::<u64>().is_ok()) {
                    let (inode, name) = (*inode, name.into());
                    let log = LogFile { inode, name, bytes: Vec::new(), created: *at, gone: None, gone_by: None };
                    logs.insert(inode, (container.into(), log));
                }
            }
            Action::Append { inode, bytes } => {
                if let Some((_, log)) = logs.get_mut(inode) {
                    log.bytes.extend_from_slice(bytes);
                }
            }
            Action::Rename { inode, path, to } => {
                ensure!(names.remove(path.as_str()) == Some(*inode), "{path} was renamed but is another file");
                names.insert(to, *inode);
                if let Some(original) = to.strip_suffix(".gz").and_then(|original| names.get(original)) {
                    copies.insert(*inode, *original);
                }
            }
            Action::Unlink { inode, path } => {
                ensure!(names.remove(path.as_str()) == Some(*inode), "{path} was deleted but is another file");
                let still_packed = copies.values().any(|original| original == inode);
                let gone = copies.remove(inode).or((!still_packed).then_some(*inode));
                if let Some((_, log)) = gone.and_then(|inode| logs.get_mut(&inode)) {
                    (log.gone, log.gone_by) = (Some(*at), Some(number));
                }
            }
        }
    }
    let mut files: BTreeMap<String, Vec<LogFile>> = BTreeMap::new();
    for (container, log) in logs.into_values() {
        files.entry(container).or_default().push(log);
    }
    Ok(files)
}

#[cfg(test)]
mod tests;
