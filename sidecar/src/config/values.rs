//! Sizes and durations as they stand on a command line.
//!
//! Strict: a number must have a unit where a unit could be mistaken, and nothing is rounded.

use std::time::Duration;

/// `4096`, `256Ki`, `64Mi`, `1Gi`: bytes.
pub fn size(text: &str) -> Result<u64, String> {
    const EXPECTED: &str = "expected a size like 256Ki or 64Mi";
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        _ => return Err(EXPECTED.to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| EXPECTED.to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| EXPECTED.to_owned())
}

/// `250ms`, `30s`, `1h30m`: units h, m, s, ms in this order, each at most once.
pub fn duration(text: &str) -> Result<Duration, String> {
    let fail = || "expected a duration like 250ms or 1h30m".to_owned();
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let (mut rest, mut next, mut millis) = (text, 0, 0_u64);
    while next == 0 || !rest.is_empty() {
        let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?);
        let unit_len = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let at = units.iter().position(|(name, _)| *name == unit).filter(|at| *at >= next).ok_or_else(fail)?;
        let number: u64 = digits.parse().map_err(|_| fail())?;
        millis = number.checked_mul(units[at].1).and_then(|part| millis.checked_add(part)).ok_or_else(fail)?;
        (rest, next) = (after, at + 1);
    }
    Ok(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        for (text, bytes) in [("0", 0), ("4096", 4096), ("256Ki", 256 << 10), ("64Mi", 64 << 20), ("2Gi", 2 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "Ki", "1K", "1kB", "1.5Mi", "-1", "+1", " 1", "1 Ki", "99999999999Gi", "1Kii"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_always_have_a_unit() {
        for (text, millis) in
            [("0s", 0), ("250ms", 250), ("30s", 30_000), ("1m30s", 90_000), ("1h30m", 5_400_000), ("1h1ms", 3_600_001)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "30", "1.5s", "-1s", "1m1h", "1s1s", "1d", "1s ", "99999999999999999h", "1m2"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
