//! How flags are written: sizes (`256Ki`, `64Mi`), durations (`250ms`, `1h30m`), origins.
//!
//! Owns the syntax only; what a value may be used for is [`super`]'s business. A text that is refused is refused
//! with the forms that are accepted.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use indelible_chain::note::{Algorithm, VerifierKey};
use jiff::SignedDuration;

use crate::outbound::Url;

/// Reads a size in bytes: a whole number with an optional `Ki`, `Mi` or `Gi`.
pub fn size(text: &str) -> Result<u64, String> {
    const FORM: &str = "write a whole number of bytes with Ki, Mi or Gi behind it, as 64Mi";
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "Ki" => 10,
        "Mi" => 20,
        "Gi" => 30,
        _ => return Err(FORM.into()),
    };
    let number: u64 = digits.parse().map_err(|_| FORM)?;
    number.checked_mul(1 << shift).ok_or_else(|| FORM.into())
}

/// Reads a duration, as `250ms` or `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    const FORM: &str = "write a duration with its unit, as 250ms, 1s or 1h30m";
    let signed: SignedDuration = text.parse().map_err(|_| FORM)?;
    Ok(Duration::try_from(signed).map_err(|_| FORM)?)
}

/// Reads a log's name without its fingerprint: what a signed note can carry as a key's name.
pub fn origin(text: &str) -> Result<String, String> {
    const LONGEST: usize = 512;
    if text.is_empty() || text.len() > LONGEST || text.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
    {
        return Err(format!("write 1 to {LONGEST} bytes without spaces, control characters or '+', as demo/c0"));
    }
    Ok(text.to_owned())
}

/// Namespace and name of an object of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl FromStr for ObjectName {
    type Err = String;

    /// Reads `<namespace>/<name>`: what Kubernetes takes as names, so that they stand in a path as they are.
    fn from_str(text: &str) -> Result<Self, String> {
        const LONGEST: usize = 253;
        let is_name = |name: &str| {
            (1..=LONGEST).contains(&name.len())
                && name.split('.').all(|label| {
                    let inside = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
                    !label.is_empty() && label.bytes().all(inside) && !label.starts_with('-') && !label.ends_with('-')
                })
        };
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("write <namespace>/<name>, as audit/payments".into()),
        }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A party that cosigns checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// What its cosignatures are verified with.
    pub key: VerifierKey,
    /// Where it is asked; `/add-checkpoint` is below it.
    pub url: Url,
}

impl FromStr for Witness {
    type Err = String;

    /// Reads `VKEY=URL`.
    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write VKEY=URL: a verifier key for cosignatures (type 0x04), and http:// or https://";
        // A key's name may hold `=` itself.
        let at = text.find("=http://").or_else(|| text.find("=https://")).ok_or(FORM)?;
        let key: VerifierKey = text[..at].parse().map_err(|error| format!("{FORM}; {error}"))?;
        if key.algorithm() != Algorithm::CosignatureV1 {
            return Err(format!("{FORM}; this is a log's key (type 0x01)"));
        }
        let url = Url::parse(&text[at + 1..]).map_err(|error| format!("{FORM}; {error}"))?;
        Ok(Self { key, url })
    }
}

/// Reads the verifier key of an authority: of the kind that signs, as a log's.
pub fn authority(text: &str) -> Result<VerifierKey, String> {
    const FORM: &str = "write a verifier key of type 0x01, as name+hex+base64";
    let key: VerifierKey = text.parse().map_err(|error| format!("{FORM}; {error}"))?;
    if key.algorithm() == Algorithm::Ed25519 { Ok(key) } else { Err(format!("{FORM}; this is a witness' (type 0x04)")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_or_none() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("256Ki"), Ok(256 << 10));
        assert_eq!(size("64Mi"), Ok(64 << 20));
        assert_eq!(size("3Gi"), Ok(3 << 30));
        for text in ["", "Mi", "64M", "64MB", "64 Mi", "-1", "1.5Mi", "64mi", "18446744073709551615Ki"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_have_a_unit_and_are_not_negative() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1s"), Ok(Duration::from_secs(1)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        for text in ["", "5", "-1s", "1 fortnight"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_fit_a_signed_note() {
        assert_eq!(origin("demo/c0"), Ok("demo/c0".to_owned()));
        for text in ["", "a b", "a+b", "a\nb"] {
            assert!(origin(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn objects_have_a_namespace_and_a_name_as_kubernetes_takes_them() {
        let name = ObjectName { namespace: "audit".into(), name: "payments-pool".into() };
        assert_eq!("audit/payments-pool".parse(), Ok(name.clone()));
        assert_eq!(name.to_string(), "audit/payments-pool");
        for text in ["", "audit", "/x", "audit/", "a/b/c", "Audit/x", "a/x?y", "a/..", "a/-x", "a/x%2f"] {
            assert!(text.parse::<ObjectName>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_authoritys_key_signs_as_a_logs() {
        use indelible_chain::key::PrivateKey;
        let key =
            |kind| VerifierKey::new("w".parse().unwrap(), kind, PrivateKey::from_seed(&[3; 32]).public()).to_string();
        assert!(authority(&key(Algorithm::Ed25519)).is_ok());
        assert!(authority(&key(Algorithm::CosignatureV1)).is_err());
        assert!(authority("x").is_err());
    }

    #[test]
    fn a_witness_is_a_cosigners_key_and_a_url() {
        use indelible_chain::key::PrivateKey;
        let key = |name: &str, kind| {
            VerifierKey::new(name.parse().unwrap(), kind, PrivateKey::from_seed(&[3; 32]).public()).to_string()
        };
        let (cosigner, log) = (key("w=1", Algorithm::CosignatureV1), key("w", Algorithm::Ed25519));
        let witness: Witness = format!("{cosigner}=http://w.r.svc:7444").parse().unwrap();
        assert_eq!(
            (witness.key.to_string(), witness.url.to_string()),
            (cosigner.clone(), "http://w.r.svc:7444".into())
        );
        for text in
            [cosigner.clone(), format!("{log}=https://w"), "x=https://w".into(), format!("{cosigner}=https://w?x")]
        {
            assert!(text.parse::<Witness>().is_err(), "{text}");
        }
    }
}
