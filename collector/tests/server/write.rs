//! Introductions, batches, heartbeats and statements, and what they are answered.

use http::Method;
use indelible_chain::id::Time;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::leaf_hash;
use indelible_chain::receipt::Receipt;
use indelible_chain::statement::{SignedStatement, Statement};

use crate::client::{Answer, Client};
use crate::collector::{Collector, now_seconds};
use crate::issuer::{AUDIENCE, Pod, READER_AUDIENCE};
use crate::sidecar::{Chain, Sidecar, upload};

/// A pod that is introduced with one chain.
pub struct Writer {
    pub client: Client,
    pub sidecar: Sidecar,
    pub chain: Chain,
    pub pod: Pod,
}

pub fn receipt(collector: &Collector, answer: &Answer) -> Receipt {
    assert_eq!(answer.header("content-type"), Some("application/vnd.indelible.v1"), "{answer:?}");
    let receipt = Receipt::decode(&answer.body).unwrap();
    assert!(receipt.is_signed_by(collector.site.vkey.public_key()));
    receipt
}

pub async fn put_session(client: &Client, sidecar: &Sidecar) -> Answer {
    client.put(&format!("/v1/sessions/{}", sidecar.id()), sidecar.body()).await
}

pub async fn put_chain(client: &Client, sidecar: &Sidecar, chain: &Chain) -> Answer {
    client.put(&format!("/v1/chains/{}", chain.id()), chain.body(sidecar.id())).await
}

impl Writer {
    pub async fn new(collector: &Collector, name: &str) -> Self {
        Self::of(collector, &Pod::named(name)).await
    }

    pub async fn of(collector: &Collector, pod: &Pod) -> Self {
        let token = collector.site.issuer.token(pod, now_seconds());
        let client = collector.client().await.with_token(&token);
        let (sidecar, chain) = (Sidecar::new(pod, pod.name.as_bytes()[0]), Chain::of(pod, "app"));
        assert_eq!(put_session(&client, &sidecar).await.status, 201);
        assert_eq!(put_chain(&client, &sidecar, &chain).await.status, 201);
        Self { client, sidecar, chain, pod: pod.clone() }
    }

    pub fn next(&mut self, lines: &[&[u8]]) -> Vec<u8> {
        let (sealed, body) = self.chain.batch(&self.sidecar, lines);
        upload(&sealed, &body)
    }

    pub async fn send(&mut self, lines: &[&[u8]]) -> Answer {
        let body = self.next(lines);
        self.client.post("/v1/batches", body).await
    }
}

#[tokio::test]
async fn a_line_is_receipted_and_the_same_bytes_get_the_same_receipt() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let (sealed, body) = writer.chain.batch(&writer.sidecar, &[b"hello", b"world"]);
    let first = writer.client.post("/v1/batches", upload(&sealed, &body)).await;
    assert_eq!(first.status, 200, "{first:?}");
    let got = receipt(&collector, &first);
    let leaf = Leaf::Batch { commitment: sealed, received_at: got.received_at }.encode().unwrap();
    assert_eq!(got.leaf_hash, leaf_hash(&leaf), "the receipt is for exactly this batch");
    let again = writer.client.post("/v1/batches", upload(&sealed, &body)).await;
    assert_eq!((again.status, again.body), (first.status, first.body));
}

#[tokio::test]
async fn introductions_are_201_once_and_200_after_that_with_the_same_receipt() {
    let collector = Collector::start(&[]);
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    let (sidecar, chain) = (Sidecar::new(&pod, 1), Chain::of(&pod, "app"));
    for _ in 0..2 {
        let refused = put_chain(&client, &sidecar, &chain).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (412, "session-not-introduced".into()));
    }
    let new = put_session(&client, &sidecar).await;
    let known = put_session(&client, &sidecar).await;
    assert_eq!((new.status.as_u16(), known.status.as_u16()), (201, 200));
    assert_eq!(receipt(&collector, &new), receipt(&collector, &known));
    let new = put_chain(&client, &sidecar, &chain).await;
    let known = put_chain(&client, &sidecar, &chain).await;
    assert_eq!((new.status.as_u16(), known.status.as_u16()), (201, 200));
    assert_eq!(receipt(&collector, &new), receipt(&collector, &known));
}

#[tokio::test]
async fn a_batch_of_something_that_is_not_introduced_is_412_and_holds_afterwards() {
    let collector = Collector::start(&[]);
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    let (sidecar, mut chain) = (Sidecar::new(&pod, 1), Chain::of(&pod, "app"));
    let (sealed, body) = chain.batch(&sidecar, &[b"x"]);
    let sent = upload(&sealed, &body);
    assert_eq!(client.post("/v1/batches", sent.clone()).await.problem(), "session-not-introduced");
    put_session(&client, &sidecar).await;
    let refused = client.post("/v1/batches", sent.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (412, "chain-not-introduced".into()));
    put_chain(&client, &sidecar, &chain).await;
    assert_eq!(client.post("/v1/batches", sent).await.status, 200);
}

#[tokio::test]
async fn without_a_good_token_nothing_is_written() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let body = writer.next(&[b"x"]);
    let issuer = &collector.site.issuer;
    let now = now_seconds();
    let bare = collector.client().await;
    assert_eq!(bare.post("/v1/batches", body.clone()).await.problem(), "no-token");
    let mut old = issuer.claims(&writer.pod, AUDIENCE, now);
    old["exp"] = (now - 24 * 3600 - 60).into();
    let tokens = [
        "nonsense".to_owned(),
        issuer.sign(&issuer.claims(&writer.pod, READER_AUDIENCE, now)),
        crate::issuer::Issuer::new(&issuer.url).token(&writer.pod, now),
        issuer.sign(&old),
    ];
    for token in tokens {
        let refused = bare.with_token(&token).post("/v1/batches", body.clone()).await;
        assert_eq!((refused.status.as_u16(), refused.problem()), (401, "token".into()));
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(writer.client.post("/v1/batches", body).await.status, 200);
}

#[tokio::test]
async fn a_token_that_has_expired_today_still_carries_batches_and_introduces_nothing() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let (issuer, now) = (&collector.site.issuer, now_seconds());
    let mut claims = issuer.claims(&writer.pod, AUDIENCE, now - 7200);
    claims["exp"] = (now - 3600).into();
    writer.client = writer.client.with_token(&issuer.sign(&claims));
    assert_eq!(writer.send(&[b"x"]).await.status, 200);
    assert_eq!(put_session(&writer.client, &Sidecar::new(&writer.pod, 9)).await.status, 401);
    assert_eq!(put_chain(&writer.client, &writer.sidecar, &Chain::of(&writer.pod, "new")).await.status, 401);
}

/// Attack A21.
#[tokio::test]
async fn a_pod_with_a_valid_token_does_not_write_into_another_pods_chain() {
    let collector = Collector::start(&[]);
    let mut victim = Writer::new(&collector, "a").await;
    let mut thief = Writer::new(&collector, "b").await;
    // With its own session, in the other's chain.
    let (sealed, body) = victim.chain.batch(&thief.sidecar, &[b"forged"]);
    let refused = thief.client.post("/v1/batches", upload(&sealed, &body)).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (403, "other-chain".into()));
    // With the other's session, whose batch it may have seen.
    let seen = thief.client.post("/v1/batches", victim.next(&[b"seen"])).await;
    assert_eq!((seen.status.as_u16(), seen.problem()), (403, "other-pod".into()));
    // By introducing the other's chain or session as its own.
    let other = Chain::of(&victim.pod, "new");
    assert_eq!(put_chain(&thief.client, &thief.sidecar, &other).await.problem(), "other-chain");
    assert_eq!(put_session(&thief.client, &Sidecar::new(&victim.pod, 7)).await.problem(), "other-pod");
    assert_eq!(thief.send(&[b"its own"]).await.status, 200);
}

#[tokio::test]
async fn what_does_not_hold_is_422_and_what_cannot_be_read_400() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let (sealed, body) = writer.chain.batch(&writer.sidecar, &[b"one", b"two"]);
    let mut changed = body.clone();
    *changed.last_mut().unwrap() ^= 1;
    let refused = writer.client.post("/v1/batches", upload(&sealed, &changed)).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (422, "batch-does-not-hold".into()));
    let refused = writer.client.post("/v1/batches", upload(&sealed, &body)[..200].to_vec()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (400, "malformed".into()));
    let refused = writer.client.put("/v1/sessions/xyz", writer.sidecar.body()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (400, "malformed".into()));
    assert_eq!(writer.client.post("/v1/batches", upload(&sealed, &body)).await.status, 200);
}

#[tokio::test]
async fn a_batch_that_contradicts_is_stored_too_and_names_the_other() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let first = receipt(&collector, &writer.send(&[b"one"]).await);
    let mut other = Chain::of(&writer.pod, "app");
    let (sealed, body) = other.batch(&writer.sidecar, &[b"another"]);
    let answer = writer.client.post("/v1/batches", upload(&sealed, &body)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("indelible-conflict"), Some(&*first.index.to_string()));
    assert!(receipt(&collector, &answer).index > first.index);
    let again = writer.client.post("/v1/batches", upload(&sealed, &body)).await;
    assert_eq!(again.header("indelible-conflict"), answer.header("indelible-conflict"), "it may have been lost");
    assert_eq!(again.body, answer.body);
}

#[tokio::test]
async fn after_sixteen_conflicts_of_a_chain_a_further_one_is_409_and_the_chain_goes_on() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    assert_eq!(writer.send(&[b"first"]).await.status, 200);
    for i in 0..=16_u8 {
        let (sealed, body) = Chain::of(&writer.pod, "app").batch(&writer.sidecar, &[&[i]]);
        let answer = writer.client.post("/v1/batches", upload(&sealed, &body)).await;
        if i < 16 {
            assert_eq!((answer.status.as_u16(), answer.header("indelible-conflict").is_some()), (200, true), "{i}");
        } else {
            assert_eq!((answer.status.as_u16(), answer.problem()), (409, "conflicts".into()));
        }
    }
    assert_eq!(writer.send(&[b"second"]).await.status, 200);
}

#[tokio::test]
async fn a_heartbeat_is_answered_204_and_shows_in_coverage() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"one"]).await;
    let now = Time::from_nanos(now_seconds() * 1_000_000_000);
    let heartbeat = writer.sidecar.heartbeat(now, vec![(writer.chain.id(), writer.chain.head())]);
    let answer = writer.client.post("/v1/heartbeats", heartbeat.encode().unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0));
    let mut forged = heartbeat.clone();
    forged.time = now.plus_nanos(1);
    let refused = writer.client.post("/v1/heartbeats", forged.encode().unwrap()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (422, "heartbeat-does-not-hold".into()));
    let covered = collector.client().await.get("/v1/coverage").await.json();
    let expected = serde_json::json!([{
        "session_id": writer.sidecar.id().to_string(),
        "namespace": "shop", "pod": "a", "pod_uid": "uid-of-a", "node": "node-1",
        "software": "test/1", "excluded": "istio-proxy",
        "ca_digest": indelible_chain::digest::Digest::sha256(b"ca").to_string(),
        "chains": [{"chain_id": writer.chain.id().to_string(), "container": "app", "next_seq": 1}],
        "last_heartbeat": now.nanos(),
    }]);
    assert_eq!(covered, expected);
}

#[tokio::test]
async fn an_authoritys_statement_is_receipted() {
    let collector = Collector::start(&[]);
    let writer = Writer::new(&collector, "a").await;
    let said = Statement::Hold { set: true, by: "legal".into(), reason: "case 7".into() };
    let origin = collector.site.vkey.name().as_str();
    let signed = SignedStatement::sign(&writer.sidecar.key, [1, 2, 3, 4], origin, said);
    let mut body = Vec::new();
    signed.encode_into(&mut body);
    let answer = writer.client.post("/v1/statements", body.clone()).await;
    assert_eq!(answer.status, 200);
    let got = receipt(&collector, &answer);
    let leaf = Leaf::Authority { signed, received_at: got.received_at };
    assert_eq!(got.leaf_hash, leaf_hash(&leaf.encode().unwrap()));
    assert_eq!(writer.client.post("/v1/statements", body[..20].to_vec()).await.status, 400);
}

#[tokio::test]
async fn namespaces_that_are_not_listed_wait() {
    let dir = tempfile::tempdir().unwrap();
    let list = dir.path().join("namespaces.json");
    std::fs::write(&list, "[]").unwrap();
    let collector = Collector::start(&["--namespaces", list.to_str().unwrap()]);
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    let refused = put_session(&client, &Sidecar::new(&pod, 1)).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (503, "namespace-not-known".into()));
    assert!(refused.header("retry-after").is_some());
    std::fs::write(&list, r#"[{"name":"shop","uid":"1","created":"2026-11-20T10:00:00Z"}]"#).unwrap();
    let answer = crate::client::until(|| put_session_owned(client.clone(), pod.clone()), |a| a.status != 503).await;
    assert_eq!(answer.status, 201);
}

async fn put_session_owned(client: Client, pod: Pod) -> Answer {
    put_session(&client, &Sidecar::new(&pod, 1)).await
}

#[tokio::test]
async fn a_pod_introduces_a_bounded_number_of_sessions() {
    let collector = Collector::start(&[]);
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    for seed in 1..=60 {
        assert_eq!(put_session(&client, &Sidecar::new(&pod, seed)).await.status, 201, "{seed}");
    }
    let refused = put_session(&client, &Sidecar::new(&pod, 61)).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "pod-limit".into()));
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((3000..=3600).contains(&after), "{after}");
    assert_eq!(put_session(&client, &Sidecar::new(&pod, 1)).await.status, 200, "what is known costs nothing");
}

#[tokio::test]
async fn a_pod_introduces_a_bounded_number_of_chains() {
    let collector = Collector::start(&[]);
    let writer = Writer::new(&collector, "a").await;
    for i in 1..256 {
        let chain = Chain::of(&writer.pod, &i.to_string());
        assert_eq!(put_chain(&writer.client, &writer.sidecar, &chain).await.status, 201, "{i}");
    }
    let refused = put_chain(&writer.client, &writer.sidecar, &Chain::of(&writer.pod, "one more")).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "pod-limit".into()));
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((86_000..=86_400).contains(&after), "{after}");
    assert_eq!(Writer::new(&collector, "b").await.send(&[b"x"]).await.status, 200, "other pods are served");
}

#[tokio::test]
async fn what_was_not_stored_does_not_count_against_its_pod() {
    let collector = Collector::start(&[]);
    let pod = Pod::named("a");
    let client = collector.client().await.with_token(&collector.site.issuer.token(&pod, now_seconds()));
    // One session many times at once: each that came too early to find it known was counted, and one is stored.
    let calls = (0..60).map(|_| {
        let (client, sidecar) = (client.clone(), Sidecar::new(&pod, 1));
        tokio::spawn(async move { put_session(&client, &sidecar).await })
    });
    let mut fresh = 0;
    for call in calls.collect::<Vec<_>>() {
        let answer = call.await.unwrap();
        let status = answer.status.as_u16();
        assert!([200, 201].contains(&status), "{status}: {}", String::from_utf8_lossy(&answer.body));
        fresh += usize::from(status == 201);
    }
    assert_eq!(fresh, 1);
    for seed in 2..=60 {
        assert_eq!(put_session(&client, &Sidecar::new(&pod, seed)).await.status, 201, "{seed}");
    }
    assert_eq!(put_session(&client, &Sidecar::new(&pod, 61)).await.status, 429);
}

#[tokio::test]
async fn there_is_no_call_that_changes_or_removes_what_is_stored() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"one"]).await;
    let log = indelible_chain::id::LogId::new(indelible_chain::digest::Digest::sha256(
        collector.site.vkey.name().as_str().as_bytes(),
    ));
    let paths = [
        format!("/v1/sessions/{}", writer.sidecar.id()),
        format!("/v1/chains/{}", writer.chain.id()),
        format!("/v1/chains/{}/batches", writer.chain.id()),
        "/v1/batches".into(),
        "/v1/frames".into(),
        "/v1/checkpoints/1".into(),
        "/v1/log".into(),
        format!("/logs/{log}/checkpoint"),
        format!("/logs/{log}/tile/0/000"),
        format!("/logs/{log}/tile/entries/000"),
    ];
    let before = collector.client().await.get("/v1/frames").await.body;
    for path in &paths {
        for method in [Method::DELETE, Method::PUT, Method::POST, Method::PATCH] {
            let own = match (&method, &**path) {
                (&Method::PUT, path) => !path.ends_with("/batches") && path.matches('/').count() == 3,
                (&Method::POST, path) => path == "/v1/batches",
                _ => false,
            };
            if own && !path.starts_with("/v1/checkpoints") && !path.starts_with("/logs") {
                continue;
            }
            let answer = writer.client.call(method.clone(), path, bytes::Bytes::from_static(b"x")).await;
            assert_eq!((answer.status.as_u16(), answer.problem()), (405, "method".into()), "{method} {path}");
            assert!(answer.header("allow").is_some());
        }
    }
    assert_eq!(writer.client.call(Method::DELETE, "/v1", bytes::Bytes::new()).await.status, 404);
    assert_eq!(collector.client().await.get("/v1/frames").await.body, before);
}

#[tokio::test]
async fn who_writes_more_than_its_limit_waits_and_others_go_on() {
    let collector = Collector::start(&["--limit-pod-bytes", "1Ki", "--limit-namespace-bytes", "64Ki"]);
    let (mut a, mut b) = (Writer::new(&collector, "a").await, Writer::new(&collector, "b").await);
    let line = [b'x'; 4000];
    assert_eq!(a.send(&[&line]).await.status, 200, "a batch is taken whole");
    let next = a.next(&[&line]);
    let refused = a.client.post("/v1/batches", next.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "pod-limit".into()));
    let after: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=3).contains(&after), "{after}");
    assert_eq!(b.send(&[&line]).await.status, 200);
    // What is stored already costs nothing, and what does not hold neither.
    let again = || a.client.post("/v1/batches", next.clone());
    assert_eq!(crate::client::until(again, |answer| answer.status != 429).await.status, 200);
    let long = vec![b'x'; 60_000];
    let over = b.next(&[&long]);
    let b_again = || b.client.post("/v1/batches", over.clone());
    assert_eq!(crate::client::until(b_again, |answer| answer.status != 429).await.status, 200);
    let mut c = Writer::new(&collector, "c").await;
    let refused = c.send(&[b"one more"]).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (429, "namespace-limit".into()));
    assert_eq!(refused.header("retry-after"), Some("300"));
}

#[tokio::test]
async fn what_was_not_stored_does_not_count_against_a_limit() {
    let collector = Collector::start(&["--limit-namespace-bytes", "1Ki"]);
    let mut writer = Writer::new(&collector, "a").await;
    let (mut sealed, body) = writer.chain.batch(&writer.sidecar, &[&[b'x'; 900]]);
    let good = upload(&sealed, &body);
    sealed.signature[0] ^= 1;
    for _ in 0..3 {
        assert_eq!(writer.client.post("/v1/batches", upload(&sealed, &body)).await.status, 422);
    }
    for _ in 0..3 {
        assert_eq!(writer.client.post("/v1/batches", good.clone()).await.status, 200, "stored once, counted once");
    }
    assert_eq!(writer.send(&[&[b'x'; 900]]).await.status, 200);
    assert_eq!(writer.send(&[b"x"]).await.problem(), "namespace-limit");
}

#[tokio::test]
async fn a_known_authoritys_statement_is_taken_with_a_readers_token_and_no_other_is() {
    use indelible_chain::key::PrivateKey;
    use indelible_chain::note::{Algorithm, VerifierKey};
    let key = PrivateKey::from_seed(&[9; 32]);
    let vkey = VerifierKey::new("authority".parse().unwrap(), Algorithm::Ed25519, key.public());
    let collector = Collector::start(&["--readers", "jwks", "--authority", &vkey.to_string()]);
    let client = collector.client().await;
    let reader = client.with_reader_token(&collector.site.issuer.reader_token(now_seconds()));
    let statement = || Statement::Accepted { finding: "f".into(), by: "me".into(), reason: "known".into() };
    let sign = |key: &PrivateKey, id, origin: &str| {
        let mut bytes = Vec::new();
        SignedStatement::sign(key, id, origin, statement()).encode_into(&mut bytes);
        bytes
    };
    let (id, origin) = (*vkey.id().as_bytes(), collector.site.vkey.name().as_str().to_owned());
    let taken = reader.post("/v1/statements", sign(&key, id, &origin)).await;
    assert_eq!(taken.status, 200, "{taken:?}");
    let got = receipt(&collector, &taken);
    assert!(got.index.get() > 0);
    let other_log = reader.post("/v1/statements", sign(&key, id, "other")).await;
    assert_eq!((other_log.status.as_u16(), other_log.problem()), (422, "statement-does-not-hold".into()));
    let unknown = reader.post("/v1/statements", sign(&key, [0; 4], &origin)).await;
    assert_eq!((unknown.status.as_u16(), unknown.problem()), (403, "authority-not-known".into()));
    assert_eq!(client.post("/v1/statements", sign(&key, id, &origin)).await.status, 401, "without any token");
    let writer = Writer::new(&collector, "a").await;
    let forged = writer.client.post("/v1/statements", sign(&PrivateKey::from_seed(&[8; 32]), id, &origin)).await;
    assert_eq!(forged.status, 422, "nor does a pod hand in what a known authority did not sign");
}

#[tokio::test]
async fn a_log_says_how_much_room_its_volume_has_and_whether_it_has_its_end() {
    let collector = Collector::start(&[]);
    let log = collector.client().await.get("/v1/log").await.json();
    assert_eq!(log["sealed"], false);
    let age = now_seconds() - log["newest_leaf_time"].as_i64().unwrap() / 1_000_000_000;
    assert!((0..60).contains(&age), "its start is a leaf: {log}");
    let (free, total) = (log["free_bytes"].as_u64().unwrap(), log["total_bytes"].as_u64().unwrap());
    assert!(0 < free && free <= total && total < u64::MAX, "{log}");
}
