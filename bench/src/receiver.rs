//! A receiver that keeps lines: each is in a file of its directory before it is acknowledged, so that no kill loses one.
//!
//! In the page cache, that is: `write` and not `fdatasync`, as a receiver of RELP or OTLP does that has no better word. What
//! cannot be written is not acknowledged: over RELP the connection ends, over OTLP the answer is 503.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hyper::StatusCode;

use crate::sink::{otlp, relp};

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Protocol {
    /// RELP.
    Relp,
    /// OTLP over HTTP/1.1, protobuf.
    Otlp,
}

/// The file that lines are appended to.
#[derive(Debug)]
pub struct Kept {
    file: Mutex<(File, u64)>,
    slow: Duration,
}

impl Kept {
    /// `lines` in this directory; each append takes at least so long.
    pub fn open(dir: &Path, slow: Duration) -> Result<Self> {
        let path = dir.join("lines");
        let file = File::options()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .with_context(|| path.display().to_string())?;
        Self::of(file, slow)
    }

    /// What a process that was killed wrote last may be the beginning of a line: that was not acknowledged, and is cut off.
    fn of(file: File, slow: Duration) -> Result<Self> {
        let mut end = file.metadata()?.len();
        let mut byte = [0];
        while end > 0 && (File::read_at(&file, &mut byte, end - 1)? == 1 && byte != *b"\n") {
            end -= 1;
        }
        file.set_len(end)?;
        Ok(Self { file: Mutex::new((file, end)), slow })
    }

    /// Appends whole lines; all or none of them are there afterwards.
    pub fn append(&self, text: &[u8]) -> Result<()> {
        use std::io::Write as _;
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, end) = &mut *guard;
        std::thread::sleep(self.slow);
        if let Err(error) = file.write_all(text) {
            // Room for a part of it: the lines of that part would come again, and the last is not whole.
            file.set_len(*end).context("cutting off what was written in part")?;
            return Err(error).context("appending lines");
        }
        *end += text.len() as u64;
        Ok(())
    }
}

/// The lines of one RELP connection that are not answered yet.
struct Pending<'a> {
    kept: &'a Kept,
    text: Vec<u8>,
}

impl relp::Taker for Pending<'_> {
    fn line(&mut self, line: &[u8]) {
        self.text.extend_from_slice(line);
        self.text.push(b'\n');
    }

    fn keep(&mut self) -> Result<()> {
        if !self.text.is_empty() {
            self.kept.append(&self.text)?;
            self.text.clear();
        }
        Ok(())
    }
}

fn take(kept: &Kept, body: Bytes) -> StatusCode {
    let lines: Option<Vec<_>> = otlp::records(body).and_then(|records| records.into_iter().map(otlp::line).collect());
    let Some(lines) = lines else { return StatusCode::BAD_REQUEST };
    let mut text = lines.join("\n");
    text.push('\n');
    if lines.is_empty() || kept.append(text.as_bytes()).is_ok() {
        StatusCode::OK
    } else {
        // By the specification what a client sends again.
        StatusCode::SERVICE_UNAVAILABLE
    }
}

/// Serves whoever connects, a thread each; it ends with the process.
pub fn serve(listener: &TcpListener, protocol: Protocol, kept: &Arc<Kept>) {
    for stream in listener.incoming().flatten() {
        let kept = Arc::clone(kept);
        std::thread::spawn(move || connection(stream, protocol, &kept));
    }
}

fn connection(stream: TcpStream, protocol: Protocol, kept: &Kept) {
    match protocol {
        Protocol::Relp => {
            if let Err(error) = relp::serve(stream, &mut Pending { kept, text: Vec::new() }) {
                eprintln!("a connection ends: {error:#}");
            }
        }
        Protocol::Otlp => otlp::serve(stream, &|body| take(kept, body)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use super::*;

    fn relp(kept: Kept, frames: &[u8]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || serve(&listener, Protocol::Relp, &Arc::new(kept)));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(frames).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        answers
    }

    #[test]
    fn a_line_is_in_the_file_once_it_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let kept = Kept::open(dir.path(), Duration::ZERO).unwrap();
        let answers = relp(kept, b"1 open 0\n2 syslog 3 one\n3 syslog 3 two\n4 close 0\n");
        assert!(answers.ends_with("2 rsp 6 200 OK\n3 rsp 6 200 OK\n4 rsp 0\n0 serverclose 0\n"), "{answers}");
        assert_eq!(std::fs::read_to_string(dir.path().join("lines")).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn nothing_is_acknowledged_that_a_full_disk_does_not_take() {
        let full = || {
            let file = File::options().write(true).open("/dev/full").unwrap();
            Kept { file: Mutex::new((file, 0)), slow: Duration::ZERO }
        };
        let answers = relp(full(), b"2 syslog 3 one\n");
        assert_eq!(answers, "");
        // resource { scope { record { body { string: "x" } } } }
        let body = Bytes::from_static(b"\x0a\x09\x12\x07\x12\x05\x2a\x03\x0a\x01x");
        assert_eq!(take(&full(), body.clone()), StatusCode::SERVICE_UNAVAILABLE);
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(take(&Kept::open(dir.path(), Duration::ZERO).unwrap(), body), StatusCode::OK);
        assert_eq!(std::fs::read_to_string(dir.path().join("lines")).unwrap(), "x\n");
    }

    #[test]
    fn the_beginning_of_a_line_that_a_kill_left_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("lines"), "one\ntw").unwrap();
        Kept::open(dir.path(), Duration::ZERO).unwrap().append(b"two\n").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("lines")).unwrap(), "one\ntwo\n");
    }
}
