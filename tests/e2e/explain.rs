//! What a person would look at first when a case has failed.

use crate::suite::{HOME, RELEASE, Suite};

const LINES: usize = 60;

/// Prints objects, events and the ends of the logs of all parts. Nothing here fails a case again.
pub fn everything(suite: &Suite) {
    let ask = |title: &str, args: &[&str]| {
        println!("..... {title}");
        match suite.try_kubectl(args, "") {
            Ok(output) => {
                let text = if output.out.is_empty() { output.err } else { output.out };
                let lines: Vec<&str> = text.lines().collect();
                for line in &lines[lines.len().saturating_sub(LINES)..] {
                    println!("{line}");
                }
            }
            Err(error) => println!("{error:#}"),
        }
    };
    ask("objects", &["get", "auditlogs,statefulsets,deployments,daemonsets,jobs,pods,pvc", "-A", "-o", "wide"]);
    ask("AuditLogs", &["get", "auditlogs", "-A", "-o", "yaml"]);
    ask("events", &["get", "events", "-A", "--sort-by=.lastTimestamp"]);
    for (title, namespace, selector) in [
        ("operator", RELEASE, "app.kubernetes.io/component=operator"),
        ("node driver", RELEASE, "app.kubernetes.io/component=csi"),
        ("collectors", HOME, "app.kubernetes.io/component=collector"),
    ] {
        ask(title, &["logs", "-n", namespace, "-l", selector, "--all-containers", "--prefix", "--tail=30"]);
    }
    for namespace in ["shop", "shop-privileged", "shop-baseline", "shop-restricted"] {
        let args = [
            "-l",
            "indelible.dev/injected",
            "-c",
            "indelible-sidecar",
            "--prefix",
            "--tail=3",
            "--max-log-requests=40",
        ];
        ask(&format!("sidecars of {namespace}"), &[&["logs", "-n", namespace][..], &args].concat());
    }
}
