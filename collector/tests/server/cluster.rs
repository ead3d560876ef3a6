//! A collector in a cluster: what it hears of its pool, whose keys it fetches, who may read what; and the API server away.

use indelible_chain::leaf::Leaf;
use indelible_chain::stored::Codec;
use serde_json::json;

use super::read::frames;
use super::write::{Writer, put_session};
use crate::api::{Api, Mood};
use crate::client::{Client, until};
use crate::collector::{Collector, Site, now_seconds};
use crate::issuer::{Issuer, Pod};
use crate::sidecar::Sidecar;

const KEYS: &str = "https://kubernetes.default.svc/openid/v1/jwks";
const READ: &str = "read.indelible.dev/audit/payments";
const RECORDS: &str = "indelible.dev auditlogs records audit payments";

/// The usual namespaces: `shop` is as old as the world, `late` will be made in a thousand years.
const NAMESPACES: &str = r#"[{"name":"shop","uid":"1","created":"2020-01-01T00:00:00Z"},{"name":"late","uid":"2","created":"2200-01-01T00:00:00Z"}]"#;

fn pool(epoch: u64) -> String {
    json!({ "epoch": epoch, "server_name": "c", "collectors": ["https://127.0.0.1:1"], "ca_pem": "x" }).to_string()
}

/// A collector of a cluster with this API server.
fn started(api: &Api, site: Site, flags: &[&str]) -> Collector {
    let usual = ["--configmap", "audit/payments-pool", "--readers", "tokenreview", "--read-resource", "audit/payments"];
    let flags = usual.iter().chain(&["--reader-audience", READ]).chain(flags);
    let flags = flags.map(|flag| (*flag).to_owned()).collect();
    Site { flags, env: api.env(), ..site }.start()
}

async fn cluster() -> (Api, Collector) {
    let site = Site::new(&[]);
    let api = Api::start(site.issuer.jwks()).await;
    api.put(&[("pool.json", &pool(1)), ("namespaces.json", NAMESPACES)]);
    let collector = started(&api, site, &[]);
    epoch(&collector, "1").await;
    (api, collector)
}

/// Waits until the collector's answers carry an epoch.
async fn epoch(collector: &Collector, epoch: &str) {
    let client = collector.client().await;
    until(|| client.get("/v1/log"), |answer| answer.header("indelible-pool") == Some(epoch)).await;
}

/// A reader's token, as the API server mints it for a user.
fn reader(api: &Api, issuer: &Issuer, user: &str) -> String {
    let now = now_seconds();
    let token = issuer.sign(&json!({ "iss": issuer.url, "sub": user, "aud": [READ], "iat": now, "exp": now + 600 }));
    api.knows(&token, user);
    token
}

async fn as_reader(collector: &Collector, token: &str) -> Client {
    collector.client().await.with_reader_token(token)
}

#[tokio::test]
async fn the_pools_configmap_is_heard_of_and_before_that_no_namespace_may_write() {
    let site = Site::new(&[]);
    let api = Api::start(site.issuer.jwks()).await;
    let collector = started(&api, site, &[]);
    until(|| async { api.watches() }, |watches| *watches == 1).await;
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    let sidecar = Sidecar::new(&pod, 1);
    let early = put_session(&client, &sidecar).await;
    assert_eq!((early.status.as_u16(), early.problem()), (503, "namespace-not-known".into()));
    assert!(early.header("retry-after").is_some());
    assert_eq!(client.get("/v1/pool").await.status, 404);
    api.put(&[("pool.json", &pool(7)), ("namespaces.json", NAMESPACES)]);
    epoch(&collector, "7").await;
    assert_eq!(client.get("/v1/pool").await.json()["epoch"], 7);
    assert_eq!(put_session(&client, &sidecar).await.status, 201);
    // A key that is wrong changes nothing, and one that comes back right is used.
    api.put(&[("pool.json", "{}"), ("namespaces.json", NAMESPACES)]);
    until(|| collector.page("/metrics"), |(_, page)| page.contains(r#"reloads_total{outcome="refused"} 1"#)).await;
    assert_eq!(client.get("/v1/log").await.header("indelible-pool"), Some("7"));
    api.put(&[("pool.json", &pool(8))]);
    epoch(&collector, "8").await;
    assert_eq!(put_session(&client, &Sidecar::new(&pod, 2)).await.status, 201, "a key that is missing changes nothing");
}

#[tokio::test]
async fn what_was_heard_last_stands_whatever_becomes_of_the_api_server() {
    let (api, collector) = cluster().await;
    let mut heard = 1;
    for mood in [Mood::Away, Mood::Broken, Mood::Senseless] {
        api.is(mood);
        let asked = api.asked("configmaps");
        heard += 1;
        api.put(&[("pool.json", &pool(heard)), ("namespaces.json", NAMESPACES)]);
        let mut writer = Writer::new(&collector, &format!("{mood:?}")).await;
        assert_eq!(writer.send(&[b"goes on"]).await.status, 200, "{mood:?}");
        if mood != Mood::Away {
            until(|| async { api.asked("configmaps") }, |now| *now > asked).await;
        }
        assert_eq!(writer.client.get("/v1/log").await.header("indelible-pool"), Some(&*(heard - 1).to_string()));
        api.is(Mood::Well);
        epoch(&collector, &heard.to_string()).await;
    }
    // A watch that is cut in the middle of an event, one whose version is too old, an object that is gone.
    api.cut();
    api.put(&[("pool.json", &pool(20))]);
    epoch(&collector, "20").await;
    api.forget();
    api.put(&[("pool.json", &pool(21))]);
    epoch(&collector, "21").await;
    api.remove();
    api.put(&[("pool.json", &pool(22))]);
    epoch(&collector, "22").await;
}

#[tokio::test]
async fn keys_are_fetched_from_the_api_server_and_without_them_pods_come_again() {
    let site = Site::new(&[]);
    let api = Api::start(site.issuer.jwks()).await;
    api.put(&[("pool.json", &pool(1)), ("namespaces.json", NAMESPACES)]);
    api.is(Mood::Broken);
    let (issuer, url) = (site.issuer, site.issuer_url.clone());
    let collector = started(&api, Site { issuer, jwks: KEYS.into(), issuer_url: url, ..site }, &[]);
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    let early = put_session(&client, &Sidecar::new(&pod, 1)).await;
    assert_eq!((early.status.as_u16(), early.problem()), (503, "keys-not-known".into()));
    api.is(Mood::Well);
    let sidecar = Sidecar::new(&pod, 1);
    until(|| put_session(&client, &sidecar), |answer| answer.status == 201).await;
    // Away again: what is known stands.
    api.is(Mood::Away);
    assert_eq!(Writer::new(&collector, "b").await.send(&[b"x"]).await.status, 200);
}

#[tokio::test]
async fn who_may_read_records_reads_everything_and_is_asked_for_once() {
    let (api, collector) = cluster().await;
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"a line"]).await;
    let token = reader(&api, &collector.site.issuer, "auditor");
    api.grant("auditor", RECORDS);
    let client = as_reader(&collector, &token).await;
    for path in ["/v1/frames", "/v1/chains", "/v1/coverage", "/v1/frames"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    let got = frames(&client.get("/v1/frames").await.body);
    assert!(got.iter().any(|frame| frame.body.ends_with(b"a line")));
    assert_eq!((api.asked("tokenreviews"), api.asked("subjectaccessreviews")), (1, 1));
}

#[tokio::test]
async fn who_may_read_a_namespaces_pod_logs_reads_only_what_its_pods_printed_since_it_was_made() {
    let (api, collector) = cluster().await;
    let mut shop = Writer::new(&collector, "a").await;
    shop.send(&[b"of the shop"]).await;
    let mut late = Writer::of(&collector, &Pod { namespace: "late".into(), ..Pod::named("b") }).await;
    late.send(&[b"of a namespace that was there before"]).await;
    let issuer = &collector.site.issuer;
    for (user, namespaces) in [("seller", &["shop"][..]), ("both", &["shop", "late"])] {
        for namespace in namespaces {
            api.grant(user, &format!("pods log {namespace}"));
        }
        let client = as_reader(&collector, &reader(&api, issuer, user)).await;
        let listed = client.get("/v1/chains").await.json();
        let ids: Vec<&str> =
            listed.as_array().unwrap().iter().map(|chain| chain["chain_id"].as_str().unwrap()).collect();
        assert_eq!(ids, [shop.chain.id().to_string()], "{user}");
        assert_only_of_the_shop(&frames(&client.get("/v1/frames").await.body));
        let batches = |of: &Writer| format!("/v1/chains/{}/batches", of.chain.id());
        assert_eq!(frames(&client.get(&batches(&shop)).await.body).len(), 1);
        assert_eq!(client.get(&batches(&late)).await.status, 404, "{user}");
        let log = super::read::log_path(&collector);
        let entries = client.get(&format!("{log}/tile/entries/000.p/1")).await;
        assert_eq!((entries.status.as_u16(), entries.problem()), (403, "not-everything".into()));
        assert_eq!(client.get("/v1/log").await.status, 200);
    }
    // Who may read the logs of all pods reads no more.
    api.grant("everywhere", "pods log");
    let client = as_reader(&collector, &reader(&api, issuer, "everywhere")).await;
    assert_only_of_the_shop(&frames(&client.get("/v1/frames").await.body));
}

fn assert_only_of_the_shop(got: &[super::read::Frame]) {
    let bodies: Vec<_> =
        got.iter().filter(|frame| matches!(Leaf::decode(&frame.leaf), Ok(Leaf::Batch { .. }))).collect();
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].body.ends_with(b"of the shop"));
    assert_eq!((bodies[1].codec, bodies[1].body.len()), (Codec::Withheld, 0));
}

#[tokio::test]
async fn who_may_read_nothing_is_told_what_to_grant_and_a_token_for_others_too_is_never_handed_on() {
    let (api, collector) = cluster().await;
    let issuer = &collector.site.issuer;
    let nothing = as_reader(&collector, &reader(&api, issuer, "nobody")).await;
    let refused = nothing.get("/v1/frames").await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (403, "not-a-reader".into()));
    let detail = refused.json()["detail"].to_string();
    assert!(
        detail.contains("auditlogs/records") && detail.contains("audit/payments") && detail.contains("nobody"),
        "{detail}"
    );
    assert_eq!(nothing.get("/v1/log").await.status, 200, "what names nobody is for any good token");

    let asked = api.asked("tokenreviews");
    let now = now_seconds();
    let sign = |claims| issuer.sign(&claims);
    let for_all =
        sign(json!({ "iss": issuer.url, "sub": "x", "aud": [READ, issuer.url], "iat": now, "exp": now + 600 }));
    let for_api = sign(json!({ "iss": issuer.url, "sub": "x", "aud": [issuer.url], "iat": now, "exp": now + 600 }));
    let invented =
        Issuer::new(&issuer.url).sign(&json!({ "iss": issuer.url, "sub": "x", "aud": [READ], "exp": now + 600 }));
    for token in [&for_all, &for_api, &invented] {
        api.knows(token, "auditor");
        assert_eq!(as_reader(&collector, token).await.get("/v1/frames").await.status, 401);
    }
    assert_eq!(api.asked("tokenreviews"), asked, "none of them has left the collector");
    let revoked = sign(json!({ "iss": issuer.url, "sub": "gone", "aud": [READ], "iat": now, "exp": now + 600 }));
    let client = as_reader(&collector, &revoked).await;
    for _ in 0..2 {
        assert_eq!(
            client.get("/v1/frames").await.problem(),
            "token",
            "its issuer signed it, the cluster knows it no more"
        );
    }
    assert_eq!(api.asked("tokenreviews"), asked + 1);
}

#[tokio::test]
async fn while_the_api_server_is_away_readers_come_again_and_pods_go_on() {
    let (api, collector) = cluster().await;
    let mut writer = Writer::new(&collector, "a").await;
    api.grant("auditor", RECORDS);
    let token = reader(&api, &collector.site.issuer, "auditor");
    let client = as_reader(&collector, &token).await;
    for mood in [Mood::Away, Mood::Broken, Mood::Senseless] {
        api.is(mood);
        let refused = client.get("/v1/frames").await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (503, "readers-not-known".into()), "{mood:?}");
        assert!(refused.header("retry-after").is_some());
        assert_eq!(client.get("/v1/log").await.status, 200, "{mood:?}");
        assert_eq!(writer.send(&[b"goes on"]).await.status, 200, "{mood:?}");
    }
    api.is(Mood::Slow);
    let slow = client.start(http::Method::GET, "/v1/frames", bytes::Bytes::new()).await.unwrap();
    assert_eq!(writer.send(&[b"goes on"]).await.status, 200);
    assert_eq!(slow.await.unwrap().status, 503);
    api.is(Mood::Well);
    assert_eq!(client.get("/v1/frames").await.status, 200, "at once: that there was no answer is not remembered");
    api.is(Mood::Away);
    assert_eq!(client.get("/v1/frames").await.status, 200, "what was found is known for a while");
}
