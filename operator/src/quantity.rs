//! Kubernetes quantities (`5m`, `48Mi`, `1.5`, `2e3`) as numbers that can be compared.
//!
//! Exact down to a billionth, as the API server reads them; what is finer is rounded up, as it does. Negative amounts and
//! amounts that no machine has are no quantities here.

use std::fmt;

/// An amount in billionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quantity(u128);

const ONE: u128 = 1_000_000_000;
const MILLI: u128 = 1_000_000;
/// Longer texts are no quantities.
const MAX_TEXT: usize = 64;
/// 2⁶³ and less can be multiplied by [`ONE`] twice in 128 bits.
const MAX_WHOLE: u128 = 1 << 63;

impl Quantity {
    /// So many bytes, or whole units.
    pub const fn whole(units: u64) -> Self {
        Self(units as u128 * ONE)
    }

    /// So many thousandths.
    pub const fn milli(thousandths: u64) -> Self {
        Self(thousandths as u128 * MILLI)
    }

    /// As it stands in a manifest.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        let (number, suffix) =
            text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return None;
        }
        let (multiply, divide) = scale(suffix)?;
        let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
        let divide = divide.checked_mul(10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?)?;
        let amount = digits.checked_mul(multiply)?.checked_mul(ONE)?.div_ceil(divide);
        (amount <= MAX_WHOLE * ONE).then_some(Self(amount))
    }

    /// Whole units, rounded up.
    pub fn units(self) -> u64 {
        u64::try_from(self.0.div_ceil(ONE)).unwrap_or(u64::MAX)
    }

    /// The sum.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; nothing where the other is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `factor` times as much.
    #[must_use]
    pub fn times(self, factor: Self) -> Self {
        Self(self.0.saturating_mul(factor.0) / ONE)
    }

    /// The `divisor`th part, rounded up to what can be written; all of it where the divisor is nothing.
    #[must_use]
    pub fn over(self, divisor: Self) -> Self {
        if divisor.is_zero() { self } else { Self(self.0.saturating_mul(ONE).div_ceil(divisor.0)).rounded() }
    }

    /// Rounded up to thousandths, or to whole units where there are many: nobody can be given less.
    fn rounded(self) -> Self {
        let step = if self.0 >= 1_000 * ONE { ONE } else { MILLI };
        Self(self.0.div_ceil(step) * step)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

/// A suffix as (times, over).
fn scale(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1_u128 << (10 * power), 1));
    let decimal = |power: u32| Some((10_u128.pow(power), 1));
    match suffix {
        "" => Some((1, 1)),
        "n" => Some((1, ONE)),
        "u" => Some((1, MILLI)),
        "m" => Some((1, 1_000)),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let power: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = 10_u128.checked_pow(power.unsigned_abs().min(30))?;
            Some(if power < 0 { (1, size) } else { (size, 1) })
        }
    }
}

/// The shortest text: binary units where they fit, thousandths where there is a fraction.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.is_multiple_of(ONE) {
            return match (self.0.is_multiple_of(MILLI), self.0.is_multiple_of(1_000)) {
                (true, _) => write!(f, "{}m", self.0 / MILLI),
                (false, true) => write!(f, "{}u", self.0 / 1_000),
                (false, false) => write!(f, "{}n", self.0),
            };
        }
        let mut units = self.0 / ONE;
        let mut suffix = "";
        for larger in ["Ki", "Mi", "Gi", "Ti"] {
            if units == 0 || !units.is_multiple_of(1 << 10) {
                break;
            }
            (units, suffix) = (units >> 10, larger);
        }
        write!(f, "{units}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_are_read_as_the_api_server_reads_them() {
        for (text, same) in [
            ("5m", Quantity::milli(5)),
            ("0.005", Quantity::milli(5)),
            (".5", Quantity::milli(500)),
            ("1.", Quantity::whole(1)),
            ("+2", Quantity::whole(2)),
            ("48Mi", Quantity::whole(48 << 20)),
            ("1.5Gi", Quantity::whole(3 << 29)),
            ("1e3", Quantity::whole(1_000)),
            ("1E3", Quantity::whole(1_000)),
            ("5e-3", Quantity::milli(5)),
            ("1k", Quantity::whole(1_000)),
            ("100000u", Quantity::milli(100)),
            ("0.1n", Quantity(1)),
        ] {
            assert_eq!(Quantity::parse(text), Some(same), "{text}");
        }
        for text in ["", ".", "m", "-1", "1 Mi", "1mi", "1KiB", "1.2.3", "1e", "e3", "1e40", "99E", "0x1", "١"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_part_of_an_amount_is_rounded_up_to_what_can_be_given() {
        let third = Quantity::whole(48 << 20).over(Quantity::milli(1_500));
        assert_eq!(third.to_string(), "32Mi");
        assert_eq!(Quantity::milli(10).over(Quantity::whole(3)).to_string(), "4m");
        assert_eq!(Quantity::milli(10).over(Quantity(0)), Quantity::milli(10));
    }

    proptest! {
        #[test]
        fn any_text_is_a_quantity_or_none_and_what_is_printed_reads_the_same(text in "[0-9.]{0,20}([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,3})?|\\PC{0,20}") {
            if let Some(quantity) = Quantity::parse(&text) {
                prop_assert_eq!(Quantity::parse(&quantity.to_string()), Some(quantity));
            }
        }
    }
}
