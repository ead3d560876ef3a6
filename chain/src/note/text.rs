//! How numbers and bytes are written in the text formats of C2SP: decimals without leading zeros, canonical base64.
//!
//! Invariant: each value has one text, so a format built from these alone has one encoding for each value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::digest::Digest;

/// Reads a decimal of 64 bits: digits only, no sign, no leading zero.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    (canonical && digits).then(|| text.parse().ok())?
}

/// Standard base64 with padding (RFC 4648 section 4).
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Reads standard base64; padding must be there and unused bits must be zero.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// Reads a digest in base64.
pub(crate) fn digest_from_base64(text: &str) -> Option<Digest> {
    Some(Digest::new(from_base64(text)?.try_into().ok()?))
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

    #[test]
    fn only_canonical_base64_is_read() {
        assert_eq!(from_base64("AA=="), Some(vec![0]));
        for text in ["AA", "AA=", "AB==", "AA==\n", "A-==", "AA== ", "AA==AA=="] {
            assert_eq!(from_base64(text), None, "{text}");
        }
    }
}
