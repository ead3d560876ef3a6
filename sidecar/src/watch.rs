//! Wakes the loop when something changes in the log directory: inotify, with the caller's 1 s poll beside it.
//!
//! When to look is only a hint: what is missed (a full queue, no inotify at all, a directory that appears between two
//! looks) the poll finds. How many log files were made is not: it tells of those that are gone before anyone looked.
//! At most [`MAX_WAKES`] wakes a second.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_core::Stream;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::Instant;

use crate::files::FileName;
use crate::limits::{MAX_WAKES, POLL_INTERVAL};
use crate::tail::unseen::Made;
use crate::trouble::Trouble;

const EVENT_BUFFER: usize = 16 << 10;

/// What is to be looked at.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// The pod's directory, and everything in it.
    pub everything: bool,
    /// It is not known what was made, in any of them.
    pub blind: bool,
    /// The directories of these containers, and their files; how many log files were made in each.
    pub containers: BTreeMap<String, u64>,
}

impl Changed {
    const EVERYTHING: Self = Self { everything: true, blind: false, containers: BTreeMap::new() };

    /// What a container's directory has had made in it, if there is something to look at.
    pub fn of(&self, container: &str) -> Option<Made> {
        match self.containers.get(container) {
            _ if self.blind => Some(Made::Unknown),
            made => made.map(|made| Made::Files(*made)),
        }
    }
}

/// A watch on a pod's log directory.
#[derive(Debug)]
pub struct Watch {
    logs: PathBuf,
    /// `None`: there is no inotify here, the poll does it all.
    events: Option<EventStream<Vec<u8>>>,
    /// The container of each watch; `None` for the pod's own directory.
    watched: HashMap<WatchDescriptor, Option<String>>,
    /// Why a directory cannot be watched.
    unwatched: Trouble,
    not_before: Instant,
}

impl Watch {
    /// Watches `logs`, which need not exist yet. Never fails: without inotify, or too little of it, the poll stands in.
    /// Must be called inside the runtime.
    pub fn new(logs: &Path) -> Self {
        let events = Inotify::init().and_then(|inotify| inotify.into_event_stream(vec![0; EVENT_BUFFER]));
        if let Err(error) = &events {
            tracing::warn!(%error, "no inotify: the log directory is polled");
        }
        Self {
            logs: logs.to_owned(),
            events: events.ok(),
            watched: HashMap::new(),
            unwatched: Trouble::default(),
            not_before: Instant::now(),
        }
    }

    /// Waits for a change. May be dropped and called again at any time: nothing is lost.
    pub async fn changed(&mut self) -> Changed {
        // Asked first, because a timer of the runtime that is made and over at once wakes it again.
        if Instant::now() < self.not_before {
            tokio::time::sleep_until(self.not_before).await;
        }
        self.not_before = Instant::now() + Duration::from_secs(1) / MAX_WAKES;
        if self.watched.is_empty() && self.arm() {
            return Changed::EVERYTHING;
        }
        let is_blind = self.is_blind();
        let changed = self.drained();
        let changed = if is_blind {
            tokio::time::timeout(POLL_INTERVAL, changed).await.unwrap_or(Changed::EVERYTHING)
        } else {
            changed.await
        };
        self.follow(changed)
    }

    /// What has changed by now, without waiting.
    pub fn pending(&mut self) -> Option<Changed> {
        let changed = std::pin::pin!(self.drained()).poll(&mut Context::from_waker(Waker::noop()));
        match changed {
            Poll::Ready(changed) => Some(self.follow(changed)),
            Poll::Pending => None,
        }
    }

    /// All events that are there, once there are any. That none is left behind is what counting them rests on, so the
    /// runtime's budget does not end it.
    fn drained(&mut self) -> impl Future<Output = Changed> {
        tokio::task::unconstrained(std::future::poll_fn(|cx| self.poll(cx)))
    }

    fn follow(&mut self, mut changed: Changed) -> Changed {
        if changed.everything {
            self.arm();
        }
        changed.blind |= self.is_blind();
        changed
    }

    const fn is_blind(&self) -> bool {
        self.events.is_none() || self.unwatched.lasts()
    }

    /// Takes all events that are there.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Changed> {
        let mut changed = Changed::default();
        while let Some(events) = &mut self.events {
            match Pin::new(events).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(event))) => self.take(&event, &mut changed),
                Poll::Ready(Some(Err(_)) | None) => {
                    tracing::warn!("inotify failed: the log directory is polled");
                    self.events = None;
                }
            }
        }
        if changed == Changed::default() { Poll::Pending } else { Poll::Ready(changed) }
    }

    fn take(&mut self, event: &EventOwned, changed: &mut Changed) {
        changed.blind |= event.mask.contains(EventMask::Q_OVERFLOW);
        match self.container_of(event) {
            Some(container) => {
                *changed.containers.entry(container).or_default() += u64::from(makes_a_log_file(event));
            }
            None => changed.everything = true,
        }
    }

    fn container_of(&mut self, event: &EventOwned) -> Option<String> {
        let container = self.watched.get(&event.wd).cloned();
        if event.mask.contains(EventMask::IGNORED) {
            // The directory is gone.
            self.watched.remove(&event.wd);
        }
        container.flatten().filter(|_| !event.mask.contains(EventMask::Q_OVERFLOW))
    }

    /// Watches the pod's directory and those in it. Says whether any of them is watched.
    fn arm(&mut self) -> bool {
        let Some(events) = &mut self.events else { return false };
        let mut watches = events.watches();
        let names = WatchMask::CREATE | WatchMask::DELETE | WatchMask::MOVE | WatchMask::ONLYDIR;
        let files = names | WatchMask::MODIFY | WatchMask::DONT_FOLLOW;
        let mut failed = false;
        let mut add = |path: &Path, mask, container: Option<String>| match watches.add(path, mask) {
            Ok(watch) => drop(self.watched.insert(watch, container)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                failed = true;
                if self.unwatched.failed(&error) {
                    tracing::warn!(%error, path = %path.display(), "not watched, only polled");
                }
            }
        };
        add(&self.logs, names, None);
        for entry in std::fs::read_dir(&self.logs).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
            {
                add(&entry.path(), files, Some(name));
            }
        }
        if !failed && self.unwatched.is_over() {
            tracing::info!("all log directories are watched again");
        }
        !self.watched.is_empty()
    }
}

/// Whether a restart's live file was made, as each log file is before it is renamed.
fn makes_a_log_file(event: &EventOwned) -> bool {
    let name = || FileName::parse(event.name.as_ref()?.to_str()?);
    event.mask.contains(EventMask::CREATE) && name().is_some_and(|name| name.is_live())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(watch: &mut Watch, wanted: impl Fn(&Changed) -> bool) {
        let all = async { while !wanted(&watch.changed().await) {} };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("the change is announced");
    }

    /// All that is told, once it is told by the runtime.
    async fn told(watch: &mut Watch) -> Option<Made> {
        let pending = async {
            loop {
                match watch.pending() {
                    Some(changed) => return changed.of("app"),
                    None => tokio::task::yield_now().await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), pending).await.expect("the change is announced")
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn files_and_directories_that_appear_and_grow_are_announced() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            let mut watch = Watch::new(temp.path());
            until(&mut watch, |changed| changed.everything).await;
            std::fs::create_dir(temp.path().join("app")).unwrap();
            until(&mut watch, |changed| changed.everything).await;
            let app = |changed: &Changed| changed.of("app").is_some();
            let file = temp.path().join("app/0.log");
            std::fs::write(&file, "x").unwrap();
            until(&mut watch, app).await;
            std::fs::rename(&file, temp.path().join("app/0.log.1")).unwrap();
            until(&mut watch, app).await;
            std::fs::remove_dir_all(temp.path().join("app")).unwrap();
            until(&mut watch, |changed| changed.everything).await;
        });
    }

    #[test]
    fn a_log_directory_that_appears_later_is_watched_then() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            let logs = temp.path().join("pod");
            let mut watch = Watch::new(&logs);
            let none = tokio::time::timeout(Duration::from_millis(1), watch.changed()).await;
            assert!(none.is_err());
            std::fs::create_dir(&logs).unwrap();
            until(&mut watch, |changed| changed.everything).await;
        });
    }

    #[test]
    fn log_files_that_are_gone_again_were_told_of() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            let app = temp.path().join("app");
            std::fs::create_dir(&app).unwrap();
            let mut watch = Watch::new(temp.path());
            until(&mut watch, |changed| changed.everything).await;
            for n in 0..3 {
                std::fs::write(app.join("0.log"), "x").unwrap();
                std::fs::rename(app.join("0.log"), app.join(format!("0.log.{n}"))).unwrap();
                std::fs::remove_file(app.join(format!("0.log.{n}"))).unwrap();
            }
            std::fs::write(app.join("0.log.1.tmp"), "no log file").unwrap();
            assert_eq!(told(&mut watch).await, Some(Made::Files(3)));
            std::fs::write(app.join("0.log.1.tmp"), "still none").unwrap();
            assert_eq!(told(&mut watch).await, Some(Made::Files(0)));
            assert_eq!(watch.pending(), None);
        });
    }

    #[test]
    fn without_a_watch_nothing_is_known_of_what_was_made() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            let mut watch = Watch::new(temp.path());
            watch.events = None;
            until(&mut watch, |changed| changed.everything && changed.of("any") == Some(Made::Unknown)).await;
        });
    }
}
