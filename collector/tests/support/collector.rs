//! A collector as a real process on loopback, with an issuer and a certificate of its own.

#![allow(dead_code, reason = "each test binary uses some of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;

use indelible_chain::note::VerifierKey;
use indelible_collector::clock::{Clock, SystemClock};
use tempfile::TempDir;

use super::client::Client;
use super::issuer::Issuer;

pub const BIN: &str = env!("CARGO_BIN_EXE_indelible-collector");

pub struct Collector {
    process: Process,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    pub stderr: mpsc::Receiver<String>,
    pub site: Site,
}

/// A child that does not outlive its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // Only what was started here, by its own id.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a collector needs on disk; outlives its processes.
pub struct Site {
    pub dir: TempDir,
    pub issuer: Issuer,
    pub vkey: VerifierKey,
    pub ca_pem: String,
    pub flags: Vec<String>,
    /// Where the issuer's keys are, and what it is called.
    pub jwks: String,
    pub issuer_url: String,
    pub env: Vec<(String, String)>,
}

pub fn now_seconds() -> i64 {
    SystemClock.now().nanos() / 1_000_000_000
}

/// A self-signed certificate for localhost with URIs, and its key, PEM.
pub fn certificate(uris: &[&str]) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
    let uris = uris.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap()));
    params.subject_alt_names.extend(uris);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Runs the program to its end: exit code, stdout, stderr.
pub fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(BIN).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

impl Site {
    /// A log that is made, with a certificate that names it.
    pub fn new(flags: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let issuer = Issuer::new("https://cluster.example");
        let data = dir.path().join("data");
        let (code, told, error) = run(&["init", "--data", data.to_str().unwrap(), "--origin", "test/c0"]);
        assert_eq!(code, 0, "{error}");
        let (vkey, uri) = told.trim_end().split_once('\n').unwrap();
        let (ca_pem, key) = certificate(&[uri.strip_prefix("URI:").unwrap()]);
        std::fs::write(dir.path().join("cert.pem"), &ca_pem).unwrap();
        std::fs::write(dir.path().join("key.pem"), key).unwrap();
        std::fs::write(dir.path().join("jwks.json"), issuer.jwks()).unwrap();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (jwks, issuer_url) = (dir.path().join("jwks.json").to_str().unwrap().to_owned(), issuer.url.clone());
        Self { dir, issuer, vkey: vkey.parse().unwrap(), ca_pem, flags, jwks, issuer_url, env: Vec::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn start(self) -> Collector {
        let path = |name: &str| self.path(name).to_str().unwrap().to_owned();
        let mut child = Command::new(BIN)
            .args(["--data", &path("data"), "--tls-cert", &path("cert.pem"), "--tls-key", &path("key.pem")])
            .args(["--issuer", &self.issuer_url, "--jwks", &self.jwks])
            .args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--checkpoint-interval", "50ms"])
            .args(&self.flags)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = lines(child.stderr.take().unwrap());
        let stdout = lines(child.stdout.take().unwrap());
        let Ok(line) = stdout.recv() else {
            panic!("{:?}: {:?}", child.wait().unwrap(), stderr.iter().collect::<Vec<_>>());
        };
        let address = line.strip_prefix("listening https://").unwrap().parse().unwrap();
        let metrics = loop {
            let line = stderr.recv().expect("the log says where the metrics are");
            if let Some((_, address)) = line.split_once("metrics=") {
                break address.split_whitespace().next().unwrap().parse().unwrap();
            }
        };
        Collector { process: Process(child), address, metrics, stderr, site: self }
    }
}

/// A child's lines, read in a thread so that it never waits for us.
fn lines(stream: impl std::io::Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

impl Collector {
    pub fn start(flags: &[&str]) -> Self {
        Site::new(flags).start()
    }

    pub async fn client(&self) -> Client {
        Client::connect(self.address, &self.site.ca_pem).await.unwrap()
    }

    pub fn signal(&self, name: &str) {
        let killed =
            Command::new("kill").args([&format!("-{name}"), &self.process.0.id().to_string()]).status().unwrap();
        assert!(killed.success());
    }

    /// Waits for the end for at most 30 s, while connections of this process go on.
    pub async fn wait(&mut self) -> ExitStatus {
        let waiting = async {
            loop {
                if let Some(status) = self.process.0.try_wait().unwrap() {
                    return status;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.expect("it ends within 30 s")
    }

    /// Resident memory in bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The body of a page of the metrics address, and its status.
    pub async fn page(&self, path: &str) -> (u16, String) {
        use http_body_util::{BodyExt, Empty};
        let stream = tokio::net::TcpStream::connect(self.metrics).await.unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let request = http::Request::get(path).header("host", "localhost").body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    /// Kills the process, keeps the disk.
    pub fn kill(self) -> Site {
        drop(self.process);
        self.site
    }
}
