//! The circuit breaker: where pods are refused because of the sidecar, none is added for a while.
//!
//! Pure. It reads the Events of controllers that could not create a pod (`FailedCreate`). One that names our container or
//! volumes, in a namespace where auditing is not enforced, stops injection there for ten minutes; each further one begins
//! them anew. What we refuse ourselves trips nothing. Every replica sees the same Events and so decides the same.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;

use super::names::{CONTAINER, VOLUMES, WEBHOOK};
use crate::limits::{MAX_TRIP_MESSAGE, MAX_TRIPPED_NAMESPACES, TRIP_DURATION};

/// Where injection rests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Breaker {
    trips: BTreeMap<String, Trip>,
}

/// Why it rests in one namespace, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trip {
    /// The API server's words.
    pub message: String,
    /// Until then.
    pub until: Timestamp,
}

/// A refusal that names what is ours.
pub struct Refusal {
    /// Where.
    pub namespace: String,
    /// The API server's words, shortened.
    pub message: String,
    /// When it was last seen.
    pub at: Timestamp,
}

impl Refusal {
    /// What an Event says of us, if anything.
    pub fn of(event: &Event) -> Option<Self> {
        let message = event.message.as_deref()?;
        let names_ours = std::iter::once(CONTAINER).chain(VOLUMES).any(|name| message.contains(name));
        // Our own refusals are meant: by the webhook, or by a policy whose name begins with ours.
        let is_ours = message.contains(WEBHOOK) || message.contains("ValidatingAdmissionPolicy 'indelible-");
        if event.reason.as_deref() != Some("FailedCreate") || !names_ours || is_ours {
            return None;
        }
        let namespace = event.involved_object.namespace.clone().or_else(|| event.metadata.namespace.clone())?;
        let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
        let last = event.last_timestamp.as_ref().map(|time| time.0);
        let at = series.or(last).or_else(|| event.event_time.as_ref().map(|time| time.0))?;
        let at = Timestamp::from_second(at.as_second()).ok()?;
        Some(Self { namespace, message: message.chars().take(MAX_TRIP_MESSAGE).collect(), at })
    }
}

impl Breaker {
    /// Takes a refusal in; whether something changed.
    pub fn refused(&mut self, refusal: Refusal, now: Timestamp) -> bool {
        let Refusal { namespace, message, at } = refusal;
        // A clock that is ahead of ours must not stop injection for longer.
        let until = at.min(now).saturating_add(TRIP_DURATION).unwrap_or(now);
        let known = self.trips.get(&namespace).map(|trip| trip.until);
        let is_full = known.is_none() && self.trips.len() >= MAX_TRIPPED_NAMESPACES;
        if until <= now || known.is_some_and(|known| known >= until) || is_full {
            return false;
        }
        self.trips.insert(namespace, Trip { message, until });
        true
    }

    /// Forgets what is over; whether something changed.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.trips.len();
        self.trips.retain(|_, trip| trip.until > now);
        self.trips.len() != before
    }

    /// How long until the next one is over.
    pub fn next(&self, now: Timestamp) -> Option<Duration> {
        let until = self.trips.values().map(|trip| trip.until).min()?;
        Some(Duration::try_from(until.duration_since(now)).unwrap_or_default())
    }

    /// Why there is no injection in `namespace`.
    pub fn trip(&self, namespace: &str, now: Timestamp) -> Option<&Trip> {
        self.trips.get(namespace).filter(|trip| trip.until > now)
    }

    /// All of them, with the API server's words.
    pub fn messages(&self) -> BTreeMap<String, String> {
        self.trips.iter().map(|(namespace, trip)| (namespace.clone(), trip.message.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-01-02T03:04:05Z".parse().unwrap()
    }

    fn event(message: &str, at: Timestamp) -> Event {
        serde_json::from_value(json!({
            "metadata": {"namespace": "pay"}, "involvedObject": {"kind": "ReplicaSet", "namespace": "pay", "name": "x"},
            "reason": "FailedCreate", "message": message, "lastTimestamp": at,
        }))
        .unwrap()
    }

    const POD_SECURITY: &str = "Error creating: pods \"x-1\" is forbidden: violates PodSecurity \"baseline:latest\": hostPath volumes (volume \"indelible-logs\")";

    #[test]
    fn a_refusal_that_names_our_volume_stops_injection_for_ten_minutes() {
        let mut breaker = Breaker::default();
        assert!(breaker.refused(Refusal::of(&event(POD_SECURITY, now())).unwrap(), now()));
        let later = |seconds| now() + jiff::SignedDuration::from_secs(seconds);
        assert_eq!(breaker.trip("pay", later(599)).map(|trip| trip.message.as_str()), Some(POD_SECURITY));
        assert_eq!((breaker.trip("pay", later(600)), breaker.trip("other", now())), (None, None));
        assert_eq!(breaker.next(now()), Some(Duration::from_mins(10)));
        // The same Event again, as a watch that begins anew shows it, changes nothing; a later one does.
        assert!(!breaker.refused(Refusal::of(&event(POD_SECURITY, now())).unwrap(), later(60)));
        assert!(breaker.refused(Refusal::of(&event(POD_SECURITY, later(60))).unwrap(), later(60)));
        assert!(!breaker.expire(later(659)) && breaker.expire(later(660)));
        assert_eq!(breaker, Breaker::default());
    }

    #[test]
    fn old_events_and_clocks_that_are_ahead_cannot_stop_it_for_longer() {
        let mut breaker = Breaker::default();
        let at = |minutes| now() + jiff::SignedDuration::from_mins(minutes);
        assert!(!breaker.refused(Refusal::of(&event(POD_SECURITY, at(-10))).unwrap(), now()));
        assert!(breaker.refused(Refusal::of(&event(POD_SECURITY, at(120))).unwrap(), now()));
        assert_eq!(breaker.trip("pay", at(10)), None);
    }

    #[test]
    fn what_others_cause_and_what_we_refuse_ourselves_is_no_reason() {
        for message in [
            "Error creating: pods \"x-1\" is forbidden: exceeded quota: q",
            "Error creating: admission webhook \"inject.indelible.dev\" denied the request: indelible: container \"a\" mounts the volume \"indelible-logs\"",
            "Error creating: pods \"x\" is forbidden: ValidatingAdmissionPolicy 'indelible-enforced' with binding 'indelible-enforced' denied request: the first init container must be indelible-sidecar",
        ] {
            assert!(Refusal::of(&event(message, now())).is_none(), "{message}");
        }
        let mut other = event(POD_SECURITY, now());
        other.reason = Some("Failed".to_owned());
        assert!(Refusal::of(&other).is_none());
    }

    #[test]
    fn no_flood_of_events_takes_more_than_its_share_of_memory() {
        let mut breaker = Breaker::default();
        for number in 0..=MAX_TRIPPED_NAMESPACES {
            let mut event = event(&format!("{POD_SECURITY}{}", "x".repeat(100_000)), now());
            event.involved_object.namespace = Some(format!("n{number}"));
            breaker.refused(Refusal::of(&event).unwrap(), now());
        }
        assert_eq!(breaker.trips.len(), MAX_TRIPPED_NAMESPACES);
        assert!(breaker.trips.values().all(|trip| trip.message.len() <= MAX_TRIP_MESSAGE));
    }
}
