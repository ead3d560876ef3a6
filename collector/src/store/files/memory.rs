//! The data directory in memory: the twin that fails, tears and loses power on demand.
//!
//! It keeps what a disk would: what is in the page cache and what is durable, for contents and for names apart. Every
//! step that changes something is counted; [`Fault`] says which of them goes wrong and how. [`MemoryFiles::restarted`]
//! is what the next process finds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{Files, Grow, ReadAt, Space, parent};

/// How a step goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does nothing and says so.
    NotDone,
    /// It does all and reports an error nevertheless.
    DoneButError,
    /// A sync reports an error, and the system takes what it could not write for written (as Linux does): it can be read
    /// until the power goes, no later sync writes it, and only writing it again makes it durable. Another step does nothing.
    FailedClean,
    /// An append does its first bytes, this share of 256ths, and reports an error; another step does nothing.
    Torn(u8),
    /// The process is killed before it.
    KilledBefore,
    /// The process is killed after it.
    KilledAfter,
}

/// Which step goes wrong, counted from 0, and how.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// The step.
    pub at: usize,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// How the next process comes to find the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Only the process ended: what was not synced is there, and still is not synced.
    Process,
    /// The power went: nothing is left but what was synced.
    Power,
    /// The power went after the disk had stored this share, in 256ths, of the bytes that were not synced.
    PowerTorn(u8),
    /// The power went after the disk had stored what was not synced out of order: zeros first, then the last half.
    PowerOutOfOrder,
}

#[derive(Clone, Debug, Default)]
struct Node {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Bytes from the start for which blocks are set aside.
    reserved: u64,
    /// Bytes of `live` that the page cache takes for written and the disk does not have.
    lost: BTreeSet<usize>,
}

impl Node {
    /// Makes everything durable that the page cache still wants to write.
    fn sync(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.live.clone());
        for at in &self.lost {
            self.durable[*at] = before.get(*at).copied().unwrap_or(0);
        }
    }

    /// Takes everything for written, and writes nothing.
    fn forget_to_sync(&mut self) {
        let lost = (0..self.live.len()).filter(|at| self.durable.get(*at) != self.live.get(*at));
        self.lost.extend(lost);
    }
}

#[derive(Clone, Debug, Default)]
struct Disk {
    nodes: Vec<Node>,
    /// Names of files (with their node) and directories (without one).
    live: BTreeMap<String, Option<usize>>,
    durable: BTreeMap<String, Option<usize>>,
    locked: bool,
    free: u64,
    fault: Option<Fault>,
    killed: bool,
    steps: Vec<String>,
}

/// A directory in memory. Clones are handles of one directory.
#[derive(Clone, Debug, Default)]
pub struct MemoryFiles(Arc<Mutex<Disk>>);

/// Bytes of the volume that are free at first.
const FREE: u64 = 1 << 40;

impl MemoryFiles {
    /// An empty directory.
    pub fn new() -> Self {
        let root = BTreeMap::from([(String::new(), None)]);
        let disk = Disk { live: root.clone(), durable: root, free: FREE, ..Disk::default() };
        Self(Arc::new(Mutex::new(disk)))
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no test panics while it holds the disk")
    }

    /// Lets a step go wrong.
    pub fn fail(&self, fault: Fault) {
        self.disk().fault = Some(fault);
    }

    /// Sets the free bytes of the volume.
    pub fn set_free(&self, bytes: u64) {
        self.disk().free = bytes;
    }

    /// The steps so far, each with its path.
    pub fn steps(&self) -> Vec<String> {
        self.disk().steps.clone()
    }

    /// What the next process finds, without faults.
    pub fn restarted(&self, how: Restart) -> Self {
        let mut disk = self.disk().clone();
        if how != Restart::Process {
            disk.lose_power(how);
        }
        (disk.fault, disk.killed, disk.locked) = (None, false, false);
        disk.steps.clear();
        Self(Arc::new(Mutex::new(disk)))
    }

    /// The files with their contents.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let disk = self.disk();
        let files = disk.live.iter().filter_map(|(path, node)| Some((path.clone(), disk.nodes[(*node)?].live.clone())));
        files.collect()
    }

    /// Bytes of the volume that each file takes.
    pub fn taken(&self) -> BTreeMap<String, u64> {
        let disk = self.disk();
        let node = |node: usize| disk.nodes[node].reserved.max(disk.nodes[node].live.len() as u64);
        disk.live.iter().filter_map(|(path, at)| Some((path.clone(), node((*at)?)))).collect()
    }

    /// Changes a file behind the store's back, durably.
    pub fn tamper(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        let node = disk.live[path].expect("a file is tampered with, not a directory");
        change(&mut disk.nodes[node].live);
        disk.nodes[node].durable = disk.nodes[node].live.clone();
        disk.nodes[node].lost.clear();
    }

    /// Removes a file behind the store's back, durably.
    pub fn remove(&self, path: &str) {
        let mut disk = self.disk();
        disk.live.remove(path);
        disk.durable.remove(path);
    }

    /// Puts a file there behind the store's back, durably.
    pub fn place(&self, path: &str, bytes: &[u8]) {
        let mut disk = self.disk();
        disk.nodes.push(Node { live: bytes.to_vec(), durable: bytes.to_vec(), ..Node::default() });
        let node = Some(disk.nodes.len() - 1);
        disk.live.insert(path.to_owned(), node);
        disk.durable.insert(path.to_owned(), node);
    }

    fn step(&self, what: &str, path: &str, done: impl FnOnce(&mut Disk, Part) -> io::Result<()>) -> io::Result<()> {
        let mut disk = self.disk();
        if disk.killed {
            return Err(io::Error::other("the process was killed"));
        }
        let at = disk.steps.len();
        disk.steps.push(format!("{what} {path}"));
        let failed = || Err(io::Error::other(format!("injected at step {at}: {what} {path}")));
        match disk.fault.filter(|fault| fault.at == at).map(|fault| fault.outcome) {
            None => done(&mut disk, Part::All),
            Some(Outcome::NotDone) => failed(),
            Some(Outcome::DoneButError) => done(&mut disk, Part::All).and_then(|()| failed()),
            Some(Outcome::FailedClean) => done(&mut disk, Part::Clean).and_then(|()| failed()),
            Some(Outcome::Torn(share)) => done(&mut disk, Part::Share(share)).and_then(|()| failed()),
            Some(Outcome::KilledBefore) => {
                disk.killed = true;
                failed()
            }
            Some(Outcome::KilledAfter) => {
                done(&mut disk, Part::All)?;
                disk.killed = true;
                failed()
            }
        }
    }

    fn grow(&self, path: &str, node: usize) -> Box<dyn Grow> {
        Box::new(MemoryFile { files: self.clone(), path: path.to_owned(), node })
    }
}

/// How much of a step is done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Share(u8),
    /// A sync's pages are taken for written.
    Clean,
}

impl Disk {
    /// What was stored under these names never changes; writing it again must be writing the same.
    fn assert_immutable(&self, path: &str, node: usize) {
        let immutable = ["tile/", "checkpoints/", "torn/"].iter().any(|dir| path.starts_with(dir));
        if let Some(Some(before)) = self.live.get(path).filter(|_| immutable) {
            assert!(self.nodes[*before].live == self.nodes[node].live, "{path} was changed");
        }
    }

    fn lose_power(&mut self, how: Restart) {
        for node in &mut self.nodes {
            let synced = node.durable.len().min(node.live.len());
            node.live[..synced].copy_from_slice(&node.durable[..synced]);
            for at in std::mem::take(&mut node.lost).range(synced..) {
                node.live[*at] = 0;
            }
            let unsynced = node.live.len() - synced;
            match how {
                Restart::Process => {}
                Restart::Power => node.live.clone_from(&node.durable),
                Restart::PowerTorn(share) => node.live.truncate(synced + unsynced * usize::from(share) / 256),
                Restart::PowerOutOfOrder => node.live[synced..synced + unsynced / 2].fill(0),
            }
            node.durable.clone_from(&node.live);
        }
        // A name is lost with the directory above it; shorter paths come first.
        let mut kept = BTreeMap::new();
        for (path, node) in std::mem::take(&mut self.durable) {
            if path.is_empty() || kept.get(parent(&path)) == Some(&None) {
                kept.insert(path, node);
            }
        }
        self.live.clone_from(&kept);
        self.durable = kept;
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        self.live.get(path).copied().flatten().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn new_file(&mut self, path: &str) -> io::Result<()> {
        if self.live.get(parent(path)) != Some(&None) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.nodes.push(Node::default());
        self.live.insert(path.to_owned(), Some(self.nodes.len() - 1));
        Ok(())
    }
}

impl Files for MemoryFiles {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let disk = self.disk();
        if disk.live.get(dir) != Some(&None) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = disk.live.keys().filter(|path| !path.is_empty() && parent(path) == dir);
        Ok(inside.map(|path| path.rsplit('/').next().unwrap_or(path).to_owned()).collect())
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>> {
        let node = self.disk().file(path)?;
        Ok(Arc::new(MemoryFile { files: self.clone(), path: path.to_owned(), node }))
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn Grow>> {
        self.step("create", path, |disk, part| match disk.live.contains_key(path) {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false if part == Part::All => disk.new_file(path),
            false => Ok(()),
        })?;
        let node = self.disk().file(path)?;
        Ok(self.grow(path, node))
    }

    fn create_temporary(&self, path: &str) -> io::Result<Box<dyn Grow>> {
        self.step("create temporary", path, |disk, part| match part {
            Part::All => disk.new_file(path),
            Part::Share(_) | Part::Clean => Ok(()),
        })?;
        let node = self.disk().file(path)?;
        Ok(self.grow(path, node))
    }

    fn extend(&self, path: &str) -> io::Result<Box<dyn Grow>> {
        let node = self.disk().file(path)?;
        Ok(self.grow(path, node))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.step("rename to", to, |disk, part| {
            let node = disk.file(from)?;
            if part == Part::All {
                disk.assert_immutable(to, node);
                disk.live.remove(from);
                disk.live.insert(to.to_owned(), Some(node));
            }
            Ok(())
        })
    }

    fn make_dir(&self, dir: &str) -> io::Result<()> {
        if self.disk().live.get(dir) == Some(&None) {
            return Ok(());
        }
        self.step("make directory", dir, |disk, part| {
            if part == Part::All {
                disk.live.insert(dir.to_owned(), None);
            }
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.step("sync directory", dir, |disk, part| {
            if part == Part::All {
                let inside = |path: &String| !path.is_empty() && parent(path) == dir;
                disk.durable.retain(|path, _| !inside(path));
                let live: Vec<_> =
                    disk.live.iter().filter(|(path, _)| inside(path)).map(|(p, n)| (p.clone(), *n)).collect();
                disk.durable.extend(live);
            }
            Ok(())
        })
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn Debug + Send + Sync>> {
        if self.disk().locked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        if self.disk().file(path).is_err() {
            self.step("create", path, |disk, _| disk.new_file(path))?;
        }
        self.disk().locked = true;
        Ok(Box::new(MemoryLock(self.clone())))
    }

    fn space(&self) -> io::Result<Space> {
        let free = self.disk().free;
        Ok(Space { free, total: free })
    }

    fn name(&self) -> String {
        "memory".into()
    }
}

#[derive(Debug)]
struct MemoryLock(MemoryFiles);

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.disk().locked = false;
    }
}

#[derive(Debug)]
struct MemoryFile {
    files: MemoryFiles,
    path: String,
    node: usize,
}

impl ReadAt for MemoryFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.files.disk();
        let bytes = &disk.nodes[self.node].live;
        let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.files.disk().nodes[self.node].live.len() as u64)
    }
}

impl Grow for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.files.step("append", &self.path, |disk, part| {
            let n = match part {
                Part::All => bytes.len(),
                Part::Share(share) => bytes.len() * usize::from(share) / 256,
                Part::Clean => 0,
            };
            disk.nodes[self.node].live.extend_from_slice(&bytes[..n]);
            Ok(())
        })
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.files.step("sync", &self.path, |disk, part| {
            match part {
                Part::All => disk.nodes[self.node].sync(),
                Part::Clean => disk.nodes[self.node].forget_to_sync(),
                Part::Share(_) => {}
            }
            Ok(())
        })
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.sync_data()
    }

    fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.files.step("reserve", &self.path, |disk, part| {
            if part == Part::All {
                disk.nodes[self.node].reserved = bytes;
            }
            Ok(())
        })
    }

    fn rewrite(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.files.step("rewrite", &self.path, |disk, part| {
            if part == Part::All {
                let start = usize::try_from(offset).expect("a file in memory has offsets in memory");
                let node = &mut disk.nodes[self.node];
                node.live[start..start + bytes.len()].copy_from_slice(bytes);
                node.lost.retain(|at| !(start..start + bytes.len()).contains(at));
            }
            Ok(())
        })
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.files.step("cut", &self.path, |disk, part| {
            if part == Part::All {
                disk.nodes[self.node].reserved = length;
                let length = usize::try_from(length).expect("a file in memory has a length in memory");
                disk.nodes[self.node].live.truncate(length);
                disk.nodes[self.node].lost.split_off(&length);
            }
            Ok(())
        })
    }
}
