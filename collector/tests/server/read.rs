//! Lists, frames, checkpoints and tiles: what a verifier would believe of them.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use indelible_chain::bytes::Reader;
use indelible_chain::checkpoint::Checkpoint;
use indelible_chain::digest::Digest;
use indelible_chain::frame::WireFrame;
use indelible_chain::id::LogId;
use indelible_chain::leaf::Leaf;
use indelible_chain::merkle::{Tree, leaf_hash};
use indelible_chain::note::Note;
use indelible_chain::statement::Statement;
use indelible_chain::stored::{Codec, Packer};
use indelible_chain::tile::{BundleId, TileId};

use super::write::{Writer, receipt};
use crate::client::{Client, until};
use crate::collector::{Collector, now_seconds};

pub fn log_path(collector: &Collector) -> String {
    let log = LogId::new(Digest::sha256(collector.site.vkey.name().as_str().as_bytes()));
    format!("/logs/{log}")
}

/// A frame that was read, with its body unpacked.
pub struct Frame {
    pub index: u64,
    pub leaf: Vec<u8>,
    pub codec: Codec,
    pub body: Vec<u8>,
}

pub fn frames(bytes: &[u8]) -> Vec<Frame> {
    let mut reader = Reader::new(bytes);
    let mut packer = Packer::new().unwrap();
    let mut frames = Vec::new();
    while !reader.rest().is_empty() {
        let WireFrame { index, leaf, body } = WireFrame::decode_from(&mut reader).unwrap();
        let codec = body.codec;
        let body = packer.unpack(body, 1 << 20).unwrap().to_vec();
        frames.push(Frame { index: index.get(), leaf: leaf.to_vec(), codec, body });
    }
    frames
}

async fn newest(client: &Client, collector: &Collector) -> Checkpoint {
    let answer = client.get(&format!("{}/checkpoint", log_path(collector))).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    Checkpoint::open(&Note::parse(&answer.body).unwrap(), &collector.site.vkey).unwrap()
}

#[tokio::test]
async fn frames_tiles_and_checkpoint_are_one_log() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let mut last = None;
    for i in 0..300_u32 {
        last = Some(receipt(&collector, &writer.send(&[&i.to_be_bytes()]).await));
    }
    let last = last.unwrap();
    let client = collector.client().await;
    let size = last.index.get() + 1;
    let checkpoint = until(|| newest(&client, &collector), |checkpoint| checkpoint.size() >= size).await;
    let frames = frames(&client.get(&format!("/v1/frames?to={}", checkpoint.size())).await.body);
    let indexes: Vec<u64> = frames.iter().map(|frame| frame.index).collect();
    assert_eq!(indexes, (0..checkpoint.size()).collect::<Vec<_>>());
    let hashes: Vec<Digest> = frames.iter().map(|frame| leaf_hash(&frame.leaf)).collect();
    assert_eq!(hashes.iter().copied().collect::<Tree>().root(), checkpoint.root());
    assert_eq!(hashes[usize::try_from(last.index.get()).unwrap()], last.leaf_hash);

    let log = log_path(&collector);
    let rest = u16::try_from(checkpoint.size() - 256).unwrap();
    for (id, first) in [(TileId::new(0, 0, 256).unwrap(), 0), (TileId::new(0, 1, rest).unwrap(), 256)] {
        let answer = client.get(&format!("{log}/{}", id.path())).await;
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        assert_eq!(id.decode(&answer.body).unwrap(), hashes[first..first + usize::from(id.width())]);
        assert_eq!(answer.header("cache-control").unwrap().contains("immutable"), id.is_full());
        let id = BundleId::new(id.index(), id.width()).unwrap();
        let answer = client.get(&format!("{log}/{}", id.path())).await;
        assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
        let leaves: Vec<&[u8]> = frames[first..].iter().map(|frame| &*frame.leaf).take(id.width().into()).collect();
        assert_eq!(id.decode(&answer.body).unwrap(), leaves);
        assert_eq!(answer.header("cache-control").unwrap().contains("immutable"), id.is_full());
    }
    let top = client.get(&format!("{log}/tile/1/000.p/1")).await.body;
    assert_eq!(&*top, hashes[..256].iter().copied().collect::<Tree>().root().as_bytes());
}

#[tokio::test]
async fn what_a_log_does_not_have_is_404() {
    let collector = Collector::start(&[]);
    let client = collector.client().await;
    let log = log_path(&collector);
    let other = format!("/logs/{}", Digest::sha256(b"other"));
    for path in [
        format!("{other}/checkpoint"),
        format!("{other}/tile/0/000"),
        format!("{log}/tile/0/000"),
        format!("{log}/tile/0/001"),
        format!("{log}/tile/0/000.p/0"),
        format!("{log}/tile/0/000.p/255"),
        format!("{log}/tile/0/0"),
        format!("{log}/tile/64/000"),
        format!("{log}/tile/00/000"),
        format!("{log}/tile/entries/000"),
        format!("{log}/tile/entries/../entries/000"),
        format!("{log}/tile"),
        "/v1/checkpoints/999999".into(),
        format!("/v1/chains/{}/batches", Digest::sha256(b"other")),
        "/v1/pool".into(),
        "/v1/nothing".into(),
        "/".into(),
    ] {
        let answer = client.get(&path).await;
        assert_eq!((answer.status.as_u16(), answer.problem()), (404, "not-found".into()), "{path}");
        assert_eq!(answer.header("indelible-pool"), None);
    }
}

#[tokio::test]
async fn the_log_says_who_it_is_and_which_checkpoints_it_keeps() {
    let collector = Collector::start(&[]);
    let client = collector.client().await;
    let log = client.get("/v1/log").await.json();
    let vkey = &collector.site.vkey;
    assert_eq!(log["origin"], vkey.name().as_str());
    assert_eq!(log["vkey"], vkey.to_string());
    assert_eq!(log["log_id"], log_path(&collector)[6..]);
    assert_eq!(log["software"], concat!("indelible-collector/", env!("CARGO_PKG_VERSION")));
    let kept = client.get("/v1/checkpoints").await.json();
    let size = kept.as_array().unwrap().last().expect("the first is kept").as_u64().unwrap();
    let answer = client.get(&format!("/v1/checkpoints/{size}")).await;
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    let kept = Checkpoint::open(&Note::parse(&answer.body).unwrap(), vkey).unwrap();
    assert_eq!(kept.size(), size);
    let after = client.get(&format!("/v1/checkpoints?after={size}")).await.json();
    assert!(after.as_array().unwrap().iter().all(|later| later.as_u64().unwrap() > size));
}

#[tokio::test]
async fn chains_are_listed_by_what_they_are_and_page_by_page() {
    let collector = Collector::start(&[]);
    let mut one = Writer::new(&collector, "a").await;
    let two = Writer::new(&collector, "b").await;
    one.send(&[b"x", b"y"]).await;
    let client = collector.client().await;
    let list = |query: &str| {
        let (client, path) = (client.clone(), format!("/v1/chains{query}"));
        async move { client.get(&path).await.json().as_array().unwrap().clone() }
    };
    let all = list("").await;
    let mut ids = [one.chain.id().to_string(), two.chain.id().to_string()];
    ids.sort();
    assert_eq!(all.iter().map(|chain| chain["chain_id"].as_str().unwrap()).collect::<Vec<_>>(), ids);
    let of_one = list("?namespace=shop&pod=a&container=app").await;
    let hex = one.chain.genesis.encode().unwrap().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let expected = serde_json::json!([{
        "chain_id": one.chain.id().to_string(), "genesis": hex, "first_seq": 0, "next_seq": 2,
        "first_time": 1_795_400_000_000_000_000_i64, "last_time": 1_795_400_000_000_000_000_i64, "closed": false,
    }]);
    assert_eq!(serde_json::Value::from(of_one), expected);
    assert_eq!(list("?since=2026-11-23T00:00:00Z").await.len(), 1);
    assert_eq!(list("?since=1795400000000000001").await.len(), 0);
    assert_eq!(list("?limit=1").await, all[..1]);
    assert_eq!(list(&format!("?limit=1&after={}", ids[0])).await, all[1..]);
    assert_eq!(list("?pod=c").await.len(), 0);
    for query in ["?pods=a", "?pod=a&pod=b", "?limit=x", "?after=x", "?since=yesterday", "?pod=%61"] {
        assert_eq!(client.get(&format!("/v1/chains{query}")).await.problem(), "malformed", "{query}");
    }
}

#[tokio::test]
async fn a_chains_batches_are_given_by_position() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    for line in [b"0", b"1", b"2"] {
        writer.send(&[line]).await;
    }
    let path = format!("/v1/chains/{}/batches?from=1&to=2", writer.chain.id());
    let got = frames(&collector.client().await.get(&path).await.body);
    assert_eq!(got.len(), 1);
    let Leaf::Batch { commitment, .. } = Leaf::decode(&got[0].leaf).unwrap() else { panic!("not a batch") };
    assert_eq!(commitment.first_seq.get(), 1);
    assert!(got[0].body.ends_with(b"1"));
}

#[tokio::test]
async fn an_answer_of_many_pieces_is_whole() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let mut noise = super::bounds::Noise(7);
    let mut sent = Vec::new();
    for _ in 0..20 {
        let line = noise.bytes(100_000);
        assert_eq!(writer.send(&[&line, &line[1..]]).await.status, 200);
        sent.push(line);
    }
    let got = frames(&collector.client().await.get("/v1/frames?wait=0s").await.body);
    let batches: Vec<_> = got.iter().filter(|frame| frame.body.len() > 1000).collect();
    assert_eq!(batches.len(), sent.len());
    for (frame, line) in batches.iter().zip(&sent) {
        assert!(frame.body.ends_with(&line[1..]));
    }
}

#[tokio::test]
async fn a_reader_who_waits_gets_the_next_leaf_when_it_comes() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let first = receipt(&collector, &writer.send(&[b"first"]).await);
    let client = collector.client().await;
    let next = first.index.get() + 1;
    let path = format!("/v1/frames?from={next}&wait=30s");
    let waiting = client.start(Method::GET, &path, Bytes::new()).await.unwrap();
    client.arrived().await;
    let second = receipt(&collector, &writer.send(&[b"second"]).await);
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    let got = frames(&answer.body);
    assert_eq!(got.iter().map(|frame| frame.index).collect::<Vec<_>>(), [second.index.get()]);
    assert!(got[0].body.ends_with(b"second"));
    let empty = collector.client().await.get(&format!("/v1/frames?from={}&wait=1ms", next + 100)).await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
}

#[tokio::test]
async fn a_reader_who_waits_at_the_end_gets_the_seal_and_the_checkpoint_over_it() {
    let mut collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    let last = receipt(&collector, &writer.send(&[b"last"]).await);
    let client = collector.client().await;
    let (reader, path) = (client.clone(), format!("/v1/frames?from={}&wait=30s", last.index.get() + 1));
    let waiting = tokio::spawn(async move { reader.get(&path).await });
    // The one who waits is in.
    until(|| collector.page("/metrics"), |(_, page)| page.contains("open_connections 2")).await;
    collector.signal("TERM");
    let answer = tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap();
    let got = frames(&answer.body);
    let seal = got.iter().find(|frame| {
        let statement = Leaf::decode(&frame.leaf).unwrap();
        matches!(statement, Leaf::Statement { statement: Statement::Sealed { .. }, .. })
    });
    let seal = seal.expect("the last leaf is read").index;
    until(|| newest(&client, &collector), |checkpoint| checkpoint.size() > seal).await;
    assert_eq!(collector.wait().await.code(), Some(0));
}

#[tokio::test]
async fn a_token_is_not_given_out_while_it_is_good() {
    let collector = Collector::start(&[]);
    let writer = Writer::new(&collector, "a").await;
    let got = frames(&collector.client().await.get("/v1/frames").await.body);
    let session = got.iter().find(|frame| matches!(Leaf::decode(&frame.leaf), Ok(Leaf::Session { .. }))).unwrap();
    assert_eq!((session.codec, session.body.len()), (Codec::Withheld, 0));
    let Ok(Leaf::Session { session, attested, .. }) = Leaf::decode(&session.leaf) else { unreachable!() };
    assert_eq!(session, writer.sidecar.session);
    assert_eq!(attested.subject, "system:serviceaccount:shop:web");
}

#[tokio::test]
async fn readers_need_a_readers_token_and_pods_see_what_names_nobody() {
    let collector = Collector::start(&["--readers", "jwks"]);
    let writer = Writer::new(&collector, "a").await;
    let bare = collector.client().await;
    let reader = bare.with_reader_token(&collector.site.issuer.reader_token(now_seconds()));
    let pods_token = collector.site.issuer.token(&writer.pod, now_seconds());
    let log = log_path(&collector);
    until(|| newest(&reader, &collector), |checkpoint| checkpoint.size() > 0).await;
    let tile = format!("{log}/tile/0/000.p/1");
    for path in ["/v1/log", "/v1/checkpoints", &format!("{log}/checkpoint"), &tile] {
        assert_eq!(bare.get(path).await.status, 401, "{path}");
        assert_eq!(writer.client.get(path).await.status, 200, "{path}");
        assert_eq!(reader.get(path).await.status, 200, "{path}");
    }
    let batches = format!("/v1/chains/{}/batches", writer.chain.id());
    let bundle = format!("{log}/tile/entries/000.p/1");
    for path in ["/v1/frames", "/v1/chains", "/v1/coverage", &batches, &bundle] {
        assert_eq!(bare.get(path).await.problem(), "no-token", "{path}");
        assert_eq!(writer.client.get(path).await.status, 401, "{path}");
        assert_eq!(bare.with_reader_token(&pods_token).get(path).await.problem(), "token", "{path}");
        assert_eq!(reader.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn the_pool_is_answered_and_its_epoch_stands_in_every_answer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pool.json");
    let pool = |epoch: u64| {
        format!(r#"{{"epoch":{epoch},"server_name":"c","collectors":["https://127.0.0.1:1"],"ca_pem":"x"}}"#)
    };
    std::fs::write(&path, pool(7)).unwrap();
    let collector = Collector::start(&["--pool", path.to_str().unwrap()]);
    let client = collector.client().await;
    let answer = client.get("/v1/pool").await;
    assert_eq!((answer.header("indelible-pool"), &*answer.body), (Some("7"), pool(7).as_bytes()));
    assert_eq!(client.get("/v1/nothing").await.header("indelible-pool"), Some("7"));
    std::fs::write(&path, pool(8)).unwrap();
    let answer = until(|| client.get("/v1/log"), |answer| answer.header("indelible-pool") != Some("7")).await;
    assert_eq!(answer.header("indelible-pool"), Some("8"));
}
