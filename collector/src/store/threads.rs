//! The store's two threads, and the queue that leads to the writer.
//!
//! Owns back-pressure: the queue is bounded in requests and in bytes, and what does not fit is told so at once. The
//! writer takes all that waits into one group; the tree ticks beside it, so that a tick never delays a commit. When
//! either ends without having been told to, the store has stopped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use indelible_chain::statement::{SealReason, Statement};
use tokio::sync::oneshot;

use super::append::{Append, AppendError, Appended};
use super::commit::{Durable, Writer};
use super::error::Fatal;
use super::shared::Shared;
use super::tree::Tree;
use crate::clock::Clock;
use crate::failpoint::failpoint;
use crate::limits;

type Answer = Result<Durable<Appended>, AppendError>;

struct Request {
    item: Append,
    weight: usize,
    answer: oneshot::Sender<Answer>,
}

enum ToWriter {
    Append(Box<Request>),
    Seal(SealReason, oneshot::Sender<Result<(), Fatal>>),
}

/// The tree is told to take in everything and end; it answers when that is public.
struct Finish(oneshot::Sender<Result<(), Fatal>>);

/// What waits for the writer, and whether more may.
#[derive(Debug, Default)]
struct Queue {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    sealing: AtomicBool,
}

/// The threads of an open store.
#[derive(Debug)]
pub struct Threads {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    /// `None` only while the threads are being ended.
    senders: Option<Senders>,
    handles: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Senders {
    writer: SyncSender<ToWriter>,
    tree: mpsc::Sender<Finish>,
}

impl Drop for Threads {
    /// Waits until neither thread writes any more: only then may the directory's lock be released.
    fn drop(&mut self) {
        self.senders = None;
        for handle in self.handles.drain(..) {
            // A panic was told by its `Alarm`.
            let _ = handle.join();
        }
    }
}

/// Says that the store has stopped if a thread ends by a panic.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(Fatal::new("one of its threads panicked"));
        }
    }
}

impl Threads {
    /// Starts both.
    pub fn start(
        shared: &Arc<Shared>,
        writer: Writer,
        tree: Tree,
        clock: Arc<dyn Clock>,
        interval: Duration,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let (to_writer, requests) = mpsc::sync_channel(limits::QUEUED_APPENDS);
        let (to_tree, finish) = mpsc::channel();
        let alarm = || Alarm(shared.clone());
        let (writer_alarm, tree_alarm, writer_queue) = (alarm(), alarm(), queue.clone());
        let senders = Some(Senders { writer: to_writer, tree: to_tree });
        let mut threads = Self { shared: shared.clone(), queue, senders, handles: Vec::new() };
        threads.handles.push(thread::Builder::new().name("writer".into()).spawn(move || {
            write(writer, &requests, &writer_queue, &writer_alarm.0);
        })?);
        threads.handles.push(thread::Builder::new().name("tree".into()).spawn(move || {
            let _alarm = tree_alarm;
            grow(tree, &finish, &*clock, interval);
        })?);
        Ok(threads)
    }

    /// Hands an item to the writer and waits for its answer.
    pub async fn append(&self, item: Append) -> Answer {
        if let Some(fatal) = self.shared.stopped() {
            return Err(fatal.into());
        }
        if self.is_sealing() {
            return Err(AppendError::Sealed);
        }
        let Some(senders) = &self.senders else { return Err(self.ended()) };
        let weight = item.weight();
        let (answer, answered) = oneshot::channel();
        self.queue.enter(weight)?;
        if let Err(error) = senders.writer.try_send(ToWriter::Append(Box::new(Request { item, weight, answer }))) {
            self.queue.leave(weight);
            return Err(match error {
                TrySendError::Full(_) => AppendError::Busy,
                TrySendError::Disconnected(_) => self.ended(),
            });
        }
        answered.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Why nothing is answered any more.
    fn ended(&self) -> AppendError {
        self.shared.stopped().map_or(AppendError::Sealed, AppendError::Fatal)
    }

    /// Whether nothing new is taken.
    pub fn is_sealing(&self) -> bool {
        self.queue.sealing.load(Ordering::Acquire)
    }

    /// Requests and bytes that wait.
    pub fn waiting(&self) -> (usize, usize) {
        (self.queue.requests.load(Ordering::Relaxed), self.queue.bytes.load(Ordering::Relaxed))
    }

    /// Answers what waits, says that the log is sealed, and publishes the last checkpoint.
    pub async fn seal(&self, reason: SealReason) -> Result<(), Fatal> {
        let ended = || self.shared.stopped().unwrap_or_else(|| Fatal::new("the log was sealed before"));
        self.queue.sealing.store(true, Ordering::Release);
        let senders = self.senders.as_ref().ok_or_else(ended)?;
        let (said, saying) = oneshot::channel();
        let mut message = ToWriter::Seal(reason, said);
        // The queue may be full of what is to be answered first.
        while let Err(error) = senders.writer.try_send(message) {
            message = match error {
                TrySendError::Full(message) => message,
                TrySendError::Disconnected(_) => return Err(ended()),
            };
            tokio::time::sleep(limits::SEAL_RETRY).await;
        }
        saying.await.unwrap_or_else(|_| Err(ended()))?;
        let (done, finished) = oneshot::channel();
        senders.tree.send(Finish(done)).map_err(|_| ended())?;
        finished.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Queue {
    fn enter(&self, weight: usize) -> Result<(), AppendError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let bytes = self.bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        if bytes > limits::QUEUED_APPEND_BYTES {
            self.leave(weight);
            return Err(AppendError::Busy);
        }
        Ok(())
    }

    fn leave(&self, weight: usize) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
        self.bytes.fetch_sub(weight, Ordering::Relaxed);
    }
}

/// The writer's thread: everything that waits becomes one group.
fn write(mut writer: Writer, requests: &Receiver<ToWriter>, queue: &Queue, shared: &Shared) {
    let mut wait = Duration::ZERO;
    loop {
        let received = requests.recv_timeout(wait.min(limits::LOOK_AT_VOLUME));
        let _busy = shared.begin();
        let mut next = match received {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => {
                // For those who ask whether there is space; a group looks by itself.
                let _ = writer.space();
                None
            }
            // The store was dropped: as a crash.
            Err(RecvTimeoutError::Disconnected) => return,
        };
        let (mut items, mut answers, mut weight, mut sealed) = (Vec::new(), Vec::new(), 0, None);
        while let Some(message) = next {
            match message {
                ToWriter::Append(request) => {
                    queue.leave(request.weight);
                    weight += request.weight;
                    items.push(request.item);
                    answers.push(request.answer);
                }
                ToWriter::Seal(reason, done) => {
                    sealed = Some((reason, done));
                    break;
                }
            }
            let room = items.len() < limits::GROUP_ITEMS && weight < limits::GROUP_BYTES;
            next = if room { requests.try_recv().ok() } else { None };
        }
        if !items.is_empty() && commit(&mut writer, items, answers).is_err() {
            break;
        }
        if let Some((reason, done)) = sealed {
            failpoint("seal");
            // Crash before this is durable: the log is unsealed, and its next start goes on as after any crash.
            let _ = done.send(writer.say(vec![Statement::Sealed { reason }]));
            break;
        }
        match writer.keep_alive() {
            Ok(nanos) => wait = Duration::from_nanos(nanos.max(0).unsigned_abs()),
            Err(_) => break,
        }
    }
    // What waits, and what still comes, finds the writer gone and is told why.
}

fn commit(writer: &mut Writer, items: Vec<Append>, answers: Vec<oneshot::Sender<Answer>>) -> Result<(), Fatal> {
    match writer.commit(items) {
        Ok(results) => {
            for (answer, result) in answers.into_iter().zip(results) {
                // Who asked may be gone; what is stored is stored.
                let _ = answer.send(result);
            }
            Ok(())
        }
        Err(fatal) => {
            for answer in answers {
                let _ = answer.send(Err(fatal.clone().into()));
            }
            Err(fatal)
        }
    }
}

/// The tree's thread: a tick each interval, at once while there is a backlog, and a last one when told to finish.
fn grow(mut tree: Tree, finish: &Receiver<Finish>, clock: &dyn Clock, interval: Duration) {
    let mut wait = interval;
    loop {
        let finishing = match finish.recv_timeout(wait) {
            Ok(Finish(done)) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(done) = finishing {
            let last = loop {
                match tree.tick(clock.now()) {
                    Ok(true) => {}
                    Ok(false) => break tree.keep_last(),
                    Err(fatal) => break Err(fatal),
                }
            };
            let _ = done.send(last);
            return;
        }
        wait = match tree.tick(clock.now()) {
            Ok(true) => Duration::ZERO,
            Ok(false) => interval,
            // The store has stopped; the reason is where `failed` looks.
            Err(_) => return,
        };
    }
}
