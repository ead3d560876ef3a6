//! The one place through which time enters, and how it is written in Kubernetes' objects.
//!
//! Kubernetes' types have times of their own library's version: they are converted here and nowhere else.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};

/// The wall clock's time.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// As conditions and metadata have it, to the second.
pub fn to_time(at: Timestamp) -> Time {
    Time(k8s_openapi::jiff::Timestamp::from_second(at.as_second()).unwrap_or_default())
}

/// As Leases have it, to the microsecond.
pub fn to_micro_time(at: Timestamp) -> MicroTime {
    MicroTime(k8s_openapi::jiff::Timestamp::from_microsecond(at.as_microsecond()).unwrap_or_default())
}

/// From metadata or a condition.
pub fn from_time(time: &Time) -> Timestamp {
    Timestamp::from_second(time.0.as_second()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_back_to_the_second() {
        let at: Timestamp = "2026-01-02T03:04:05.678901234Z".parse().unwrap();
        assert_eq!(from_time(&to_time(at)).to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(serde_json::to_value(to_micro_time(at)).unwrap(), "2026-01-02T03:04:05.678901Z");
        assert_eq!(serde_json::to_value(to_time(at)).unwrap(), "2026-01-02T03:04:05Z");
    }
}
