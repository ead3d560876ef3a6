//! The sidecar at work: one thread, one owner of everything.
//!
//! [`run`] waits for the next thing that happens, gives it to capture or forwarding, and does what they say. Capture's
//! output goes to forwarding, forwarding's receipts go to capture; neither knows the other. On SIGTERM capture reads to the
//! end and closes its chains, and delivery goes on until one second before the grace period is over.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::alarm::Alarm;
use crate::capture::{Capture, Unclosed};
use crate::config::Config;
use crate::failpoint::failpoint;
use crate::forward::edges::{Edges, Report};
use crate::forward::moment::{Moment, Now};
use crate::forward::pool::PoolList;
use crate::forward::queue::Undelivered;
use crate::forward::{Call, Effect, Event, Forward, Notice};
use crate::limits::ARM_PATIENCE;
use crate::metrics::serve::Scrape;
use crate::metrics::{self, Snapshot};
use crate::reload::Watched;
use crate::token::Token;
use crate::trust::Trust;
use crate::watch::{Changed, Watch};
use crate::{armed, clock, own};

/// Before the grace period ends: what could not be delivered has to be said.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Token and CA are looked at no more often than this.
const RELOAD_INTERVAL: Duration = Duration::from_secs(5);
/// The wall clock may be set while we sleep: capture is asked at least this often.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Everything that the owner owns.
#[derive(Debug)]
pub struct Sidecar {
    config: Config,
    capture: Capture,
    forward: Forward,
    edges: Edges,
    trust: Trust,
    token_file: Watched,
    ca_file: Option<Watched>,
    /// Why nothing is captured.
    unreadable: Option<String>,
    /// Whether they can be read after all.
    is_readable: bool,
    start: Instant,
    reloaded: Moment,
    armed: bool,
    /// When delivery ends, once SIGTERM has come.
    ending: Option<Ending>,
}

#[derive(Clone, Copy, Debug)]
struct Ending {
    deadline: Moment,
    drained: bool,
}

/// What happens.
#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
enum Wake {
    Reported(Report),
    Changed(Changed),
    Terminated,
    Interrupted,
    Scraped(Scrape),
    Time,
}

/// The parts that the owner is made of.
#[derive(Debug)]
pub struct Parts {
    /// The flags.
    pub config: Config,
    /// Capture, opened.
    pub capture: Capture,
    /// Forwarding.
    pub forward: Forward,
    /// Its connections.
    pub edges: Edges,
    /// Its CA bundle.
    pub trust: Trust,
    /// The token's file, as it was before it was read.
    pub token_file: Watched,
    /// The bundle's file, as it was before it was read, if it is one.
    pub ca_file: Option<Watched>,
    /// Why nothing is captured: the pod's logs cannot be read. The session says so.
    pub unreadable: Option<String>,
    /// When the process started: moments are counted from here.
    pub start: Instant,
}

/// Where things arrive from.
struct Sources {
    reports: mpsc::Receiver<Report>,
    scrapes: mpsc::Receiver<Scrape>,
    files: Watch,
    terminate: Signal,
    interrupt: Signal,
    alarm: Alarm,
}

impl Sources {
    /// Waits for the next thing to happen, at most `sleep`.
    async fn select(&mut self, sleep: Duration) -> Wake {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => Wake::Terminated,
            _ = self.interrupt.recv() => Wake::Interrupted,
            Some(report) = self.reports.recv() => Wake::Reported(report),
            changed = self.files.changed() => Wake::Changed(changed),
            Some(scrape) = self.scrapes.recv() => Wake::Scraped(scrape),
            () = self.alarm.after(sleep) => Wake::Time,
        }
    }
}

/// What was not delivered when the time was over.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// Sealed batches, by chain.
    pub undelivered: Vec<Undelivered>,
    /// The containers whose chains have no receipted end.
    pub unclosed: Vec<Unclosed>,
    /// Why nothing was captured.
    pub unreadable: Option<String>,
}

/// How a run ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ended {
    /// It was told to.
    Told(Left),
    /// The pod's logs can be read now, which its session denies: another one has to begin.
    Readable,
}

/// Runs until SIGTERM and what follows it, or until there is reason to begin anew.
pub async fn run(parts: Parts, reports: mpsc::Receiver<Report>) -> std::io::Result<Ended> {
    let (scraper, scrapes) = mpsc::channel(crate::limits::MAX_SCRAPES);
    if let Some(address) = parts.config.metrics {
        tokio::spawn(metrics::serve::serve(address, scraper.clone()));
    }
    let mut sources = Sources {
        reports,
        scrapes,
        files: Watch::new(&parts.config.logs),
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
        alarm: Alarm::new()?,
    };
    let mut sidecar = Sidecar::new(parts);
    loop {
        if sidecar.looks_at_everything()
            && let Some(changed) = sources.files.pending()
        {
            // Told before the listing, a file that is gone by then is missed at its place.
            sidecar.capture.changed(&changed);
        }
        let sleep = sidecar.work();
        if sidecar.is_over() {
            return Ok(Ended::Told(sidecar.left()));
        }
        if sidecar.is_readable {
            return Ok(Ended::Readable);
        }
        match sources.select(sleep).await {
            Wake::Reported(report) => {
                let event = sidecar.edges.arrived(report);
                sidecar.apply(event);
            }
            Wake::Changed(changed) => sidecar.capture.changed(&changed),
            // Someone at a keyboard who does not want to wait.
            Wake::Interrupted if sidecar.ending.is_some() => return Ok(Ended::Told(sidecar.left())),
            Wake::Terminated | Wake::Interrupted => sidecar.terminate(),
            Wake::Scraped(answer) => drop(answer.send(metrics::render(sidecar.snapshot()))),
            Wake::Time => sidecar.apply(Event::Tick),
        }
    }
}

impl Sidecar {
    fn new(parts: Parts) -> Self {
        let Parts { config, capture, forward, edges, trust, token_file, ca_file, unreadable, start } = parts;
        let reloaded = Moment::after_start(start.elapsed());
        Self {
            config,
            capture,
            forward,
            edges,
            trust,
            token_file,
            ca_file,
            unreadable,
            is_readable: false,
            start,
            reloaded,
            armed: false,
            ending: None,
        }
    }

    fn now(&self) -> Now {
        Now { moment: Moment::after_start(self.start.elapsed()), time: clock::now() }
    }

    /// Whether the next call of [`work`](Self::work) looks at all files.
    fn looks_at_everything(&self) -> bool {
        self.captures() && self.capture.poll_is_due(self.now().time)
    }

    /// Does what is due, and says how long nothing is.
    fn work(&mut self) -> Duration {
        self.reload();
        let now = self.now();
        if self.captures() && self.capture.is_due(now.time) {
            for output in self.capture.work(now.time) {
                self.apply(Event::Output(output));
            }
        }
        self.arm(now.moment);
        self.drain();
        let now = self.now();
        let capture = self.capture.next_work().filter(|_| self.captures());
        let capture = capture.map(|due| u64::try_from(due.since(now.time)).unwrap_or(0));
        let forward = self.forward.next_wake().map(|wake| wake.since(now.moment));
        let ending = self.ending.map(|ending| ending.deadline.since(now.moment));
        let sleeps = [capture.map(Duration::from_nanos), forward, ending];
        sleeps.into_iter().flatten().fold(LONGEST_SLEEP, Duration::min)
    }

    /// Sets the sign that the pod's containers wait for. With `--fail-open` they do not wait for ever.
    fn arm(&mut self, now: Moment) {
        // Where nothing is captured there is nothing to wait for.
        let is_late = self.config.fail_open && (!self.captures() || now >= Moment::after_start(ARM_PATIENCE));
        if self.armed || !(self.capture.is_armed() || is_late) {
            return;
        }
        self.armed = true;
        if self.captures() && !self.capture.is_armed() {
            tracing::error!("--logs is not listed yet; with --fail-open the pod's containers start all the same");
        }
        if let Err(error) = armed::set(&self.config.state) {
            tracing::warn!(%error, "the sign that the sidecar is armed cannot be set in --state, which the pod waits for");
        }
    }

    /// Whether the pod's logs are read. Where they cannot be, nothing is: what a file with the wrong mode holds is not given up
    /// as lost, for it may be read later.
    const fn captures(&self) -> bool {
        self.unreadable.is_none()
    }

    /// Gives an event to forwarding and does what it says.
    fn apply(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let now = self.now();
            for effect in self.forward.apply(now, event) {
                events.extend(self.perform(effect));
            }
        }
    }

    /// Does one thing. What happens at once because of it is an event again.
    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Connect { collector, generation, endpoint } => self.edges.connect(collector, generation, endpoint),
            Effect::Disconnect(collector) => self.edges.disconnect(collector),
            Effect::Send { request, collector, call } => {
                let is_batch = matches!(call, Call::Batch(_));
                let failed = self.edges.send(request, collector, call);
                if is_batch {
                    failpoint("sent");
                }
                return failed;
            }
            Effect::Receipted { chain, head } => {
                failpoint("receipt");
                self.capture.receipted(chain, head);
            }
            Effect::Known { container, known } => self.capture.known(&container, known),
            Effect::Rejected(chain) => self.capture.rejected(chain),
            Effect::Trust(list) => return self.pool_says(list),
            Effect::Notice(notice) => tell(&notice),
        }
        None
    }

    fn pool_says(&mut self, list: PoolList) -> Option<Event> {
        self.edges.expect_name(list.server_name);
        match self.trust.given(&list.ca_pem?) {
            Ok(true) => {
                self.edges.trust(self.trust.bundle().clone());
                Some(Event::CaChanged(self.trust.bundle().digest))
            }
            Ok(false) => None,
            Err(error) => {
                tracing::warn!(%error, "the pool's CA bundle cannot be used; the one in use stays");
                None
            }
        }
    }

    /// Looks whether token or CA have changed. No timer of its own: the process wakes often enough.
    fn reload(&mut self) {
        let now = self.now().moment;
        if now.since(self.reloaded) < RELOAD_INTERVAL {
            return;
        }
        self.reloaded = now;
        if !self.captures() && self.ending.is_none() {
            let own = self.config.own_container.as_deref();
            self.is_readable = own.is_none_or(|own| own::look(&self.config.logs, own).is_ok());
        }
        // One that is refused is read again in any case: the file's stamp is not the last word on its content.
        if self.token_file.has_changed() || self.forward.is_unauthorized() {
            match Token::read(self.token_file.path()) {
                Ok(token) => {
                    if self.edges.authorize(token.authorization()) {
                        self.apply(Event::TokenChanged);
                    }
                }
                Err(error) => {
                    if self.token_file.failed() {
                        tracing::warn!(%error, "the new token cannot be used; the old one stays");
                    }
                }
            }
        }
        if let Some(ca_file) = &mut self.ca_file
            && ca_file.has_changed()
        {
            match self.trust.file_changed() {
                Ok(true) => {
                    self.edges.trust(self.trust.bundle().clone());
                    self.apply(Event::CaChanged(self.trust.bundle().digest));
                }
                Ok(false) => {}
                Err(error) => {
                    if ca_file.failed() {
                        tracing::warn!(%error, "the new CA bundle cannot be used; the one in use stays");
                    }
                }
            }
        }
    }

    /// Begins the end. A node's agent that was restarted says it again, which neither shortens nor lengthens it.
    fn terminate(&mut self) {
        if self.ending.is_some() {
            return;
        }
        let now = self.now();
        let deadline = now.moment.plus(self.config.grace_period.saturating_sub(LAST_WORDS));
        self.ending = Some(Ending { deadline, drained: false });
        self.capture.terminate(now.time);
    }

    /// Once every chain is closed and receipted, the last heartbeat is due.
    fn drain(&mut self) {
        if let Some(ending) = &mut self.ending
            && !ending.drained
            && (self.unreadable.is_some() || self.capture.is_closed())
        {
            ending.drained = true;
            self.apply(Event::Drain);
        }
    }

    fn is_over(&self) -> bool {
        self.ending
            .is_some_and(|ending| self.now().moment >= ending.deadline || (ending.drained && self.forward.is_done()))
    }

    fn left(&self) -> Left {
        Left {
            undelivered: self.forward.undelivered(),
            unclosed: self.capture.unclosed(),
            unreadable: self.unreadable.clone(),
        }
    }

    fn snapshot(&mut self) -> Snapshot {
        Snapshot {
            capture: self.capture.stats(),
            tally: self.forward.tally().clone(),
            gauges: self.forward.gauges(self.now()),
            held_limit: self.config.max_held_bytes,
            node_free: self.capture.node_free_percent(),
        }
    }
}

fn tell(notice: &Notice) {
    match notice {
        Notice::Unusable { endpoint, reason, text } => {
            let reason = reason.label();
            tracing::warn!(collector = %endpoint, reason, %text, "a collector cannot be used: others are, or batches wait");
        }
        Notice::Usable(endpoint) => tracing::info!(collector = %endpoint, "a collector can be used again"),
        Notice::BadReceipt { endpoint, text } => {
            tracing::error!(collector = %endpoint, %text, "a receipt was refused; the batch goes elsewhere; verify its log");
        }
        Notice::Rejected(chain) => {
            tracing::error!(%chain, "the collectors refuse what this chain holds; a new incarnation follows; verify the pool");
        }
        Notice::Conflict { endpoint, chain, other } => {
            let collector = endpoint;
            tracing::error!(%collector, %chain, other, "a batch contradicts one that the collector has: verify the pool");
        }
        Notice::BadPool { endpoint, text } => {
            tracing::warn!(collector = %endpoint, %text, "the pool's list cannot be used; the known collectors stay");
        }
    }
}

/// Says what could not be delivered, on stderr and where the cluster looks for last words.
pub fn last_words(left: &Left, file: Option<&Path>) {
    let mut lines: Vec<String> = left
        .undelivered
        .iter()
        .map(|Undelivered { container, first_seq, next_seq, batches, bytes }| {
            format!(
                "not delivered: container {container}, records {first_seq} to {}, {batches} batches, {bytes} bytes",
                next_seq.get().saturating_sub(1)
            )
        })
        .collect();
    lines.extend(left.unclosed.iter().map(|Unclosed { container, unreceipted_bytes, unread_bytes }| {
        format!(
            "not closed: container {container}, {unreceipted_bytes} bytes of records not receipted, {unread_bytes} bytes of files not read"
        )
    }));
    lines.extend(left.unreadable.iter().map(|why| format!("nothing was captured: {why}")));
    if lines.is_empty() {
        return;
    }
    let text = lines.join("\n") + "\n";
    // With stderr gone there is nobody left to tell.
    let _ = std::io::stderr().write_all(text.as_bytes());
    if let Some(file) = file
        && let Err(error) = std::fs::write(file, &text)
    {
        tracing::warn!(%error, path = %file.display(), "--termination-message cannot be written");
    }
}
