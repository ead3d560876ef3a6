//! The flags, as commands.md has them.
//!
//! One grammar: long flags in kebab case, each also an environment variable, each explained with its default and unit.
//! What can be judged from the text alone is refused here, in one line that names the flag and says what to do, with
//! exit code 5; what a flag names (files, servers) is opened by the command that needs it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use indelible_chain::note::{KeyName, VerifierKey};

use crate::acknowledge::{finding, reason};
use crate::cluster::audit_log::PoolName;
use crate::values::{When, duration, when};
use crate::witness::{Named, named};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("INDELIBLE_BUILD_COMMIT"), ")");

/// Verify, read and prove what Kubernetes workloads printed.
///
/// Exit codes: 5 usage, 1 tampering (integrity or authenticity fails), 2 something is missing, 4 could not verify, 3
/// stale or unclosed, 0 all is well; the first that applies.
#[derive(Debug, Parser)]
#[command(name = "indelible", version = VERSION, max_term_width = 120, disable_help_subcommand = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge logs: integrity, authenticity, completeness, freshness
    Verify(VerifyArgs),
    /// Print verified records, exactly as the containers printed them
    Logs(LogsArgs),
    /// Prove one record, or check such a proof offline
    Prove(ProveArgs),
    /// Show logs, sizes, chains, heads and lag
    Status(StatusArgs),
    /// In a cluster: which pods are audited, and why others are not
    Coverage(CoverageArgs),
    /// In a cluster: what opting a namespace in will change, and what stands in the way
    Preflight(PreflightArgs),
    /// In a cluster: take note of a finding, so that condition Intact can be true again
    Acknowledge(AcknowledgeArgs),
    /// Cosign checkpoints of logs, any C2SP log's, that only grow: a witness outside of the reach of who runs them
    Witness(WitnessArgs),
    /// Run the whole product on this machine for half a minute, tamper with it and see it caught
    Demo(DemoArgs),
}

/// Where evidence is read from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// An AuditLog's name (see -n): all collectors of its pool, through the cluster's API server. Or collectors' URLs
    /// (https://host:port) or their data directories, also copies from dead machines; together one pool
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<String>,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// Which cluster an AuditLog is in, and whose rights it is read with.
#[derive(Debug, Clone, Default, Args)]
pub struct ClusterArgs {
    /// Namespace of the AuditLog that is named as SOURCE. Default: that of the kubeconfig's context. Whose records are
    /// meant is said with --namespace
    #[arg(short = 'n', long, value_name = "NAMESPACE", env = "INDELIBLE_AUDIT_LOG_NAMESPACE", help_heading = CLUSTER)]
    pub audit_log_namespace: Option<String>,
    /// How the cluster is reached. Default: KUBECONFIG, or ~/.kube/config, or the account of the pod that this runs in
    #[arg(long, value_name = "FILE", env = "INDELIBLE_KUBECONFIG", help_heading = CLUSTER)]
    pub kubeconfig: Option<PathBuf>,
    /// The kubeconfig's context. Default: its current one
    #[arg(long, value_name = "NAME", env = "INDELIBLE_CONTEXT", help_heading = CLUSTER)]
    pub context: Option<String>,
    /// The ServiceAccount as which collectors are read: NAMESPACE/NAME. You must be allowed to mint its tokens. Default:
    /// the pool's own, NAME-reader in the AuditLog's namespace
    #[arg(long, value_name = "ACCOUNT", env = "INDELIBLE_AS_READER", help_heading = CLUSTER)]
    pub as_reader: Option<PoolName>,
}

const CLUSTER: &str = "In a cluster";

/// How collectors are reached.
#[derive(Debug, Clone, Args)]
pub struct ConnectionArgs {
    /// Certificates (PEM) that collectors' own must chain to; needed for https sources. Default: those that the pool's
    /// operator publishes, for an AuditLog; none for a URL
    #[arg(long, value_name = "FILE", env = "INDELIBLE_CA")]
    pub ca: Option<PathBuf>,
    /// File with a reader token, sent to collectors. Default: one that the API server mints for --as-reader, for an
    /// AuditLog; none for a URL
    #[arg(long, value_name = "FILE", env = "INDELIBLE_TOKEN")]
    pub token: Option<PathBuf>,
}

/// Whom the verifier believes: exactly one of the two, or for an AuditLog the keys that its operator pinned.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("trust").multiple(false))]
pub struct TrustArgs {
    /// The logs and witnesses that are trusted (tlog-policy). Default: for an AuditLog what its operator pinned; needed
    /// for URLs and directories, where --log-key is not given
    #[arg(long, value_name = "FILE", env = "INDELIBLE_POLICY", group = "trust")]
    pub policy: Option<PathBuf>,
    /// A log's verifier key, instead of a policy; may be repeated; no witness is asked for
    #[arg(long, value_name = "VKEY", env = "INDELIBLE_LOG_KEY", group = "trust")]
    pub log_key: Vec<VerifierKey>,
}

/// Whose records are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct WhoseArgs {
    /// Only pods of this namespace. Default: all
    #[arg(long, env = "INDELIBLE_NAMESPACE")]
    pub namespace: Option<String>,
    /// Only the pod of this name. Default: all
    #[arg(long, env = "INDELIBLE_POD")]
    pub pod: Option<String>,
    /// Only containers of this name. Default: all
    #[arg(long, env = "INDELIBLE_CONTAINER")]
    pub container: Option<String>,
}

/// Which records are meant.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    #[command(flatten)]
    pub whose: WhoseArgs,
    /// Only records from this time on: RFC 3339, or how long ago (1h30m). Default: from the beginning
    #[arg(long, value_name = "TIME", value_parser = when, env = "INDELIBLE_SINCE")]
    pub since: Option<When>,
    /// Only records before this time: RFC 3339, or how long ago. Default: to the end
    #[arg(long, value_name = "TIME", value_parser = when, env = "INDELIBLE_UNTIL")]
    pub until: Option<When>,
}

/// What else the judge is given.
#[derive(Debug, Clone, Args)]
pub struct EvidenceArgs {
    /// Directory of receipts that were kept, one a file (371 bytes each). Default: none
    #[arg(long, value_name = "DIR", env = "INDELIBLE_RECEIPTS")]
    pub receipts: Option<PathBuf>,
    /// What should be covered: a JSON list of objects with namespace, pod, `pod_uid`, containers, `running_since`.
    /// Default: for an AuditLog the containers that run now in namespaces that opted in; else none
    #[arg(long, value_name = "FILE", env = "INDELIBLE_EXPECT")]
    pub expect: Option<PathBuf>,
    /// Who may attest pods: the issuer's keys (JWKS). Default: for an AuditLog those that the API server publishes; else
    /// none, a pod is then vouched for by two logs
    #[arg(long, value_name = "FILE", env = "INDELIBLE_ISSUER_KEYS")]
    pub issuer_keys: Option<PathBuf>,
    /// What pods' tokens must be for, as the collectors' own --audience says; with --issuer-keys
    #[arg(long, value_name = "AUD", default_value = "indelible.dev", env = "INDELIBLE_AUDIENCE")]
    pub audience: String,
    /// A checkpoint seen earlier, which logs must extend; may be repeated. Default: none
    #[arg(long, value_name = "FILE", env = "INDELIBLE_CHECKPOINT")]
    pub checkpoint: Vec<PathBuf>,
    /// Directory that remembers the largest checkpoint of each log between runs. Default: nothing is remembered
    #[arg(long, value_name = "DIR", env = "INDELIBLE_STATE")]
    pub state: Option<PathBuf>,
    /// Do not ask the policy's witnesses for the checkpoints that they hold
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_OFFLINE")]
    pub offline: bool,
    /// Treat gaps that the sidecar declared itself as warnings
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_ACCEPT_DECLARED_GAPS")]
    pub accept_declared_gaps: bool,
    /// File with ids of findings that are accepted, one a line: shown, not counted. Default: none
    #[arg(long, value_name = "FILE", env = "INDELIBLE_ACCEPT")]
    pub accept: Option<PathBuf>,
    /// Verifier key of an authority whose statements count; may be repeated. Default: the operator's, where its pins are
    /// what is believed; else none
    #[arg(long, value_name = "VKEY", env = "INDELIBLE_AUTHORITY")]
    pub authority: Vec<VerifierKey>,
    /// How long leaves may stay without a witness's cosignature where the policy asks for one
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "2h", env = "INDELIBLE_MAX_UNWITNESSED")]
    pub max_unwitnessed: Duration,
    /// How old the newest evidence of a log or an open chain may be before freshness fails
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "24h", env = "INDELIBLE_MAX_AGE")]
    pub max_age: Duration,
    /// The moment to judge for: RFC 3339, or how long ago. Default: now
    #[arg(long, value_name = "TIME", value_parser = when, env = "INDELIBLE_NOW")]
    pub now: Option<When>,
}

/// `indelible verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print one JSON object instead of tables
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_JSON")]
    pub json: bool,
}

/// `indelible logs`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "four switches of the command line, each on its own")]
pub struct LogsArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    #[command(flatten)]
    pub evidence: EvidenceArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Go on with new records as they come under a checkpoint, until interrupted
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_FOLLOW")]
    pub follow: bool,
    /// Begin each line with its time
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_TIMESTAMPS")]
    pub timestamps: bool,
    /// Begin each line with namespace/pod/container
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_PREFIX")]
    pub prefix: bool,
    /// Print one JSON object a line, payloads that are not UTF-8 in base64
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_JSON")]
    pub json: bool,
}

/// `indelible prove`.
#[derive(Debug, Args)]
#[command(
    override_usage = "indelible prove [OPTIONS] --policy <FILE> -o <FILE> <SOURCE>... <RECORD>\n       indelible prove --check <FILE> --policy <FILE>"
)]
pub struct ProveArgs {
    /// Where the record is (an AuditLog's name, URLs or data directories), and last RECORD, the record itself: CHAIN/SEQ, or CHAIN/TIME for
    /// the first record printed from then on. CHAIN is the id, or its first digits, that `indelible status` shows; it
    /// may be left out (SEQ or TIME alone) where --namespace, --pod and --container leave one chain only
    #[arg(value_name = "SOURCE", required_unless_present = "check", conflicts_with = "check")]
    pub sources: Vec<String>,
    #[command(flatten)]
    pub whose: WhoseArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// Where the proof goes; the proof of the session's leaf goes beside it with `.session` at its end
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "INDELIBLE_OUTPUT",
        required_unless_present = "check",
        conflicts_with = "check"
    )]
    pub output: Option<PathBuf>,
    /// Check this proof instead, offline, and print the record and whose word it rests on
    #[arg(long, value_name = "FILE", env = "INDELIBLE_CHECK")]
    pub check: Option<PathBuf>,
    /// Print one JSON object instead of text
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_JSON")]
    pub json: bool,
}

/// `indelible status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    pub source: SourceArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Print one JSON object instead of tables
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_JSON")]
    pub json: bool,
}

/// `indelible coverage`.
#[derive(Debug, Args)]
pub struct CoverageArgs {
    /// The AuditLog's name (its namespace: -n)
    #[arg(value_name = "AUDITLOG")]
    pub audit_log: String,
    #[command(flatten)]
    pub connection: ConnectionArgs,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print one JSON object instead of tables
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_JSON")]
    pub json: bool,
}

/// `indelible preflight`.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    /// The namespace that is to opt in
    #[arg(value_name = "NAMESPACE")]
    pub opting_in: String,
    /// The AuditLog that it is to opt in to (its namespace: -n). Default: the only one there is
    #[arg(value_name = "AUDITLOG")]
    pub audit_log: Option<String>,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// Print one JSON object instead of text
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_JSON")]
    pub json: bool,
}

/// `indelible acknowledge`.
#[derive(Debug, Args)]
pub struct AcknowledgeArgs {
    /// The AuditLog's name (its namespace: -n)
    #[arg(value_name = "AUDITLOG")]
    pub audit_log: String,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// The finding's id, as condition Intact or `verify` names it
    #[arg(long, value_name = "ID", value_parser = finding, env = "INDELIBLE_FINDING")]
    pub finding: String,
    /// Why it is known and no longer an alarm; kept with the evidence, under your name
    #[arg(long, value_name = "TEXT", value_parser = reason, env = "INDELIBLE_REASON")]
    pub reason: String,
}

/// `indelible witness`.
#[derive(Debug, Args)]
pub struct WitnessArgs {
    /// Data directory: made if it is not there. It holds the witness's key and what it cosigned; keep it
    #[arg(long, value_name = "DIR", env = "INDELIBLE_DATA")]
    pub data: PathBuf,
    /// Name of the witness's key, such as witness.example/w1; needed at the first start, when the key is made
    #[arg(long, value_name = "NAME", env = "INDELIBLE_NAME")]
    pub name: Option<KeyName>,
    /// A log to cosign, by its verifier key; may be repeated. VKEY=ORIGIN where its checkpoints begin with another line
    /// than the key's name
    #[arg(long, value_name = "VKEY", value_parser = named, required = true, env = "INDELIBLE_LOG")]
    pub log: Vec<Named>,
    /// Address and port to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "[::]:7444", env = "INDELIBLE_LISTEN")]
    pub listen: SocketAddr,
    /// Certificate chain (PEM), for https. Default: plain http, since what is answered is signed
    #[arg(long, value_name = "FILE", requires = "tls_key", env = "INDELIBLE_TLS_CERT")]
    pub tls_cert: Option<PathBuf>,
    /// Private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert", env = "INDELIBLE_TLS_KEY")]
    pub tls_key: Option<PathBuf>,
    /// Address and port for /metrics and /livez, plain http. Default: neither
    #[arg(long, value_name = "ADDR", env = "INDELIBLE_METRICS")]
    pub metrics: Option<SocketAddr>,
}

/// `indelible demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Where the demo works: created, must be empty, and kept. Default: a temporary directory that is removed
    #[arg(long, value_name = "DIR", env = "INDELIBLE_DIR")]
    pub dir: Option<PathBuf>,
    /// Collectors in the pool, 2 to 9
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(2..=9), env = "INDELIBLE_COLLECTORS")]
    pub collectors: u8,
    /// Keep the temporary directory and say where it is
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_KEEP")]
    pub keep: bool,
    /// What the pods print, and where it is cut, follows from this number
    #[arg(long, value_name = "N", default_value_t = 1, env = "INDELIBLE_SEED")]
    pub seed: u64,
}

/// What the command line asks for, beside a command.
#[derive(Debug)]
pub enum Refusal {
    /// Help or version: text for stdout, exit 0.
    Asked(String),
    /// A mistake: one line for stderr, exit 5.
    Mistake(String),
}

/// Reads a command line, the program's name first.
pub fn parse(line: impl IntoIterator<Item = std::ffi::OsString>) -> Result<Arguments, Refusal> {
    let mut line = line.into_iter().peekable();
    let mut command = Arguments::command();
    if line.peek().is_some_and(|name| name.to_string_lossy().ends_with("kubectl-indelible")) {
        command = command.bin_name("kubectl indelible").display_name("kubectl indelible");
    }
    // They filter no records, so that the flag can mean what it does in kubectl.
    for name in ["coverage", "preflight", "acknowledge"] {
        command =
            command.mut_subcommand(name, |of| of.mut_arg("audit_log_namespace", |arg| arg.visible_alias("namespace")));
    }
    let matches = command.try_get_matches_from_mut(line).map_err(|e| refusal(&e))?;
    Arguments::from_arg_matches(&matches).map_err(|e| refusal(&e))
}

fn refusal(error: &clap::Error) -> Refusal {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Asked(text.ansi().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Refusal::Mistake("no command was given; one of verify, logs, prove, status, coverage, preflight, acknowledge, witness, demo, or --help".to_owned())
        }
        _ => {
            // The first paragraph is the mistake; what follows is the usage, which --help has as well.
            let text = text.to_string();
            let paragraph = text.split("\n\n").next().unwrap_or_default();
            let line = paragraph.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            Refusal::Mistake(format!("{}; see --help", line.strip_prefix("error: ").unwrap_or(&line)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";

    fn read(line: &str) -> Result<Arguments, Refusal> {
        parse(line.split(' ').map(Into::into))
    }

    fn mistake(line: &str) -> String {
        match read(line) {
            Err(Refusal::Mistake(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_flags_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_mistake_is_one_line_that_names_the_flag() {
        for (line, names) in [
            ("indelible", "verify, logs, prove, status, coverage, preflight, acknowledge, witness, demo"),
            ("indelible verify", "<SOURCE>"),
            ("indelible verify -n audit payments --as-reader auditor", "--as-reader"),
            ("indelible acknowledge -n audit payments --finding a", "--reason"),
            ("indelible acknowledge -n audit payments --finding a,b --reason x", "--finding"),
            (&format!("indelible verify dir --policy p --log-key {VKEY}"), "--log-key"),
            ("indelible verify dir --log-key nonsense", "--log-key"),
            ("indelible verify dir --policy p --max-age 5", "--max-age"),
            ("indelible verify dir --policy p --since yesterday", "--since"),
            ("indelible verify dir --policy p --nonsense", "--nonsense"),
            ("indelible prove dir abc/1 --policy p", "--output"),
            ("indelible prove --check f dir --policy p", "--check"),
            ("indelible demo --collectors 1", "--collectors"),
            ("indelible witness --data d", "--log"),
            ("indelible witness --data d --log nonsense", "--log"),
            (&format!("indelible witness --data d --log {VKEY} --listen here"), "--listen"),
            (&format!("indelible witness --data d --log {VKEY} --name a+b"), "--name"),
            (&format!("indelible witness --data d --log {VKEY} --tls-cert c"), "--tls-key"),
            ("indelible nonsense", "nonsense"),
        ] {
            let text = mistake(line);
            assert!(text.contains(names) && !text.contains('\n'), "{line}: {text}");
        }
    }

    #[test]
    fn help_explains_each_flag_and_version_names_the_commit() {
        for line in ["indelible --help", "indelible verify --help", "kubectl-indelible logs --help"] {
            let Err(Refusal::Asked(text)) = read(line) else { panic!("{line}") };
            assert!(text.contains("Usage:"), "{text}");
            assert_eq!(text.contains("kubectl indelible logs"), line.starts_with("kubectl"), "{text}");
        }
        let Err(Refusal::Asked(text)) = read("indelible --version") else { panic!() };
        assert_eq!(text.trim(), format!("indelible {VERSION}"));
        for command in Arguments::command().get_subcommands() {
            for flag in command.get_arguments().filter(|a| !a.is_positional() && a.get_id() != "help") {
                assert!(flag.get_help().is_some(), "{} {}", command.get_name(), flag.get_id());
                let env = flag.get_env().map(|env| env.to_string_lossy().into_owned());
                let expected = format!("INDELIBLE_{}", flag.get_id().as_str().to_uppercase());
                assert_eq!(env, Some(expected), "{}", flag.get_id());
            }
        }
    }

    #[test]
    fn the_namespace_of_the_audit_log_and_that_of_the_records_are_two_flags_where_both_are_meant() {
        let line = "kubectl-indelible logs -n audit payments --namespace shop --follow";
        let Ok(Arguments { command: Command::Logs(args) }) = read(line) else { panic!() };
        assert_eq!(args.source.cluster.audit_log_namespace.as_deref(), Some("audit"));
        assert_eq!((args.filter.whose.namespace.as_deref(), args.source.sources.len()), (Some("shop"), 1));
        for line in ["indelible coverage --namespace audit payments", "indelible coverage payments -n audit"] {
            let Ok(Arguments { command: Command::Coverage(args) }) = read(line) else { panic!() };
            assert_eq!(
                (args.cluster.audit_log_namespace.as_deref(), args.audit_log.as_str()),
                (Some("audit"), "payments")
            );
        }
        let Ok(Arguments { command: Command::Preflight(args) }) = read("indelible preflight shop -n audit payments")
        else {
            panic!()
        };
        assert_eq!((args.opting_in.as_str(), args.audit_log.as_deref()), ("shop", Some("payments")));
    }

    #[test]
    fn many_sources_and_keys_can_be_given() {
        let line = format!("indelible verify a https://b:1 --log-key {VKEY} --log-key {VKEY} --since 1h --json");
        let Ok(Arguments { command: Command::Verify(args) }) = read(&line) else { panic!() };
        assert_eq!(args.source.sources, ["a", "https://b:1"]);
        assert_eq!((args.trust.log_key.len(), args.json), (2, true));
        assert_eq!(args.evidence.max_age, Duration::from_hours(24));
    }
}
