//! What may be in flight: bytes of bodies and of answers, of one pod and of all; requests and connections of one pod;
//! answers that are streamed; readers that wait.
//!
//! Each is refused before memory grows, with 429 where one pod is the cause and 503 where all are. What is taken is
//! given back when the guard is dropped, however the request ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::StatusCode;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::problem::Problem;
use crate::limits::{
    MAX_ANSWER_BYTES_IN_FLIGHT, MAX_BODY_BYTES_IN_FLIGHT, MAX_POD_ANSWER_BYTES, MAX_POD_BODY_BYTES,
    MAX_POD_CONNECTIONS, MAX_POD_REQUESTS, MAX_STREAMS_OUT, MAX_WAITING_READERS,
};
use crate::metrics::Metrics;

/// What is in flight.
#[derive(Debug)]
pub struct Gate {
    body_bytes: Arc<Semaphore>,
    answer_bytes: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    requests: watch::Sender<usize>,
    writes: watch::Sender<usize>,
    pods: Arc<Mutex<Pods>>,
    metrics: Arc<Metrics>,
}

/// Pods that have something in flight.
type Pods = HashMap<Arc<str>, PodUse>;

/// What one pod has in flight.
#[derive(Debug)]
struct PodUse {
    requests: usize,
    connections: usize,
    body_bytes: Arc<Semaphore>,
    answer_bytes: Arc<Semaphore>,
}

/// What is counted of a pod.
#[derive(Debug, Clone, Copy)]
enum Counted {
    Requests,
    Connections,
}

/// One more of what is counted of a pod.
#[derive(Debug)]
pub(super) struct PodCount {
    pods: Arc<Mutex<Pods>>,
    pod: Arc<str>,
    counted: Counted,
    body_bytes: Arc<Semaphore>,
    answer_bytes: Arc<Semaphore>,
}

/// One more of the requests that are not answered yet.
#[derive(Debug)]
pub(super) struct InFlight {
    of: watch::Sender<usize>,
    shown: Gauge,
}

/// A share of the memory for bodies: of what one pod may have, and of what all may have.
#[derive(Debug)]
pub(super) struct BodyShare {
    pod: Part,
    all: Part,
    metrics: Arc<Metrics>,
}

/// What is held of a number of bytes.
#[derive(Debug)]
struct Part {
    of: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

/// An answer that is not sent yet.
struct Held {
    bytes: Bytes,
    _shares: [Option<Part>; 2],
    metrics: Arc<Metrics>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.metrics.answer_bytes.dec_by(i64::try_from(self.bytes.len()).unwrap_or(i64::MAX));
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A place among one pod's requests.
#[derive(Debug)]
pub(super) struct PodPlace {
    _write: InFlight,
    pod: PodCount,
    all_bytes: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl Gate {
    /// With nothing in flight.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            body_bytes: Arc::new(Semaphore::new(MAX_BODY_BYTES_IN_FLIGHT)),
            answer_bytes: Arc::new(Semaphore::new(MAX_ANSWER_BYTES_IN_FLIGHT)),
            streams: Arc::new(Semaphore::new(MAX_STREAMS_OUT)),
            waiting: Arc::new(Semaphore::new(MAX_WAITING_READERS)),
            requests: watch::channel(0).0,
            writes: watch::channel(0).0,
            pods: Arc::default(),
            metrics,
        }
    }

    /// Counts a request until what is returned is dropped.
    pub(super) fn request(&self) -> InFlight {
        InFlight::one(&self.requests, &self.metrics.requests)
    }

    /// How many requests are not answered yet.
    pub(super) fn requests(&self) -> watch::Receiver<usize> {
        self.requests.subscribe()
    }

    /// How many requests of pods are not answered yet.
    pub fn writes(&self) -> watch::Receiver<usize> {
        self.writes.subscribe()
    }

    /// A place for a request of a pod.
    pub(super) fn pod(&self, pod: &str) -> Result<PodPlace, Problem> {
        Ok(PodPlace {
            pod: self.count(pod, Counted::Requests)?,
            _write: InFlight::one(&self.writes, &self.metrics.writes),
            all_bytes: Arc::clone(&self.body_bytes),
            metrics: Arc::clone(&self.metrics),
        })
    }

    /// A place for a connection of a pod.
    pub(super) fn connection(&self, pod: &str) -> Result<PodCount, Problem> {
        self.count(pod, Counted::Connections)
    }

    fn count(&self, pod: &str, counted: Counted) -> Result<PodCount, Problem> {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        let pod = pods.get_key_value(pod).map_or_else(|| pod.into(), |(pod, _)| Arc::clone(pod));
        let in_use = pods.entry(Arc::clone(&pod)).or_insert_with(PodUse::none);
        let (count, limit, what) = in_use.of(counted);
        if *count >= limit {
            let detail = format!("pod {pod} has {limit} {what}, which is the limit");
            return Err(Problem::overloaded(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        *count += 1;
        let (body_bytes, answer_bytes) = (Arc::clone(&in_use.body_bytes), Arc::clone(&in_use.answer_bytes));
        Ok(PodCount { pods: Arc::clone(&self.pods), pod, counted, body_bytes, answer_bytes })
    }

    /// An answer that takes its share of the memory for answers until its last byte is sent: of what all may have, and of
    /// what the pod may have whose connection it is.
    pub(super) fn answer(&self, bytes: Bytes, connection: Option<&PodCount>) -> Result<Bytes, Problem> {
        let mut pod = connection.map(|connection| Part::none(&connection.answer_bytes));
        if pod.as_mut().is_some_and(|share| !share.grow(bytes.len())) {
            let detail = format!("{MAX_POD_ANSWER_BYTES} bytes of answers to this pod wait, which is the limit");
            return Err(Problem::overloaded(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        let mut all = Part::none(&self.answer_bytes);
        if !all.grow(bytes.len()) {
            let detail = format!("{MAX_ANSWER_BYTES_IN_FLIGHT} bytes of answers wait to be sent, which is the limit");
            return Err(Problem::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        self.metrics.answer_bytes.inc_by(i64::try_from(bytes.len()).unwrap_or(i64::MAX));
        Ok(Bytes::from_owner(Held { bytes, _shares: [pod, Some(all)], metrics: Arc::clone(&self.metrics) }))
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

impl PodUse {
    fn none() -> Self {
        let (body_bytes, answer_bytes) = (Semaphore::new(MAX_POD_BODY_BYTES), Semaphore::new(MAX_POD_ANSWER_BYTES));
        Self { requests: 0, connections: 0, body_bytes: body_bytes.into(), answer_bytes: answer_bytes.into() }
    }

    /// How many there are, how many there may be, and what they are.
    const fn of(&mut self, counted: Counted) -> (&mut usize, usize, &'static str) {
        match counted {
            Counted::Requests => (&mut self.requests, MAX_POD_REQUESTS, "requests in flight"),
            Counted::Connections => (&mut self.connections, MAX_POD_CONNECTIONS, "connections"),
        }
    }
}

impl PodPlace {
    /// A share for the body of this request, with nothing in it yet.
    pub(super) fn body_share(&self) -> BodyShare {
        let (pod, all) = (Part::none(&self.pod.body_bytes), Part::none(&self.all_bytes));
        BodyShare { pod, all, metrics: Arc::clone(&self.metrics) }
    }
}

impl BodyShare {
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes == 0 {
            return Ok(());
        }
        if !self.pod.grow(bytes) {
            let detail = format!("{MAX_POD_BODY_BYTES} bytes of bodies of this pod are in flight, which is the limit");
            return Err(Problem::overloaded(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        if !self.all.grow(bytes) {
            let detail = format!("{MAX_BODY_BYTES_IN_FLIGHT} bytes of bodies are in flight, which is the limit");
            return Err(Problem::overloaded(StatusCode::SERVICE_UNAVAILABLE, detail));
        }
        self.metrics.body_bytes.inc_by(i64::try_from(bytes).unwrap_or(i64::MAX));
        Ok(())
    }
}

impl Part {
    fn none(of: &Arc<Semaphore>) -> Self {
        Self { of: Arc::clone(of), held: None }
    }

    fn grow(&mut self, bytes: usize) -> bool {
        let more = u32::try_from(bytes).ok().and_then(|n| Arc::clone(&self.of).try_acquire_many_owned(n).ok());
        match (&mut self.held, more) {
            (_, None) => return false,
            (Some(held), Some(more)) => held.merge(more),
            (held, more) => *held = more,
        }
        true
    }
}

impl InFlight {
    fn one(of: &watch::Sender<usize>, shown: &Gauge) -> Self {
        of.send_modify(|count| *count += 1);
        shown.inc();
        Self { of: of.clone(), shown: shown.clone() }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.of.send_modify(|count| *count -= 1);
        self.shown.dec();
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        let held = self.all.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        self.metrics.body_bytes.dec_by(i64::try_from(held).unwrap_or(i64::MAX));
    }
}

impl Drop for PodCount {
    fn drop(&mut self) {
        let mut pods = self.pods.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pod) = pods.get_mut(&self.pod) {
            *pod.of(self.counted).0 -= 1;
            if pod.requests == 0 && pod.connections == 0 {
                pods.remove(&self.pod);
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
    fn a_pod_with_too_many_connections_is_told_so_and_others_are_not() {
        let gate = gate();
        let request = gate.pod("a").unwrap();
        let mut places: Vec<_> = (0..MAX_POD_CONNECTIONS).map(|_| gate.connection("a").unwrap()).collect();
        assert_eq!(gate.connection("a").unwrap_err().status(), 429);
        assert!(gate.connection("b").is_ok() && gate.pod("a").is_ok());
        places.pop();
        assert!(gate.connection("a").is_ok());
        drop(places);
        assert!(!gate.pods.lock().unwrap().is_empty(), "a request is in flight still");
        drop(request);
        assert!(gate.pods.lock().unwrap().is_empty());
    }

    #[test]
    fn answers_over_the_memory_for_all_are_refused_until_some_are_sent() {
        let gate = gate();
        let half = Bytes::from(vec![7; MAX_ANSWER_BYTES_IN_FLIGHT / 2]);
        let mut one = gate.answer(half.clone(), None).unwrap();
        let other = gate.answer(half.clone(), None).unwrap();
        assert_eq!(gate.answer(Bytes::from_static(b"x"), None).unwrap_err().status(), 503);
        let rest = one.split_off(1);
        drop(one);
        assert_eq!(
            gate.answer(Bytes::from_static(b"x"), None).unwrap_err().status(),
            503,
            "a part of it is not sent yet"
        );
        drop(rest);
        assert!(gate.answer(half, None).is_ok());
        drop(other);
        assert_eq!(gate.metrics.answer_bytes.get(), 0);
    }

    #[test]
    fn bodies_over_the_memory_of_their_pod_are_refused_and_those_of_others_are_not() {
        let gate = gate();
        let (one, other) = (gate.pod("a").unwrap(), gate.pod("b").unwrap());
        let mut large = one.body_share();
        large.grow(MAX_POD_BODY_BYTES - 10).unwrap();
        let mut small = one.body_share();
        small.grow(6).unwrap();
        assert_eq!(small.grow(5).unwrap_err().status(), 429);
        other.body_share().grow(MAX_POD_BODY_BYTES).unwrap();
        drop(large);
        small.grow(5).unwrap();
        drop((small, one, other));
        assert_eq!(gate.metrics.body_bytes.get(), 0);
        assert_eq!(gate.body_bytes.available_permits(), MAX_BODY_BYTES_IN_FLIGHT);
    }

    #[test]
    fn bodies_over_the_memory_for_all_are_refused_until_some_are_gone() {
        let gate = gate();
        let pods = MAX_BODY_BYTES_IN_FLIGHT.div_ceil(MAX_POD_BODY_BYTES);
        let places: Vec<_> = (0..pods).map(|i| gate.pod(&i.to_string()).unwrap()).collect();
        let mut shares: Vec<_> = places.iter().map(PodPlace::body_share).collect();
        let mut left = MAX_BODY_BYTES_IN_FLIGHT - 4;
        for share in &mut shares {
            let bytes = left.min(MAX_POD_BODY_BYTES);
            share.grow(bytes).unwrap();
            left -= bytes;
        }
        let last = gate.pod("last").unwrap();
        let mut small = last.body_share();
        small.grow(4).unwrap();
        assert_eq!(small.grow(1).unwrap_err().status(), 503);
        assert_eq!(gate.metrics.body_bytes.get(), i64::try_from(MAX_BODY_BYTES_IN_FLIGHT).unwrap());
        shares.pop();
        small.grow(1).unwrap();
        drop((shares, small));
        assert_eq!(gate.metrics.body_bytes.get(), 0);
    }
}
