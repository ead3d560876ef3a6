//! What peers send to: lines over TCP and over RELP, and OTLP over HTTP; it counts, and keeps which lines have come.
//!
//! Runs in this program, on the core of the thread that starts it. [`Sink::pause`] takes it away as an outage does, its
//! connections with it; [`Sink::resume`] brings it back at the same addresses.

pub mod otlp;
pub mod relp;

use std::io::Read as _;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use hyper::StatusCode;

use crate::corpus::ID;

/// Most lines that are told apart by their numbers.
const MAX_LINES: usize = 1 << 24;

/// What has come.
#[derive(Debug, Default)]
pub struct Counts {
    lines: AtomicU64,
    bytes: AtomicU64,
    /// A bit for each line's number, where lines are looked at one by one.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    bits: Vec<u64>,
    different: u64,
}

impl Seen {
    fn take(&mut self, line: &[u8]) {
        // The payload begins behind time, stream and tag, and its number has its place in it.
        let payload = memchr::memchr(b'{', line).and_then(|at| line.get(at..));
        let id = payload.and_then(|payload| std::str::from_utf8(payload.get(ID)?).ok()?.parse::<usize>().ok());
        let Some(id) = id.filter(|id| *id < MAX_LINES) else { return };
        if self.bits.len() <= id / 64 {
            self.bits.resize(id / 64 + 1, 0);
        }
        let bit = 1 << (id % 64);
        self.different += u64::from(self.bits[id / 64] & bit == 0);
        self.bits[id / 64] |= bit;
    }
}

impl Counts {
    fn add(&self, lines: usize, bytes: usize) {
        self.lines.fetch_add(lines as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// One line that is told apart from others.
    fn line(&self, line: &[u8]) {
        self.add(1, line.len());
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).take(line);
    }

    /// Lines that differ in their numbers, of those that came over RELP.
    pub fn different(&self) -> u64 {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).different
    }

    /// Lines or log records.
    pub fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Bytes as they came, without the transport's own.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

/// How a connection is served; it returns when the connection ends.
type Serve = fn(TcpStream, &Counts);

/// One listener and its connections.
#[derive(Debug)]
struct Door {
    address: SocketAddr,
    serve: Serve,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    closing: Arc<AtomicBool>,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    thread: JoinHandle<()>,
}

impl Door {
    fn open(address: SocketAddr, serve: Serve, counts: &Arc<Counts>) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let closing = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (is_closing, kept, counts) = (Arc::clone(&closing), Arc::clone(&connections), Arc::clone(counts));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if is_closing.load(Ordering::Acquire) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (Ok(copy), Ok(end)) = (stream.try_clone(), stream.try_clone()) else { continue };
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(copy);
                let counts = Arc::clone(&counts);
                std::thread::spawn(move || {
                    serve(stream, &counts);
                    // The copy above keeps it open otherwise.
                    let _ = end.shutdown(Shutdown::Both);
                });
            }
        });
        Ok(Self { address, serve, open: Some(Open { closing, connections, thread }) })
    }

    fn close(&mut self) {
        let Some(Open { closing, connections, thread }) = self.open.take() else { return };
        closing.store(true, Ordering::Release);
        // Wakes the listener; if it cannot be reached it has ended already.
        let _ = TcpStream::connect(self.address);
        let _ = thread.join();
        for stream in connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The sink.
#[derive(Debug)]
pub struct Sink {
    counts: Arc<Counts>,
    lines: Door,
    relp: Door,
    otlp: Door,
}

impl Sink {
    /// Listens on loopback.
    pub fn start() -> Result<Self> {
        let counts = Arc::new(Counts::default());
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let door = |serve: Serve| Door::open(any, serve, &counts);
        let (lines, relp, otlp) = (door(lines)?, door(relp_lines)?, door(otlp_records)?);
        Ok(Self { counts, lines, relp, otlp })
    }

    /// Where lines go, each with a newline.
    pub const fn lines_address(&self) -> SocketAddr {
        self.lines.address
    }

    /// Where RELP goes.
    pub const fn relp_address(&self) -> SocketAddr {
        self.relp.address
    }

    /// Where OTLP over HTTP/1.1 goes, protobuf, not compressed.
    pub const fn otlp_address(&self) -> SocketAddr {
        self.otlp.address
    }

    /// What has come.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// An outage begins.
    pub fn pause(&mut self) {
        for door in [&mut self.lines, &mut self.relp, &mut self.otlp] {
            door.close();
        }
    }

    /// It is over.
    pub fn resume(&mut self) -> Result<()> {
        for door in [&mut self.lines, &mut self.relp, &mut self.otlp] {
            if door.open.is_none() {
                *door = Door::open(door.address, door.serve, &self.counts)?;
            }
        }
        Ok(())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.pause();
    }
}

fn lines(mut stream: TcpStream, counts: &Counts) {
    let mut buffer = vec![0; 1 << 18];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(n) => counts.add(memchr::memchr_iter(b'\n', &buffer[..n]).count(), n),
        }
    }
}

impl relp::Taker for &Counts {
    fn line(&mut self, line: &[u8]) {
        Counts::line(self, line);
    }

    fn keep(&mut self) -> Result<()> {
        Ok(())
    }
}

fn relp_lines(stream: TcpStream, counts: &Counts) {
    // A connection that ends in the middle is an outage, which is what it is for.
    let _ = relp::serve(stream, &mut &*counts);
}

fn otlp_records(stream: TcpStream, counts: &Counts) {
    otlp::serve(stream, &|body: Bytes| {
        let bytes = body.len();
        match otlp::records(body) {
            Some(records) => {
                counts.add(records.len(), bytes);
                StatusCode::OK
            }
            None => StatusCode::BAD_REQUEST,
        }
    });
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::corpus::{Corpus, Workload};
    use crate::process::eventually;

    #[test]
    fn lines_over_relp_are_answered_and_those_that_come_twice_are_told() {
        let sink = Sink::start().unwrap();
        let mut stream = TcpStream::connect(sink.relp_address()).unwrap();
        let (mut corpus, mut lines) = (Corpus::new(Workload::W1, 1), Vec::new());
        for _ in 0..2 {
            let mut line = Vec::new();
            corpus.cri_line("now", &mut line);
            line.pop();
            lines.push(String::from_utf8(line).unwrap());
        }
        stream.write_all(b"1 open 14 relp_version=0\n").unwrap();
        for (number, line) in (2..).zip([&lines[0], &lines[1], &lines[0]]) {
            writeln!(stream, "{number} syslog {} {line}", line.len()).unwrap();
        }
        stream.write_all(b"5 close 0\n").unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert!(answers.starts_with("1 rsp 67 200 OK\n"), "{answers}");
        assert!(answers.ends_with("\n4 rsp 6 200 OK\n5 rsp 0\n0 serverclose 0\n"), "{answers}");
        assert_eq!((sink.counts().lines(), sink.counts().different()), (3, 2));
    }

    #[test]
    fn lines_are_counted_before_and_after_an_outage() {
        let mut sink = Sink::start().unwrap();
        let wait = |sink: &Sink, lines| {
            let come = || Ok((sink.counts().lines() == lines).then_some(()));
            eventually("lines have come", crate::limits::READY, come).unwrap();
        };
        let mut stream = TcpStream::connect(sink.lines_address()).unwrap();
        stream.write_all(b"one\ntwo\nthr").unwrap();
        wait(&sink, 2);
        sink.pause();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0, "an outage ends connections");
        assert!(TcpStream::connect(sink.lines_address()).is_err(), "and refuses others");
        sink.resume().unwrap();
        TcpStream::connect(sink.lines_address()).unwrap().write_all(b"three\n").unwrap();
        wait(&sink, 3);
        assert_eq!(sink.counts().bytes(), 17);
    }
}
