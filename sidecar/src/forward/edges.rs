//! Does what forwarding says, and reports back.
//!
//! Owns the connections and the tasks that drive them; decides nothing. Every connection and request is a task of
//! its own that ends in one event on a bounded channel; the core bounds how many there are.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::HeaderValue;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::client::{self, Opened, Sender, Settings};
use super::collector::{CollectorId, Generation};
use super::endpoint::Endpoint;
use super::tls::Bundle;
use super::{Call, Event, Failure, RequestId};
use crate::limits::{MAX_ANSWER_BYTES, MAX_EVENTS, MAX_POOL_BYTES};
use crate::session::Own;

/// How long a connection that is closed may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// What a task reports.
#[derive(Debug)]
pub enum Report {
    /// A connection is there.
    Opened(NewConnection),
    /// Anything else.
    Event(Event),
}

/// A connection that was made.
#[derive(Debug)]
pub struct NewConnection {
    collector: CollectorId,
    generation: Generation,
    endpoint: Endpoint,
    opened: Opened,
    task: Option<Task>,
}

/// A task that ends with its owner.
#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug)]
struct Open {
    sender: Sender,
    endpoint: Endpoint,
    generation: Generation,
    task: Option<Task>,
}

/// The connections.
#[derive(Debug)]
pub struct Edges {
    own: Own,
    settings: Settings,
    /// `--server-name`, which holds where the pool names none.
    server_name: Option<String>,
    reports: mpsc::Sender<Report>,
    opening: BTreeMap<CollectorId, Task>,
    open: BTreeMap<CollectorId, Open>,
}

impl Edges {
    /// No connection yet. The other half is where reports arrive.
    pub fn new(own: Own, settings: Settings) -> (Self, mpsc::Receiver<Report>) {
        let (reports, arrivals) = mpsc::channel(MAX_EVENTS);
        let server_name = settings.server_name.clone();
        (Self { own, settings, server_name, reports, opening: BTreeMap::new(), open: BTreeMap::new() }, arrivals)
    }

    /// New connections trust this bundle.
    pub fn trust(&mut self, bundle: Bundle) {
        self.settings.bundle = bundle;
    }

    /// New connections expect the name in certificates that the pool's list says, or without one what they expected
    /// before there was a list.
    pub fn expect_name(&mut self, listed: Option<String>) {
        self.settings.server_name = listed.or_else(|| self.server_name.clone());
    }

    /// New requests carry this token. Whether it is another one.
    pub fn authorize(&mut self, authorization: HeaderValue) -> bool {
        let other = self.settings.authorization != authorization;
        self.settings.authorization = authorization;
        other
    }

    /// Turns a report into an event for the core.
    pub fn arrived(&mut self, report: Report) -> Event {
        match report {
            Report::Event(event) => {
                match &event {
                    Event::ConnectFailed { collector, .. } => drop(self.opening.remove(collector)),
                    Event::Disconnected { collector, generation, .. } => self.forget(*collector, *generation),
                    _ => {}
                }
                event
            }
            Report::Opened(new) => {
                let NewConnection { collector, generation, endpoint, opened, task } = new;
                let Opened { sender, log } = opened;
                self.opening.remove(&collector);
                self.open.insert(collector, Open { sender, endpoint, generation, task });
                Event::Connected { collector, generation, log }
            }
        }
    }

    fn forget(&mut self, collector: CollectorId, generation: Generation) {
        if self.open.get(&collector).is_some_and(|open| open.generation == generation) {
            self.open.remove(&collector);
        }
    }

    /// Makes a connection.
    pub fn connect(&mut self, collector: CollectorId, generation: Generation, endpoint: Endpoint) {
        let (settings, reports) = (self.settings.clone(), self.reports.clone());
        let task = tokio::spawn(async move {
            let mut task = None;
            let opened = client::connect(&endpoint, &settings, |driver| {
                task = Some(Task(tokio::spawn(drive(driver, collector, generation, reports.clone())).abort_handle()));
            });
            let report = match opened.await {
                Ok(opened) => Report::Opened(NewConnection { collector, generation, endpoint, opened, task }),
                Err(error) => {
                    let reason = error.reason();
                    let text = format!("{:#}", anyhow::Error::from(error));
                    Report::Event(Event::ConnectFailed { collector, generation, reason, text })
                }
            };
            // The owner is gone only when the process ends.
            let _ = reports.send(report).await;
        });
        self.opening.insert(collector, Task(task.abort_handle()));
    }

    /// Closes a connection, in good order if it can be done quickly.
    pub fn disconnect(&mut self, collector: CollectorId) {
        self.opening.remove(&collector);
        if let Some(Open { sender, task, .. }) = self.open.remove(&collector) {
            drop(sender);
            tokio::spawn(async move {
                tokio::time::sleep(GOODBYE).await;
                drop(task);
            });
        }
    }

    /// Sends a request. What cannot even be sent is answered at once.
    pub fn send(&self, id: RequestId, collector: CollectorId, call: Call) -> Option<Event> {
        let failed = Some(Event::Answered { request: id, answer: Err(Failure::Transport) });
        let Some(open) = self.open.get(&collector) else { return failed };
        let Some((route, body, limit)) = self.encode(call) else { return failed };
        let request = client::request(&open.endpoint, (route.0, &route.1), &self.settings.authorization, body);
        let (mut sender, generation, reports) = (open.sender.clone(), open.generation, self.reports.clone());
        tokio::spawn(async move {
            let answer = client::call(&mut sender, request, limit).await;
            let broken = answer.is_err() && sender.is_closed();
            let _ = reports.send(Report::Event(Event::Answered { request: id, answer })).await;
            if broken {
                // The connection's own report may have come before that it was open.
                let text = "the connection is closed".to_owned();
                let _ = reports.send(Report::Event(Event::Disconnected { collector, generation, text })).await;
            }
        });
        None
    }

    fn encode(&self, call: Call) -> Option<((Method, String), Bytes, usize)> {
        let session = self.own.signer.session;
        let encoded = match call {
            Call::Pool => ((Method::GET, "/v1/pool".to_owned()), Bytes::new(), MAX_POOL_BYTES),
            Call::Session => {
                let body = Bytes::copy_from_slice(&self.own.encoded);
                ((Method::PUT, format!("/v1/sessions/{session}")), body, MAX_ANSWER_BYTES)
            }
            Call::Chain { chain, genesis } => {
                let body = [session.as_bytes().as_slice(), &genesis].concat();
                ((Method::PUT, format!("/v1/chains/{chain}")), body.into(), MAX_ANSWER_BYTES)
            }
            Call::Batch(upload) => ((Method::POST, "/v1/batches".to_owned()), upload, MAX_ANSWER_BYTES),
            Call::Heartbeat(mut heartbeat) => {
                // The core keeps to the limits that signing checks.
                heartbeat.sign(&self.own.signer.key).ok()?;
                ((Method::POST, "/v1/heartbeats".to_owned()), heartbeat.encode().ok()?.into(), MAX_ANSWER_BYTES)
            }
        };
        Some(encoded)
    }
}

async fn drive(driver: client::Driver, collector: CollectorId, generation: Generation, reports: mpsc::Sender<Report>) {
    let text = match driver.await {
        Ok(()) => "the collector closed the connection".to_owned(),
        Err(error) => format!("{:#}", anyhow::Error::from(error)),
    };
    let _ = reports.send(Report::Event(Event::Disconnected { collector, generation, text })).await;
}
