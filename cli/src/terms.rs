//! What a verification is given besides its sources: the files that flags name, read and made into [`Terms`].
//!
//! Each file is bounded and must be what it should be; a mistake names the flag, the file and what to do. Owns the formats
//! of `--accept` (an id a line) and `--expect` (a JSON list); all others are the evidence format's own.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;

use indelible_chain::id::Time;
use indelible_chain::policy::{MAX_POLICY_BYTES, Policy};
use indelible_chain::receipt::{KEPT_RECEIPT_BYTES, KeptReceipt};
use indelible_chain::verify::{Expected, Known, KnownBy, Scope, Terms};
use serde::Deserialize;

use crate::args::{EvidenceArgs, FilterArgs, TrustArgs, WhoseArgs};
use crate::limits::{MAX_CHECKPOINT_BYTES, MAX_CONFIG_BYTES, MAX_EXPECT_BYTES, MAX_RECEIPTS};
use crate::remembered::Remembered;
use crate::source::folder::{Folder, ReadError};
use crate::terminal::say;
use crate::tokens::IssuerKeys;
use crate::values::moment;

/// A flag whose file cannot be used: exit 5.
#[derive(Debug, thiserror::Error)]
#[error("{flag} {path}: {why}")]
pub struct FlagError {
    flag: &'static str,
    path: String,
    why: String,
}

impl FlagError {
    /// What is wrong with the file or value of a flag.
    pub fn new(flag: &'static str, path: &Path, why: impl Display) -> Self {
        Self { flag, path: path.display().to_string(), why: why.to_string() }
    }
}

/// What the file of a flag is, and where one comes from: told where it cannot be read.
const FILES: [(&str, &str); 10] = [
    (
        "--policy",
        "a tlog-policy: a line `log VKEY` for each log, with what `indelible-collector init` printed, and a line `quorum \
         none` or the witnesses'; `--log-key VKEY` does without the file",
    ),
    ("--ca", "the certificate (PEM) of the authority that signed the collectors' certificates"),
    ("--token", "a token for readers, such as `kubectl create token NAME --audience read.indelible.dev` prints"),
    ("--issuer-keys", "the key set of who attests pods, such as `kubectl get --raw /openid/v1/jwks` prints"),
    (
        "--checkpoint",
        "a checkpoint that was kept earlier: a copy of the file `checkpoint` of a collector's data directory",
    ),
    ("--accept", "the ids of findings that are accepted, one a line, as `indelible verify` prints them"),
    ("--expect", "a JSON list of objects with namespace, pod, pod_uid, containers, running_since"),
    ("--receipts", "a directory with kept receipts, one a file"),
    ("--state", "a directory that this program may make and write to"),
    ("--check", "a proof that `indelible prove` has written with --output"),
];

impl FlagError {
    /// What a flag names is not there, or of no use.
    fn unreadable(flag: &'static str, path: &Path, why: impl Display) -> Self {
        let what = FILES.iter().find(|(of, _)| *of == flag).map_or("a file", |(_, what)| what);
        Self::new(flag, path, format!("{why}; expected {what}"))
    }
}

/// Whom the user believes, as the flags say; `None` if they do not.
pub fn policy(trust: &TrustArgs) -> Result<Option<Policy>, FlagError> {
    match &trust.policy {
        Some(path) => {
            let bytes = read("--policy", path, MAX_POLICY_BYTES)?;
            let policy = Policy::parse(&bytes).map_err(|e| FlagError::new("--policy", path, chain_of(&e)))?;
            if policy.logs().is_empty() {
                return Err(FlagError::unreadable("--policy", path, "it names no log, so nothing can be trusted"));
            }
            Ok(Some(policy))
        }
        None if trust.log_key.is_empty() => Ok(None),
        None => Policy::from_log_keys(trust.log_key.iter().cloned()).map(Some).map_err(|e| FlagError {
            flag: "--log-key",
            path: String::new(),
            why: e.to_string(),
        }),
    }
}

/// The terms of a verification at `now`, and what is remembered from earlier ones.
pub fn terms(
    policy: Policy,
    evidence: &EvidenceArgs,
    filter: &FilterArgs,
    tokens: Option<IssuerKeys>,
    now: Time,
) -> Result<(Terms, Option<Remembered>), FlagError> {
    let now = evidence.now.map_or(now, |when| when.resolve(now));
    let mut terms = Terms::new(policy, now);
    terms.authorities.clone_from(&evidence.authority);
    terms.max_age = evidence.max_age;
    terms.max_unwitnessed = evidence.max_unwitnessed;
    terms.accept_declared_gaps = evidence.accept_declared_gaps;
    terms.scope = scope(filter, now);
    if let Some(path) = &evidence.accept {
        terms.accepted = accepted(path)?;
    }
    if let Some(path) = &evidence.expect {
        terms.expected = expected(path)?;
    }
    if let Some(path) = &evidence.receipts {
        terms.receipts = receipts(path)?;
    }
    terms.tokens = tokens.map(|keys| Box::new(keys) as _);
    for path in &evidence.checkpoint {
        let note = read("--checkpoint", path, MAX_CHECKPOINT_BYTES)?;
        terms.known.push(Known { by: KnownBy::Operator, label: path.display().to_string(), note });
    }
    let open = |dir: &std::path::PathBuf| Remembered::open(dir).map_err(|e| FlagError::unreadable("--state", dir, e));
    let mut remembered = evidence.state.as_ref().map(open).transpose()?;
    for file in remembered.iter_mut().flat_map(|remembered| remembered.leave_out_strangers(&terms.policy)) {
        say(format_args!("--state: {file} is of a log that this policy does not name: not looked at"));
    }
    terms.known.extend(remembered.iter().flat_map(Remembered::known));
    Ok((terms, remembered))
}

/// Who may vouch for sessions.
pub fn issuer_keys(evidence: &EvidenceArgs) -> Result<Option<IssuerKeys>, FlagError> {
    let Some(path) = &evidence.issuer_keys else { return Ok(None) };
    let bytes = read("--issuer-keys", path, MAX_CONFIG_BYTES)?;
    let keys = IssuerKeys::parse(&bytes, &evidence.audience);
    keys.map(Some).map_err(|e| FlagError::new("--issuer-keys", path, chain_of(&e)))
}

/// The filter as the judge takes it.
pub fn scope(filter: &FilterArgs, now: Time) -> Scope {
    Scope {
        since: filter.since.map(|when| when.resolve(now)),
        until: filter.until.map(|when| when.resolve(now)),
        ..named(&filter.whose)
    }
}

/// The same, without times.
pub fn named(whose: &WhoseArgs) -> Scope {
    let WhoseArgs { namespace, pod, container } = whose.clone();
    Scope { namespace, pod, container, since: None, until: None }
}

/// Reads a file that the user named; links are followed here, the machine is the user's own.
pub fn read(flag: &'static str, path: &Path, limit: usize) -> Result<Vec<u8>, FlagError> {
    use std::io::Read;
    let open = std::fs::File::open(path).map_err(|e| FlagError::unreadable(flag, path, e))?;
    let mut bytes = Vec::new();
    open.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|e| FlagError::unreadable(flag, path, e))?;
    if bytes.len() > limit {
        return Err(FlagError::new(flag, path, format!("over the limit of {limit} bytes")));
    }
    Ok(bytes)
}

fn accepted(path: &Path) -> Result<BTreeSet<String>, FlagError> {
    let bytes = read("--accept", path, MAX_CONFIG_BYTES)?;
    let refuse = |why: String| FlagError::new("--accept", path, why);
    let text = String::from_utf8(bytes).map_err(|_| refuse("not UTF-8".to_owned()))?;
    let mut ids = BTreeSet::new();
    for (line, n) in text.lines().map(str::trim).zip(1..) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // What follows the id is for people: why it was accepted.
        let id = line.split_whitespace().next().unwrap_or_default();
        if id.len() != 16 || !id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(refuse(format!(
                "line {n} does not begin with a finding's id, which is 16 lower-case hex digits"
            )));
        }
        ids.insert(id.to_owned());
    }
    Ok(ids)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedPod {
    namespace: String,
    pod: String,
    pod_uid: String,
    containers: Vec<String>,
    running_since: String,
}

fn expected(path: &Path) -> Result<Vec<Expected>, FlagError> {
    let bytes = read("--expect", path, MAX_EXPECT_BYTES)?;
    let refuse = |why: String| FlagError::new("--expect", path, why);
    let pods: Vec<ExpectedPod> = serde_json::from_slice(&bytes).map_err(|e| {
        refuse(format!("{e}; expected a JSON list of namespace, pod, pod_uid, containers, running_since"))
    })?;
    let pods = pods.into_iter().map(|of| {
        let ExpectedPod { namespace, pod, pod_uid, containers, running_since } = of;
        let running_since = moment(&running_since).map_err(|e| refuse(format!("running_since of {pod}: {e}")))?;
        Ok(Expected { namespace, pod, pod_uid, containers, running_since })
    });
    pods.collect()
}

fn receipts(path: &Path) -> Result<Vec<(String, KeptReceipt)>, FlagError> {
    let refuse = |e: ReadError| FlagError::new("--receipts", path, e);
    let folder = Folder::open(path).map_err(|e| FlagError::unreadable("--receipts", path, e))?;
    let names = folder.list().map_err(refuse)?;
    if names.len() > MAX_RECEIPTS {
        return Err(FlagError::new("--receipts", path, format!("more than {MAX_RECEIPTS} files")));
    }
    let files = names.into_iter().filter(|(_, is_dir)| !is_dir).map(|(name, _)| {
        let bytes = folder.read(&name, KEPT_RECEIPT_BYTES).map_err(refuse)?;
        let receipt = KeptReceipt::decode(&bytes)
            .map_err(|e| FlagError::new("--receipts", &path.join(&name), format!("not a kept receipt: {e}")))?;
        Ok((name, receipt))
    });
    files.collect()
}

/// An error with its causes, on one line.
pub fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &[u8]) -> tempfile::NamedTempFile {
        use std::io::Write;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_file_that_is_not_there_is_named_with_what_it_should_be() {
        for (flag, what) in FILES {
            let error = read(flag, Path::new("/nothing/here"), 1).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{flag} /nothing/here: ")) && error.ends_with(what), "{error}");
        }
    }

    #[test]
    fn accepted_findings_are_ids_a_line_with_reasons_and_comments() {
        let good = file(b"# outage of May\n00112233aabbccdd known outage\n\n 0123456789abcdef\n");
        assert_eq!(accepted(good.path()).unwrap().len(), 2);
        for bad in ["0011", "00112233AABBCCDD", "not an id"] {
            let error = accepted(file(bad.as_bytes()).path()).unwrap_err().to_string();
            assert!(error.starts_with("--accept ") && error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn expected_coverage_is_a_json_list_whose_mistakes_are_named() {
        let good =
            br#"[{"namespace":"a","pod":"p","pod_uid":"u","containers":["c"],"running_since":"2026-01-31T12:00:00Z"}]"#;
        assert_eq!(expected(file(good).path()).unwrap()[0].containers, ["c"]);
        for bad in ["{}", r#"[{"pod":"p"}]"#, &String::from_utf8_lossy(good).replace("2026-01", "2026-13")] {
            assert!(expected(file(bad.as_bytes()).path()).unwrap_err().to_string().starts_with("--expect "), "{bad}");
        }
    }

    #[test]
    fn a_receipt_of_the_wrong_length_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("one"), [1; KEPT_RECEIPT_BYTES - 1]).unwrap();
        let error = receipts(dir.path()).unwrap_err().to_string();
        assert!(error.contains("one: not a kept receipt"), "{error}");
    }
}
