//! The real programs: one call, its output, or an error that shows both.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// What a program printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a program that may take `limit`, with `input` on its standard input.
pub fn run(command: &mut Command, input: &str, limit: Duration) -> Result<Output> {
    use std::io::{Read as _, Write as _};
    let told = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {told}"))?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let input = input.to_owned();
    let writing = std::thread::spawn(move || {
        // A program that reads nothing closes the pipe.
        let _ = stdin.write_all(input.as_bytes());
    });
    let mut pipes = (child.stdout.take().context("no stdout")?, child.stderr.take().context("no stderr")?);
    let reading = std::thread::spawn(move || {
        let mut out = Vec::new();
        pipes.0.read_to_end(&mut out).map(|_| out)
    });
    let hearing = std::thread::spawn(move || {
        let mut err = Vec::new();
        pipes.1.read_to_end(&mut err).map(|_| err)
    });
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begun.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            bail!("{told} did not end within {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let join = |handle: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| -> Result<String> {
        Ok(text(handle.join().map_err(|_| anyhow::anyhow!("a reader of {told} panicked"))??))
    };
    let _ = writing.join();
    Ok(Output { code: status.code().unwrap_or(-1), out: join(reading)?, err: join(hearing)? })
}

/// The output of a program that must end well.
pub fn ok(command: &mut Command, input: &str, limit: Duration) -> Result<String> {
    let told = format!("{command:?}");
    let output = run(command, input, limit)?;
    ensure!(output.code == 0, "{told} ended with {}:\n{}{}", output.code, output.out, output.err);
    Ok(output.out)
}

/// Asks again until there is an answer; the last refusal is the error.
pub async fn wait<T>(what: &str, limit: Duration, mut ask: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if begun.elapsed() >= limit => {
                return Err(error.context(format!("not within {} s: {what}", limit.as_secs())));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

/// A program with `dir` first on its PATH.
pub fn with_path(command: &mut Command, dir: &Path) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(dir.to_owned()).chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(dirs).expect("directories of a PATH"));
}

/// Seconds: cases are timed in nothing else.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
