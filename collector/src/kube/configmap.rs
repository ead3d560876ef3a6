//! The pool's ConfigMap, watched: how a collector in a cluster hears of its pool, its namespaces and its witnesses.
//!
//! Lists once, then watches from the version that the list has; a watch that ends is begun again from the last version
//! that was heard of, one that the API server calls too old begins with a list again. What was heard last stands while
//! the API server is away, slow or makes no sense, while the ConfigMap is gone, and for a key that is missing or wrong.
//! Owns when is asked what; what an event says is [`event`]'s, what a key means [`Settings`]'.

mod event;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::Instant;

use super::{ApiError, ApiServer, pause, random};
use crate::config::ObjectName;
use crate::limits::{LEAST_WATCH, MAX_API_PAUSE, MAX_CONFIGMAP_BYTES, MIN_API_PAUSE, WATCH_SECONDS, WATCH_SILENCE};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::trouble::Trouble;
use event::{Event, EventError};

/// Watches one ConfigMap.
#[derive(Debug)]
pub struct Watcher {
    api: Arc<ApiServer>,
    name: ObjectName,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// From which version on is watched; without one a list comes first.
    version: Option<String>,
    trouble: Trouble,
}

/// Why there is no more to hear now.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Event(#[from] EventError),
    #[error("the watch broke off: {0}")]
    BrokeOff(String),
    #[error("the watch was silent for {} s", WATCH_SILENCE.as_secs())]
    Silent,
    #[error("an event of over {MAX_CONFIGMAP_BYTES} bytes, which is the limit")]
    TooLarge,
    #[error("the API server ends the watch: {0}")]
    Ended(String),
    #[error("the watch was over at once")]
    Short,
}

impl Watcher {
    /// A watcher that has heard nothing yet.
    pub fn new(api: Arc<ApiServer>, name: ObjectName, settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { api, name, settings, metrics, version: None, trouble: Trouble::default() }
    }

    /// Watches until the process ends.
    pub async fn run(mut self) {
        let mut failures = 0;
        loop {
            let begun = Instant::now();
            let ended = self.hear().await;
            let heard = begun.elapsed() >= LEAST_WATCH;
            match ended {
                Ok(()) if heard => failures = 0,
                ended => {
                    let error = ended.err().unwrap_or(WatchError::Short);
                    failures = if heard { 1 } else { failures + 1 };
                    if self.trouble.failed(&error) {
                        let name = &self.name;
                        tracing::warn!(%name, %error, "the ConfigMap cannot be watched; what was heard last stands");
                    }
                    tokio::time::sleep(pause(failures, (MIN_API_PAUSE, MAX_API_PAUSE), random())).await;
                }
            }
        }
    }

    /// Lists if it must, and watches until the watch is over.
    async fn hear(&mut self) -> Result<(), WatchError> {
        let version = match self.version.take() {
            Some(version) => version,
            None => self.list().await?,
        };
        let path = format!(
            "{}&watch=true&allowWatchBookmarks=true&timeoutSeconds={WATCH_SECONDS}&resourceVersion={version}",
            self.path()
        );
        let watched = self.api.watch(&path).await;
        if !watched.as_ref().is_err_and(ApiError::is_expired) {
            self.version = Some(version);
        }
        let mut events = Events { body: watched?, buffer: BytesMut::new() };
        self.fine();
        while let Some(event) = events.next(&self.name).await? {
            match event {
                Event::Changed { version, data } => {
                    self.version = Some(version);
                    self.heard(&data);
                }
                Event::Bookmark { version } => self.version = Some(version),
                Event::Gone { version } => {
                    self.version = Some(version);
                    self.gone();
                }
                Event::Expired => {
                    self.version = None;
                    return Ok(());
                }
                Event::Failed { message } => {
                    self.version = None;
                    return Err(WatchError::Ended(message));
                }
            }
        }
        Ok(())
    }

    async fn list(&mut self) -> Result<String, WatchError> {
        let answer = self.api.get(&self.path(), MAX_CONFIGMAP_BYTES).await?;
        let (version, data) = event::list(&answer.body, &self.name)?;
        match data {
            Some(data) => self.heard(&data),
            None => self.gone(),
        }
        Ok(version)
    }

    fn path(&self) -> String {
        let ObjectName { namespace, name } = &self.name;
        format!("/api/v1/namespaces/{namespace}/configmaps?fieldSelector=metadata.name%3D{name}")
    }

    fn heard(&mut self, data: &BTreeMap<String, String>) {
        for (key, text) in data {
            self.settings.set(&self.name, key, text, &self.metrics);
        }
    }

    fn gone(&self) {
        tracing::warn!(name = %self.name, "there is no such ConfigMap now; what was heard last stands");
    }

    fn fine(&mut self) {
        if self.trouble.is_over() {
            tracing::info!(name = %self.name, "the ConfigMap is watched again");
        }
    }
}

/// The events of a watch: a line each.
struct Events {
    body: Incoming,
    buffer: BytesMut,
}

impl Events {
    /// The next event; `None` when the API server has ended the watch in order.
    async fn next(&mut self, name: &ObjectName) -> Result<Option<Event>, WatchError> {
        // A watch is over before that, so silence means that nobody is there.
        match tokio::time::timeout(WATCH_SILENCE, self.line()).await {
            Ok(Ok(Some(line))) => Ok(Some(event::event(&line, name)?)),
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(WatchError::Silent),
        }
    }

    async fn line(&mut self) -> Result<Option<BytesMut>, WatchError> {
        let mut searched = 0;
        loop {
            if let Some(end) = self.buffer[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(searched + end + 1);
                return Ok(Some(line));
            }
            searched = self.buffer.len();
            if searched > MAX_CONFIGMAP_BYTES {
                return Err(WatchError::TooLarge);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => return Err(WatchError::BrokeOff(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(WatchError::BrokeOff("in the middle of an event".into())),
            }
        }
    }
}

const _: () = assert!(WATCH_SECONDS > LEAST_WATCH.as_secs(), "a whole watch is no failure");
