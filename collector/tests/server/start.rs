//! How a collector starts, and what it refuses to start with: one line that names the flag, exit 2, nothing changed.

use super::write::Writer;
use crate::client::Client;
use crate::collector::{Collector, Site, certificate, run};

fn flags(site: &Site) -> Vec<String> {
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    [
        ("--data", path("data")),
        ("--tls-cert", path("cert.pem")),
        ("--tls-key", path("key.pem")),
        ("--issuer", site.issuer.url.clone()),
        ("--jwks", path("jwks.json")),
        ("--listen", "127.0.0.1:0".into()),
        ("--metrics", "127.0.0.1:0".into()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

/// The refusal of a start with one flag changed.
fn refusal(site: &Site, flag: &str, value: &str) -> String {
    let mut flags = flags(site);
    match flags.iter().position(|found| found == flag) {
        Some(at) => value.clone_into(&mut flags[at + 1]),
        None => flags.extend([flag.to_owned(), value.to_owned()]),
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let (code, stdout, stderr) = run(&flags);
    assert_eq!((code, &*stdout), (2, ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    assert!(stderr.contains(flag), "{stderr}");
    stderr
}

#[test]
fn init_prints_the_key_and_the_uri_and_prints_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let args = ["init", "--data", data.to_str().unwrap(), "--origin", "demo/c0"];
    let (code, first, _) = run(&args);
    assert_eq!(code, 0);
    let (vkey, uri) = first.trim_end().split_once('\n').unwrap();
    let key: indelible_chain::note::VerifierKey = vkey.parse().unwrap();
    assert!(key.name().as_str().starts_with("demo/c0-"));
    assert_eq!(uri, format!("URI:indelible:vkey:{}", key.text_digest()));
    assert_eq!(run(&args).1, first);
    let (code, _, stderr) = run(&["init", "--data", data.to_str().unwrap(), "--origin", "demo/c1"]);
    assert_eq!(code, 2, "another origin later is an error");
    assert!(stderr.contains("demo/c0") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn init_leaves_the_key_where_the_kubelet_takes_a_containers_last_words_from() {
    let dir = tempfile::tempdir().unwrap();
    let (data, message) = (dir.path().join("data"), dir.path().join("message"));
    // As the kubelet makes it, with what a container before may have left.
    std::fs::write(&message, "x".repeat(4096)).unwrap();
    let args = ["init", "--data", data.to_str().unwrap(), "--origin", "demo/c0", "--termination-message"];
    for _ in 0..2 {
        let (code, told, error) = run(&[&args[..], &[message.to_str().unwrap()]].concat());
        assert_eq!(code, 0, "{error}");
        assert_eq!(told.lines().next(), Some(&*std::fs::read_to_string(&message).unwrap()));
    }
    let (code, _, error) = run(&[&args[..], &["/nowhere/at/all"]].concat());
    assert_eq!(code, 2);
    assert!(error.contains("--termination-message /nowhere/at/all"), "{error}");
}

#[test]
fn a_certificate_is_awaited_and_that_there_is_none_is_no_wrong_flag() {
    let site = Site::new(&[]);
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let await_one =
        |data: &str, cert: &str, key: &str| run(&["await", "--data", data, "--tls-cert", cert, "--tls-key", key]);
    let (data, cert, key) = (path("data"), path("cert.pem"), path("key.pem"));
    assert_eq!(await_one(&data, &cert, &key).0, 0, "it is there");
    let (chain, chain_key) = (std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap());
    let (other, other_key) = certificate(&["indelible:vkey:00"]);
    std::fs::write(&cert, other).unwrap();
    std::fs::write(&key, other_key).unwrap();
    let (code, _, error) = await_one(&data, &cert, &key);
    assert_eq!(code, 1, "{error}");
    assert!(error.contains(&format!("URI:indelible:vkey:{}", site.vkey.text_digest())), "{error}");
    // It comes while it is waited for.
    let (late_cert, late_key) = (path("late.pem"), path("late.key"));
    let writer = std::thread::spawn({
        let (late_cert, late_key) = (late_cert.clone(), late_key.clone());
        move || {
            std::fs::write(late_key, chain_key).unwrap();
            std::fs::write(late_cert, chain).unwrap();
        }
    });
    assert_eq!(await_one(&data, &late_cert, &late_key).0, 0);
    writer.join().unwrap();
    let nowhere = path("no-data");
    let (code, _, error) = await_one(&nowhere, &cert, &key);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("--data"), "{error}");
}

#[test]
fn files_that_are_missing_or_wrong_are_named_with_their_flag() {
    let site = Site::new(&[]);
    let wrong = site.path("wrong");
    std::fs::write(&wrong, "\u{1}not what it should be").unwrap();
    let (other_cert, _) = certificate(&["indelible:vkey:00"]);
    let other = site.path("other.pem");
    std::fs::write(&other, other_cert).unwrap();
    for flag in ["--jwks", "--namespaces", "--pool", "--tls-cert"] {
        assert!(refusal(&site, flag, "/nowhere/at/all").contains("/nowhere/at/all"));
        assert!(refusal(&site, flag, wrong.to_str().unwrap()).contains("wrong"));
    }
    let told = refusal(&site, "--tls-cert", other.to_str().unwrap());
    assert!(told.contains(&format!("URI:indelible:vkey:{}", site.vkey.text_digest())), "{told}");
}

#[test]
fn addresses_that_are_taken_are_named_with_their_flag() {
    let site = Site::new(&[]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for flag in ["--listen", "--metrics"] {
        assert!(refusal(&site, flag, &address).contains(&address));
    }
}

/// Attack A5.
#[tokio::test]
async fn a_second_collector_on_the_same_directory_refuses_to_start() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let data = collector.site.path("data");
    let told = refusal(&collector.site, "--data", data.to_str().unwrap());
    assert!(told.contains("is in use") && told.contains(data.to_str().unwrap()), "{told}");
    assert_eq!(writer.send(&[b"one"]).await.status, 200, "the first one goes on");
}

#[tokio::test]
async fn a_renewed_certificate_is_served_and_a_wrong_one_is_not() {
    let collector = Collector::start(&[]);
    let site = &collector.site;
    let replace = |name: &str, text: &str| {
        std::fs::write(site.path("new"), text).unwrap();
        std::fs::rename(site.path("new"), site.path(name)).unwrap();
    };
    let (wrong, wrong_key) = certificate(&[]);
    replace("key.pem", &wrong_key);
    replace("cert.pem", &wrong);
    let refused = crate::client::until(
        || async { collector.page("/metrics").await.1 },
        |page| {
            page.contains(r#"reloads_total{outcome="used"}"#) && !page.contains(r#"reloads_total{outcome="refused"} 0"#)
        },
    );
    refused.await;
    assert!(Client::connect(collector.address, &site.ca_pem).await.is_ok(), "the old one stays");
    let uri = format!("indelible:vkey:{}", site.vkey.text_digest());
    let (renewed, key) = certificate(&[&uri]);
    replace("key.pem", &key);
    replace("cert.pem", &renewed);
    let connect = || async { Client::connect(collector.address, &renewed).await.is_ok() };
    assert!(crate::client::until(connect, |connected| *connected).await);
    assert!(Client::connect(collector.address, &site.ca_pem).await.is_err(), "the old one is gone");
}
