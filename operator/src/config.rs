//! Flags and environment become one validated value.
//!
//! Owns every flag of `indelible-operator` with its text, default and unit. Each flag of `run` is also an environment
//! variable, `INDELIBLE_` and its name in upper snake case. What does not fit is refused with one line that names the
//! flag and says what to do.

use std::ffi::OsString;
use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("INDELIBLE_BUILD_COMMIT"), ")");

/// Reconciles AuditLogs, adds sidecars to pods, and is witness and authority of its pools.
#[derive(Debug, Parser)]
#[command(name = "indelible-operator", version = VERSION, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve admission, and reconcile AuditLogs while this process holds the Lease
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinition of AuditLog: indelible-operator crd | kubectl apply --server-side -f -
    Crd,
    /// Print the reference of AuditLog as Markdown
    Reference,
    /// Ask the cluster whether the operator's webhook answers and AuditLogs are served; exit 0 if so
    Check(CheckArgs),
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Namespace of the operator
    #[arg(long, env = "INDELIBLE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: String,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Namespace of this operator: its Lease, keys, witness memory
    #[arg(long, env = "INDELIBLE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: String,
    /// Namespaces in which AuditLogs are served [default: the operator's]
    #[arg(long, env = "INDELIBLE_AUDIT_LOG_NAMESPACES", value_name = "NAMESPACE,…", value_delimiter = ',')]
    audit_log_namespaces: Vec<String>,
    /// Image of collectors
    #[arg(long, env = "INDELIBLE_COLLECTOR_IMAGE", value_name = "IMAGE")]
    collector_image: String,
    /// Image of sidecars
    #[arg(long, env = "INDELIBLE_SIDECAR_IMAGE", value_name = "IMAGE")]
    sidecar_image: String,
    /// When images are pulled
    #[arg(long, env = "INDELIBLE_IMAGE_PULL_POLICY", value_name = "WHEN", default_value = "IfNotPresent")]
    image_pull_policy: PullPolicy,
    /// Secret in the AuditLog's namespace with which collectors' images are pulled; repeatable
    #[arg(long, env = "INDELIBLE_IMAGE_PULL_SECRET", value_name = "NAME", value_delimiter = ',')]
    image_pull_secret: Vec<String>,
    /// The cluster's DNS domain
    #[arg(long, env = "INDELIBLE_CLUSTER_DOMAIN", value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// The CSI driver logs.csi.indelible.dev is installed
    #[arg(long, env = "INDELIBLE_CSI")]
    csi: bool,
    /// Pod Security level of namespaces without a label for it
    #[arg(long, env = "INDELIBLE_POD_SECURITY_DEFAULT", value_name = "LEVEL", default_value = "baseline")]
    pod_security_default: PodSecurity,
    /// Pods with this node selector get no sidecar (virtual nodes): key=value; repeatable
    #[arg(long, env = "INDELIBLE_SKIP_NODE_SELECTOR", value_name = "KEY=VALUE", value_delimiter = ',',
          value_parser = key_value)]
    skip_node_selector: Vec<(String, String)>,
    /// Address of the admission webhook, HTTPS
    #[arg(long, env = "INDELIBLE_WEBHOOK_LISTEN", value_name = "ADDR", default_value = "[::]:10250")]
    webhook_listen: SocketAddr,
    /// Address of the witness, plain HTTP
    #[arg(long, env = "INDELIBLE_WITNESS_LISTEN", value_name = "ADDR", default_value = "[::]:7444")]
    witness_listen: SocketAddr,
    /// Address for /metrics, /livez and /readyz, plain HTTP; port 0 picks one
    #[arg(long, env = "INDELIBLE_METRICS", value_name = "ADDR", default_value = "[::]:9464")]
    metrics: SocketAddr,
    /// Namespace from which collectors' metrics may be scraped, in their NetworkPolicy; repeatable
    #[arg(long, env = "INDELIBLE_MONITORING_NAMESPACE", value_name = "NAMESPACE", value_delimiter = ',')]
    monitoring_namespace: Vec<String>,
    /// How the log is written
    #[arg(long, env = "INDELIBLE_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// When images are pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

impl PullPolicy {
    /// As a container has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// A Pod Security level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[expect(missing_docs, reason = "Kubernetes' own words")]
pub enum PodSecurity {
    Privileged,
    Baseline,
    Restricted,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words say it")]
pub enum LogFormat {
    Text,
    Json,
}

/// What to do.
#[derive(Debug)]
pub enum Task {
    /// Serve.
    Run(Box<Config>),
    /// Print the definition.
    Crd,
    /// Print the page.
    Reference,
    /// Look whether an installation answers.
    Check {
        /// Of the operator in this namespace.
        namespace: String,
    },
}

/// The operator's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are the flags, explained at each of them")]
pub struct Config {
    pub namespace: String,
    pub audit_log_namespaces: Vec<String>,
    pub collector_image: String,
    pub sidecar_image: String,
    pub image_pull_policy: PullPolicy,
    pub image_pull_secrets: Vec<String>,
    pub cluster_domain: String,
    pub csi: bool,
    pub pod_security_default: PodSecurity,
    pub skip_node_selectors: Vec<(String, String)>,
    pub webhook_listen: SocketAddr,
    pub witness_listen: SocketAddr,
    pub metrics: SocketAddr,
    pub monitoring_namespaces: Vec<String>,
    pub log_format: LogFormat,
}

/// Why there is nothing to run.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// `--help` or `--version`: text for stdout, and all is well.
    #[error("{0}")]
    Told(String),
    /// One line that names the flag and says what to do.
    #[error("{0}")]
    Refused(String),
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE, as type=virtual-kubelet".to_owned()),
    }
}

/// Reads the arguments (the program's name first) and the environment.
pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<Task, ConfigError> {
    let cli = Cli::try_parse_from(args).map_err(|error| {
        if error.use_stderr() { ConfigError::Refused(one_line(&error)) } else { ConfigError::Told(error.to_string()) }
    })?;
    match cli.command {
        Command::Run(args) => args.validate().map(|config| Task::Run(Box::new(config))),
        Command::Crd => Ok(Task::Crd),
        Command::Reference => Ok(Task::Reference),
        Command::Check(CheckArgs { namespace }) => Ok(Task::Check { namespace }),
    }
}

/// clap's explanation without its usage lines.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or_default().split("\n\nFor more").next().unwrap_or_default();
    let words: Vec<&str> = told.trim_start_matches("error: ").split_whitespace().collect();
    format!("{}; see --help", words.join(" "))
}

impl RunArgs {
    fn validate(self) -> Result<Config, ConfigError> {
        let given = |texts: Vec<String>| texts.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        let required = [
            ("--namespace", &self.namespace),
            ("--collector-image", &self.collector_image),
            ("--sidecar-image", &self.sidecar_image),
        ];
        if let Some((flag, _)) = required.iter().find(|(_, value)| value.is_empty()) {
            return Err(ConfigError::Refused(format!("{flag} is empty: give a value; see --help")));
        }
        let mut audit_log_namespaces = given(self.audit_log_namespaces);
        if audit_log_namespaces.is_empty() {
            audit_log_namespaces.push(self.namespace.clone());
        }
        audit_log_namespaces.sort();
        audit_log_namespaces.dedup();
        Ok(Config {
            namespace: self.namespace,
            audit_log_namespaces,
            collector_image: self.collector_image,
            sidecar_image: self.sidecar_image,
            image_pull_policy: self.image_pull_policy,
            image_pull_secrets: given(self.image_pull_secret),
            cluster_domain: self.cluster_domain,
            csi: self.csi,
            pod_security_default: self.pod_security_default,
            skip_node_selectors: self.skip_node_selector,
            webhook_listen: self.webhook_listen,
            witness_listen: self.witness_listen,
            metrics: self.metrics,
            monitoring_namespaces: given(self.monitoring_namespace),
            log_format: self.log_format,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDED: &[&str] = &["run", "--namespace", "r", "--collector-image", "c:1", "--sidecar-image", "s:1"];

    fn parse(args: &[&str]) -> Result<Task, ConfigError> {
        read(["indelible-operator"].iter().chain(args).map(OsString::from))
    }

    fn run(args: &[&str]) -> Config {
        match parse(&[NEEDED, args].concat()) {
            Ok(Task::Run(config)) => *config,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = run(&[]);
        assert_eq!(config.audit_log_namespaces, ["r"]);
        assert_eq!(config.webhook_listen.to_string(), "[::]:10250");
        assert_eq!(config.witness_listen.to_string(), "[::]:7444");
        assert_eq!(config.metrics.to_string(), "[::]:9464");
        assert_eq!((config.csi, config.pod_security_default), (false, PodSecurity::Baseline));
        assert_eq!(config.image_pull_policy.as_str(), "IfNotPresent");
        assert_eq!(config.cluster_domain, "cluster.local");
    }

    #[test]
    fn lists_are_given_by_comma_or_again_and_empty_ones_are_none() {
        let config = run(&["--audit-log-namespaces", "b,a", "--skip-node-selector", "type=virtual-kubelet"]);
        assert_eq!(config.audit_log_namespaces, ["a", "b"]);
        assert_eq!(config.skip_node_selectors, [("type".to_owned(), "virtual-kubelet".to_owned())]);
        let config = run(&["--image-pull-secret", "a", "--image-pull-secret", "b", "--monitoring-namespace", ""]);
        assert_eq!(config.image_pull_secrets, ["a", "b"]);
        assert_eq!(config.monitoring_namespaces, Vec::<String>::new());
    }

    #[test]
    fn a_refusal_is_one_line_that_names_the_flag() {
        for (args, flag) in [
            (vec!["run"], "--namespace"),
            ([NEEDED, &["--metrics", "nowhere"]].concat(), "--metrics"),
            ([NEEDED, &["--image-pull-policy", "Sometimes"]].concat(), "--image-pull-policy"),
            ([NEEDED, &["--skip-node-selector", "virtual"]].concat(), "--skip-node-selector"),
            (vec!["run", "--namespace", "", "--collector-image", "c", "--sidecar-image", "s"], "--namespace"),
            (vec!["check"], "--namespace"),
        ] {
            match parse(&args) {
                Err(ConfigError::Refused(text)) => assert!(text.contains(flag) && !text.contains('\n'), "{text}"),
                other => panic!("{args:?}: {other:?}"),
            }
        }
    }
}
