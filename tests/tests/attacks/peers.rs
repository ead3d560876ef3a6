//! Who can reach the collectors with a valid token: A11, A21, A22.

use http::Method;
use indelible_tests::peer::{Peer, Puppet, upload};
use indelible_tests::tamper::Rng;
use indelible_tests::tamper::wire::put32;
use indelible_tests::world::{PodIdentity, World};

use super::evidence::{assert_flips, assert_tells, pod};

/// A11: a sidecar that tells two collectors two stories about one position.
#[test]
fn a_chain_forked_over_two_collectors_is_a_fork_and_both_batches_are_named() {
    let mut world = World::start(2).unwrap();
    let (mut one, mut other) = (Puppet::new(&world, &pod(), 1).unwrap(), Puppet::new(&world, &pod(), 1).unwrap());
    other.session = one.session.clone();
    let mut peers = [Peer::connect(&world, 0).unwrap(), Peer::connect(&world, 1).unwrap()];
    one.introduce(&mut peers[0]).unwrap();
    one.introduce(&mut peers[1]).unwrap();
    for (puppet, peer) in [&mut one, &mut other].into_iter().zip(&mut peers) {
        puppet.print(5).unwrap();
        puppet.end().unwrap();
        puppet.deliver(peer).unwrap();
    }
    drop(peers);
    world.seal().unwrap();
    let answer = world.verify(&[]).unwrap();
    assert_flips(&answer, "integrity", 1, &["fork"]);
    for collector in &world.collectors {
        assert_tells(&answer, collector.origin());
    }
}

/// A21: a pod writes into another pod's chain.
#[test]
fn a_pod_cannot_write_into_another_pods_chain() {
    let mut world = World::start(1).unwrap();
    let mut peer = Peer::connect(&world, 0).unwrap();
    let mut victim = Puppet::new(&world, &pod(), 1).unwrap();
    victim.introduce(&mut peer).unwrap();
    let thief = PodIdentity::new("payments", "thief", "99999999-8a44-4a55-b8f6-5b1d0f8f2c11");
    let mut thief = Puppet::new(&world, &thief, 2).unwrap();
    thief.introduce(&mut peer).unwrap();
    // The victim's session, the victim's chain and a batch for it, all with the thief's token.
    victim.print(3).unwrap();
    victim.end().unwrap();
    let batch = victim.seal();
    let mut borrowed = victim.session.clone();
    borrowed.token.clone_from(&thief.session.token);
    let refused = [
        peer.session(&borrowed).unwrap(),
        peer.chain(&borrowed, &victim.chain).unwrap(),
        peer.batch(&borrowed, &batch).unwrap(),
        // The thief's own session speaking for the victim's chain.
        peer.chain(&thief.session, &victim.chain).unwrap(),
        peer.batch(&thief.session, &victim.chain.seal(&thief.session, 0, 3)).unwrap(),
    ];
    for reply in refused {
        assert_eq!(reply.status, 403, "{}", reply.problem());
    }
    peer.batch(&victim.session, &batch).unwrap().expect(&[200]).unwrap();
    thief.end().unwrap();
    let last = thief.seal();
    peer.batch(&thief.session, &last).unwrap().expect(&[200]).unwrap();
    drop(peer);
    world.seal().unwrap();
    let answer = world.verify(&[]).unwrap();
    assert_eq!((answer.code, answer.texts()), (0, String::new()), "nothing that was refused left a trace");
    assert_eq!(answer.counts["records"], 5);
}

/// A22: oversize, a zip bomb, ten thousand malformed bodies.
#[test]
fn what_cannot_be_a_batch_is_refused_with_its_reason_and_in_bounded_memory() {
    let mut world = World::start(1).unwrap();
    let mut peer = Peer::connect(&world, 0).unwrap();
    let mut puppet = Puppet::new(&world, &pod(), 1).unwrap();
    puppet.introduce(&mut peer).unwrap();
    puppet.print(3).unwrap();
    puppet.end().unwrap();
    let batch = puppet.seal();
    let before = world.collectors[0].process().unwrap().peak_kib().unwrap();

    let token = puppet.session.token.clone();
    let mut post = |body: Vec<u8>| peer.send(Method::POST, "/v1/batches", &token, body).unwrap();
    let oversize = post([upload(&batch), vec![0; 8 << 20]].concat());
    assert_eq!(oversize.status, 413, "{}", oversize.problem());
    assert!(oversize.problem().contains("limit"), "{}", oversize.problem());
    for packed in [zstd::bulk::compress(&vec![0; 256 << 20], 1).unwrap(), zstd::bulk::compress(b"short", 1).unwrap()] {
        let mut bomb = batch.commitment.clone();
        bomb.push(1);
        put32(&mut bomb, &packed);
        let bomb = post(bomb);
        assert!([400, 413, 422].contains(&bomb.status), "{}: {}", bomb.status, bomb.problem());
    }
    let mut rng = Rng::new(22, 0);
    for n in 0..10_000 {
        let mut body = upload(&batch);
        match n % 4 {
            0 => body.truncate(rng.below(body.len())),
            1 => body = (0..rng.below(2000)).map(|_| rng.byte()).collect(),
            2 => body.extend((0..=rng.below(100)).map(|_| rng.byte())),
            _ => {
                let at = rng.below(body.len());
                body[at] ^= 1 << rng.below(8);
            }
        }
        let reply = post(body);
        assert!([400, 412, 413, 422].contains(&reply.status), "{}: {}", reply.status, reply.problem());
        assert!(reply.problem().contains("\"detail\":\""), "{}", reply.problem());
    }
    let after = world.collectors[0].process().unwrap().peak_kib().unwrap();
    assert!(after < before + (64 << 10), "from {before} KiB to {after} KiB");
    peer.batch(&puppet.session, &batch).unwrap().expect(&[200]).unwrap();
    drop(peer);
    world.seal().unwrap();
    let answer = world.verify(&[]).unwrap();
    assert_eq!((answer.code, answer.texts()), (0, String::new()));
    assert_eq!((answer.counts["records"], answer.counts["batches"]), (4, 1));
}
