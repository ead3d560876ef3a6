//! `kubectl indelible acknowledge`: a person takes note of a finding, and that is kept.
//!
//! Writes an annotation of the AuditLog; the cluster's policy lets it pass only for whoever may `acknowledge` it, and
//! only under their own name; the operator makes a statement of it that every collector stores, and takes the annotation
//! away. Only then has it happened, so this waits for it. Nothing is overwritten: one that still waits is left alone.

use std::io::Write;
use std::time::Instant;

use anyhow::anyhow;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::api::{Patch, PatchParams, PostParams};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::runtime::Handle;

use crate::args::AcknowledgeArgs;
use crate::cluster::access::Cluster;
use crate::cluster::audit_log::{ACKNOWLEDGE, AuditLog, PoolName};
use crate::cluster::pool::audit_log;
use crate::cluster::right::{ACKNOWLEDGER, AskErrorKind, Right};
use crate::exit::CommandError;
use crate::limits::{ACKNOWLEDGE_POLL, ACKNOWLEDGE_WAIT, MAX_REASON_BYTES};
use crate::text::one_line;

/// The annotation's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Acknowledgement {
    finding: String,
    by: String,
    reason: String,
}

/// Runs the command; gives the exit code.
pub fn run(args: &AcknowledgeArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let text = runtime.block_on(acknowledged(args))?;
    writeln!(anstream::stdout().lock(), "{text}")?;
    Ok(0)
}

/// Acknowledges, and waits until that has happened; gives what to say.
async fn acknowledged(args: &AcknowledgeArgs) -> Result<String, CommandError> {
    let cluster = Cluster::connect(&args.cluster).await?;
    let name = PoolName { namespace: cluster.namespace().to_owned(), name: args.audit_log.clone() };
    let log = audit_log(&cluster, &name).await.map_err(|why| anyhow!(why))?;
    if let Some(pending) = pending(&log) {
        return Err(anyhow!(
            "AuditLog {name} has an acknowledgement that the operator has not taken yet ({}): wait until annotation \
             {ACKNOWLEDGE} is gone, or take it away with `kubectl annotate auditlog {} -n {} {ACKNOWLEDGE}-`",
            one_line(pending),
            name.name,
            name.namespace,
        )
        .into());
    }
    let by = whoami(&cluster).await?;
    let AcknowledgeArgs { finding, reason, .. } = args;
    let value = Acknowledgement { finding: finding.clone(), by: by.clone(), reason: reason.clone() };
    let value = serde_json::to_string(&value).map_err(anyhow::Error::from)?;
    write(&cluster, &name, &log, &value).await?;
    let log = taken(&cluster, &name, &value).await?;
    Ok(format!("finding {finding} of AuditLog {name} is acknowledged by {}{}", one_line(&by), intact(&log)))
}

/// What the annotation says, if there is one.
fn pending(log: &AuditLog) -> Option<&String> {
    log.metadata.annotations.as_ref()?.get(ACKNOWLEDGE)
}

/// Who the API server says that the user is: the policy lets nobody acknowledge under another name.
async fn whoami(cluster: &Cluster) -> Result<String, CommandError> {
    let right = Right::to(&["create"], "selfsubjectreviews.authentication.k8s.io");
    let reviews = cluster.all::<SelfSubjectReview>();
    let review = cluster.ask(&right, reviews.create(&PostParams::default(), &SelfSubjectReview::default())).await;
    let review = review.map_err(|e| anyhow!(e))?;
    let user = review.status.and_then(|status| status.user_info?.username);
    Ok(user.ok_or_else(|| anyhow!("the API server {} does not say who you are", cluster.server()))?)
}

async fn write(cluster: &Cluster, name: &PoolName, log: &AuditLog, value: &str) -> Result<(), CommandError> {
    let right = Right::to(&["patch"], "auditlogs.indelible.dev").called(&name.name).within(&name.namespace);
    // Against what was looked at: whoever was faster is not overwritten.
    let patch =
        json!({"metadata": {"annotations": {ACKNOWLEDGE: value}, "resourceVersion": log.metadata.resource_version}});
    let logs = cluster.within::<AuditLog>(&name.namespace);
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    match cluster.ask(&right.by(ACKNOWLEDGER), logs.patch(&name.name, &params, &patch)).await {
        Ok(_) => Ok(()),
        Err(e) if e.kind == AskErrorKind::Policy => Err(anyhow!(
            "{e}; acknowledging takes the verb `acknowledge` on this AuditLog, which who may grant it gives with\n  \
             kubectl create rolebinding {ACKNOWLEDGER} -n {} --clusterrole={ACKNOWLEDGER} --user=YOU",
            name.namespace
        )
        .into()),
        Err(e) if e.kind == AskErrorKind::Conflict => {
            Err(anyhow!("AuditLog {name} has changed meanwhile; look at it, and try again").into())
        }
        Err(e) => Err(anyhow!(e).into()),
    }
}

/// Waits until the operator has taken the annotation away; gives the AuditLog as it is then.
async fn taken(cluster: &Cluster, name: &PoolName, value: &str) -> Result<AuditLog, CommandError> {
    let began = Instant::now();
    loop {
        let trouble = match audit_log(cluster, name).await {
            Ok(log) if pending(&log).is_none_or(|now| now != value) => return Ok(log),
            Ok(_) => None,
            // It is written; an API server that is away for a moment does not change that.
            Err(why) => Some(why),
        };
        if began.elapsed() >= ACKNOWLEDGE_WAIT {
            let why = trouble.map(|why| format!(" (and {why})")).unwrap_or_default();
            return Err(anyhow!(
                "the operator has not taken the acknowledgement within {} s{why}: see whether it runs (`kubectl get pods -A \
                 -l app.kubernetes.io/name=indelible`) and what its events say (`kubectl describe auditlog {} -n {}`). The \
                 annotation stays and is taken when the operator is back",
                ACKNOWLEDGE_WAIT.as_secs(),
                name.name,
                name.namespace,
            )
            .into());
        }
        tokio::time::sleep(ACKNOWLEDGE_POLL).await;
    }
}

/// How the pool stands now.
fn intact(log: &AuditLog) -> String {
    match log.condition("Intact") {
        Some(condition) if condition.status == "True" => "; Intact is True".to_owned(),
        Some(condition) => {
            format!(
                "; Intact is {} ({}): {}",
                condition.status,
                one_line(&condition.reason),
                one_line(&condition.message)
            )
        }
        None => String::new(),
    }
}

/// Reads the id of a finding: of `verify`'s report, or of condition Intact.
pub fn finding(text: &str) -> Result<String, String> {
    let is_plain = !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if is_plain {
        Ok(text.to_owned())
    } else {
        Err("no finding's id: it is the word of digits and letters that condition Intact and `verify` print".to_owned())
    }
}

/// Reads a reason: it is kept as long as the evidence is.
pub fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a reason is needed: it is kept with the evidence".to_owned()),
        text if text.len() > MAX_REASON_BYTES => {
            Err(format!("over the limit of {MAX_REASON_BYTES} bytes; name a ticket"))
        }
        text if text.chars().any(char::is_control) => Err("it must be one line of text".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_word_and_a_reason_one_line_that_says_something() {
        assert_eq!(finding("0123456789abcdef").as_deref(), Ok("0123456789abcdef"));
        for bad in ["", "a b", "a\"b", &"a".repeat(65)] {
            assert!(finding(bad).is_err(), "{bad}");
        }
        assert_eq!(reason(" disk replaced, INC-4711 ").as_deref(), Ok("disk replaced, INC-4711"));
        for bad in ["", "  ", "a\nb", &"a".repeat(MAX_REASON_BYTES + 1)] {
            assert!(reason(bad).is_err(), "{bad}");
        }
    }
}
