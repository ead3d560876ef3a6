//! `kubectl indelible preflight`: what opting a namespace in will change, and what stands in the way.
//!
//! Looks with the user's own rights and changes nothing. Edge: gathers facts; what they come to is decided in `checks`.

mod checks;
mod egress;
mod facts;
mod quantity;
mod room;

use std::io::Write;

use anstyle::{AnsiColor, Style};
use anyhow::anyhow;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{LimitRange, Namespace, Node, Pod, ResourceQuota};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode};
use kube::Resource;
use kube::api::ListParams;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;

use crate::args::PreflightArgs;
use crate::cluster::access::Cluster;
use crate::cluster::audit_log::{AuditLog, CSI_DRIVER, LABEL, PoolName};
use crate::cluster::pool::{audit_log, list, pods};
use crate::cluster::right::{AskErrorKind, Right};
use crate::exit::{CommandError, MISSING, UNVERIFIED, unless_shown};
use crate::limits::{API_PAGE, MAX_LISTED_PODS, MAX_NAMESPACES};
use crate::text::{lines, one_line};
use checks::checks;
use facts::{Check, Facts, Level, Seen};

/// Runs the command; gives the exit code.
pub fn run(args: &PreflightArgs, runtime: &Handle) -> Result<u8, CommandError> {
    let (facts, pool) = runtime.block_on(async {
        let cluster = Cluster::connect(&args.cluster).await?;
        Box::pin(facts(&cluster, &args.opting_in, args.audit_log.as_deref())).await
    })?;
    let checks = checks(&facts, pool.as_ref());
    let exit = exit(&checks);
    let mut out = anstream::stdout().lock();
    let shown = if args.json {
        let json = json(&args.opting_in, pool.as_ref(), &checks, exit);
        writeln!(out, "{}", serde_json::to_string_pretty(&json).map_err(anyhow::Error::from)?)
    } else {
        tell(&args.opting_in, pool.as_ref(), &checks, exit, &mut out)
    };
    Ok(unless_shown(exit, shown.and_then(|()| out.flush())))
}

/// 2 if something stands in the way, else 4 if something could not be looked at, else 0.
fn exit(checks: &[Check]) -> u8 {
    let is = |level| checks.iter().any(|check| check.level == level);
    if is(Level::Problem) {
        MISSING
    } else if is(Level::Unknown) {
        UNVERIFIED
    } else {
        0
    }
}

/// Looks at everything at once.
async fn facts(
    cluster: &Cluster,
    opting_in: &str,
    name: Option<&str>,
) -> Result<(Facts, Option<PoolName>), CommandError> {
    let namespace = one::<Namespace>(cluster, "namespaces", opting_in).await;
    let Some(namespace) = namespace.map_err(|why| anyhow!(why))? else {
        return Err(anyhow!("there is no namespace {}: create it first, then look again", one_line(opting_in)).into());
    };
    let (log, pool) = target(cluster, name).await?;
    let right = Right::to(&["list"], "pods").within(pool.as_ref().map_or("", |pool| &pool.namespace));
    let collectors = async {
        let pool = pool.as_ref().ok_or_else(|| "it is not known which AuditLog is meant".to_owned())?;
        let selector = format!("app.kubernetes.io/component=collector,{}", pool.pods());
        let api = cluster.within::<Pod>(&pool.namespace);
        list(cluster, &right, &api, &selector, MAX_LISTED_PODS).await.map_err(|e| e.to_string())
    };
    let pool_namespace = async {
        let pool = pool.as_ref().ok_or_else(|| "it is not known which AuditLog is meant".to_owned())?;
        let found = one::<Namespace>(cluster, "namespaces", &pool.namespace).await?;
        found.ok_or_else(|| format!("there is no namespace {}", pool.namespace))
    };
    let (injector, driver, csi_nodes, nodes, own, quotas, limit_ranges, policies, collectors, pool_namespace) = tokio::join!(
        one::<MutatingWebhookConfiguration>(
            cluster,
            "mutatingwebhookconfigurations.admissionregistration.k8s.io",
            "indelible-injector"
        ),
        one::<CSIDriver>(cluster, "csidrivers.storage.k8s.io", CSI_DRIVER),
        all::<CSINode>(cluster, "csinodes.storage.k8s.io"),
        all::<Node>(cluster, "nodes"),
        pods(cluster, opting_in),
        some::<ResourceQuota>(cluster, "resourcequotas", opting_in),
        some::<LimitRange>(cluster, "limitranges", opting_in),
        some::<NetworkPolicy>(cluster, "networkpolicies.networking.k8s.io", opting_in),
        collectors,
        pool_namespace,
    );
    let facts = Facts {
        namespace,
        log,
        injector: injector.map(|found| found.is_some()),
        driver: driver.map(|found| found.is_some()),
        csi_nodes,
        nodes,
        pods: own.map_err(|e| e.to_string()),
        quotas,
        limit_ranges,
        policies,
        collectors,
        pool_namespace,
    };
    Ok((facts, pool))
}

/// The AuditLog that is meant: the one that is named, or the only one there is.
async fn target(cluster: &Cluster, name: Option<&str>) -> Result<(Seen<AuditLog>, Option<PoolName>), CommandError> {
    if let Some(name) = name {
        let name = PoolName { namespace: cluster.namespace().to_owned(), name: name.to_owned() };
        let log = audit_log(cluster, &name).await.map_err(|why| anyhow!(why))?;
        return Ok((Ok(log), Some(name)));
    }
    let right = Right::to(&["list"], "auditlogs.indelible.dev");
    let found = cluster.ask(&right, cluster.all::<AuditLog>().list(&ListParams::default().limit(API_PAGE))).await;
    let mut found = match found {
        Ok(found) => found.items,
        Err(e) => return Ok((Err(e.to_string()), None)),
    };
    match (found.pop(), found.is_empty()) {
        (Some(log), true) => {
            let name = log.pool_name();
            Ok((Ok(log), Some(name)))
        }
        (None, _) => Ok((Err("there is no AuditLog in this cluster yet: make one first".to_owned()), None)),
        (Some(_), false) => {
            let text = "AUDITLOG: there are several; name the one to opt in to: preflight NAMESPACE -n audit payments";
            Err(CommandError::Usage(text.to_owned()))
        }
    }
}

/// An object of the whole cluster, if it is there.
async fn one<K>(cluster: &Cluster, resource: &'static str, name: &str) -> Seen<Option<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    match cluster.ask(&Right::to(&["get"], resource).called(name), cluster.all::<K>().get(name)).await {
        Ok(found) => Ok(Some(found)),
        Err(e) if e.kind == AskErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

/// All objects of a kind in the whole cluster.
async fn all<K>(cluster: &Cluster, resource: &'static str) -> Seen<Vec<K>>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let right = Right::to(&["list"], resource);
    list(cluster, &right, &cluster.all::<K>(), "", MAX_NAMESPACES).await.map_err(|e| e.to_string())
}

/// All objects of a kind in a namespace.
async fn some<K>(cluster: &Cluster, resource: &'static str, namespace: &str) -> Seen<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let right = Right::to(&["list"], resource).within(namespace);
    list(cluster, &right, &cluster.within::<K>(namespace), "", MAX_NAMESPACES).await.map_err(|e| e.to_string())
}

#[derive(Serialize)]
struct Json<'a> {
    namespace: &'a str,
    audit_log: Option<String>,
    checks: Vec<JsonCheck<'a>>,
    exit: u8,
}

#[derive(Serialize)]
struct JsonCheck<'a> {
    check: &'static str,
    level: &'static str,
    text: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    apply: &'a str,
}

fn json<'a>(namespace: &'a str, pool: Option<&PoolName>, checks: &'a [Check], exit: u8) -> Json<'a> {
    let checks = checks.iter().map(|check| JsonCheck {
        check: check.of,
        level: check.level.word(),
        text: &check.text,
        apply: &check.apply,
    });
    Json { namespace, audit_log: pool.map(ToString::to_string), checks: checks.collect(), exit }
}

fn tell(
    namespace: &str,
    pool: Option<&PoolName>,
    checks: &[Check],
    exit: u8,
    out: &mut impl Write,
) -> std::io::Result<()> {
    for check in checks {
        let style = match check.level {
            Level::Fine => AnsiColor::Green.on_default(),
            Level::Note => Style::new(),
            Level::Unknown => AnsiColor::Magenta.on_default(),
            Level::Problem => AnsiColor::Red.on_default().bold(),
        };
        writeln!(out, "{style}{:<8}{style:#} {:<10} {}", check.level.word(), check.of, lines(&check.text))?;
        if !check.apply.is_empty() {
            writeln!(out, "\n{}\n", check.apply.trim_end())?;
        }
    }
    let label = pool.map_or_else(|| "NAMESPACE.NAME".to_owned(), PoolName::label);
    let command = format!("kubectl label namespace {} {LABEL}={label}", one_line(namespace));
    let closing = match exit {
        0 => format!("Nothing stands in the way. Opt in with\n  {command}"),
        MISSING => format!("Solve what is called a problem, then opt in with\n  {command}"),
        _ => format!("Not everything could be looked at, so something may stand in the way of\n  {command}"),
    };
    writeln!(out, "\n{closing}")
}
