//! Witnesses: what they cosign is kept and served, and nothing waits for one that is away or of another mind.

use indelible_chain::digest::Digest;
use indelible_chain::note::Note;
use indelible_chain::witness::Head;

use super::write::Writer;
use crate::api::Api;
use crate::client::{Client, until};
use crate::collector::{Collector, Site};
use crate::witness::{Manner, Witness};

/// The newest checkpoint, when it has the cosignatures of all of these.
async fn cosigned(client: &Client, path: &str, witnesses: &[&Witness]) -> Note {
    let keys: Vec<_> = witnesses.iter().map(|witness| witness.key()).collect();
    let has_all = |note: &Note| note.verify(&keys).is_ok_and(|verified| verified.len() == keys.len());
    until(|| async { Note::parse(&client.get(path).await.body).unwrap() }, has_all).await
}

#[tokio::test]
async fn cosignatures_are_kept_with_the_checkpoint_they_are_for_and_outlive_the_process() {
    let site = Site::new(&[]);
    let (a, b) = (
        Witness::start("a", site.vkey.clone(), Head::EMPTY).await,
        Witness::start("b", site.vkey.clone(), Head::EMPTY).await,
    );
    let flags = vec!["--witness".into(), a.flag(), "--witness".into(), b.flag()];
    let collector = Site { flags, ..site }.start();
    let log = super::read::log_path(&collector);
    let client = collector.client().await;
    let note = cosigned(&client, &format!("{log}/checkpoint"), &[&a, &b]).await;
    let size = a.seen();
    assert_eq!(b.seen(), size);
    assert!(note.verify([&collector.site.vkey]).is_ok(), "the log's own signature is still the first");
    let kept: Vec<u64> = serde_json::from_value(client.get("/v1/checkpoints").await.json()).unwrap();
    assert!(kept.contains(&size), "{kept:?}");
    let path = format!("/v1/checkpoints/{size}");
    cosigned(&client, &path, &[&a, &b]).await;
    let (_, page) = collector.page("/metrics").await;
    assert!(page.contains(r#"witness_requests_total{outcome="cosigned"} 2"#), "{page}");
    assert!(page.contains(&format!("cosigned_leaves {size}")), "{page}");
    // What grew meanwhile is asked for again at the end, with a proof from what the witness has.
    let mut writer = Writer::new(&collector, "a").await;
    writer.send(&[b"more"]).await;
    let mut collector = collector;
    collector.signal("TERM");
    assert_eq!(collector.wait().await.code(), Some(0));
    let last = a.seen();
    assert!(last > size && b.seen() > size, "the last checkpoint is cosigned");
    let collector = collector.kill().start();
    cosigned(&collector.client().await, &path, &[&a, &b]).await;
    cosigned(&collector.client().await, &format!("/v1/checkpoints/{last}"), &[&a]).await;
}

#[tokio::test]
async fn a_witness_that_has_seen_the_log_before_says_from_where_to_prove() {
    let collector = Collector::start(&[]);
    let mut writer = Writer::new(&collector, "a").await;
    for _ in 0..300 {
        writer.send(&[b"a line"]).await;
    }
    let site = collector.kill();
    let witness = Witness::start("a", site.vkey.clone(), Head::EMPTY).await;
    let flags = vec!["--witness".to_owned(), witness.flag()];
    let collector = Site { flags: flags.clone(), ..site }.start();
    let path = format!("{}/checkpoint", super::read::log_path(&collector));
    cosigned(&collector.client().await, &path, &[&witness]).await;
    let (seen, asked) = (witness.seen(), witness.asked());
    assert!(seen > 300);
    let collector = collector.kill().start();
    cosigned(&collector.client().await, &path, &[&witness]).await;
    assert!(witness.seen() > seen, "the start itself is a leaf");
    assert_eq!(witness.asked(), asked + 2, "from the beginning, then from where the witness is");
}

#[tokio::test]
async fn a_witness_of_which_only_one_of_several_signs_is_asked_until_that_one_answers() {
    let site = Site::new(&[]);
    let witness = Witness::start("a", site.vkey.clone(), Head::EMPTY).await;
    witness.is(Manner::Elsewhere);
    let collector = Site { flags: vec!["--witness".into(), witness.flag()], ..site }.start();
    let path = format!("{}/checkpoint", super::read::log_path(&collector));
    cosigned(&collector.client().await, &path, &[&witness]).await;
    assert_eq!(witness.asked(), 4);
    let (_, page) = collector.page("/metrics").await;
    assert!(!page.contains(r#"outcome="refused"} 1"#), "{page}");
}

#[tokio::test]
async fn a_witness_that_is_away_or_of_another_mind_holds_up_nothing() {
    let site = Site::new(&[]);
    let other = Head { size: 1_000_000, root: Digest::sha256(b"another log") };
    let (good, ahead) = (
        Witness::start("a", site.vkey.clone(), Head::EMPTY).await,
        Witness::start("b", site.vkey.clone(), other).await,
    );
    let (liar, silent, broken) = (
        Witness::start("c", site.vkey.clone(), Head::EMPTY).await,
        Witness::start("d", site.vkey.clone(), Head::EMPTY).await,
        Witness::start("e", site.vkey.clone(), Head::EMPTY).await,
    );
    liar.is(Manner::OtherKey);
    silent.is(Manner::Silent);
    broken.is(Manner::Broken);
    let away = good.flag().replace("http://127.0.0.1", "http://127.0.0.2");
    let mut flags = vec!["--witness".to_owned(), away];
    for witness in [&ahead, &liar, &silent, &broken, &good] {
        flags.extend(["--witness".to_owned(), witness.flag()]);
    }
    let collector = Site { flags, ..site }.start();
    let mut writer = Writer::new(&collector, "a").await;
    assert_eq!(writer.send(&[b"goes on"]).await.status, 200);
    let path = format!("/v1/checkpoints/{}", until(|| async { good.seen() }, |seen| *seen > 0).await);
    let client = collector.client().await;
    let note = cosigned(&client, &path, &[&good]).await;
    assert_eq!(note.signatures().len(), 2, "the log's and the honest witness'");
    let all = |page: &str| {
        [r#"{outcome="away"} 1"#, r#"{outcome="contradicted"} 1"#, r#"{outcome="refused"} 3"#]
            .iter()
            .all(|outcome| page.contains(&format!("witness_requests_total{outcome}")))
    };
    until(|| collector.page("/metrics"), |(_, page)| all(page)).await;
}

#[tokio::test]
async fn witnesses_come_out_of_the_pools_configmap() {
    let site = Site::new(&[]);
    let api = Api::start(site.issuer.jwks()).await;
    let witness = Witness::start("a", site.vkey.clone(), Head::EMPTY).await;
    let flags = ["--configmap", "audit/payments-pool"].map(str::to_owned).to_vec();
    let collector = Site { flags, env: api.env(), ..site }.start();
    api.put(&[("witnesses", &format!("{}\n", witness.flag()))]);
    let path = format!("{}/checkpoint", super::read::log_path(&collector));
    cosigned(&collector.client().await, &path, &[&witness]).await;
}
