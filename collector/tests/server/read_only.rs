//! A log that is only read: served as it is, without a byte written to it and without anything being taken.

use std::collections::BTreeMap;
use std::path::Path;

use super::read::frames;
use super::write::{Writer, put_session};
use crate::collector::{Collector, Site, now_seconds, run};
use crate::issuer::Pod;
use crate::sidecar::Sidecar;

/// Every file below a directory, with its bytes.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.insert(path.to_str().unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn read_only(site: Site) -> Collector {
    Site { flags: vec!["--read-only".into()], ..site }.start()
}

#[tokio::test]
async fn a_sealed_log_is_read_as_before_and_nothing_is_written_or_taken() {
    let mut collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"a line"]).await;
    collector.signal("TERM");
    assert_eq!(collector.wait().await.code(), Some(0));
    let site = collector.kill();
    let before = files(&site.path("data"));
    let mut collector = read_only(site);
    assert_eq!(collector.page("/readyz").await.0, 200);
    let client = collector.client().await;
    let log = client.get("/v1/log").await.json();
    assert_eq!(log["sealed"], true);
    assert!(log["free_bytes"].as_u64().unwrap() > 0);
    let got = frames(&client.get("/v1/frames").await.body);
    assert_eq!(got.len() as u64, log["size"].as_u64().unwrap(), "the checkpoint covers all there is");
    assert!(got.iter().any(|frame| frame.body.ends_with(b"a line")));
    let path = super::read::log_path(&collector);
    for path in
        [format!("{path}/checkpoint"), "/v1/chains".into(), format!("{path}/tile/0/000.p/1"), "/v1/coverage".into()]
    {
        assert_eq!(client.get(&path).await.status, 200, "{path}");
    }
    let pod = Pod::named("b");
    let pods = client.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    let refused = put_session(&pods, &Sidecar::new(&pod, 2)).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (503, "sealed".into()));
    collector.signal("TERM");
    assert_eq!(collector.wait().await.code(), Some(0));
    assert_eq!(files(&collector.kill().path("data")), before);
}

#[tokio::test]
async fn a_log_that_was_killed_is_shown_as_far_as_it_is_good_and_stays_as_it_was() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"a line"]).await;
    let site = collector.kill();
    let before = files(&site.path("data"));
    let collector = read_only(site);
    let client = collector.client().await;
    assert_eq!(client.get("/v1/log").await.json()["sealed"], false);
    assert!(frames(&client.get("/v1/frames").await.body).iter().any(|frame| frame.body.ends_with(b"a line")));
    assert_eq!(files(&collector.kill().path("data")), before);
}

#[test]
fn without_a_log_there_is_nothing_to_serve_and_none_is_made() {
    let site = Site::new(&[]);
    let path = |name: &str| site.path(name).to_str().unwrap().to_owned();
    let (code, _, error) = run(&[
        "--read-only",
        "--data",
        &path("none"),
        "--tls-cert",
        &path("cert.pem"),
        "--tls-key",
        &path("key.pem"),
        "--issuer",
        "https://i",
        "--jwks",
        &path("jwks.json"),
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
    ]);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("holds no log") && error.contains("--read-only"), "{error}");
    assert!(!site.path("none").exists());
}
