//! What may be in flight: bytes of bodies, requests of one pod, answers that are streamed, readers that wait.
//!
//! Each is refused before memory grows, with 429 where one pod is the cause and 503 where all are. What is taken is
//! given back when the guard is dropped, however the request ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::problem::Problem;
use crate::limits::{MAX_BODY_BYTES_IN_FLIGHT, MAX_POD_REQUESTS, MAX_STREAMS_OUT, MAX_WAITING_READERS};
use crate::metrics::Metrics;

/// What is in flight.
#[derive(Debug)]
pub struct Gate {
    body_bytes: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    requests: watch::Sender<usize>,
    // Counts of requests in flight, as a semaphore for each pod would keep them.
    pods: Arc<Mutex<HashMap<String, usize>>>,
    metrics: Arc<Metrics>,
}

/// A request that is not answered yet.
#[derive(Debug)]
pub(super) struct InFlight(watch::Sender<usize>);

/// A share of the memory for bodies.
#[derive(Debug)]
pub(super) struct BodyShare {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
    metrics: Arc<Metrics>,
}

/// A place among one pod's requests.
#[derive(Debug)]
pub(super) struct PodPlace {
    pods: Arc<Mutex<HashMap<String, usize>>>,
    pod_uid: String,
}

impl Gate {
    /// With nothing in flight.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            body_bytes: Arc::new(Semaphore::new(MAX_BODY_BYTES_IN_FLIGHT)),
            streams: Arc::new(Semaphore::new(MAX_STREAMS_OUT)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING_READERS)),
            requests: watch::channel(0).0,
            pods: Arc::default(),
            metrics,
        }
    }

    /// Counts a request until what is returned is dropped.
    pub(super) fn request(&self) -> InFlight {
        self.requests.send_modify(|count| *count += 1);
        InFlight(self.requests.clone())
    }

    /// How many requests are not answered yet.
    pub(super) fn requests(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    pub(super) fn body_share(&self) -> BodyShare {
        BodyShare { all: Arc::clone(&self.body_bytes), held: None, metrics: Arc::clone(&self.metrics) }
    }

    pub(super) fn pod(&self, pod_uid: &str) -> Result<PodPlace, Problem> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let count = pods.entry(pod_uid.to_owned()).or_default();
        if *count >= MAX_POD_REQUESTS {
            let detail = format!("pod {pod_uid} has {MAX_POD_REQUESTS} requests in flight, which is the limit");
            return Err(Problem::overloaded(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        *count += 1;
        Ok(PodPlace { pods: Arc::clone(&self.pods), pod_uid: pod_uid.to_owned() })
    }

    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.streams).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_STREAMS_OUT} answers are being streamed, which is the limit");
            Problem::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }

    pub(super) fn wait(&self) -> Result<OwnedSemaphorePermit, Problem> {
        Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_WAITING_READERS} readers wait for news, which is the limit");
            Problem::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }
}

impl BodyShare {
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes == 0 {
            return Ok(());
        }
        let more = u32::try_from(bytes).ok().and_then(|n| Arc::clone(&self.all).try_acquire_many_owned(n).ok());
        let Some(more) = more else {
            let detail = format!("{MAX_BODY_BYTES_IN_FLIGHT} bytes of bodies are in flight, which is the limit");
            return Err(Problem::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail));
        };
        self.metrics.body_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let held = self.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.metrics.body_bytes.dec_by(i64::try_from(held).unwrap_or(i64::MAX));
    }
}

impl Drop for PodPlace {
    fn drop(&mut self) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = pods.get_mut(&self.pod_uid) {
            *count -= 1;
            if *count == 0 {
                pods.remove(&self.pod_uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        Gate::new(Arc::new(Metrics::new()))
    }

    #[test]
    fn a_pod_with_too_many_requests_in_flight_is_told_so_and_others_are_not() {
        let gate = gate();
        let mut places: Vec<_> = (0..MAX_POD_REQUESTS).map(|_| gate.pod("a").unwrap()).collect();
        assert_eq!(gate.pod("a").unwrap_err().status(), 429);
        assert!(gate.pod("b").is_ok());
        places.pop();
        assert!(gate.pod("a").is_ok());
        drop(places);
        assert!(gate.pods.lock().unwrap().is_empty());
    }

    #[test]
    fn bodies_over_the_memory_for_all_are_refused_until_some_are_gone() {
        let gate = gate();
        let mut large = gate.body_share();
        large.grow(MAX_BODY_BYTES_IN_FLIGHT - 10).unwrap();
        let mut small = gate.body_share();
        small.grow(6).unwrap();
        assert_eq!(small.grow(5).unwrap_err().status(), 503);
        assert_eq!(gate.metrics.body_bytes.get(), i64::try_from(MAX_BODY_BYTES_IN_FLIGHT - 4).unwrap());
        drop(large);
        small.grow(5).unwrap();
        drop(small);
        assert_eq!(gate.metrics.body_bytes.get(), 0);
    }
}
