//! How numbers and bytes are written in the text formats of C2SP: decimals without leading zeros.
//!
//! Invariant: each value has one text, so a format built from these alone has one encoding for each value.

/// Reads a decimal of 64 bits: digits only, no sign, no leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_shortest_decimal_is_one() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for text in ["", "00", "01", "+1", "-1", " 1", "1 ", "1_0", "0x1", "١", "18446744073709551616"] {
            assert_eq!(parse_decimal(text), None, "{text}");
        }
    }
}
