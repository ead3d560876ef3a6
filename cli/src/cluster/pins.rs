//! The keys that the operator pinned, as a policy.
//!
//! Core. They are the operator's word: whoever may write the AuditLog's status chooses them, so every command that
//! rests on them says so. A policy of the user's own takes their place.

use std::fmt::Write as _;

use indelible_chain::note::VerifierKey;
use indelible_chain::policy::Policy;

use super::audit_log::AuditLog;
use crate::report::people::count;
use crate::text::one_line;

/// The name of the operator's witness in the policy.
const OPERATOR: &str = "operator";

/// Whom the operator says to believe.
#[derive(Debug, Clone)]
pub struct Pins {
    /// Its logs, and its witness if it has one.
    pub policy: Policy,
    /// Whose statements count.
    pub authority: Option<VerifierKey>,
    /// What this rests on, for the user.
    pub words: String,
}

/// Reads the pins of a status.
pub fn pins(log: &AuditLog) -> Result<Pins, String> {
    let name = one_line(&log.pool_name().to_string());
    let yours = "name the logs that you trust with --policy or --log-key";
    let key = |what: &str, text: &str| -> Result<VerifierKey, String> {
        let why =
            |e| format!("the {what} in the status of AuditLog {name} is no verifier key: {}: {e}", one_line(text));
        text.parse().map_err(why)
    };
    let status = &log.status;
    if status.logs.is_empty() {
        return Err(format!(
            "the operator has pinned no log of AuditLog {name} yet: see the conditions of `kubectl describe auditlog {} \
             -n {}`, or {yours}",
            one_line(&log.pool_name().name),
            one_line(&log.pool_name().namespace),
        ));
    }
    let mut text = String::new();
    for log in &status.logs {
        let _ = writeln!(text, "log {}", key("publicKey of a log", &log.public_key)?);
    }
    // Witnesses outside of the cluster are named, so that the report shows who else has cosigned; the quorum is the
    // operator's own witness, which is always there.
    for witness in log.spec.witnesses.iter().filter(|witness| is_plain(&witness.name)) {
        if let Ok(key) = key("publicKey of a witness", &witness.public_key) {
            let _ = writeln!(text, "witness {} {key}", witness.name);
        }
    }
    let witness = if status.witness_key.is_empty() {
        text.push_str("quorum none\n");
        "no witness"
    } else {
        let _ = writeln!(text, "witness {OPERATOR} {}\nquorum {OPERATOR}", key("witnessKey", &status.witness_key)?);
        "the operator's witness"
    };
    let policy = Policy::parse(text.as_bytes());
    let policy =
        policy.map_err(|e| format!("the keys in the status of AuditLog {name} are no policy: {e}; {yours}"))?;
    let authority = Some(&status.authority_key).filter(|key| !key.is_empty());
    let authority = authority.map(|text| key("authorityKey", text)).transpose()?;
    let words = format!(
        "believing {} and {witness}, as pinned in the status of AuditLog {name}: that is the operator's word; with \
         --policy it is your own",
        count(status.logs.len() as u64, "log key", "log keys"),
    );
    Ok(Pins { policy, authority, words })
}

/// A name that a policy takes, and that is not ours.
fn is_plain(name: &str) -> bool {
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !name.is_empty() && name.bytes().all(is_good) && !matches!(name, OPERATOR | "none")
}

#[cfg(test)]
mod tests {
    use indelible_chain::note::{Algorithm, KeyName};

    use super::super::audit_log::{LogStatus, Spec, Status, Witness};
    use super::*;

    fn key(name: &str, seed: u8, algorithm: Algorithm) -> String {
        let public = indelible_chain::key::PrivateKey::from_seed(&[seed; 32]).public();
        let name: KeyName = name.parse().unwrap();
        VerifierKey::new(name, algorithm, public).to_string()
    }

    fn log(n: u8) -> LogStatus {
        let public_key = key(&format!("u/audit/payments/{n}"), n, Algorithm::Ed25519);
        LogStatus { origin: String::new(), public_key, collector: format!("payments-{n}"), state: "Open".into() }
    }

    fn audit_log(logs: Vec<LogStatus>, witness_key: String) -> AuditLog {
        let status = Status { logs, witness_key, ..Status::default() };
        AuditLog { status, ..AuditLog::default() }
    }

    #[test]
    fn the_operators_pins_are_a_policy_that_asks_for_its_witness_and_says_whose_word_it_is() {
        let witness = key("w", 9, Algorithm::CosignatureV1);
        let pins = pins(&audit_log(vec![log(1), log(2)], witness)).unwrap();
        assert_eq!((pins.policy.logs().len(), pins.policy.needs_witnesses()), (2, true));
        assert!(pins.words.contains("2 log keys and the operator's witness") && pins.words.contains("operator's word"));
        assert!(pins.authority.is_none());
    }

    #[test]
    fn without_a_witness_none_is_asked_for_and_that_is_said() {
        let pins = pins(&audit_log(vec![log(1)], String::new())).unwrap();
        assert!(!pins.policy.needs_witnesses() && pins.words.contains("1 log key and no witness"), "{}", pins.words);
    }

    #[test]
    fn a_status_that_pins_nothing_or_nonsense_is_refused_with_what_to_do() {
        assert!(pins(&audit_log(vec![], String::new())).unwrap_err().contains("--policy"));
        let injected = LogStatus { public_key: format!("{}\nquorum none", log(1).public_key), ..log(1) };
        for bad in [injected, LogStatus { public_key: "nonsense".into(), ..log(1) }] {
            assert!(pins(&audit_log(vec![bad], String::new())).unwrap_err().contains("publicKey"));
        }
        assert!(pins(&audit_log(vec![log(1)], "nonsense".into())).unwrap_err().contains("witnessKey"));
    }

    #[test]
    fn witnesses_outside_of_the_cluster_are_named_and_not_asked_for() {
        let witness = |name: &str| Witness { name: name.into(), public_key: key("sec", 7, Algorithm::CosignatureV1) };
        let mut log = audit_log(vec![log(1)], key("w", 9, Algorithm::CosignatureV1));
        log.spec = Spec { witnesses: vec![witness("security-team"), witness("operator")], ..Spec::default() };
        let names: Vec<_> = pins(&log).unwrap().policy.witnesses().iter().map(|w| w.name().to_owned()).collect();
        assert_eq!(names, ["security-team", "operator"]);
    }
}
