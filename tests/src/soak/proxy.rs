//! A bad network: a TCP proxy before each collector that delays, slows down, swallows, cuts and resets.
//!
//! Before several servers it is what a Service is: each connection goes to any of those that can be reached.
//!
//! What it passes on is encrypted, so it can neither repeat nor reorder requests within a connection; chunks of different
//! connections overtake each other because each waits for its own time. Whole requests are repeated and reordered by
//! [`super::replayer`].

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::tamper::Rng;

/// Bytes that are passed on at a time.
const CHUNK: usize = 16 << 10;
/// Connections at a time; more are refused.
const MAX_CONNECTIONS: usize = 256;

/// How the network is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mood {
    /// Each chunk waits up to so long.
    pub delay: Duration,
    /// At most so many bytes a second and connection; 0: any.
    pub rate: u64,
    /// Nothing is passed on, and nothing is closed.
    pub swallows: bool,
    /// New connections are closed at once.
    pub refuses: bool,
    /// Raised to close all connections, in the middle of a chunk.
    pub cuts: u64,
    /// Raised to reset all connections.
    pub resets: u64,
}

/// A proxy.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    servers: Arc<Mutex<Vec<String>>>,
    mood: watch::Sender<Mood>,
}

impl Proxy {
    /// One that passes on to nobody yet.
    pub fn start(runtime: &Runtime, seed: u64) -> Result<Self> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let servers = Arc::new(Mutex::new(Vec::new()));
        let (mood, moods) = watch::channel(Mood::default());
        runtime.spawn(serve(listener, Arc::clone(&servers), moods, seed));
        Ok(Self { address, servers, mood })
    }

    /// Whom it passes on to.
    pub fn serve(&self, servers: Vec<String>) {
        *self.servers.lock().unwrap_or_else(PoisonError::into_inner) = servers;
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// What sidecars take for the collector.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Changes how the network is.
    pub fn change(&self, change: impl FnOnce(&mut Mood)) {
        self.mood.send_modify(change);
    }
}

async fn serve(listener: TcpListener, servers: Arc<Mutex<Vec<String>>>, moods: watch::Receiver<Mood>, seed: u64) {
    let room = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
    let mut number = 0;
    while let Ok((client, _)) = listener.accept().await {
        number += 1;
        let Ok(room) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (servers, moods) = (servers.lock().unwrap_or_else(PoisonError::into_inner).clone(), moods.clone());
        tokio::spawn(async move {
            let _room = room;
            if !moods.borrow().refuses
                && let Some(server) = connect(servers, Rng::new(seed, number)).await
            {
                pass(client, server, moods, (seed, number)).await;
            }
        });
    }
}

/// Connects to one of them, to another if that one cannot be reached.
async fn connect(mut servers: Vec<String>, mut rng: Rng) -> Option<TcpStream> {
    while !servers.is_empty() {
        let server = servers.swap_remove(rng.below(servers.len()));
        if let Ok(server) = TcpStream::connect(server).await {
            return Some(server);
        }
    }
    None
}

async fn pass(mut client: TcpStream, mut server: TcpStream, moods: watch::Receiver<Mood>, (seed, number): (u64, u64)) {
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(from_client, to_server, moods.clone(), Rng::new(seed, 2 * number));
        let down = pump(from_server, to_client, moods, Rng::new(seed, 2 * number + 1));
        // Either side may end it.
        tokio::select! { end = up => end, end = down => end }
    };
    if end == End::Reset {
        for stream in [&client, &server] {
            // Where it cannot be set, the connection is closed in good order.
            let _ = stream.set_zero_linger();
        }
    }
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

/// One direction, until it is over.
async fn pump(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut moods: watch::Receiver<Mood>, mut rng: Rng) -> End {
    let begun = *moods.borrow();
    let mut chunk = vec![0; CHUNK];
    loop {
        let mood = *moods.borrow_and_update();
        if mood.resets != begun.resets {
            return End::Reset;
        }
        if mood.cuts != begun.cuts {
            return End::Closed;
        }
        if mood.swallows {
            if moods.changed().await.is_err() {
                return End::Closed;
            }
            continue;
        }
        let read = tokio::select! {
            read = from.read(&mut chunk) => read.unwrap_or(0),
            _ = moods.changed() => continue,
        };
        if read == 0 {
            return End::Closed;
        }
        let delay = u64::try_from(mood.delay.as_micros()).unwrap_or(0);
        let slow = (read as u64 * 1_000_000).checked_div(mood.rate).unwrap_or(0);
        let wait = Duration::from_micros(if delay == 0 { slow } else { slow + rng.number() % delay });
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = moods.changed() => {}
            }
        }
        // A cut falls into the middle of what is under way.
        let end = if moods.borrow().cuts == begun.cuts { read } else { rng.below(read) };
        if to.write_all(&chunk[..end]).await.is_err() {
            return End::Closed;
        }
    }
}
