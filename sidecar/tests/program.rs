//! The program as a process: what it refuses, how it idles, and one line of a log file on its way to a receipt.

#![expect(clippy::unwrap_used, reason = "everything here is a test")]

#[expect(dead_code, reason = "what it can do is for the other tests of this folder")]
mod pool;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use indelible_chain::frame::Upload;
use indelible_chain::record::Records;
use indelible_chain::stored::Packer;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::pool::{Authority, Collector, Names, Scripted};

const PATIENCE: Duration = Duration::from_mins(1);
const PROGRAM: &str = env!("CARGO_BIN_EXE_indelible-sidecar");

/// `{"kubernetes.io":{"namespace":"shop","pod":{"name":"web-0","uid":"u-1"},"serviceaccount":{"name":"web"}}}`
const PAYLOAD: &str = "eyJrdWJlcm5ldGVzLmlvIjp7Im5hbWVzcGFjZSI6InNob3AiLCJwb2QiOnsibmFtZSI6IndlYi0wIiwidWlkIjoidS0xIn0sInNlcnZpY2VhY2NvdW50Ijp7Im5hbWUiOiJ3ZWIifX19";

/// A pod's directories and files.
struct Pod {
    dir: tempfile::TempDir,
    authority: Authority,
}

/// A process that does not outlive its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    async fn ended(mut self) -> Output {
        until("the process ends", async || self.0.try_wait().unwrap().is_some()).await;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        std::io::Read::read_to_end(self.0.stdout.as_mut().unwrap(), &mut stdout).unwrap();
        std::io::Read::read_to_end(self.0.stderr.as_mut().unwrap(), &mut stderr).unwrap();
        Output { status: self.0.wait().unwrap(), stdout, stderr }
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Pod {
    fn new() -> Self {
        let pod = Self { dir: tempfile::tempdir().unwrap(), authority: Authority::new() };
        std::fs::create_dir_all(pod.path("logs/app")).unwrap();
        std::fs::write(pod.path("ca.pem"), &pod.authority.pem).unwrap();
        std::fs::write(pod.path("token"), format!("aGVhZA.{PAYLOAD}.c2ln")).unwrap();
        pod
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, url: &str, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        for (flag, name) in [("--logs", "logs"), ("--state", "state"), ("--ca", "ca.pem"), ("--token", "token")] {
            command.arg(flag).arg(self.path(name));
        }
        command.args(["--collectors", url]).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn start(&self, url: &str, more: &[&str]) -> Running {
        Running(self.command(url, more).spawn().unwrap())
    }

    async fn armed(&self) {
        until("armed", async || armed(&self.path("state"))).await;
    }
}

fn armed(state: &Path) -> bool {
    Command::new(PROGRAM).args(["armed", "--state"]).arg(state).stderr(Stdio::null()).status().unwrap().success()
}

fn payloads(collector: &Collector) -> Vec<String> {
    let mut packer = Packer::new().unwrap();
    let mut all = Vec::new();
    for bytes in &collector.seen().batches {
        let upload = Upload::decode(bytes).unwrap();
        let body = packer.unpack(upload.body, 1 << 20).unwrap();
        all.extend(Records::new(body).map(|record| String::from_utf8(record.unwrap().payload.to_vec()).unwrap()));
    }
    all
}

#[tokio::test]
async fn a_line_is_delivered_and_sigterm_closes_the_chain() {
    let pod = Pod::new();
    let collector = Collector::start(&pod.authority, "a", Names::Ours).await;
    std::fs::write(pod.path("logs/app/0.log"), "2026-11-23T10:15:00.5Z stdout F hello\n").unwrap();
    let sidecar = pod.start(&collector.url(), &[]);
    until("the line is there", async || payloads(&collector).iter().any(|payload| payload == "hello")).await;
    pod.armed().await;
    sidecar.signal(Signal::TERM);
    let output = sidecar.ended().await;
    assert!(output.status.success(), "{output:?}");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.lines().count() == 1 && stderr.contains("shop/web-0"), "little to say when all goes well: {stderr}");
    let payloads = payloads(&collector);
    let expected = [r#"{"kind":"container-started","restart":0}"#, "hello", r#"{"kind":"end","reason":"terminated"}"#];
    assert_eq!(payloads, expected);
    let seen = collector.seen();
    assert!(Upload::decode(seen.batches.last().unwrap()).unwrap().commitment.is_final);
    assert_eq!(seen.heartbeats.last().unwrap().heads, [], "one more heartbeat after the last FINAL");
}

#[tokio::test]
async fn what_could_not_be_delivered_is_said_when_the_grace_period_is_over() {
    let pod = Pod::new();
    let collector = Collector::start(&pod.authority, "a", Names::Ours).await;
    collector.seen().script = std::iter::repeat_n(Scripted::status(503), 10_000).collect();
    std::fs::create_dir(pod.path("logs/quiet")).unwrap();
    // More than may be read without receipts.
    let line = format!("2026-11-23T10:15:00.5Z stdout F {}\n", "x".repeat(1 << 10));
    std::fs::write(pod.path("logs/app/0.log"), line.repeat(6 << 10)).unwrap();
    let message = pod.path("message");
    let sidecar =
        pod.start(&collector.url(), &["--grace-period", "2s", "--termination-message", message.to_str().unwrap()]);
    until("it was tried", async || !collector.seen().batches.is_empty()).await;
    sidecar.signal(Signal::TERM);
    let output = sidecar.ended().await;
    assert!(output.status.success());
    let (stderr, message) = (String::from_utf8(output.stderr).unwrap(), std::fs::read_to_string(message).unwrap());
    assert!(message.contains("not delivered: container app, records 0 to "), "{message}");
    let unread = |container: &str| -> u64 {
        let line = message.lines().find(|line| line.starts_with(&format!("not closed: container {container}, ")));
        let unread = line.and_then(|line| line.rsplit(", ").next()?.split(' ').next());
        unread.unwrap_or_else(|| panic!("{message}")).parse().unwrap()
    };
    assert!(unread("app") > 1 << 20, "{message}");
    assert_eq!(unread("quiet"), 0);
    assert!(stderr.ends_with(&message), "{stderr}");
}

/// What a runtime does before it starts us.
fn open_own_log(pod: &Pod) {
    std::fs::create_dir(pod.path("logs/indelible-sidecar")).unwrap();
    std::fs::write(pod.path("logs/indelible-sidecar/0.log"), "").unwrap();
}

#[tokio::test]
async fn logs_that_cannot_be_read_are_said_by_the_session_and_captured_by_the_next_once_they_can() {
    let pod = Pod::new();
    let collector = Collector::start(&pod.authority, "a", Names::Ours).await;
    std::fs::write(pod.path("logs/app/0.log"), "2026-11-23T10:15:00.5Z stdout F hello\n").unwrap();
    let message = pod.path("message");
    let flags = ["--own-container", "indelible-sidecar", "--fail-open", "--termination-message"];
    let mut command = Command::new(PROGRAM);
    for (flag, name) in [("--logs", "logs"), ("--state", "state"), ("--token", "token")] {
        command.arg(flag).arg(pod.path(name));
    }
    command.args(["--collectors", &collector.url()]).args(flags).arg(&message);
    command.env("INDELIBLE_CA_PEM", &pod.authority.pem);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());

    let start = |command: &mut Command| Running(command.spawn().unwrap());
    let excluded = || collector.seen().session.as_ref().map(|session| session.excluded.clone());
    let sidecar = start(&mut command);
    pod.armed().await;
    until("a heartbeat", async || !collector.seen().heartbeats.is_empty()).await;
    assert_eq!(excluded().as_deref(), Some("*"));
    assert!(collector.seen().chains.is_empty() && collector.seen().batches.is_empty(), "nothing is given up as lost");
    sidecar.signal(Signal::TERM);
    let output = sidecar.ended().await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("podLogsDir"), "{stderr}");
    let last = std::fs::read_to_string(&message).unwrap();
    assert!(last.starts_with("nothing was captured: ") && last.contains("podLogsDir"), "{last}");

    let sidecar = start(&mut command);
    pod.armed().await;
    open_own_log(&pod);
    until("the line is there", async || payloads(&collector).iter().any(|payload| payload == "hello")).await;
    assert_eq!(excluded().as_deref(), Some("indelible-sidecar"));
    sidecar.signal(Signal::TERM);
    assert!(sidecar.ended().await.status.success());
}

#[tokio::test]
async fn where_a_pod_must_be_audited_it_does_not_start_without_logs_and_the_probe_says_why() {
    let pod = Pod::new();
    let _sidecar = pod.start("https://127.0.0.1:1", &["--own-container", "indelible-sidecar"]);
    let mut said = String::new();
    until("the probe says why", async || {
        let output = Command::new(PROGRAM).args(["armed", "--state"]).arg(pod.path("state")).output().unwrap();
        assert!(!output.status.success());
        said = String::from_utf8(output.stderr).unwrap();
        said.contains("podLogsDir")
    })
    .await;
    open_own_log(&pod);
    pod.armed().await;
}

#[tokio::test]
async fn a_second_sigterm_does_not_cut_short_what_the_first_began() {
    let pod = Pod::new();
    let collector = Collector::start(&pod.authority, "a", Names::Ours).await;
    std::fs::write(pod.path("logs/app/0.log"), "2026-11-23T10:15:00.5Z stdout F hello\n").unwrap();
    let sidecar = pod.start(&collector.url(), &[]);
    until("the line is there", async || payloads(&collector).iter().any(|payload| payload == "hello")).await;
    collector.seen().script = std::iter::repeat_n(Scripted::status(503), 10_000).collect();
    let final_tried = || {
        let last = collector.seen().batches.last().cloned().unwrap();
        Upload::decode(&last).unwrap().commitment.is_final
    };
    sidecar.signal(Signal::TERM);
    until("the end is tried", async || final_tried()).await;
    sidecar.signal(Signal::TERM);
    collector.seen().script.clear();
    let output = sidecar.ended().await;
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && !stderr.contains("not closed"), "{stderr}");
    assert!(final_tried());
}

#[tokio::test]
async fn an_identity_that_the_token_contradicts_is_one_line_and_exit_2() {
    let pod = Pod::new();
    let output = pod.start("https://127.0.0.1:1", &["--pod-name", "web-1"]).ended().await;
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr.lines().count(), 1);
    assert!(stderr.contains("--pod-name") && stderr.contains("web-0"), "{stderr}");
    assert!(!pod.path("state").exists(), "nothing was touched");
}

#[tokio::test]
async fn missing_files_are_one_line_that_names_the_flag_and_exit_2() {
    for (file, flag) in [("token", "--token"), ("ca.pem", "--ca")] {
        let pod = Pod::new();
        std::fs::remove_file(pod.path(file)).unwrap();
        let output = pod.start("https://127.0.0.1:1", &[]).ended().await;
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(flag) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[tokio::test]
async fn with_fail_open_a_fatal_error_is_said_once_and_the_pod_starts_all_the_same() {
    let pod = Pod::new();
    std::fs::remove_file(pod.path("token")).unwrap();
    let sidecar = pod.start("https://127.0.0.1:1", &["--fail-open"]);
    pod.armed().await;
    sidecar.signal(Signal::TERM);
    let output = sidecar.ended().await;
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}

#[tokio::test]
async fn with_fail_open_the_pod_starts_after_a_wrong_flag_and_without_logs_that_can_be_listed() {
    let pod = Pod::new();
    let sidecar = pod.start("https://127.0.0.1:1", &["--fail-open", "--copies", "9"]);
    pod.armed().await;
    sidecar.signal(Signal::TERM);
    let output = sidecar.ended().await;
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);

    let pod = Pod::new();
    std::fs::remove_dir_all(pod.path("logs")).unwrap();
    std::fs::write(pod.path("logs"), "no directory").unwrap();
    let sidecar = pod.start("https://127.0.0.1:1", &["--fail-open", "--grace-period", "1s"]);
    pod.armed().await;
    sidecar.signal(Signal::TERM);
    let output = sidecar.ended().await;
    assert!(output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("start all the same"));
}

#[tokio::test]
async fn a_scrape_tells_of_lag_gaps_and_chains_that_took_over() {
    let pod = Pod::new();
    let collector = Collector::start(&pod.authority, "a", Names::Ours).await;
    // The container was restarted before anybody looked.
    std::fs::write(pod.path("logs/app/1.log"), "2026-11-23T10:15:00.5Z stdout F hello\n").unwrap();
    let mut sidecar = pod.start(&collector.url(), &["--metrics", "127.0.0.1:0"]);
    let mut stderr = BufReader::new(sidecar.0.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "no address");
        if let Some((_, address)) = line.trim_end().split_once("address=") {
            break address.to_owned();
        }
    };
    sidecar.0.stderr = Some(stderr.into_inner());
    let delivered = "indelible_sidecar_batches_receipted_total 2";
    until("delivered", async || scrape(&address).await.lines().any(|line| line == delivered)).await;
    let text = scrape(&address).await;
    for line in [
        "indelible_sidecar_resumed_total{reason=\"state-lost\"} 1",
        "indelible_sidecar_resumed_total{reason=\"reboot\"} 0",
        "indelible_sidecar_gap_bytes_total 0",
        "indelible_sidecar_record_lag_seconds 0.0",
        "indelible_sidecar_state_write_failures_total 0",
        "indelible_sidecar_suspended_chains 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in:\n{text}");
    }
}

async fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn the_memory_of_a_running_sidecar_is_closed_to_its_own_user() {
    let pod = Pod::new();
    let sidecar = pod.start("https://127.0.0.1:1", &[]);
    pod.armed().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", sidecar.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // Files of a process that is not dumpable belong to root whoever runs it.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/mem", sidecar.0.id())).unwrap());
    assert_eq!(owner, 0);
    sidecar.signal(Signal::TERM);
    sidecar.signal(Signal::INT);
    assert!(sidecar.ended().await.status.success(), "a second signal ends at once");
}
