//! Wakes the loop when something changes in the log directory: inotify, with the caller's 1 s poll beside it.
//!
//! Only a hint. What is missed (a full queue, no inotify at all, a directory that appears between two looks) the poll
//! finds; nothing that matters to the evidence is decided here. At most [`MAX_WAKES`] wakes a second.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};
use tokio::time::Instant;

use crate::limits::MAX_WAKES;

const EVENT_BUFFER: usize = 16 << 10;

/// What is to be looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    /// The directories of these containers, and their files.
    Containers(BTreeSet<String>),
    /// The pod's directory, and everything in it.
    Everything,
}

/// A watch on a pod's log directory.
#[derive(Debug)]
pub struct Watch {
    logs: PathBuf,
    /// `None`: there is no inotify here, the poll does it all.
    events: Option<EventStream<Vec<u8>>>,
    /// The container of each watch; `None` for the pod's own directory.
    watched: HashMap<WatchDescriptor, Option<String>>,
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
        Self { logs: logs.to_owned(), events: events.ok(), watched: HashMap::new(), not_before: Instant::now() }
    }

    /// Waits for a change. May be dropped and called again at any time: nothing is lost.
    pub async fn changed(&mut self) -> Changed {
        // Asked first, because a timer of the runtime that is made and over at once wakes it again.
        if Instant::now() < self.not_before {
            tokio::time::sleep_until(self.not_before).await;
        }
        self.not_before = Instant::now() + Duration::from_secs(1) / MAX_WAKES;
        if self.watched.is_empty() && self.arm() {
            return Changed::Everything;
        }
        let changed = std::future::poll_fn(|cx| self.poll(cx)).await;
        if changed == Changed::Everything {
            self.arm();
        }
        changed
    }

    /// Takes all events that are there.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Changed> {
        let mut containers = BTreeSet::new();
        let mut everything = false;
        while let Some(events) = &mut self.events {
            match Pin::new(events).poll_next(cx) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(event))) => match self.container_of(&event) {
                    Some(container) => drop(containers.insert(container)),
                    None => everything = true,
                },
                Poll::Ready(Some(Err(_)) | None) => {
                    tracing::warn!("inotify failed: the log directory is polled");
                    self.events = None;
                }
            }
        }
        match (everything, containers.is_empty()) {
            (true, _) => Poll::Ready(Changed::Everything),
            (false, false) => Poll::Ready(Changed::Containers(containers)),
            (false, true) => Poll::Pending,
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
        let mut add = |path: &Path, mask, container: Option<String>| match watches.add(path, mask) {
            Ok(watch) => drop(self.watched.insert(watch, container)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, path = %path.display(), "not watched, only polled"),
        };
        add(&self.logs, names, None);
        for entry in std::fs::read_dir(&self.logs).into_iter().flatten().flatten() {
            if let Ok(name) = entry.file_name().into_string()
                && entry.file_type().is_ok_and(|kind| kind.is_dir())
            {
                add(&entry.path(), files, Some(name));
            }
        }
        !self.watched.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn until(watch: &mut Watch, wanted: impl Fn(&Changed) -> bool) {
        let all = async { while !wanted(&watch.changed().await) {} };
        tokio::time::timeout(Duration::from_secs(20), all).await.expect("the change is announced");
    }

    fn run(test: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
    }

    #[test]
    fn files_and_directories_that_appear_and_grow_are_announced() {
        run(async {
            let temp = tempfile::tempdir().unwrap();
            let mut watch = Watch::new(temp.path());
            until(&mut watch, |changed| *changed == Changed::Everything).await;
            std::fs::create_dir(temp.path().join("app")).unwrap();
            until(&mut watch, |changed| *changed == Changed::Everything).await;
            let app = |changed: &Changed| *changed == Changed::Containers(BTreeSet::from(["app".to_owned()]));
            let file = temp.path().join("app/0.log");
            std::fs::write(&file, "x").unwrap();
            until(&mut watch, app).await;
            std::fs::rename(&file, temp.path().join("app/0.log.1")).unwrap();
            until(&mut watch, app).await;
            std::fs::remove_dir_all(temp.path().join("app")).unwrap();
            until(&mut watch, |changed| *changed == Changed::Everything).await;
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
            until(&mut watch, |changed| *changed == Changed::Everything).await;
        });
    }
}
