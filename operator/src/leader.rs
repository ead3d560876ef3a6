//! Who reconciles: the one that holds the Lease.
//!
//! Owns the Lease. `decide` is pure: what a Lease says, and how long it has said so by our own clock (others' clocks are
//! not asked), gives what to do. Every write is an Update with resourceVersion, so two that want it at once cannot both
//! get it: libraries that take an expired Lease by a patch let both believe for a whole duration. The holder gives up by
//! itself when no renewal was answered for less than the duration, so that it has stopped before another may begin.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt as _};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{self, to_micro_time};
use crate::limits::{LEASE_DURATION, LEASE_RENEW_DEADLINE, LEASE_RETRY};
use crate::names::LEASE;

/// A Lease as it was first seen in this version.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    version: Option<String>,
    at: Instant,
}

/// What to do with the Lease.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// Write this: ours then, until it is not renewed.
    Write(LeaseSpec),
    /// Somebody else holds it.
    Wait,
}

/// What a Lease means to `me`. `since` is for how long it has been as it is.
fn decide(me: &str, lease: &LeaseSpec, since: Duration, now: Timestamp) -> Step {
    let holder = lease.holder_identity.as_deref().unwrap_or_default();
    let seconds = lease.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let expired = since >= seconds.map_or(LEASE_DURATION, Duration::from_secs);
    let ours = holder == me;
    if !ours && !holder.is_empty() && !expired {
        return Step::Wait;
    }
    let transitions = lease.lease_transitions.unwrap_or(0);
    Step::Write(LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
        renew_time: Some(to_micro_time(now)),
        acquire_time: if ours { lease.acquire_time.clone() } else { Some(to_micro_time(now)) },
        lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
        ..lease.clone()
    })
}

/// A Lease that nobody holds, which the next one takes at once.
fn released(lease: &LeaseSpec, now: Timestamp) -> LeaseSpec {
    LeaseSpec { holder_identity: None, renew_time: Some(to_micro_time(now)), ..lease.clone() }
}

/// Takes part in the election until `ending`; `leading` says whether this process is the one.
pub struct Election {
    api: Api<Lease>,
    me: String,
    seen: Option<Seen>,
    renewed: Option<Instant>,
    leading: watch::Sender<bool>,
}

impl Election {
    /// Of the operators in `namespace`; `me` is unique among them and in time.
    pub fn new(client: Client, namespace: &str, me: String, leading: watch::Sender<bool>) -> Self {
        Self { api: Api::namespaced(client, namespace), me, seen: None, renewed: None, leading }
    }

    /// Runs until `ending`, then gives the Lease back if it has it.
    pub async fn run(mut self, ending: impl Future<Output = ()>) {
        tokio::pin!(ending);
        loop {
            let asked = Instant::now();
            // A request that hangs must not keep a leader that nobody has confirmed.
            let until = self.renewed.map_or(asked + LEASE_RENEW_DEADLINE, |at| at + LEASE_RENEW_DEADLINE);
            tokio::select! {
                () = &mut ending => break,
                result = tokio::time::timeout_at(until, self.round()) => match result {
                    Ok(Ok(true)) => self.renewed = Some(asked),
                    Ok(Ok(false)) => self.renewed = None,
                    Ok(Err(error)) => tracing::debug!(%error, "the Lease could not be read or written"),
                    Err(_) => tracing::debug!("the Lease was not answered in time"),
                },
            }
            if self.renewed.is_some_and(|at| at.elapsed() >= LEASE_RENEW_DEADLINE) {
                self.renewed = None;
            }
            self.say();
            tokio::select! {
                () = &mut ending => break,
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
        self.give_back().await;
    }

    fn say(&self) {
        let leads = self.renewed.is_some();
        self.leading.send_if_modified(|leading| {
            if *leading == leads {
                return false;
            }
            *leading = leads;
            if leads {
                tracing::info!(identity = self.me, "holds the Lease: reconciles");
            } else {
                tracing::warn!(identity = self.me, "lost the Lease: stops writing");
            }
            true
        });
    }

    /// A leader that fails to renew tries faster, as it has until its deadline only.
    fn pause(&self) -> Duration {
        match self.renewed {
            Some(at) if at.elapsed() >= LEASE_RETRY => Duration::from_secs(1),
            _ => LEASE_RETRY,
        }
    }

    /// One look, and one write if it is due. Whether the Lease is ours now.
    async fn round(&mut self) -> Result<bool, kube::Error> {
        let Some(lease) = self.api.get_opt(LEASE).await? else {
            let Step::Write(spec) = decide(&self.me, &LeaseSpec::default(), Duration::ZERO, clock::now()) else {
                return Ok(false);
            };
            let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
            return won(self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(spec) }).await);
        };
        let version = lease.resource_version();
        let at = match self.seen.take() {
            Some(seen) if seen.version == version => seen.at,
            _ => Instant::now(),
        };
        self.seen = Some(Seen { version, at });
        match decide(&self.me, &lease.spec.clone().unwrap_or_default(), at.elapsed(), clock::now()) {
            Step::Wait => Ok(false),
            Step::Write(spec) => {
                let lease = Lease { spec: Some(spec), ..lease };
                won(self.api.replace(LEASE, &PostParams::default(), &lease).await)
            }
        }
    }

    /// Nobody has to wait for the Lease to expire when its holder ends in order.
    async fn give_back(&mut self) {
        if self.renewed.take().is_none() {
            return;
        }
        self.leading.send_replace(false);
        let release = async {
            let Some(lease) = self.api.get_opt(LEASE).await? else { return Ok(()) };
            let spec = lease.spec.clone().unwrap_or_default();
            if spec.holder_identity.as_deref() == Some(&self.me) {
                let lease = Lease { spec: Some(released(&spec, clock::now())), ..lease };
                self.api.replace(LEASE, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        match tokio::time::timeout(LEASE_RETRY, release).await {
            Ok(Ok(())) => tracing::info!("gave the Lease back"),
            Ok(Err(error)) => tracing::warn!(%error, "the Lease was not given back; it expires"),
            Err(_) => tracing::warn!("the Lease was not given back in time; it expires"),
        }
    }
}

/// A write that came too late is no failure: somebody else won.
fn won(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;
    use http::{Method, Request, Response, StatusCode};
    use http_body_util::Full;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn held(by: &str, since: Duration) -> Step {
        let lease = match decide(by, &LeaseSpec::default(), Duration::ZERO, now()) {
            Step::Write(lease) => lease,
            Step::Wait => panic!("an empty Lease is free"),
        };
        decide("a", &lease, since, now())
    }

    #[test]
    fn a_lease_that_nobody_holds_is_taken_and_counted() {
        let Step::Write(lease) = decide("a", &LeaseSpec::default(), Duration::ZERO, now()) else { panic!() };
        assert_eq!(lease.holder_identity.as_deref(), Some("a"));
        assert_eq!((lease.lease_transitions, lease.lease_duration_seconds), (Some(1), Some(15)));
        assert_eq!((lease.acquire_time, lease.renew_time), (Some(to_micro_time(now())), Some(to_micro_time(now()))));
    }

    #[test]
    fn ones_own_lease_is_renewed_and_keeps_when_it_was_taken() {
        let first = match held("a", Duration::ZERO) {
            Step::Write(lease) => lease,
            Step::Wait => panic!(),
        };
        let later: Timestamp = "2026-01-02T03:05:05Z".parse().unwrap();
        let Step::Write(renewed) = decide("a", &first, Duration::from_secs(5), later) else { panic!() };
        assert_eq!(
            (renewed.acquire_time, renewed.renew_time),
            (Some(to_micro_time(now())), Some(to_micro_time(later)))
        );
        assert_eq!(renewed.lease_transitions, Some(1));
    }

    #[test]
    fn anothers_lease_is_taken_only_after_its_duration_by_our_own_clock() {
        assert_eq!(held("b", Duration::ZERO), Step::Wait);
        assert_eq!(held("b", LEASE_DURATION.mul_f32(0.99)), Step::Wait);
        let Step::Write(lease) = held("b", LEASE_DURATION) else { panic!() };
        assert_eq!((lease.holder_identity.as_deref(), lease.lease_transitions), (Some("a"), Some(2)));
    }

    #[test]
    fn a_lease_that_was_given_back_is_taken_at_once() {
        let Step::Write(lease) = held("b", LEASE_DURATION) else { panic!() };
        assert!(matches!(decide("c", &released(&lease, now()), Duration::ZERO, now()), Step::Write(_)));
    }

    const _: () = assert!(LEASE_RENEW_DEADLINE.as_secs() < LEASE_DURATION.as_secs());

    /// The API server's Lease, with its version. While it hangs, nobody is answered.
    #[derive(Debug, Default)]
    struct Server {
        lease: Option<Value>,
        version: u64,
        hangs_for: Option<&'static str>,
    }

    fn answer(server: &mut Server, method: &Method, body: &[u8]) -> (StatusCode, Value) {
        let failure = |code: StatusCode, reason: &str| {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code.as_u16(), "reason": reason,
            });
            (code, status)
        };
        if *method == Method::GET {
            return server
                .lease
                .clone()
                .map_or_else(|| failure(StatusCode::NOT_FOUND, "NotFound"), |lease| (StatusCode::OK, lease));
        }
        let mut lease: Value = serde_json::from_slice(body).unwrap();
        let now = server.lease.as_ref().map(|lease| lease["metadata"]["resourceVersion"].clone()).unwrap_or_default();
        if lease["metadata"]["resourceVersion"] != now {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        server.version += 1;
        lease["metadata"]["resourceVersion"] = server.version.to_string().into();
        server.lease = Some(lease.clone());
        (StatusCode::OK, lease)
    }

    /// A candidate that asks `server`, and whether it leads.
    fn candidate(server: &Arc<Mutex<Server>>, me: &'static str) -> (Election, watch::Receiver<bool>) {
        let server = Arc::clone(server);
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = Arc::clone(&server);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect_bytes().await?;
                if server.lock().unwrap().hangs_for == Some(me) {
                    std::future::pending::<()>().await;
                }
                let (code, value) = answer(&mut server.lock().unwrap(), &parts.method, &body);
                let response = Response::builder().status(code).body(Full::new(Bytes::from(value.to_string())));
                response.map_err(kube::Error::HttpError)
            }
        });
        let (leading, leads) = watch::channel(false);
        (Election::new(Client::new(service, "r"), "r", me.to_owned(), leading), leads)
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_is_cut_off_has_stopped_before_another_begins() {
        let server = Arc::new(Mutex::new(Server::default()));
        let (a, mut a_leads) = candidate(&server, "a");
        let (b, mut b_leads) = candidate(&server, "b");
        tokio::spawn(a.run(std::future::pending()));
        a_leads.wait_for(|leads| *leads).await.unwrap();
        tokio::spawn(b.run(std::future::pending()));
        tokio::time::sleep(LEASE_DURATION * 4).await;
        assert!(*a_leads.borrow() && !*b_leads.borrow());

        let cut_off = Instant::now();
        server.lock().unwrap().hangs_for = Some("a");
        a_leads.wait_for(|leads| !*leads).await.unwrap();
        assert!(cut_off.elapsed() <= LEASE_RENEW_DEADLINE, "{:?}", cut_off.elapsed());
        assert!(!*b_leads.borrow());
        b_leads.wait_for(|leads| *leads).await.unwrap();
        assert!(cut_off.elapsed() >= LEASE_RENEW_DEADLINE, "{:?}", cut_off.elapsed());
        // Heard again, it finds another's Lease.
        server.lock().unwrap().hangs_for = None;
        tokio::time::sleep(LEASE_DURATION * 4).await;
        assert!(!*a_leads.borrow() && *b_leads.borrow());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_ends_gives_the_lease_back_and_nobody_waits_for_it() {
        let server = Arc::new(Mutex::new(Server::default()));
        let (a, mut a_leads) = candidate(&server, "a");
        let (b, mut b_leads) = candidate(&server, "b");
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let a = tokio::spawn(a.run(async { drop(ended.await) }));
        a_leads.wait_for(|leads| *leads).await.unwrap();
        tokio::spawn(b.run(std::future::pending()));
        let begun = Instant::now();
        drop(end);
        a.await.unwrap();
        assert!(!*a_leads.borrow());
        b_leads.wait_for(|leads| *leads).await.unwrap();
        assert!(begun.elapsed() <= LEASE_RETRY, "{:?}", begun.elapsed());
    }
}
