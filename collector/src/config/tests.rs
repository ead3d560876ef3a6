//! What is taken as a configuration and what is refused, with which words.

use super::*;

const NEEDED: &[&str] =
    &["--data", "/d", "--tls-cert", "/c", "--tls-key", "/k", "--issuer", "https://i", "--jwks", "/j"];

fn parse(args: &[&str]) -> Result<Task, ConfigError> {
    read(["indelible-collector"].iter().chain(args).map(OsString::from))
}

fn served(args: &[&str]) -> Config {
    match parse(&[NEEDED, args].concat()) {
        Ok(Task::Serve(config)) => *config,
        other => panic!("{other:?}"),
    }
}

fn refusal(args: &[&str]) -> String {
    match parse(args) {
        Err(ConfigError::Refused(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = served(&["--readers", "jwks"]);
    assert_eq!(config.listen.to_string(), "[::]:7443");
    assert_eq!(config.metrics.to_string(), "127.0.0.1:9464");
    assert_eq!(config.checkpoint_interval, Duration::from_secs(1));
    assert_eq!(config.segment_bytes, 64 << 20);
    assert_eq!((&*config.audience, &*config.reader_audience), ("indelible.dev", "read.indelible.dev"));
    assert_eq!(config.cluster_uid, "");
}

#[test]
fn readers_need_no_token_on_loopback_only() {
    assert_eq!(served(&["--listen", "127.0.0.1:0"]).readers, Readers::None);
    assert_eq!(served(&["--listen", "[::1]:0", "--readers", "jwks"]).readers, Readers::Jwks);
    assert!(refusal(NEEDED).starts_with("--readers is missing"));
    assert!(refusal(&[NEEDED, &["--readers", "none"]].concat()).starts_with("--readers none"));
}

#[test]
fn readers_by_the_cluster_are_asked_for_one_audit_log() {
    let config = served(&["--readers", "tokenreview", "--read-resource", "audit/payments"]);
    assert_eq!(config.readers, Readers::TokenReview("audit/payments".parse().unwrap()));
    assert!(refusal(&[NEEDED, &["--readers", "tokenreview"]].concat()).starts_with("--read-resource is missing"));
    let other = [NEEDED, &["--readers", "jwks", "--read-resource", "audit/payments"]].concat();
    assert!(refusal(&other).starts_with("--read-resource audit/payments is only for"));
    let wrong = [NEEDED, &["--readers", "tokenreview", "--read-resource", "payments"]].concat();
    assert!(refusal(&wrong).contains("write <namespace>/<name>"));
}

#[test]
fn keys_come_out_of_a_file_or_from_an_https_url() {
    let with = |jwks| [NEEDED, &["--listen", "127.0.0.1:0", "--issuer", "a", "--jwks", jwks]].concat();
    let Ok(Task::Serve(config)) = parse(&with("https://kubernetes.default.svc/openid/v1/jwks")) else { panic!() };
    assert!(matches!(&config.issuers[1].jwks, KeySource::Url(url) if url.host() == "kubernetes.default.svc"));
    assert!(refusal(&with("http://a/jwks")).contains("only over https"));
    assert!(refusal(&with("https://u@a/jwks")).starts_with("--jwks https://u@a/jwks: write https://"));
}

#[test]
fn issuers_and_keys_come_in_pairs() {
    let config = served(&["--listen", "127.0.0.1:0", "--issuer", "https://b", "--jwks", "/b"]);
    assert_eq!(config.issuers[1], IssuerFlags { url: "https://b".into(), jwks: KeySource::File("/b".into()) });
    let told = |args: &[&str]| refusal(&[NEEDED, &["--readers", "jwks"], args].concat());
    assert!(told(&["--issuer", "https://b"]).starts_with("--issuer is given 2 times"));
    assert!(told(&["--issuer", "https://i", "--jwks", "/b"]).contains("given twice"));
}

#[test]
fn a_refusal_is_one_line_that_names_the_flag() {
    for (args, flag) in [
        (vec![], "--issuer"),
        (vec!["--listen", "nowhere"], "--listen"),
        (vec!["--checkpoint-interval", "1"], "--checkpoint-interval"),
        (vec!["--segment-bytes", "64MB"], "--segment-bytes"),
        (vec!["--origin", "a b"], "--origin"),
        (vec!["--frobnicate"], "--frobnicate"),
        (vec!["init"], "--data"),
        (vec!["init", "--data", "/d"], "--origin"),
    ] {
        let text = refusal(&args);
        assert!(text.contains(flag) && !text.contains('\n'), "{args:?}: {text}");
    }
    for missing in ["--data", "--tls-cert", "--tls-key", "--issuer", "--jwks"] {
        let at = NEEDED.iter().position(|arg| *arg == missing).unwrap();
        let args: Vec<_> = NEEDED.iter().enumerate().filter(|(i, _)| !(at..at + 2).contains(i)).collect();
        let args: Vec<_> = args.iter().map(|(_, arg)| **arg).chain(["--readers", "jwks"]).collect();
        assert!(refusal(&args).starts_with(&format!("{missing} is missing")));
    }
}

#[test]
fn everything_that_is_missing_is_named_at_once_with_an_example_that_lacks_nothing() {
    let text = refusal(&[]);
    for flag in ["--data", "--tls-cert", "--tls-key", "--issuer", "--jwks", "--readers"] {
        assert!(text.contains(&format!("{flag} is missing: ")), "{flag}: {text}");
    }
    let (_, example) = text.split_once("for example: indelible-collector ").unwrap();
    let args: Vec<&str> = example.split_whitespace().collect();
    assert!(matches!(parse(&args), Ok(Task::Serve(_))), "{example}");
}

#[test]
fn values_out_of_range_are_refused_with_the_range() {
    for (flag, value) in [
        ("--checkpoint-interval", "0s"),
        ("--checkpoint-interval", "2h"),
        ("--segment-bytes", "1023"),
        ("--segment-bytes", "3Gi"),
    ] {
        let text = refusal(&[NEEDED, &["--listen", "127.0.0.1:0", flag, value]].concat());
        assert!(text.starts_with(flag) && text.contains("out of range: give "), "{text}");
    }
}

#[test]
fn a_pods_token_never_reads() {
    let args = [NEEDED, &["--listen", "127.0.0.1:0", "--reader-audience", "indelible.dev"]].concat();
    assert!(refusal(&args).starts_with("--audience and --reader-audience"));
}

#[test]
fn version_names_the_commit_and_help_each_flag() {
    for (arg, told) in [("--version", "commit"), ("--help", "--reader-audience"), ("--help", "INDELIBLE_LISTEN")] {
        match parse(&[arg]) {
            Err(ConfigError::Told(text)) => assert!(text.contains(told), "{text}"),
            other => panic!("{other:?}"),
        }
    }
}
