//! Kubernetes quantities as numbers that can be compared and summed: `5m`, `16Mi`, `1.5`, `2e3`.
//!
//! Core. In thousandths, rounded up, as the API server rounds; what is no quantity is `None`.

/// In thousandths of a core or of a byte.
pub type Milli = u128;

/// Longer texts are no quantities.
const MAX_TEXT: usize = 40;

/// Reads a quantity.
pub fn parse(text: &str) -> Option<Milli> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if fraction.contains('.') || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let (multiply, divide): (u128, u128) = match suffix {
        "n" => (1, 1_000_000),
        "u" => (1, 1_000),
        "m" => (1, 1),
        _ => (1_000 * unit(suffix)?, 1),
    };
    let value: u128 = format!("{whole}{fraction}").parse().ok()?;
    let divide = divide.checked_mul(10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
    Some(value.checked_mul(multiply)?.div_ceil(divide))
}

fn unit(suffix: &str) -> Option<u128> {
    const DECIMAL: [&str; 7] = ["", "k", "M", "G", "T", "P", "E"];
    const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let place = |units: &[&str]| units.iter().position(|unit| *unit == suffix).and_then(|n| u32::try_from(n).ok());
    if let Some(n) = place(&DECIMAL) {
        return Some(1000_u128.pow(n));
    }
    if let Some(n) = place(&BINARY) {
        return Some(1024_u128.pow(n));
    }
    let exponent: u32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    10_u128.checked_pow(exponent).filter(|_| exponent <= 18)
}

/// An amount for a person: cores with `m`, bytes with a binary unit.
pub fn shown(resource: &str, amount: Milli) -> String {
    if resource.ends_with("cpu") {
        return if amount.is_multiple_of(1000) { (amount / 1000).to_string() } else { format!("{amount}m") };
    }
    let bytes = amount.div_ceil(1000);
    for (unit, size) in [("Gi", 1_u128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if bytes >= size && (bytes.is_multiple_of(size) || bytes >= 16 * size) {
            return format!("{}{unit}", bytes.div_ceil(size));
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_server_reads_them() {
        for (text, milli) in [
            ("5m", 5),
            ("1", 1000),
            ("1.5", 1500),
            (".5", 500),
            ("1k", 1_000_000),
            ("16Mi", 16 * 1024 * 1024 * 1000),
            ("2e3", 2_000_000),
            ("100n", 1),
            ("0", 0),
        ] {
            assert_eq!(parse(text), Some(milli), "{text}");
        }
        for bad in ["", ".", "-1", "1.2.3", "1 Mi", "Mi", "1ki", "1e99", &"9".repeat(41)] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!((shown("requests.cpu", 250), shown("cpu", 2000)), ("250m".to_owned(), "2".to_owned()));
        let mi = |n: u128| n * 1024 * 1024 * 1000;
        assert_eq!((shown("memory", mi(48)), shown("memory", mi(1536))), ("48Mi".to_owned(), "1536Mi".to_owned()));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,50}") {
            let _ = parse(&text);
        }

        #[test]
        fn whole_numbers_are_kept(n in 0_u64..) {
            prop_assert_eq!(parse(&n.to_string()), Some(u128::from(n) * 1000));
        }
    }
}
