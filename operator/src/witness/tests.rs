//! The witness as collectors meet it: over HTTP, with its memory in an API server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use ed25519_dalek::{Signature, VerifyingKey};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use indelible_chain::checkpoint::{Checkpoint, Origin};
use indelible_chain::key::PrivateKey;
use indelible_chain::merkle::{MemoryHashes, leaf_hash, prove_consistency, root_at};
use indelible_chain::note::NoteSigner;
use indelible_chain::witness::AddCheckpoint;
use kube::api::Api;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::keeper::{Ask, Durable, Keeper, Pace};
use super::memory::{MEMORY, Pinned};
use super::serve::{self, Witness};
use super::{Board, Handle};
use crate::keys::Keys;
use crate::observed::PoolName;
use crate::testing::ApiServer;

const MAP: &str = "/api/v1/namespaces/indelible/configmaps/indelible-witness-audit-payments";
const PACE: Pace = Pace { interval: Duration::from_millis(300), lazy: Duration::from_millis(300) };

/// A witness with one pool, whose collectors' keys are pinned.
struct Stage {
    api: ApiServer,
    keys: Keys,
    board: Board,
    handle: Handle,
    address: std::net::SocketAddr,
}

impl Stage {
    async fn new(api: ApiServer, collectors: &[u8]) -> Self {
        let keys = Keys::new("uid", &[101; 32], &[102; 32]).unwrap();
        let handle = keep(&api);
        let board = watch::Sender::new(None);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_, cosigner) = watch::channel(Some(Arc::clone(&keys.cosigner)));
        tokio::spawn(serve::serve(listener, Witness { board: board.subscribe(), cosigner }));
        let stage = Self { api, keys, board, handle, address };
        stage.lead(Some(&stage.handle));
        for seed in collectors {
            assert_ne!(stage.pin(*seed).await, Pinned::Changed);
        }
        stage
    }

    fn lead(&self, handle: Option<&Handle>) {
        let board =
            handle.map(|handle| Arc::new(BTreeMap::from([(PoolName::new("audit", "payments"), handle.clone())])));
        self.board.send_replace(board);
    }

    /// A collector tells its key; it is known once it is durable.
    async fn pin(&self, seed: u8) -> Pinned {
        let mut durable = self.handle.durable.clone();
        durable.wait_for(|durable| durable.memory().is_some()).await.unwrap();
        let (reply, answer) = oneshot::channel();
        let told = Box::new(signer(seed).verifier_key().clone());
        let ask = Ask::Pin { ordinal: seed.into(), told, set_aside: Arc::new([]), reply };
        self.handle.asks.send(ask).await.unwrap();
        let pinned = answer.await.unwrap();
        let origin = origin(seed);
        let is_there = |durable: &Durable| durable.memory().is_some_and(|memory| memory.log(&origin).is_some());
        timeout(Duration::from_secs(10), durable.wait_for(is_there)).await.unwrap().unwrap();
        pinned
    }

    async fn call(&self, method: Method, path: &str, body: impl Into<Bytes>) -> (StatusCode, http::HeaderMap, String) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("Host", "witness");
        let answer = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        (parts.status, parts.headers, String::from_utf8(body).unwrap())
    }

    async fn add(&self, request: &AddCheckpoint) -> (StatusCode, String) {
        let (status, _, body) = self.call(Method::POST, "/add-checkpoint", request.to_string()).await;
        (status, body)
    }

    fn stored(&self) -> String {
        self.api.with(|held| held.objects[MAP]["data"][MEMORY].as_str().unwrap().to_owned())
    }
}

fn keep(api: &ApiServer) -> Handle {
    let maps = Api::namespaced(api.client(), "indelible");
    let (keeper, handle) = Keeper::new(maps, "indelible-witness-audit-payments".to_owned(), PACE);
    tokio::spawn(keeper.run());
    handle
}

fn signer(seed: u8) -> NoteSigner {
    let key = PrivateKey::from_seed(&[seed; 32]).public();
    let origin = Origin::of_key(&format!("uid/audit/payments/{seed}"), &key).unwrap();
    NoteSigner::new(origin.key_name().unwrap(), &[seed; 32])
}

fn origin(seed: u8) -> String {
    signer(seed).verifier_key().name().to_string()
}

fn request(seed: u8, old: u64, new: u64, salt: u64) -> AddCheckpoint {
    let hashes: MemoryHashes = (0..new).map(|n| leaf_hash(&(n + salt).to_be_bytes())).collect();
    let root = root_at(new, &hashes).unwrap();
    let checkpoint = Checkpoint::new(origin(seed).parse().unwrap(), new, root).sign(&signer(seed)).unwrap();
    AddCheckpoint { old, proof: prove_consistency(old, new, &hashes).unwrap(), checkpoint }
}

/// Checks a cosignature as the page of C2SP says, with nothing of ours: the line is taken apart by hand.
fn is_cosigned(line: &str, vkey: &str, text: &str) -> bool {
    let (name, rest) = line.strip_prefix("— ").unwrap().split_once(' ').unwrap();
    let blob = BASE64_STANDARD.decode(rest.trim_end_matches('\n')).unwrap();
    let [key_name, key_id, key] = vkey.splitn(3, '+').collect::<Vec<_>>().try_into().unwrap();
    let key = BASE64_STANDARD.decode(key).unwrap();
    assert_eq!((name, key[0], blob.len()), (key_name, 4, 4 + 8 + 64));
    assert_eq!(format!("{:08x}", u32::from_be_bytes(blob[..4].try_into().unwrap())), key_id);
    let time = u64::from_be_bytes(blob[4..12].try_into().unwrap());
    let now = crate::clock::now().as_second().cast_unsigned();
    assert!((now - 60..=now).contains(&time));
    let message = format!("cosignature/v1\ntime {time}\n{text}");
    let key = VerifyingKey::from_bytes(key[1..].try_into().unwrap()).unwrap();
    key.verify_strict(message.as_bytes(), &Signature::from_slice(&blob[12..]).unwrap()).is_ok()
}

#[tokio::test]
async fn a_checkpoint_is_cosigned_once_it_is_durable_and_can_be_asked_for_by_anyone() {
    let stage = Stage::new(ApiServer::start().await, &[1]).await;
    let vkey = stage.keys.public().witness.to_string();
    let first = request(1, 0, 3, 0);
    let (status, line) = stage.add(&first).await;
    assert_eq!(status, StatusCode::OK);
    assert!(is_cosigned(&line, &vkey, first.checkpoint.text()));
    assert!(!is_cosigned(&line, &vkey, request(1, 0, 4, 0).checkpoint.text()));
    assert!(stage.stored().contains(r#""size":3"#));

    let (status, _) = stage.add(&request(1, 3, 8, 0)).await;
    assert_eq!(status, StatusCode::OK);
    let log = Origin::from(signer(1).verifier_key().name().clone()).log_id();
    let (status, _, note) = stage.call(Method::GET, &format!("/{log}/checkpoint"), "").await;
    assert_eq!(status, StatusCode::OK);
    let (text, lines) = note.split_once("\n\n").unwrap();
    let text = format!("{text}\n");
    assert_eq!(text, request(1, 3, 8, 0).checkpoint.text());
    assert_eq!(lines.lines().count(), 2);
    assert!(is_cosigned(lines.lines().last().unwrap(), &vkey, &text));
}

#[tokio::test]
async fn every_answer_has_the_status_of_the_format() {
    let stage = Stage::new(ApiServer::start().await, &[1]).await;
    stage.add(&request(1, 0, 5, 0)).await;
    let other_key = AddCheckpoint {
        checkpoint: signer(2).sign_note(request(1, 5, 9, 0).checkpoint.text()).unwrap(),
        ..request(1, 5, 9, 0)
    };
    for (request, status) in [
        (&request(2, 0, 5, 0), 404),
        (&other_key, 403),
        (&AddCheckpoint { old: 10, ..request(1, 5, 9, 0) }, 400),
        (&request(1, 3, 9, 0), 409),
        (&request(1, 5, 9, 7), 422),
        (&request(1, 5, 9, 0), 200),
    ] {
        assert_eq!(stage.add(request).await.0.as_u16(), status);
    }
    let (status, headers, body) = stage.call(Method::POST, "/add-checkpoint", request(1, 5, 12, 0).to_string()).await;
    assert_eq!((status.as_u16(), headers[header::CONTENT_TYPE].to_str().unwrap()), (409, "text/x.tlog.size"));
    assert_eq!(body, "9\n");

    let too_long = "x".repeat(crate::limits::MAX_WITNESS_BODY_BYTES + 1);
    assert_eq!(stage.call(Method::POST, "/add-checkpoint", too_long).await.0.as_u16(), 413);
    assert_eq!(stage.call(Method::POST, "/add-checkpoint", "nonsense").await.0.as_u16(), 400);
    assert_eq!(stage.call(Method::GET, "/add-checkpoint", "").await.0.as_u16(), 404);
    assert_eq!(stage.call(Method::PUT, "/x", "").await.0.as_u16(), 405);
    let nobody = "00".repeat(32);
    assert_eq!(stage.call(Method::GET, &format!("/{nobody}/checkpoint"), "").await.0.as_u16(), 404);
}

#[tokio::test]
async fn who_does_not_lead_signs_nothing_and_sends_the_client_elsewhere() {
    let stage = Stage::new(ApiServer::start().await, &[1]).await;
    stage.lead(None);
    let (status, headers, _) = stage.call(Method::POST, "/add-checkpoint", request(1, 0, 3, 0).to_string()).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(headers[header::RETRY_AFTER] == "2" && headers[header::CONNECTION] == "close");
    assert!(!stage.stored().contains(r#""size":3"#));
}

#[tokio::test]
async fn many_logs_share_a_write_and_a_burst_waits_for_the_next_one() {
    let seeds = [1, 2, 3, 4, 5];
    let stage = Stage::new(ApiServer::start().await, &seeds).await;
    let before = stage.api.with(|held| held.writes.len());
    let began = Instant::now();
    for round in 0..3 {
        let requests = seeds.map(|seed| request(seed, round * 2, round * 2 + 2, 0));
        let asked = requests.iter().map(|request| stage.add(request));
        for (status, _) in futures::future::join_all(asked).await {
            assert_eq!(status, StatusCode::OK);
        }
    }
    let writes = stage.api.with(|held| held.writes.len()) - before;
    let most = began.elapsed().as_millis() / PACE.interval.as_millis() + 1;
    assert!(writes as u128 <= most, "{writes} writes, at most {most}");
}

#[tokio::test]
async fn a_witness_that_finds_somebody_elses_memory_signs_nothing_and_reads_it_again() {
    let stage = Stage::new(ApiServer::start().await, &[1]).await;
    assert_eq!(stage.add(&request(1, 0, 3, 0)).await.0, StatusCode::OK);
    // A second operator, which also believes to lead, cosigns another history.
    let second = Stage::new(stage.api.clone(), &[1]).await;
    assert_eq!(second.add(&request(1, 3, 6, 0)).await.0, StatusCode::OK);
    let (status, _) = stage.add(&request(1, 3, 5, 0)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    let is_read = |durable: &Durable| {
        durable.memory().is_some_and(|memory| memory.log(&origin(1)).is_some_and(|log| log.seen.head().size == 6))
    };
    let mut durable = stage.handle.durable.clone();
    timeout(Duration::from_secs(10), durable.wait_for(is_read)).await.unwrap().unwrap();
    assert_eq!(stage.add(&request(1, 3, 5, 0)).await.0, StatusCode::CONFLICT);
    assert_eq!(stage.add(&request(1, 6, 7, 0)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_new_witness_knows_what_the_old_one_cosigned() {
    let api = ApiServer::start().await;
    let first = Stage::new(api.clone(), &[1]).await;
    assert_eq!(first.add(&request(1, 0, 5, 0)).await.0, StatusCode::OK);
    let second = Stage::new(api, &[]).await;
    second.handle.durable.clone().wait_for(|durable| durable.memory().is_some()).await.unwrap();
    assert_eq!(second.add(&request(1, 0, 3, 0)).await.0, StatusCode::CONFLICT);
    assert_eq!(second.add(&request(1, 5, 6, 0)).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_log_that_signs_two_histories_is_an_alarm_that_stays_until_it_is_acknowledged() {
    let stage = Stage::new(ApiServer::start().await, &[1]).await;
    stage.add(&request(1, 0, 5, 0)).await;
    assert_eq!(stage.add(&request(1, 5, 5, 9)).await.0, StatusCode::CONFLICT);
    let alarms = |durable: &Durable| durable.memory().map(|memory| memory.alarms()).unwrap_or_default();
    let mut durable = stage.handle.durable.clone();
    let raised = durable.wait_for(|durable| !alarms(durable).is_empty());
    let [alarm] = alarms(&timeout(Duration::from_secs(10), raised).await.unwrap().unwrap()).try_into().unwrap();
    assert_eq!(alarm.reason, "Forked");

    let mut next = keep(&stage.api).durable;
    let kept = next.wait_for(|durable| durable.memory().is_some()).await.unwrap().clone();
    assert_eq!(alarms(&kept), std::slice::from_ref(&alarm), "an alarm outlives the operator");
    stage.handle.asks.send(Ask::Acknowledge { finding: alarm.id }).await.unwrap();
    let over = durable.wait_for(|durable| alarms(durable).is_empty());
    timeout(Duration::from_secs(10), over).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_memory_that_cannot_be_read_is_told_and_left_alone() {
    let api = ApiServer::start().await;
    let map = serde_json::json!({"metadata": {"name": "x", "resourceVersion": "7"}, "data": {MEMORY: "{"}});
    api.with(|held| held.objects.insert(MAP.to_owned(), map.clone()));
    let handle = keep(&api);
    let mut durable = handle.durable.clone();
    let told = durable.wait_for(|durable| matches!(durable, Durable::Unreadable(_)));
    timeout(Duration::from_secs(10), told).await.unwrap().unwrap();
    let (reply, answer) = oneshot::channel();
    let ask = Ask::Add { origin: origin(1), request: Box::new(request(1, 0, 3, 0)), reply };
    handle.asks.send(ask).await.unwrap();
    assert!(matches!(answer.await, Ok(super::keeper::Added::Away)));
    api.with(|held| assert_eq!((held.objects[MAP].clone(), held.writes.len()), (map, 0)));
}
