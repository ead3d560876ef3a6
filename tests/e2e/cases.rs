//! The cases, in the order of a cluster's life.

mod begin;
mod change;
mod end;
mod fault;
mod forge;
mod load;
mod refuse;
mod tamper;

use std::future::Future;
use std::pin::Pin;

use anyhow::Result;

use crate::suite::Suite;

/// What a case does.
type Run = for<'a> fn(&'a Suite) -> Pin<Box<dyn Future<Output = Result<()>> + 'a>>;

/// One thing that the product promises.
pub struct Case {
    pub name: &'static str,
    /// What is promised, in a sentence.
    pub promise: &'static str,
    /// Whether CI runs it.
    pub core: bool,
    /// Whether it needs the node's processes.
    pub node: bool,
    /// Whether others stand on it.
    pub ground: bool,
    pub run: Run,
}

const fn case(name: &'static str, promise: &'static str, run: Run) -> Case {
    Case { name, promise, core: false, node: false, ground: false, run }
}

impl Case {
    const fn core(mut self) -> Self {
        self.core = true;
        self
    }

    const fn node(mut self) -> Self {
        self.node = true;
        self
    }

    const fn ground(mut self) -> Self {
        self.ground = true;
        self
    }
}

/// Turns an asynchronous function into what the table holds.
macro_rules! of {
    ($function:path) => {
        |suite| Box::pin($function(suite))
    };
}

pub const ALL: &[Case] = &[
    case("quickstart", "the quickstart's block ends in a verified line within 90 s, at the restricted level", of!(begin::quickstart))
        .core()
        .ground(),
    case("empty-spec", "an AuditLog with an empty spec becomes Ready; deleted, it leaves its volumes and CA; made again, it adopts them", of!(begin::empty_spec)).core(),
    case("covered", "eight workloads in a namespace of each Pod Security level are covered within 60 s", of!(begin::covered)).core().ground(),
    case("jobs-complete", "Jobs complete, and all that they printed is there", of!(begin::jobs_complete)).core(),
    case("invalid-refused", "an invalid AuditLog or change is refused with what to do", of!(refuse::invalid)).core(),
    case("injection", "enforced namespaces deny what is not audited, others warn; pods may opt out", of!(refuse::injection)).core(),
    case("escapes", "reserved names, volumes, tokens and debug containers lead nowhere", of!(refuse::escapes)).core(),
    case("forged-sidecars", "while the operator is away no pod with a sidecar that is not ours gets into an enforced namespace", of!(forge::sidecars)).core(),
    case("acknowledged-by-whom", "findings are acknowledged by who may, and under no other name", of!(forge::acknowledgements)).core(),
    case("who-reads-what", "four ServiceAccounts of different rights read what they may, and no more", of!(refuse::readers)).core(),
    case("collector-killed", "SIGKILL of a collector loses nothing", of!(fault::collector_killed)).core().node(),
    case("sidecar-killed", "SIGKILL of a sidecar loses nothing", of!(fault::sidecar_killed)).core().node(),
    case("operator-killed", "SIGKILL of the operator disturbs nobody", of!(fault::operator_killed)).core().node(),
    case("driver-killed", "SIGKILL of the node driver disturbs nobody, and pods still come and go", of!(fault::driver_killed)).core().node(),
    case("kubelet-killed", "SIGKILL of the kubelet loses nothing", of!(fault::kubelet_killed)).node(),
    case("collector-deleted", "a deleted collector pod comes back with its log", of!(fault::collector_deleted)).core(),
    case("pool-rolled", "a roll of the StatefulSet loses nothing", of!(fault::pool_rolled)),
    case("cut-off", "collectors that cannot be reached for 60 s lose nothing", of!(fault::cut_off)).node(),
    case("force-deleted", "pods deleted by force leave a chain without holes, and no mount behind", of!(fault::force_deleted)),
    case("scaled", "3 to 5 to 2 collectors: nothing lost, what was scaled away stays readable", of!(change::scaled)),
    case("rotated", "certificates and CA change without a lost batch", of!(change::rotated)),
    case("upgraded", "an upgrade of the chart with another image tag loses nothing", of!(change::upgraded)),
    case("api-restarted", "an API server that restarts disturbs nobody", of!(fault::api_restarted)).node(),
    case("api-away", "an API server that is away for 5 minutes loses nothing", of!(fault::api_away)).node(),
    case("bad-input", "wrong StorageClass, quota, namespace label, policy: said where people look, nothing half-applied", of!(refuse::bad_input)),
    case("balance", "bytes per collector stay within 10 % of the mean, with three and with five", of!(load::balance)),
    case("all-stopped", "with operator, collectors and webhook stopped a permissive namespace starts pods, an enforced one refuses", of!(load::all_stopped)).node(),
    case("nothing-lost", "after all of this: no line lost, none twice, Intact", of!(tamper::nothing_lost)).core(),
    case("uninstalled", "uninstall keeps definition, CA and volumes; what is installed again continues the same logs", of!(end::uninstalled)),
    case("changed-byte", "one changed byte on a volume is named; acknowledge and replace-volume bring the pool back", of!(tamper::changed_byte)).core().node(),
    case("manifests", "kubectl apply of crds/ and of deploy/ works without Helm", of!(end::manifests)),
];
