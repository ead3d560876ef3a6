//! The table of answers, a test for each row and each reason.

use std::collections::HashMap;

use indelible_chain::batch::{CheckError, Commitment};
use indelible_chain::digest::Digest;
use indelible_chain::frame::Upload;
use indelible_chain::id::{Head, LeafIndex, Seq, Time};
use indelible_chain::statement::Statement;
use indelible_chain::stored::{Codec, Stored};

use super::*;
use crate::testing::issuer::Pod;
use crate::testing::sidecar::{Chain, Sidecar, plain_upload, upload};

/// A log in memory.
#[derive(Default)]
struct Memory {
    sessions: HashMap<SessionId, Arc<KnownSession>>,
    chains: HashMap<ChainId, KnownChain>,
}

impl Index for Memory {
    fn session(&self, id: SessionId) -> Result<Option<Arc<KnownSession>>, ReadError> {
        Ok(self.sessions.get(&id).cloned())
    }

    fn chain(&self, id: ChainId) -> Result<Option<KnownChain>, ReadError> {
        Ok(self.chains.get(&id).cloned())
    }
}

fn token(pod: &Pod) -> PodToken {
    PodToken {
        issuer: "https://i".into(),
        subject: format!("system:serviceaccount:{}:{}", pod.namespace, pod.service_account),
        namespace: pod.namespace.clone(),
        pod_name: pod.name.clone(),
        pod_uid: pod.uid.clone(),
        node_name: pod.node.clone(),
        service_account: pod.service_account.clone(),
        token_id: "t".into(),
        digest: Digest::sha256(b"jwt"),
        expires: Time::from_nanos(9),
    }
}

/// A pod whose session and chain are introduced.
struct World {
    pod: Pod,
    token: PodToken,
    sidecar: Sidecar,
    chain: Chain,
    index: Memory,
    packer: Packer,
}

impl World {
    fn new() -> Self {
        let pod = Pod::named("a");
        let (sidecar, chain) = (Sidecar::new(&pod, 1), Chain::of(&pod, "app"));
        let token = token(&pod);
        let mut world = Self { token, sidecar, chain, pod, index: Memory::default(), packer: Packer::new().unwrap() };
        world.introduce_session(&Sidecar::new(&world.pod, 1));
        world.introduce_chain(&Chain::of(&world.pod, "app"));
        world
    }

    fn introduce_session(&mut self, sidecar: &Sidecar) {
        let (session, attested) = session(sidecar.id(), &sidecar.body(), &self.token, "").unwrap();
        let (index, leaf_hash, received_at) = (LeafIndex::ZERO, Digest::default(), Time::default());
        let known = KnownSession { session, attested, index, leaf_hash, received_at };
        self.index.sessions.insert(sidecar.id(), Arc::new(known));
    }

    fn introduce_chain(&mut self, chain: &Chain) {
        let known = KnownChain {
            chain: chain.id(),
            genesis: Arc::new(chain.genesis.clone()),
            session: self.sidecar.id(),
            index: LeafIndex::ZERO,
            leaf_hash: Digest::default(),
            received_at: Time::default(),
            extent: None,
        };
        self.index.chains.insert(chain.id(), known);
    }

    fn batch(&mut self, body: Vec<u8>) -> Result<CheckedUpload, Refusal> {
        batch(&body.into(), &self.token, &self.index, &mut self.packer)
    }

    fn next(&mut self) -> (Commitment, Vec<u8>) {
        self.chain.batch(&self.sidecar, &[b"one", b"two"])
    }
}

fn status<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> u16 {
    answer.unwrap_err().status()
}

#[test]
fn a_session_is_attested_by_its_pods_token() {
    let world = World::new();
    let (session, attested) = session(world.sidecar.id(), &world.sidecar.body(), &world.token, "").unwrap();
    assert_eq!(session, world.sidecar.session);
    assert_eq!(attested.attestation, Attestation::ServiceAccountToken);
    assert_eq!((attested.pod_uid, attested.token_digest), (world.pod.uid, Digest::sha256(b"jwt")));
    assert_eq!(attested.token_expires, Time::from_nanos(9));
}

#[test]
fn a_session_under_another_id_is_malformed() {
    let world = World::new();
    let other = SessionId::new(Digest::sha256(b"other"));
    assert_eq!(status(session(other, &world.sidecar.body(), &world.token, "")), 400);
}

#[test]
fn a_session_that_cannot_be_read_is_malformed() {
    let world = World::new();
    let body = world.sidecar.body();
    for cut in [0, 1, 40, body.len() - 1] {
        assert_eq!(status(session(world.sidecar.id(), &body[..cut], &world.token, "")), 400, "{cut}");
    }
    assert_eq!(status(session(world.sidecar.id(), &[body, vec![0]].concat(), &world.token, "")), 400);
}

#[test]
fn what_is_over_a_limit_of_the_format_is_too_large_and_not_malformed() {
    let world = World::new();
    let body = world.sidecar.body();
    let at = body.windows(10).position(|found| found == b"audit/shop").unwrap();
    let long = [&body[..at - 2], &1025_u16.to_be_bytes(), &[b'a'; 1025], &body[at + 10..]].concat();
    let refusal = session(world.sidecar.id(), &long, &world.token, "").unwrap_err();
    assert_eq!((refusal.status(), refusal.slug()), (413, "too-large"), "{refusal}");
    assert_eq!(status(statement(&[0, 8, 0, 16, 0, 0], &[], "origin")), 413);
}

#[test]
fn a_session_with_a_weak_key_does_not_hold() {
    let world = World::new();
    let mut body = world.sidecar.body();
    // The neutral element: of order 1.
    body[1..33].copy_from_slice(&[&[1][..], &[0; 31]].concat());
    assert_eq!(status(session(world.sidecar.id(), &body, &world.token, "")), 422);
}

#[test]
fn a_session_of_another_pod_is_refused_by_each_thing_that_the_token_says() {
    let world = World::new();
    for field in ["namespace", "pod name", "pod UID", "node", "service account"] {
        let mut token = world.token.clone();
        let claim = match field {
            "namespace" => &mut token.namespace,
            "pod name" => &mut token.pod_name,
            "pod UID" => &mut token.pod_uid,
            "node" => &mut token.node_name,
            _ => &mut token.service_account,
        };
        *claim = "x".into();
        let refusal = session(world.sidecar.id(), &world.sidecar.body(), &token, "").unwrap_err();
        assert_eq!(refusal.status(), 403, "{field}");
        assert!(refusal.to_string().contains(field), "{refusal}");
    }
}

#[test]
fn a_session_of_another_cluster_is_refused() {
    let world = World::new();
    assert_eq!(status(session(world.sidecar.id(), &world.sidecar.body(), &world.token, "here")), 403);
}

#[test]
fn a_chain_of_the_sessions_pod_is_introduced() {
    let world = World::new();
    let body = world.chain.body(world.sidecar.id());
    let expected = (world.chain.genesis.clone(), world.sidecar.id());
    assert_eq!(chain(world.chain.id(), &body, &world.token, &world.index), Ok(expected));
}

#[test]
fn a_chain_of_a_session_that_is_not_introduced_waits_for_it() {
    let world = World::new();
    let other = Sidecar::new(&world.pod, 2);
    assert_eq!(status(chain(world.chain.id(), &world.chain.body(other.id()), &world.token, &world.index)), 412);
}

#[test]
fn a_chain_under_another_id_or_with_other_bytes_is_malformed() {
    let world = World::new();
    let body = world.chain.body(world.sidecar.id());
    let other = Chain::of(&world.pod, "other").id();
    assert_eq!(status(chain(other, &body, &world.token, &world.index)), 400);
    assert_eq!(status(chain(world.chain.id(), &body[..33], &world.token, &world.index)), 400);
    assert_eq!(status(chain(world.chain.id(), &[body, vec![0]].concat(), &world.token, &world.index)), 400);
}

#[test]
fn a_pod_introduces_only_its_own_chains() {
    let world = World::new();
    for change in [
        |pod: &mut Pod| pod.namespace = "x".into(),
        |pod: &mut Pod| pod.name = "x".into(),
        |pod: &mut Pod| pod.uid = "x".into(),
    ] {
        let mut pod = world.pod.clone();
        change(&mut pod);
        let other = Chain::of(&pod, "app");
        let answer = chain(other.id(), &other.body(world.sidecar.id()), &world.token, &world.index);
        assert_eq!(status(answer), 403);
    }
}

#[test]
fn a_pod_does_not_speak_through_another_pods_session() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    let other = token(&Pod::named("b"));
    let chain_body = world.chain.body(world.sidecar.id());
    assert_eq!(status(chain(world.chain.id(), &chain_body, &other, &world.index)), 403);
    world.token = other;
    assert_eq!(status(world.batch(upload(&sealed, &body))), 403);
    let heartbeat_body = world.sidecar.heartbeat(Time::from_nanos(1), vec![]).encode().unwrap();
    assert_eq!(status(heartbeat(&heartbeat_body, &world.token, &world.index)), 403);
}

#[test]
fn a_batch_that_holds_goes_to_the_store_as_it_was_sent() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    let checked = world.batch(upload(&sealed, &body)).unwrap();
    assert_eq!(*checked.commitment(), sealed);
    assert!(world.batch(plain_upload(&sealed, &body)).is_ok());
}

#[test]
fn a_batch_of_a_session_or_chain_that_is_not_introduced_waits_for_it() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    let sessions = std::mem::take(&mut world.index.sessions);
    assert_eq!(world.batch(upload(&sealed, &body)).unwrap_err(), Refusal::SessionUnknown(sealed.session));
    world.index.sessions = sessions;
    world.index.chains.clear();
    let refusal = world.batch(upload(&sealed, &body)).unwrap_err();
    assert_eq!((refusal.status(), refusal), (412, Refusal::ChainUnknown(sealed.chain)));
}

#[test]
fn a_batch_in_a_chain_of_another_pod_is_refused() {
    let mut world = World::new();
    let mut other = Chain::of(&Pod::named("b"), "app");
    world.introduce_chain(&other);
    let (sealed, body) = other.batch(&world.sidecar, &[b"x"]);
    assert_eq!(world.batch(upload(&sealed, &body)).unwrap_err(), Refusal::OtherChain(other.id()));
}

#[test]
fn a_batch_with_a_signature_by_another_key_does_not_hold() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    let mut sealed = sealed;
    sealed.signature[7] ^= 1;
    let refusal = world.batch(upload(&sealed, &body)).unwrap_err();
    assert_eq!((refusal.status(), refusal), (422, Refusal::Batch(CheckError::Signature)));
}

#[test]
fn a_batch_with_another_body_does_not_hold() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    for at in 0..body.len() {
        let mut changed = body.clone();
        changed[at] ^= 1;
        assert_eq!(status(world.batch(upload(&sealed, &changed))), 422, "byte {at}");
    }
    assert_eq!(status(world.batch(upload(&sealed, &body[..body.len() - 1]))), 422);
}

#[test]
fn a_batch_that_is_cut_or_goes_on_is_malformed() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    let whole = upload(&sealed, &body);
    for cut in [0, 1, 225, 226, 230, whole.len() - 1] {
        assert_eq!(status(world.batch(whole[..cut].to_vec())), 400, "{cut}");
    }
    assert_eq!(status(world.batch([&whole[..], &[0]].concat())), 400);
}

#[test]
fn codecs_that_only_a_log_uses_cannot_be_sent() {
    let mut world = World::new();
    let (sealed, body) = world.next();
    for codec in [Codec::Sparse, Codec::SparseZstd, Codec::Withheld, Codec::Pruned] {
        let sent = Upload { commitment: sealed, body: Stored { codec, bytes: &body } }.encode();
        assert_eq!(status(world.batch(sent)), 400, "{codec:?}");
    }
}

#[test]
fn a_body_that_unpacks_to_more_than_was_signed_is_not_unpacked() {
    let mut world = World::new();
    let (sealed, _) = world.next();
    let bomb = vec![0; 1 << 20];
    let sent = upload(&sealed, &bomb);
    assert!(sent.len() < 1000, "{} bytes become a mebibyte", sent.len());
    let refusal = world.batch(sent).unwrap_err();
    assert_eq!(refusal.status(), 422);
    assert!(matches!(refusal, Refusal::Body(_)), "{refusal}");
}

#[test]
fn a_heartbeat_is_noted_with_the_containers_that_are_known() {
    let world = World::new();
    let elsewhere = Chain::of(&world.pod, "elsewhere");
    let mut heads = vec![(world.chain.id(), world.chain.head()), (elsewhere.id(), elsewhere.head())];
    heads.sort_by_key(|(id, _)| *id);
    let sent = world.sidecar.heartbeat(Time::from_nanos(5), heads.clone());
    let checked = heartbeat(&sent.encode().unwrap(), &world.token, &world.index).unwrap();
    assert_eq!(checked.heartbeat, sent);
    let known: Vec<_> = heads.iter().map(|(id, _)| (*id == world.chain.id()).then(|| "app".to_owned())).collect();
    assert_eq!(checked.containers, known);
}

#[test]
fn a_heartbeat_that_does_not_hold_or_is_of_nobody_is_refused() {
    let world = World::new();
    let mut sent = world.sidecar.heartbeat(Time::from_nanos(5), vec![]);
    sent.time = Time::from_nanos(6);
    assert_eq!(status(heartbeat(&sent.encode().unwrap(), &world.token, &world.index)), 422);
    let other = Sidecar::new(&world.pod, 2).heartbeat(Time::from_nanos(5), vec![]).encode().unwrap();
    assert_eq!(status(heartbeat(&other, &world.token, &world.index)), 412);
    assert_eq!(status(heartbeat(&other[1..], &world.token, &world.index)), 400);
}

#[test]
fn a_heartbeat_with_a_chain_of_another_pod_is_refused() {
    let mut world = World::new();
    let other = Chain::of(&Pod::named("b"), "app");
    world.introduce_chain(&other);
    let head = Head { next_seq: Seq::new(9), ..other.head() };
    let sent = world.sidecar.heartbeat(Time::from_nanos(5), vec![(other.id(), head)]).encode().unwrap();
    assert_eq!(heartbeat(&sent, &world.token, &world.index).unwrap_err(), Refusal::OtherChain(other.id()));
}

#[test]
fn a_statement_is_taken_by_its_form() {
    let world = World::new();
    let said = Statement::Hold { set: true, by: "legal".into(), reason: "case 7".into() };
    let signed = SignedStatement::sign(&world.sidecar.key, [1, 2, 3, 4], "origin", said);
    let mut body = Vec::new();
    signed.encode_into(&mut body);
    let read = |body: &[u8]| statement(body, &[], "origin");
    assert_eq!(read(&body), Ok((signed, Authority::Unknown)));
    assert_eq!(status(read(&body[..body.len() - 1])), 400);
    body[7] = b' ';
    assert_eq!(status(read(&body)), 400);
}

#[test]
fn a_statement_of_a_known_authority_must_be_signed_by_it_for_this_log() {
    use indelible_chain::key::PrivateKey;
    use indelible_chain::note::Algorithm;
    let key = PrivateKey::from_seed(&[9; 32]);
    let authority = VerifierKey::new("authority".parse().unwrap(), Algorithm::Ed25519, key.public());
    let id = *authority.id().as_bytes();
    let read = |key: &PrivateKey, origin: &str| {
        let said = Statement::Hold { set: true, by: "legal".into(), reason: "case 7".into() };
        let mut body = Vec::new();
        SignedStatement::sign(key, id, origin, said).encode_into(&mut body);
        statement(&body, std::slice::from_ref(&authority), "origin").map(|(_, authority)| authority)
    };
    assert_eq!(read(&key, "origin"), Ok(Authority::Known));
    assert_eq!(read(&key, "another"), Err(Refusal::StatementSignature));
    assert_eq!(read(&PrivateKey::from_seed(&[8; 32]), "origin"), Err(Refusal::StatementSignature));
}
