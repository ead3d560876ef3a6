//! Doing again what was recorded, at the recorded times or a multiple of the speed.
//!
//! The operations come strictly in the recorded order, each no earlier than its time; when the machine is late they
//! come as fast as it can until it has caught up. As the runtime does, the replay writes to the file it has open,
//! whatever that is called by then. A descriptor is closed once its file is not touched any more.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use super::{Action, Inode, Trace};

/// How many seconds of the recording go by in one second.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Speed(f64);

impl Speed {
    /// As it was recorded.
    pub const REAL: Self = Self(1.0);

    /// A multiple of the recorded speed. Beyond about 10 a rotated file lives for less than 100 ms, shorter than any
    /// kubelet lets it.
    pub fn times(factor: f64) -> Result<Self> {
        ensure!((1e-3..=1e6).contains(&factor), "a speed is a factor from 0.001 to 1000000, not {factor}");
        Ok(Self(factor))
    }

    /// The factor.
    pub const fn factor(self) -> f64 {
        self.0
    }
}

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Operations done.
    pub operations: usize,
    /// The recorded time of the last of them.
    pub at: Duration,
    /// It will not come any further: all is done, it was stopped, or it failed.
    pub ended: bool,
}

/// A replay that is running on its own thread. Dropping it stops it.
#[derive(Debug)]
pub struct Replay {
    trace: Arc<Trace>,
    shared: Arc<Shared>,
    stop: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<Result<Vec<Range<Timestamp>>>>>,
}

/// A replay that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replayed {
    /// How far it came.
    pub progress: Progress,
    /// Of each operation that was done: the moments just before and just after it.
    pub moments: Vec<Range<Timestamp>>,
}

#[derive(Debug, Default)]
struct Shared {
    done: AtomicUsize,
    ended: Mutex<bool>,
    /// Notified after each operation.
    moved: Condvar,
}

impl Replay {
    /// Begins to replay below `root`, a directory that is there.
    pub fn start(trace: &Arc<Trace>, root: impl Into<PathBuf>, speed: Speed) -> Self {
        let (stop, stopped) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let thread = {
            let (trace, shared, root) = (Arc::clone(trace), Arc::clone(&shared), root.into());
            thread::spawn(move || {
                let outcome = run(&trace, &root, speed, &stopped, &shared);
                *shared.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
                shared.moved.notify_all();
                outcome
            })
        };
        Self { trace: Arc::clone(trace), shared, stop: Some(stop), thread: Some(thread) }
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        let ended = *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        self.progress_with(ended)
    }

    /// Waits until the operations up to a time of the recording are done, or the replay has ended before.
    pub fn wait_until(&self, at: Duration) -> Progress {
        let due = self.trace.operations().partition_point(|operation| operation.at <= at);
        let ended = self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |ended: &mut bool| !*ended && self.shared.done.load(Ordering::Acquire) < due;
        let ended = self.shared.moved.wait_while(ended, waiting).unwrap_or_else(PoisonError::into_inner);
        self.progress_with(*ended)
    }

    /// Ends it before its time, and says how far it came.
    pub fn stop(mut self) -> Result<Replayed> {
        self.stop = None;
        self.join()
    }

    /// Waits for its end, and says how far it came: a failed operation is an error, being stopped is not.
    pub fn join(mut self) -> Result<Replayed> {
        let thread = self.thread.take().context("it is joined once")?;
        let moments = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(Replayed { progress: self.progress(), moments })
    }

    fn progress_with(&self, ended: bool) -> Progress {
        let operations = self.shared.done.load(Ordering::Acquire);
        let last = operations.checked_sub(1).map(|last| &self.trace.operations()[last]);
        Progress { operations, at: last.map_or(Duration::ZERO, |operation| operation.at), ended }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // Its outcome was not asked for.
            let _ = thread.join();
        }
    }
}

fn run(
    trace: &Trace,
    root: &Path,
    speed: Speed,
    stopped: &mpsc::Receiver<()>,
    shared: &Shared,
) -> Result<Vec<Range<Timestamp>>> {
    let operations = trace.operations();
    let last_use: HashMap<Inode, usize> = operations
        .iter()
        .enumerate()
        .filter_map(|(index, operation)| Some((operation.action.inode()?, index)))
        .collect();
    let mut open = HashMap::new();
    let mut moments = Vec::with_capacity(operations.len());
    let start = Instant::now();
    for (index, operation) in operations.iter().enumerate() {
        let due = operation.at.div_f64(speed.0);
        match stopped.recv_timeout(due.saturating_sub(start.elapsed())) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return Ok(moments),
        }
        let before = Timestamp::now();
        perform(&operation.action, root, &mut open)
            .with_context(|| format!("replaying operation {index} at {:?}", operation.at))?;
        moments.push(before..Timestamp::now());
        if let Some(inode) = operation.action.inode().filter(|inode| last_use[inode] == index) {
            open.remove(&inode);
        }
        // Under the lock, so that nobody who waits looks between the count and the call.
        let ended = shared.ended.lock().unwrap_or_else(PoisonError::into_inner);
        shared.done.store(index + 1, Ordering::Release);
        drop(ended);
        shared.moved.notify_all();
    }
    Ok(moments)
}

fn perform(action: &Action, root: &Path, open: &mut HashMap<Inode, File>) -> Result<()> {
    match action {
        // A pod's directory may be there already: its sidecar was started first.
        Action::MakeDir { path } => fs::create_dir_all(root.join(path)).with_context(|| format!("making {path}")),
        Action::RemoveDir { path } => fs::remove_dir(root.join(path)).with_context(|| format!("removing {path}")),
        Action::Create { path, inode } => {
            let file = OpenOptions::new().append(true).create_new(true).open(root.join(path));
            open.insert(*inode, file.with_context(|| format!("creating {path}"))?);
            Ok(())
        }
        Action::Append { inode, bytes } => {
            let mut file = open.get(inode).context("a file grew before it was created")?;
            file.write_all(bytes).context("appending")
        }
        Action::Rename { inode: _, path, to } => {
            fs::rename(root.join(path), root.join(to)).with_context(|| format!("renaming {path} to {to}"))
        }
        Action::Unlink { inode: _, path } => {
            fs::remove_file(root.join(path)).with_context(|| format!("deleting {path}"))
        }
    }
}
