//! One round over a pool's collectors: what their logs say, whom they cover, and the statements that are owed.
//!
//! A collector that does not answer is left out; what it would have said is asked again in the next round. Nothing is
//! decided here but what a log's own signature shows.

use std::net::IpAddr;

use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::note::VerifierKey;
use indelible_chain::statement::EndReason;
use indelible_chain::witness::Head;
use jiff::Timestamp;

use crate::authority::{Acknowledgement, ended};
use crate::collectors::{AskError, Collectors, LogFacts, Session};
use crate::keys::Authority;
use crate::witness::memory::Reason;

/// What to do in a round.
#[derive(Debug)]
pub struct Order {
    /// The bundle that collectors' certificates are checked against.
    pub bundle: String,
    /// Whom to ask.
    pub targets: Vec<Target>,
    /// Sessions that spoke since then are wanted.
    pub since: Timestamp,
    /// Pods that are gone.
    pub owed: Vec<Owed>,
    /// A finding that somebody accepts.
    pub accept: Option<Acknowledgement>,
}

/// A collector to ask.
#[derive(Debug)]
pub struct Target {
    /// Its pod.
    pub pod: String,
    /// Where it is.
    pub address: IpAddr,
    /// The key of its log.
    pub key: VerifierKey,
    /// The largest tree of it that was cosigned before it is asked.
    pub head: Head,
    /// Whether it was not cosigned any further since the last round.
    pub is_behind: bool,
    /// Whether it takes no records: nobody sends it heartbeats either.
    pub kept: bool,
}

/// A statement 11 that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The pod.
    pub uid: String,
    /// Why it is gone.
    pub reason: EndReason,
    /// Since when.
    pub at: Timestamp,
}

/// What came of a round.
#[derive(Debug, Default)]
pub struct Answers {
    /// What each log says that answered, by the pod of its collector.
    pub logs: Vec<(String, LogFacts)>,
    /// Pods whose collector told whom it covers.
    pub covering: Vec<String>,
    /// The sessions that they told.
    pub sessions: Vec<Session>,
    /// What logs have signed that they must not.
    pub alarms: Vec<(Reason, String, String)>,
    /// Pods whose end is stated.
    pub stated: Vec<String>,
    /// Whether the acceptance is stated.
    pub accepted: bool,
}

/// Asks them all.
pub async fn poll(collectors: &mut Collectors, order: Order, authority: &Authority) -> Answers {
    let mut answers = Answers::default();
    let addresses: Vec<IpAddr> = order.targets.iter().map(|target| target.address).collect();
    if let Err(error) = collectors.prepare(&order.bundle, &addresses) {
        tracing::debug!(%error, "collectors are not asked");
        return answers;
    }
    let mut writable = Vec::new();
    for target in &order.targets {
        match ask(collectors, target, order.since, &mut answers).await {
            Ok(true) => writable.push(target),
            Ok(false) => {}
            Err(error) => tracing::debug!(collector = target.pod, %error, "a collector did not answer"),
        }
    }
    state(collectors, authority, &order, &writable, &mut answers).await;
    answers
}

/// Asks one; whether its log takes statements.
async fn ask(
    collectors: &mut Collectors,
    target: &Target,
    since: Timestamp,
    answers: &mut Answers,
) -> Result<bool, AskError> {
    let facts = collectors.log(target.address).await?;
    if facts.vkey != target.key.to_string() {
        // Another collector has this address by now, or its key is not the one that is pinned: both are told elsewhere.
        tracing::debug!(collector = target.pod, origin = facts.origin, "answers for another log");
        return Ok(false);
    }
    let takes_statements = !target.kept && !facts.sealed;
    answers.logs.push((target.pod.clone(), facts));
    let newest = collectors.checkpoint(target.address, &target.key).await?;
    let mut contradiction = contradiction(target, &newest);
    if target.is_behind && newest.size() > target.head.size && target.head.size > 0 {
        let extends = collectors.extends(target.address, &target.key, target.head, &newest).await?;
        contradiction = (extends == Some(false)).then(|| (Reason::Forked, forked(target, newest.size())));
    }
    if let Some((reason, message)) = contradiction {
        answers.alarms.push((reason, target.key.name().to_string(), message));
    }
    if !target.kept {
        answers.sessions.extend(collectors.coverage(target.address, since).await?);
        answers.covering.push(target.pod.clone());
    }
    Ok(takes_statements)
}

/// What the newest checkpoint of a log shows against it: it cannot be behind what was cosigned before it was asked for.
fn contradiction(target: &Target, newest: &Checkpoint) -> Option<(Reason, String)> {
    let Target { pod, key, head, .. } = target;
    let (origin, size) = (key.name(), newest.size());
    if size < head.size {
        let message = format!(
            "collector {pod} shows only {size} leaves of log {origin}, of which {} were cosigned: its volume was rolled \
             back. Keep the volume as evidence, and set it aside with indelible.dev/replace-volume: {pod}",
            head.size
        );
        return Some((Reason::RolledBack, message));
    }
    (size == head.size && newest.root() != head.root).then(|| (Reason::Forked, forked(target, size)))
}

fn forked(Target { pod, key, head, .. }: &Target, size: u64) -> String {
    format!(
        "collector {pod} shows {size} leaves of log {} that do not begin with the {} that were cosigned: it was rewritten. \
         Keep the volume as evidence, and set it aside with indelible.dev/replace-volume: {pod}",
        key.name(),
        head.size
    )
}

/// Sends what is owed: an end to the first collector that takes it, an acceptance to all.
async fn state(
    collectors: &mut Collectors,
    authority: &Authority,
    order: &Order,
    writable: &[&Target],
    answers: &mut Answers,
) {
    for Owed { uid, reason, at } in &order.owed {
        for target in writable {
            let statement = authority.sign(target.key.name().as_str(), ended(uid, *reason, *at));
            match collectors.state(target.address, statement).await {
                Ok(()) => {
                    answers.stated.push(uid.clone());
                    break;
                }
                Err(error) => tracing::debug!(collector = target.pod, %error, "a statement was not taken"),
            }
        }
    }
    let Some(accept) = &order.accept else { return };
    for target in writable {
        let statement = authority.sign(target.key.name().as_str(), accept.statement());
        match collectors.state(target.address, statement).await {
            Ok(()) => answers.accepted = true,
            Err(error) => tracing::warn!(collector = target.pod, %error, "an acceptance was not taken"),
        }
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::digest::Digest;
    use indelible_chain::key::PrivateKey;
    use indelible_chain::note::Algorithm;

    use super::*;

    fn target(size: u64) -> Target {
        let key =
            VerifierKey::new("log".parse().unwrap(), Algorithm::Ed25519, PrivateKey::from_seed(&[1; 32]).public());
        let head = Head { size, root: Digest::sha256(b"root") };
        Target { pod: "payments-0".to_owned(), address: [10, 0, 0, 1].into(), key, head, is_behind: false, kept: false }
    }

    fn newest(size: u64, root: &[u8]) -> Checkpoint {
        Checkpoint::new("log".parse().unwrap(), size, Digest::sha256(root))
    }

    #[test]
    fn a_log_that_is_behind_what_was_cosigned_was_rolled_back_and_one_that_differs_was_rewritten() {
        let reason = |newest| contradiction(&target(5), &newest).map(|(reason, _)| reason);
        assert_eq!(reason(newest(4, b"root")), Some(Reason::RolledBack));
        assert_eq!(reason(newest(5, b"other")), Some(Reason::Forked));
        assert_eq!(reason(newest(5, b"root")), None);
        assert_eq!(reason(newest(9, b"other")), None, "that needs a proof");
        let (_, message) = contradiction(&target(5), &newest(4, b"root")).unwrap();
        assert!(message.contains("payments-0") && message.contains("replace-volume"));
    }
}
