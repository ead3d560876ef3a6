//! A node without a kubelet: directories, a mount namespace of its own, and the driver as a real process in another one
//! that shares the kubelet's directory with it, as in a container with bidirectional propagation.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use indelible_csi::layout::Layout;
use indelible_csi::messages::{Access, Capability, Empty, MountAccess, PublishRequest, UnpublishRequest};
use prost::Message;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A process that ends with its owner.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The node: its files outlive a boot, its mounts do not.
pub struct Node {
    files: tempfile::TempDir,
    /// Holds the node's mount namespace.
    holder: Option<Owned>,
}

impl Node {
    pub fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        for dir in ["kubelet/pods", "kubelet/plugins_registry", "kubelet/plugins", "pods"] {
            fs::create_dir_all(files.path().join(dir)).unwrap();
        }
        let mut node = Self { files, holder: None };
        node.boot();
        node
    }

    pub fn layout(&self) -> Layout {
        Layout { kubelet: self.files.path().join("kubelet"), pod_logs: self.files.path().join("pods") }
    }

    /// All mounts are gone, all files are there.
    pub fn boot(&mut self) {
        self.holder = None;
        let kubelet = self.layout().kubelet;
        let script = r#"mount --bind "$0" "$0" && mount --make-shared "$0" && echo up && exec sleep infinity"#;
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(kubelet)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");
        self.holder = Some(Owned(child));
    }

    fn holder(&self) -> u32 {
        self.holder.as_ref().unwrap().0.id()
    }

    /// A path as the node sees it.
    pub fn see(&self, path: &Path) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.holder(), path.display()))
    }

    /// Options of the mounts on a path, the lowest first.
    pub fn mounts(&self, path: &Path) -> Vec<String> {
        let table = fs::read_to_string(format!("/proc/{}/mountinfo", self.holder())).unwrap();
        let fields = table.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields.filter(|fields| Path::new(fields[4]) == path).map(|fields| fields[5].to_owned()).collect()
    }

    /// How many volumes are mounted.
    pub fn volumes(&self) -> usize {
        fs::read_to_string(format!("/proc/{}/mountinfo", self.holder())).unwrap().matches("kubernetes.io~csi").count()
    }

    /// Runs a command on the node.
    pub fn run(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder().to_string(), program]).args(arguments);
        command.stderr(Stdio::null()).stdout(Stdio::null()).status().unwrap().success()
    }

    /// Runs a command as the sidecar does: user 60653, group 0, no capabilities.
    pub fn run_as_sidecar(&self, program: &str, arguments: &[&str]) -> bool {
        let who = ["--reuid", "60653", "--regid", "0", "--clear-groups", "--bounding-set", "-all", program];
        self.run("setpriv", &[&who[..], arguments].concat())
    }

    /// What the kubelet does before it publishes.
    pub fn make_pod(&self, volume: &Volume) {
        fs::create_dir_all(volume.target(self).parent().unwrap()).unwrap();
    }

    pub fn start(&self) -> Driver {
        let layout = self.layout();
        let container = r#"mount --bind "$0" "$0" && exec "$@""#;
        let mut child = Command::new("nsenter")
            .args(["--mount", "--target", &self.holder().to_string()])
            .args(["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", container])
            .arg(&layout.pod_logs)
            .arg(env!("CARGO_BIN_EXE_indelible-csi"))
            .args(["--node-id", "n1", "--metrics", "127.0.0.1:0"])
            .args([Path::new("--kubelet-dir"), &layout.kubelet, Path::new("--pod-logs-dir"), &layout.pod_logs])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        let metrics = loop {
            let begin = text.len();
            assert!(log.read_line(&mut text).unwrap() > 0, "the driver has ended: {text}");
            if let Some((_, address)) = text[begin..].split_once("metrics=") {
                break address.trim().to_owned();
            }
        };
        // Nobody reads on: what more it says must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Driver { process: Owned(child), layout, metrics }
    }
}

/// A running driver.
pub struct Driver {
    process: Owned,
    layout: Layout,
    metrics: String,
}

impl Driver {
    pub fn pid(&self) -> u32 {
        self.process.0.id()
    }

    pub async fn client(&self) -> Client {
        Client::connect(&self.layout.endpoint()).await
    }

    /// As the kubelet connects for the registration: with the socket's path, percent-encoded, as the host.
    pub async fn registration(&self) -> Client {
        let socket = self.layout.registration();
        let host = socket.display().to_string().replace('/', "%2F");
        Client::connect_as(&socket, &format!("http://{host}")).await
    }

    /// Ends it as an eviction does, without a word.
    pub fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Ends it as the kubelet does. Gives whether it ended well.
    pub fn terminate(mut self) -> bool {
        assert!(Command::new("kill").arg(self.pid().to_string()).status().unwrap().success());
        self.process.0.wait().unwrap().success()
    }

    /// What its port answers.
    pub fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.metrics).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

/// A kubelet's connection.
#[derive(Clone)]
pub struct Client(Grpc<Channel>);

impl Client {
    async fn connect(socket: &Path) -> Self {
        Self::connect_as(socket, "http://localhost").await
    }

    async fn connect_as(socket: &Path, origin: &str) -> Self {
        let channel = Endpoint::from_shared(format!("unix:{}", socket.display())).unwrap().connect().await.unwrap();
        Self(Grpc::with_origin(channel, origin.parse().unwrap()))
    }

    pub async fn call<M, A>(&mut self, path: &'static str, message: M) -> Result<A, Status>
    where
        M: Message + Default + 'static,
        A: Message + Default + 'static,
    {
        self.0.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = http::uri::PathAndQuery::from_static(path);
        Ok(self.0.unary(Request::new(message), path, ProstCodec::<M, A>::default()).await?.into_inner())
    }

    pub async fn publish(&mut self, node: &Node, volume: &Volume) -> Result<(), Status> {
        let request = volume.publish(node);
        self.call::<_, Empty>("/csi.v1.Node/NodePublishVolume", request).await.map(drop)
    }

    pub async fn unpublish(&mut self, node: &Node, volume: &Volume) -> Result<(), Status> {
        let request =
            UnpublishRequest { volume_id: volume.id(), target_path: volume.target(node).display().to_string() };
        self.call::<_, Empty>("/csi.v1.Node/NodeUnpublishVolume", request).await.map(drop)
    }
}

/// A volume of a pod.
#[derive(Clone, Debug)]
pub struct Volume {
    pub uid: String,
    pub content: &'static str,
}

impl Volume {
    pub fn logs(pod: usize) -> Self {
        Self { uid: uid(pod), content: "logs" }
    }

    pub fn state(pod: usize) -> Self {
        Self { uid: uid(pod), content: "state" }
    }

    fn name(&self) -> String {
        format!("indelible-{}", self.content)
    }

    fn id(&self) -> String {
        format!("csi-{}-{}", self.uid, self.content)
    }

    /// Where it is mounted.
    pub fn target(&self, node: &Node) -> PathBuf {
        let pod = node.layout().pods().join(&self.uid);
        pod.join("volumes/kubernetes.io~csi").join(self.name()).join("mount")
    }

    /// What is mounted there.
    pub fn source(&self, node: &Node) -> PathBuf {
        match self.content {
            "logs" => node.layout().pod_logs.join(format!("shop_web_{}", self.uid)),
            _ => node.layout().states().join(&self.uid).join(self.name()),
        }
    }

    /// As the kubelet asks for it.
    pub fn publish(&self, node: &Node) -> PublishRequest {
        let context = [
            ("csi.storage.k8s.io/pod.uid", &*self.uid),
            ("csi.storage.k8s.io/pod.name", "web"),
            ("csi.storage.k8s.io/pod.namespace", "shop"),
            ("csi.storage.k8s.io/serviceAccount.name", "default"),
            ("csi.storage.k8s.io/ephemeral", "true"),
            ("content", self.content),
        ];
        PublishRequest {
            volume_id: self.id(),
            target_path: self.target(node).display().to_string(),
            volume_capability: Some(Capability { access: Some(Access::Mount(MountAccess::default())) }),
            readonly: self.content == "logs",
            volume_context: context.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect(),
            publish_context: BTreeMap::new(),
            ..PublishRequest::default()
        }
    }
}

fn uid(pod: usize) -> String {
    format!("00000000-0000-4000-8000-{pod:012x}")
}
