//! The flags, as commands.md has them.
//!
//! One grammar: long flags in kebab case, each also an environment variable, each explained with its default and unit.
//! What can be judged from the text alone is refused here, in one line that names the flag and says what to do, with
//! exit code 5; what a flag names (files, servers) is opened by the command that needs it.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgGroup, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use indelible_chain::note::VerifierKey;

use crate::values::{When, duration, when};

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
    /// Run the whole product on this machine for half a minute, tamper with it and see it caught
    Demo(DemoArgs),
}

/// Where evidence is read from.
#[derive(Debug, Args)]
pub struct SourceArgs {
    /// Collectors' URLs (https://host:port) or their data directories, also copies from dead machines; together one
    /// pool
    #[arg(value_name = "SOURCE", required = true)]
    pub sources: Vec<String>,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// How collectors are reached.
#[derive(Debug, Clone, Args)]
pub struct ConnectionArgs {
    /// Certificates (PEM) that collectors' own must chain to; needed for https sources. Default: none
    #[arg(long, value_name = "FILE", env = "INDELIBLE_CA")]
    pub ca: Option<PathBuf>,
    /// File with a reader token, sent to collectors. Default: none is sent
    #[arg(long, value_name = "FILE", env = "INDELIBLE_TOKEN")]
    pub token: Option<PathBuf>,
}

/// Whom the verifier believes: exactly one of the two.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("trust").required(true).multiple(false))]
pub struct TrustArgs {
    /// The logs and witnesses that are trusted (tlog-policy)
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
    /// Default: none
    #[arg(long, value_name = "FILE", env = "INDELIBLE_EXPECT")]
    pub expect: Option<PathBuf>,
    /// Who may attest pods: the issuer's keys (JWKS). Default: none, a pod is then vouched for by two logs
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
    /// Verifier key of an authority whose statements count; may be repeated. Default: none
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
    /// Where the record is (URLs or data directories), and last RECORD, the record itself: CHAIN/SEQ, or CHAIN/TIME for
    /// the first record printed from then on. CHAIN is the id, or its first digits, that `indelible status` shows; it
    /// may be left out (SEQ or TIME alone) where --namespace, --pod and --container leave one chain only
    #[arg(value_name = "SOURCE", required_unless_present = "check", conflicts_with = "check")]
    pub sources: Vec<String>,
    #[command(flatten)]
    pub whose: WhoseArgs,
    #[command(flatten)]
    pub connection: ConnectionArgs,
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
    let matches = command.try_get_matches_from_mut(line).map_err(|e| refusal(&e))?;
    Arguments::from_arg_matches(&matches).map_err(|e| refusal(&e))
}

fn refusal(error: &clap::Error) -> Refusal {
    let text = error.render();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Refusal::Asked(text.ansi().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Refusal::Mistake("no command was given; one of verify, logs, prove, status, demo, or --help".to_owned())
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
            ("indelible", "verify, logs, prove, status, demo"),
            ("indelible verify", "<SOURCE>"),
            ("indelible verify dir", "--policy"),
            (&format!("indelible verify dir --policy p --log-key {VKEY}"), "--log-key"),
            ("indelible verify dir --log-key nonsense", "--log-key"),
            ("indelible verify dir --policy p --max-age 5", "--max-age"),
            ("indelible verify dir --policy p --since yesterday", "--since"),
            ("indelible verify dir --policy p --nonsense", "--nonsense"),
            ("indelible prove dir abc/1 --policy p", "--output"),
            ("indelible prove --check f dir --policy p", "--check"),
            ("indelible demo --collectors 1", "--collectors"),
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
    fn many_sources_and_keys_can_be_given() {
        let line = format!("indelible verify a https://b:1 --log-key {VKEY} --log-key {VKEY} --since 1h --json");
        let Ok(Arguments { command: Command::Verify(args) }) = read(&line) else { panic!() };
        assert_eq!(args.source.sources, ["a", "https://b:1"]);
        assert_eq!((args.trust.log_key.len(), args.json), (2, true));
        assert_eq!(args.evidence.max_age, Duration::from_hours(24));
    }
}
