//! A running collector, by its URL.
//!
//! Its checkpoints are fetched before its frames, so that what it shows can be held against what it has signed. Where it
//! sends frames out of order, or none where it says that there are some, that is an error that names it: a source that
//! cannot be read is never one that has nothing. What it calls itself is a claim; the policy decides.

use std::time::Duration;

use indelible_chain::bytes::{DecodeError, Reader};
use indelible_chain::checkpoint::Origin;
use indelible_chain::frame::WireFrame;
use indelible_chain::id::LeafIndex;
use indelible_chain::tile::{BundleId, TILE_WIDTH, completed_by_growth, partial_tiles};
use indelible_chain::verify::Frame;
use serde::Deserialize;

use super::http::{Client, FetchError};
use super::{NamedNote, OwnedFrame, SeeTile, TileFile};
use crate::limits::{
    MAX_CHECKPOINT_BYTES, MAX_CHECKPOINT_PAGES, MAX_FETCHED_CHECKPOINTS, MAX_JSON_BYTES, READ_AHEAD_BYTES,
    READ_AHEAD_FRAMES, TILES_AT_ONCE,
};
use crate::text::one_line;

/// A collector that answers.
#[derive(Debug)]
pub struct Collector {
    client: Client,
    log: Option<About>,
    /// Frames from `ahead[0].index` on that were read with one that was asked for.
    ahead: Vec<OwnedFrame>,
}

/// What `/v1/log` says.
#[derive(Debug, Clone, Deserialize)]
pub struct About {
    /// The name that the log gives itself.
    pub origin: String,
    /// Leaves under its newest checkpoint.
    pub size: u64,
}

/// A chain as `/v1/chains` lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct ListedChain {
    pub chain_id: String,
    pub genesis: String,
    pub next_seq: u64,
    pub first_time: Option<i64>,
    pub last_time: Option<i64>,
    pub closed: bool,
}

/// A session that is alive, as `/v1/coverage` lists it.
#[derive(Debug, Clone, Deserialize)]
pub struct Alive {
    pub session_id: String,
    pub pod_uid: String,
    pub chains: Vec<AliveChain>,
    /// Nanoseconds since 1970.
    pub last_heartbeat: i64,
}

/// A chain of it.
#[derive(Debug, Clone, Deserialize)]
pub struct AliveChain {
    pub container: String,
    pub next_seq: u64,
}

impl Collector {
    /// Behind this client; nothing is asked yet.
    pub const fn new(client: Client) -> Self {
        Self { client, log: None, ahead: Vec::new() }
    }

    /// Its URL, or its pod's name.
    pub fn label(&self) -> &str {
        self.client.label()
    }

    /// The origin that it gives itself, once it was asked.
    pub fn claimed(&self) -> Option<&str> {
        self.log.as_ref().map(|log| log.origin.as_str())
    }

    /// What it says of itself.
    pub fn about(&mut self) -> Result<About, FetchError> {
        let about: About = self.json("/v1/log")?;
        self.log = Some(about.clone());
        Ok(about)
    }

    /// The checkpoints that it keeps and its newest one, the newest first; of many, the newest ones.
    pub fn checkpoints(&mut self) -> Result<Vec<NamedNote>, FetchError> {
        let mut notes = vec![("checkpoint".to_owned(), self.newest()?)];
        let mut sizes: Vec<u64> = Vec::new();
        for pages in 0.. {
            if pages == MAX_CHECKPOINT_PAGES {
                let why = format!(
                    "its list of checkpoints has more than {MAX_CHECKPOINT_PAGES} pages, the most that are read"
                );
                return Err(self.nonsense("/v1/checkpoints", &why));
            }
            let after = sizes.last().copied().unwrap_or(0);
            let page: Vec<u64> = self.json(&format!("/v1/checkpoints?after={after}"))?;
            let ascends = page.first().is_none_or(|first| *first > after || sizes.is_empty()) && page.is_sorted();
            if !ascends {
                return Err(self.nonsense("/v1/checkpoints", "its list of checkpoints does not ascend"));
            }
            if page.is_empty() || page.last() == sizes.last() {
                break;
            }
            sizes.extend(page);
            sizes.drain(..sizes.len().saturating_sub(MAX_FETCHED_CHECKPOINTS));
        }
        for size in sizes.into_iter().rev() {
            let note = self.client.get(&format!("/v1/checkpoints/{size}"), MAX_CHECKPOINT_BYTES)?;
            notes.push((format!("checkpoints/{size}"), note));
        }
        Ok(notes)
    }

    /// The newest checkpoint alone.
    pub fn newest(&mut self) -> Result<Vec<u8>, FetchError> {
        let log = self.log_path()?;
        self.client.get(&format!("{log}/checkpoint"), MAX_CHECKPOINT_BYTES)
    }

    /// The leaves `[from, to)` in log order.
    pub fn frames(&mut self, from: u64, to: u64, see: &mut dyn FnMut(Frame<'_>)) -> Result<(), FetchError> {
        let mut next = from;
        while next < to {
            let before = next;
            next = self.some_frames(next, to, Duration::ZERO, see)?;
            if next == before {
                let why = format!("leaf {next} is under its checkpoint, and it does not give it");
                return Err(self.nonsense("/v1/frames", &why));
            }
        }
        Ok(())
    }

    /// One leaf once more. Records are read in about the order of the log, so the ones after it are kept for a while.
    pub fn frame(&mut self, index: LeafIndex) -> Result<Option<OwnedFrame>, FetchError> {
        let place = |ahead: &[OwnedFrame]| {
            let first = ahead.first()?.index.get();
            ahead.get(usize::try_from(index.get().checked_sub(first)?).ok()?).cloned()
        };
        if let Some(frame) = place(&self.ahead) {
            return Ok(Some(frame));
        }
        let mut ahead = Vec::new();
        let mut bytes = 0;
        self.some_frames(index.get(), index.plus(READ_AHEAD_FRAMES).get(), Duration::ZERO, &mut |frame| {
            if bytes < READ_AHEAD_BYTES {
                ahead.push(OwnedFrame::from(frame));
                bytes += ahead.last().map_or(0, OwnedFrame::len);
            }
        })?;
        self.ahead = ahead;
        Ok(place(&self.ahead))
    }

    /// As many of the leaves `[from, to)` as it gives in one answer, waiting for the first one; gives where it ended.
    pub fn some_frames(
        &mut self,
        from: u64,
        to: u64,
        wait: Duration,
        see: &mut dyn FnMut(Frame<'_>),
    ) -> Result<u64, FetchError> {
        let waiting = if wait.is_zero() { String::new() } else { format!("&wait={}s", wait.as_secs()) };
        let path = format!("/v1/frames?from={from}&to={to}{waiting}");
        let mut answer = self.client.stream(&path, wait)?;
        let mut buffer: Vec<u8> = Vec::new();
        let mut next = from;
        let mut ended = false;
        while !ended {
            match answer.next() {
                Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
                Ok(None) => ended = true,
                // What came whole stands; the rest is asked for again, as long as there is some progress.
                Err(_) if next > from => return Ok(next),
                Err(e) => return Err(e),
            }
            let used = self.whole_frames(&buffer, &mut next, to, see)?;
            buffer.drain(..used);
        }
        if buffer.is_empty() { Ok(next) } else { Err(self.nonsense(&path, "the answer ends inside a frame")) }
    }

    /// Shows the whole frames at the start of `buffer`; gives how many bytes they take.
    fn whole_frames(
        &self,
        buffer: &[u8],
        next: &mut u64,
        to: u64,
        see: &mut dyn FnMut(Frame<'_>),
    ) -> Result<usize, FetchError> {
        let mut reader = Reader::new(buffer);
        loop {
            let mut ahead = reader.clone();
            if ahead.rest().is_empty() {
                return Ok(buffer.len());
            }
            match WireFrame::decode_from(&mut ahead) {
                Ok(WireFrame { index, leaf, body }) if index.get() == *next && *next < to => {
                    see(Frame { index, leaf, body, flaw: None });
                    *next += 1;
                    reader = ahead;
                }
                Ok(WireFrame { index, .. }) => {
                    return Err(self.nonsense("/v1/frames", &format!("it gave leaf {index} where leaf {next} was due")));
                }
                Err(DecodeError::Truncated { .. }) if reader.rest().len() < WireFrame::MAX_BYTES => {
                    return Ok(buffer.len() - reader.rest().len());
                }
                Err(e) => return Err(self.nonsense("/v1/frames", &format!("leaf {next}: {e}"))),
            }
        }
    }

    /// The tiles and bundles of its log of `size` leaves.
    pub fn tiles(&mut self, size: u64, see: SeeTile<'_>) -> Result<(), FetchError> {
        let log = self.log_path()?;
        let tiles = completed_by_growth(0, size).chain(partial_tiles(size)).map(TileFile::Tile);
        let bundles = (0..size.div_ceil(TILE_WIDTH.into())).filter_map(|n| BundleId::in_tree(size, n));
        let mut files = tiles.chain(bundles.map(TileFile::Bundle)).peekable();
        while files.peek().is_some() {
            let some: Vec<TileFile> = files.by_ref().take(TILES_AT_ONCE).collect();
            let paths: Vec<String> = some.iter().map(|file| format!("{log}/{}", file.path())).collect();
            let limit = some.iter().map(|file| file.max_bytes()).max().unwrap_or(0);
            for (file, answer) in some.into_iter().zip(self.client.get_all(&paths, limit)) {
                match answer {
                    Ok(bytes) => see(file, Ok(&bytes)),
                    // A partial tile is served while its size is published; its leaves were all read.
                    Err(FetchError::NotFound { .. }) if !file.is_full() => {}
                    Err(e @ (FetchError::NotFound { .. } | FetchError::TooLarge { .. })) => {
                        see(file, Err(&e.to_string()));
                    }
                    Err(e) => return Err(e),
                }
            }
        }
        Ok(())
    }

    /// The chains that it lists, by chain id, up to `limit`.
    pub fn chains(&mut self, filter: &str, limit: usize) -> Result<Vec<ListedChain>, FetchError> {
        let mut chains: Vec<ListedChain> = Vec::new();
        while chains.len() < limit {
            let after = chains.last().map(|chain| format!("&after={}", chain.chain_id)).unwrap_or_default();
            let page: Vec<ListedChain> = self.json(&format!("/v1/chains?limit=1000{filter}{after}"))?;
            if page.is_empty() {
                break;
            }
            let last = chains.last().map(|chain| chain.chain_id.as_str());
            if page.first().is_some_and(|first| last.is_some_and(|last| first.chain_id.as_str() <= last)) {
                return Err(self.nonsense("/v1/chains", "its list of chains does not ascend"));
            }
            chains.extend(page);
        }
        chains.truncate(limit);
        Ok(chains)
    }

    /// The sessions that it has heard of, by session id, up to `limit`.
    pub fn coverage(&mut self, limit: usize) -> Result<Vec<Alive>, FetchError> {
        let mut sessions: Vec<Alive> = Vec::new();
        loop {
            let after = sessions.last().map(|of| format!("&after={}", of.session_id)).unwrap_or_default();
            let page: Vec<Alive> = self.json(&format!("/v1/coverage?limit=1000{after}"))?;
            if page.is_empty() {
                return Ok(sessions);
            }
            let last = sessions.last().map(|of| of.session_id.as_str());
            if page.first().is_some_and(|first| last.is_some_and(|last| first.session_id.as_str() <= last)) {
                return Err(self.nonsense("/v1/coverage", "its list of sessions does not ascend"));
            }
            sessions.extend(page);
            if sessions.len() > limit {
                return Err(self.nonsense("/v1/coverage", &format!("it lists more than {limit} sessions")));
            }
        }
    }

    /// One tile or bundle.
    pub fn tile(&mut self, file: TileFile) -> Result<Vec<u8>, FetchError> {
        let path = format!("{}/{}", self.log_path()?, file.path());
        self.client.get(&path, file.max_bytes())
    }

    /// The batches of a chain with a record in `[from, to)`.
    pub fn batches(
        &mut self,
        chain: &str,
        from: u64,
        to: u64,
        see: &mut dyn FnMut(Frame<'_>),
    ) -> Result<(), FetchError> {
        let path = format!("/v1/chains/{chain}/batches?from={from}&to={to}");
        let mut answer = self.client.stream(&path, Duration::ZERO)?;
        let mut buffer: Vec<u8> = Vec::new();
        while let Some(chunk) = answer.next()? {
            buffer.extend_from_slice(&chunk);
            let mut reader = Reader::new(&buffer);
            let mut used = 0;
            while let Ok(WireFrame { index, leaf, body }) = WireFrame::decode_from(&mut reader) {
                see(Frame { index, leaf, body, flaw: None });
                used = buffer.len() - reader.rest().len();
            }
            buffer.drain(..used);
            if buffer.len() > WireFrame::MAX_BYTES {
                return Err(self.nonsense(&path, "a frame is over the limit"));
            }
        }
        Ok(())
    }

    fn log_path(&mut self) -> Result<String, FetchError> {
        let origin = match &self.log {
            Some(log) => log.origin.clone(),
            None => self.about()?.origin,
        };
        let origin: Origin = origin.parse().map_err(|_| self.nonsense("/v1/log", "its origin is none"))?;
        Ok(format!("/logs/{}", origin.log_id()))
    }

    fn json<T: for<'a> Deserialize<'a>>(&mut self, path: &str) -> Result<T, FetchError> {
        let bytes = self.client.get(path, MAX_JSON_BYTES)?;
        serde_json::from_slice(&bytes)
            .map_err(|e| self.nonsense(path, &format!("not the JSON that was asked for: {e}")))
    }

    fn nonsense(&self, path: &str, why: &str) -> FetchError {
        let path = path.split('?').next().unwrap_or_default();
        FetchError::Nonsense { url: format!("{}{path}", self.client.label()), why: one_line(why) }
    }
}

impl TileFile {
    const fn is_full(self) -> bool {
        match self {
            Self::Tile(tile) => tile.is_full(),
            Self::Bundle(bundle) => bundle.is_full(),
        }
    }
}
