//! The time, and how it is shown.
//!
//! The one place of this crate that asks the machine what time it is; `--now` replaces it. Everything else takes a
//! [`Time`] as a value, so that a report can be made again later for the same moment.

use std::time::SystemTime;

use indelible_chain::id::Time;

/// The present.
#[expect(clippy::disallowed_methods, reason = "this is the module through which time enters")]
pub fn now() -> Time {
    let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    Time::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// RFC 3339 in UTC with as many digits after the second as the time has; `""` where a calendar has no such date.
pub fn rfc3339(time: Time) -> String {
    jiff::Timestamp::from_nanosecond(time.nanos().into()).map_or_else(|_| String::new(), |t| t.to_string())
}

/// The same, cut to whole seconds: for tables.
pub fn rfc3339_seconds(time: Time) -> String {
    let seconds = time.nanos().div_euclid(Time::SECOND);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| String::new(), |t| t.to_string())
}

/// A span for a person: the two largest units that it has.
pub fn span(nanos: i64) -> String {
    let (sign, rest) = if nanos < 0 { ("-", nanos.unsigned_abs()) } else { ("", nanos.unsigned_abs()) };
    let ms = rest / 1_000_000;
    let text = match ms {
        0..=999 => format!("{ms}ms"),
        1_000..=59_999 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        60_000..=3_599_999 => format!("{}m{:02}s", ms / 60_000, ms / 1000 % 60),
        3_600_000..=86_399_999 => format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60),
        _ => format!("{}d{:02}h", ms / 86_400_000, ms / 3_600_000 % 24),
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc_with_their_own_precision() {
        assert_eq!(rfc3339(Time::from_nanos(1_700_000_000_000_000_000)), "2023-11-14T22:13:20Z");
        assert_eq!(rfc3339(Time::from_nanos(1_700_000_000_000_000_001)), "2023-11-14T22:13:20.000000001Z");
        assert_eq!(rfc3339_seconds(Time::from_nanos(-1)), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn spans_are_shown_by_their_largest_units() {
        let shown: Vec<_> =
            [5_000_000, 1_500_000_000, 61_000_000_000, 7_200_000_000_000, 180_000_000_000_000, -1_500_000_000]
                .map(span)
                .into();
        assert_eq!(shown, ["5ms", "1.5s", "1m01s", "2h00m", "2d02h", "-1.5s"]);
    }
}
