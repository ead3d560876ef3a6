//! What a flag's text means: durations and times.
//!
//! A duration is whole numbers with units from large to small, each unit at most once: `250ms`, `1h30m`, `7d`. A time is
//! RFC 3339, or a duration, which means that long ago. Anything else is refused: a verifier that guesses what was
//! meant by a range would say something about another one.

use std::time::Duration;

use indelible_chain::id::Time;

/// Text that is no duration or time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No duration.
    #[error("not a duration: expected numbers with d, h, m, s or ms from large to small, such as 1h30m or 250ms")]
    Duration,
    /// No time.
    #[error("not a time: expected RFC 3339 such as 2026-01-31T12:00:00Z, or how long ago, such as 1h30m")]
    Time,
}

const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Reads a duration.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let place = units.iter().position(|(name, _)| *name == unit).ok_or(ValueError::Duration)?;
        let number: u64 = number.parse().map_err(|_| ValueError::Duration)?;
        let millis = number.checked_mul(units[place].1).ok_or(ValueError::Duration)?;
        total = total.checked_add(millis).ok_or(ValueError::Duration)?;
        units = &units[place + 1..];
        rest = after;
    }
    if text.is_empty() { Err(ValueError::Duration) } else { Ok(Duration::from_millis(total)) }
}

/// A duration in nanoseconds; the longest there is for longer ones.
pub fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

/// A time as a flag gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// A moment.
    At(Time),
    /// This long before the present.
    Ago(Duration),
}

impl When {
    /// The moment, if the present is `now`.
    pub fn resolve(self, now: Time) -> Time {
        match self {
            Self::At(time) => time,
            Self::Ago(ago) => now.plus_nanos(-nanos(ago)),
        }
    }
}

/// Reads a time or a duration ago.
pub fn when(text: &str) -> Result<When, ValueError> {
    match duration(text) {
        Ok(ago) => Ok(When::Ago(ago)),
        Err(_) => moment(text).map(When::At),
    }
}

/// Reads an RFC 3339 time.
pub fn moment(text: &str) -> Result<Time, ValueError> {
    // The library takes more than RFC 3339: a space for the T, times without seconds, annotations in brackets.
    let shape = text.as_bytes().get(10) == Some(&b'T') && text.as_bytes().get(16) == Some(&b':') && !text.contains('[');
    let time: jiff::Timestamp = text.parse().ok().filter(|_| shape).ok_or(ValueError::Time)?;
    i64::try_from(time.as_nanosecond()).map(Time::from_nanos).map_err(|_| ValueError::Time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_numbers_with_units_from_large_to_small() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_hours(168)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in
            ["", "5", "s", "1m1h", "1h1h", "-1h", "1.5h", "1 h", "1w", "1H", "99999999999999999999s", "µs", "1²s"]
        {
            assert_eq!(duration(bad), Err(ValueError::Duration), "{bad}");
        }
    }

    #[test]
    fn a_time_is_rfc_3339_or_a_duration_ago() {
        let noon = Time::from_nanos(1_769_860_800_000_000_000);
        assert_eq!(when("2026-01-31T12:00:00Z"), Ok(When::At(noon)));
        assert_eq!(when("2026-01-31T13:00:00+01:00"), Ok(When::At(noon)));
        assert_eq!(when("1h").map(|w| w.resolve(noon)), Ok(noon.plus_nanos(-3_600_000_000_000)));
        for bad in ["now", "2026-01-31", "2026-01-31 12:00:00Z", "2026-01-31T12:00Z", "2026-13-01T00:00:00Z", "12:00"] {
            assert_eq!(when(bad), Err(ValueError::Time), "{bad}");
        }
    }
}
