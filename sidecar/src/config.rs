//! Flags and environment, as one validated value.
//!
//! Every flag is also an environment variable, `INDELIBLE_` and the flag's name in upper snake case. What is wrong is
//! said in one line that names the flag and what to do. Nothing is opened here but what a flag's value is read from.

pub mod values;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, Parser};

use self::values::{duration, size};
use crate::clock;
use crate::forward::endpoint::Endpoint;
use crate::session::Stated;
use crate::trust::CaSource;

/// The version with the commit that it was built from.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("INDELIBLE_BUILD_COMMIT"), ")");

/// Where the kubelet looks for a container's last words, if its pod does not say otherwise.
const TERMINATION_LOG: &str = "/dev/termination-log";

/// Captures what the containers of its pod print, links and signs every line, and delivers it to a pool of
/// collectors.
///
/// Sizes are like 256Ki or 64Mi, durations like 250ms or 1h30m. `indelible-sidecar armed --state DIR` exits with 0
/// once the log directory is listed and its files are open.
#[derive(Parser, Clone, Debug)]
#[command(name = "indelible-sidecar", version = VERSION, next_line_help = false)]
#[allow(rustdoc::invalid_html_tags, reason = "the text is the help that people read in a terminal")]
pub struct Config {
    /// The pod's log directory as the kubelet lays it out: <container>/<restart>.log
    #[arg(long, env = "INDELIBLE_LOGS", value_name = "DIR")]
    pub logs: PathBuf,

    /// Where cursor and decisions are kept; one directory per pod
    #[arg(long, env = "INDELIBLE_STATE", value_name = "DIR")]
    pub state: PathBuf,

    /// Collectors to begin with, `https://host[:port]`; the pool's own list takes over where there is one
    #[arg(long, env = "INDELIBLE_COLLECTORS", value_name = "URL,…", required = true, value_delimiter = ',')]
    pub collectors: Vec<Endpoint>,

    /// The CA certificates that collectors are trusted by (PEM); read again when the file changes
    #[arg(long, env = "INDELIBLE_CA", value_name = "FILE", required_unless_present = "ca_pem")]
    pub ca: Option<PathBuf>,

    /// The same, not in a file but as the value itself (in a pod, where there is no file of it)
    #[arg(long, env = "INDELIBLE_CA_PEM", value_name = "PEM", hide_env_values = true, conflicts_with = "ca")]
    pub ca_pem: Option<String>,

    /// The name in the collectors' certificates, where it is not the host of the URL
    #[arg(long, env = "INDELIBLE_SERVER_NAME", value_name = "NAME")]
    pub server_name: Option<String>,

    /// The pod's projected service-account token; read again when the file changes
    #[arg(long, env = "INDELIBLE_TOKEN", value_name = "FILE")]
    pub token: PathBuf,

    /// The UID of the kube-system namespace; empty outside a cluster
    #[arg(long, env = "INDELIBLE_CLUSTER_UID", value_name = "UID", default_value = "")]
    pub cluster_uid: String,

    /// The pod's namespace [default: the token's]
    #[arg(long, env = "INDELIBLE_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,

    /// The pod's name [default: the token's]
    #[arg(long, env = "INDELIBLE_POD_NAME", value_name = "NAME")]
    pub pod_name: Option<String>,

    /// The pod's UID [default: the token's]
    #[arg(long, env = "INDELIBLE_POD_UID", value_name = "UID")]
    pub pod_uid: Option<String>,

    /// The pod's node [default: the token's]
    #[arg(long, env = "INDELIBLE_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// The pod's service account [default: the token's]
    #[arg(long, env = "INDELIBLE_SERVICE_ACCOUNT", value_name = "NAME")]
    pub service_account: Option<String>,

    /// The `AuditLog` that this pod belongs to, <namespace>/<name>
    #[arg(long, env = "INDELIBLE_AUDIT_LOG", value_name = "NAME", default_value = "")]
    pub audit_log: String,

    /// A container that is not captured (repeatable)
    #[arg(long, env = "INDELIBLE_EXCLUDE_CONTAINER", value_name = "NAME", value_delimiter = ',', action = ArgAction::Append)]
    pub exclude_container: Vec<String>,

    /// The sidecar's own container: never captured, and its log file is looked at to see whether logs can be read at all
    #[arg(long, env = "INDELIBLE_OWN_CONTAINER", value_name = "NAME")]
    pub own_container: Option<String>,

    /// Different logs that must have a batch before the cursor moves, 1 to 3
    #[arg(long, env = "INDELIBLE_COPIES", value_name = "N", default_value = "1", value_parser = clap::value_parser!(u8).range(1..=3))]
    pub copies: u8,

    /// How long a line waits for others before its batch is sealed, up to 1m
    #[arg(long, env = "INDELIBLE_FLUSH_INTERVAL", value_name = "DURATION", default_value = "250ms", value_parser = flush_interval)]
    pub flush_interval: Duration,

    /// A batch is sealed at this size, 4Ki to 1Mi
    #[arg(long, env = "INDELIBLE_MAX_BATCH_BYTES", value_name = "SIZE", default_value = "256Ki", value_parser = batch_bytes)]
    pub max_batch_bytes: u64,

    /// Bytes of rotated files, for the whole pod, that are held for delivery; beyond it the oldest are given up with
    /// a declared gap
    #[arg(long, env = "INDELIBLE_MAX_HELD_BYTES", value_name = "SIZE", default_value = "64Mi", value_parser = size)]
    pub max_held_bytes: u64,

    /// Files that were removed and are held for delivery are given up while less of the node's log file system is free,
    /// in percent, 0 to 99
    #[arg(long, env = "INDELIBLE_MIN_NODE_FREE_PERCENT", value_name = "N", default_value = "20", value_parser = clap::value_parser!(u8).range(0..=99))]
    pub min_node_free_percent: u8,

    /// The pod's grace period: delivery ends one second before it is over
    #[arg(long, env = "INDELIBLE_GRACE_PERIOD", value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub grace_period: Duration,

    /// Where to say what could not be delivered [default: /dev/termination-log, where there is one]
    #[arg(long, env = "INDELIBLE_TERMINATION_MESSAGE", value_name = "FILE")]
    pub termination_message: Option<PathBuf>,

    /// Where the kernel says which boot this is; another file in tests, which cannot boot a node again
    #[arg(long, env = "INDELIBLE_BOOT_ID_FILE", hide = true, default_value = clock::BOOT_ID)]
    pub boot_id_file: PathBuf,

    /// Serve /metrics and /livez on this address, plain HTTP [default: off]
    #[arg(long, env = "INDELIBLE_METRICS", value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,

    /// Report a fatal error once and idle until SIGTERM, so that the application is never harmed: `armed` says yes then,
    /// and when the logs could not be listed in 10s. A state directory that is another pod's or process's stays as it is
    #[arg(long, value_parser = BoolishValueParser::new(), env = "INDELIBLE_FAIL_OPEN")]
    pub fail_open: bool,
}

/// The flags of `indelible-sidecar armed`.
#[derive(Parser, Clone, Debug)]
#[command(name = "indelible-sidecar armed", version = VERSION)]
pub struct Armed {
    /// The state directory of the running sidecar
    #[arg(long, env = "INDELIBLE_STATE", value_name = "DIR")]
    pub state: PathBuf,
}

/// What the command line asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// To run.
    Run(Box<Config>),
    /// Whether another process is armed.
    Armed(Armed),
    /// To print a text (help, version) and end well.
    Print(String),
}

/// A command line that cannot be followed: one line for stderr.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}")]
pub struct UsageError {
    /// What is wrong and what to do.
    pub line: String,
    /// Whether `--fail-open` was asked for all the same.
    pub fail_open: bool,
    /// The state directory, if it was given all the same.
    pub state: Option<PathBuf>,
}

/// Reads the command line and the environment.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, UsageError> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let is_probe = arguments.get(1).is_some_and(|first| first == "armed");
    let parsed = if is_probe {
        arguments.remove(1);
        Armed::try_parse_from(&arguments).map(Command::Armed)
    } else {
        Config::try_parse_from(&arguments).map(|config| Command::Run(Box::new(config)))
    };
    parsed.or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Ok(Command::Print(error.render().to_string())),
        _ => {
            let words = ["y", "yes", "t", "true", "on", "1"];
            let env = std::env::var("INDELIBLE_FAIL_OPEN");
            let env = env.is_ok_and(|value| words.contains(&value.to_ascii_lowercase().as_str()));
            // A probe has nothing to keep open.
            let fail_open = !is_probe && (env || arguments.iter().any(|argument| argument == "--fail-open"));
            Err(UsageError { line: one_line(&error), fail_open, state: state(&arguments) })
        }
    })
}

/// The state directory of a command line that cannot be followed.
fn state(arguments: &[OsString]) -> Option<PathBuf> {
    let apart = arguments.iter().position(|argument| argument == "--state").and_then(|at| arguments.get(at + 1));
    let joined = arguments.iter().find_map(|argument| argument.to_str()?.strip_prefix("--state=")).map(OsString::from);
    let given = apart.cloned().or(joined).or_else(|| std::env::var_os("INDELIBLE_STATE"));
    given.filter(|dir| !dir.is_empty() && !dir.as_encoded_bytes().starts_with(b"-")).map(PathBuf::from)
}

/// The library's words without its layout: what is wrong, up to the usage text, on one line.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or_default();
    let told = told.split("\n\nFor more information").next().unwrap_or_default();
    let line = told.strip_prefix("error: ").unwrap_or(told).split_whitespace().collect::<Vec<_>>().join(" ");
    format!("{line}; see indelible-sidecar --help")
}

impl Config {
    /// What it says of the pod.
    pub fn stated(&self) -> Stated {
        Stated {
            namespace: self.namespace.clone(),
            pod_name: self.pod_name.clone(),
            pod_uid: self.pod_uid.clone(),
            node_name: self.node_name.clone(),
            service_account: self.service_account.clone(),
        }
    }

    /// Where the CA certificates are from.
    pub fn ca(&self) -> CaSource {
        match (&self.ca, &self.ca_pem) {
            (Some(file), _) => CaSource::File(file.clone()),
            (None, pem) => CaSource::Value(pem.clone().unwrap_or_default()),
        }
    }

    /// Where last words go.
    pub fn termination_message(&self) -> Option<PathBuf> {
        let pods = || Some(PathBuf::from(TERMINATION_LOG)).filter(|path| path.exists());
        self.termination_message.clone().or_else(pods)
    }

    /// The containers that are never captured, each once, by name.
    pub fn excluded(&self) -> Vec<String> {
        let names = self.exclude_container.iter().chain(&self.own_container);
        let mut names: Vec<String> = names.filter(|name| !name.is_empty()).cloned().collect();
        names.sort();
        names.dedup();
        names
    }
}

fn flush_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    let limits = Duration::from_millis(1)..=Duration::from_mins(1);
    if limits.contains(&interval) { Ok(interval) } else { Err("expected 1ms to 1m".to_owned()) }
}

fn batch_bytes(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if (4 << 10..=1 << 20).contains(&bytes) { Ok(bytes) } else { Err("expected 4Ki to 1Mi".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Command, UsageError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    const REQUIRED: &str = "x --logs l --state s --collectors https://a:1,https://b:2 --ca c --token t";

    fn config(more: &str) -> Config {
        match parse_line(&format!("{REQUIRED} {more}")).unwrap() {
            Command::Run(config) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_required_is_enough_and_the_rest_has_the_documented_defaults() {
        let config = config("");
        assert_eq!(config.collectors.len(), 2);
        assert_eq!((config.copies, config.max_batch_bytes, config.max_held_bytes), (1, 256 << 10, 64 << 20));
        assert_eq!((config.flush_interval, config.grace_period), (Duration::from_millis(250), Duration::from_secs(30)));
        assert_eq!(config.min_node_free_percent, 20);
        assert!(!config.fail_open && config.metrics.is_none() && config.excluded().is_empty());
    }

    #[test]
    fn the_ca_is_a_file_or_the_value_itself_and_one_of_them_is_needed() {
        assert_eq!(config("").ca(), CaSource::File("c".into()));
        let without = "x --logs l --state s --collectors https://a:1 --token t";
        let Command::Run(config) = parse_line(&format!("{without} --ca-pem PEM")).unwrap() else { panic!() };
        assert_eq!(config.ca(), CaSource::Value("PEM".to_owned()));
        let error = parse_line(without).unwrap_err().line;
        assert!(error.contains("--ca <FILE>"), "{error}");
    }

    #[test]
    fn excluded_containers_are_named_once_with_our_own() {
        let config = config("--exclude-container b --exclude-container a,b --own-container indelible");
        assert_eq!(config.excluded(), ["a", "b", "indelible"]);
    }

    #[test]
    fn what_is_wrong_is_one_line_that_names_the_flag() {
        for (more, flag) in [
            ("--copies 4", "--copies"),
            ("--copies two", "--copies"),
            ("--flush-interval 250", "--flush-interval"),
            ("--flush-interval 2m", "--flush-interval"),
            ("--max-batch-bytes 2Mi", "--max-batch-bytes"),
            ("--max-held-bytes lots", "--max-held-bytes"),
            ("--min-node-free-percent 100", "--min-node-free-percent"),
            ("--grace-period soon", "--grace-period"),
            ("--metrics 9464", "--metrics"),
            ("--nonsense", "--nonsense"),
            ("--collectors http://a", "--collectors"),
            ("--ca-pem x", "--ca-pem"),
        ] {
            let error = parse_line(&format!("{REQUIRED} {more}")).unwrap_err().line;
            assert!(error.contains(flag) && !error.contains('\n'), "{more}: {error}");
        }
        let error = parse_line("x --logs l --fail-open").unwrap_err();
        assert!(error.line.contains("--state") && error.line.contains("--token") && error.fail_open, "{}", error.line);
    }

    #[test]
    fn the_state_of_a_wrong_command_line_is_found_for_fail_open_and_a_probe_never_idles() {
        let error = |line: &str| parse_line(line).unwrap_err();
        for (line, state) in [
            ("x --fail-open --state s --copies 9", Some("s")),
            ("x --fail-open --state=s", Some("s")),
            ("x --fail-open --state --logs l", None),
            ("x --fail-open --state", None),
            ("x --fail-open", None),
        ] {
            assert_eq!(error(line).state.as_deref(), state.map(std::path::Path::new), "{line}");
        }
        assert!(!error("x armed --state s --fail-open").fail_open);
    }

    #[test]
    fn help_names_every_flag_with_its_variable() {
        let Command::Print(help) = parse_line("x --help").unwrap() else { panic!() };
        for flag in ["logs", "state", "collectors", "copies", "grace-period", "termination-message", "fail-open"] {
            let variable = format!("INDELIBLE_{}", flag.to_uppercase().replace('-', "_"));
            assert!(help.contains(&format!("--{flag}")) && help.contains(&variable), "{flag}");
        }
        let Command::Print(version) = parse_line("x --version").unwrap() else { panic!() };
        assert!(version.contains(VERSION));
    }

    #[test]
    fn armed_needs_only_the_state() {
        assert!(matches!(parse_line("x armed --state s").unwrap(), Command::Armed(_)));
        assert!(parse_line("x armed").unwrap_err().line.contains("--state"));
    }
}
