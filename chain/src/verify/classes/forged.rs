//! The class `forged`: something is not what its session signed.
//!
//! Batches were judged one by one in `prepare`, heartbeats when they were taken; here they are named.

use super::super::case::{Admission, Case};
use super::super::class::{Axis, Class, Level};
use super::super::facts::{Place, ViewId};
use super::super::prepare::{Body, Signed};
use super::super::text::{Between, Records};
use super::findings::{About, Findings, TAMPERED};

/// Signature, count, `body_len`, times or links do not hold over the body: integrity fail, the collector that stored
/// it; takes no part.
pub(super) fn forged(case: &Case<'_>, out: &mut Findings) {
    for (number, batch) in case.facts.batches.iter().enumerate() {
        if case.admissions[number] != Admission::Forged {
            continue;
        }
        let why = match (&batch.signed, &batch.body) {
            (Signed::No, _) => "the signature is not by the session that it names",
            (_, Body::Contradicts(why)) => why,
            (_, _) => "it does not begin with the chain's own id",
        };
        let c = &batch.commitment;
        let text = format!(
            "{} of {}, printed {}, are not what {} signed: {why} ({}). They do not count. A collector checks this before \
             it stores anything, so it was changed there or stored unchecked: look into that collector, and keep its \
             volume as evidence.",
            Records(c.first_seq, c.next_seq()),
            case.who(batch.chain),
            Between(Some(c.first_time), Some(c.last_time)),
            case.sidecar(batch.session),
            case.leaf(number),
        );
        out.add(Class::Forged, TAMPERED, About::batch(case, number), text);
    }
    for (number, view) in case.facts.views.iter().enumerate() {
        let view_id = ViewId(number);
        for (session, index) in &view.forged_beats {
            let text = format!(
                "leaf {index} of {} holds a heartbeat that is not signed by {}. It does not count. A collector checks \
                 this before it stores anything: look into that collector.",
                case.log(view_id),
                case.sidecar(*session),
            );
            out.add(Class::Forged, TAMPERED, About::leaf(case, Place { view: view_id, index: *index }), text);
        }
        for index in &view.bad_authority {
            let text = format!(
                "leaf {index} of {} is a statement in the name of an authority whose key did not sign it. It does not \
                 count.",
                case.log(view_id),
            );
            let about = About::leaf(case, Place { view: view_id, index: *index });
            out.add(Class::Forged, (Axis::Integrity, Level::Warn), about, text);
        }
    }
    for head in &case.facts.heads {
        if head.next_seq.get() == 0 && head.link != *case.facts.of_chain(head.chain).id.digest() {
            let text = format!(
                "leaf {} of {} holds a heartbeat by {} that states another beginning for {} than a chain can have.",
                head.place.index,
                case.log(head.place.view),
                case.sidecar(head.session),
                case.who(head.chain),
            );
            out.add(Class::Forged, TAMPERED, About::leaf(case, head.place).chain(case, head.chain), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Axis, Class, Level};
    use super::super::super::testing::{World, assert_only, at, found};
    use super::super::findings::TAMPERED;
    use crate::heartbeat::Heartbeat;
    use crate::leaf::Leaf;
    use crate::note::NoteSigner;
    use crate::statement::{SignedStatement, Statement};

    #[test]
    fn a_changed_byte_of_a_body_is_named_by_pod_container_time_and_collector() {
        let mut shop = World::shop();
        let body = &mut shop.world.logs[1].entries[3].body;
        let last = body.len() - 1;
        body[last] ^= 1;
        let report = shop.world.judge();
        let text = assert_only(&report, Class::Forged, TAMPERED);
        for part in ["records 10 to 19", "container app of pod shop/cart-0", "leaf 3 of log shop/c1-", "./c1", "T0"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert_eq!((report.exit, report.counts.records), (1, 31));
        assert_eq!(report.findings[0].batch_index, Some(crate::id::LeafIndex::new(3)));
    }

    #[test]
    fn everything_that_a_commitment_says_of_its_body_must_hold() {
        type Change = fn(&mut crate::batch::Commitment);
        let changes: [Change; 8] = [
            |c| c.signature[0] ^= 1,
            |c| c.count += 1,
            |c| c.body_len += 1,
            |c| c.first_time = at(0),
            |c| c.last_time = at(0),
            |c| c.prev_link = c.last_link,
            |c| c.last_link = c.prev_link,
            |c| c.is_final = true,
        ];
        for change in changes {
            let mut shop = World::shop_before_signing();
            let mut batch = shop.batches[1].clone();
            change(&mut batch.commitment);
            let leaf = Leaf::Batch { commitment: batch.commitment, received_at: at(12) };
            shop.world.logs[1].entries[3].leaf = leaf.encode().unwrap();
            shop.world.sign_all();
            assert_only(&shop.world.judge(), Class::Forged, TAMPERED);
        }
    }

    #[test]
    fn stripping_every_signature_fails() {
        let mut shop = World::shop_before_signing();
        for log in &mut shop.world.logs {
            for entry in &mut log.entries {
                if let Leaf::Batch { mut commitment, received_at } = Leaf::decode(&entry.leaf).unwrap() {
                    commitment.signature = [0; 64];
                    entry.leaf = Leaf::Batch { commitment, received_at }.encode().unwrap();
                }
            }
        }
        shop.world.sign_all();
        let report = shop.world.judge();
        assert_eq!(report.exit, 1);
        assert_eq!(found(&report), [(Class::Forged, Level::Fail); 5]);
        assert_eq!(report.counts.records, 0);
    }

    #[test]
    fn a_heartbeat_that_its_session_did_not_sign_names_the_log() {
        let mut shop = World::shop_before_signing();
        let beat = shop.sidecar.heartbeat(&[(shop.chain.id, shop.chain.head)], at(34));
        shop.world.logs[0].heartbeats(&[Heartbeat { time: at(33), ..beat }], at(34));
        shop.world.sign_all();
        let text = assert_only(&shop.world.judge(), Class::Forged, TAMPERED);
        assert!(text.contains("shop/c0-"), "{text}");
    }

    #[test]
    fn a_heartbeat_states_no_beginning_but_the_chains_own() {
        let mut shop = World::shop_before_signing();
        let head = crate::id::Head { next_seq: crate::id::Seq::ZERO, link: crate::digest::Digest::sha256(b"other") };
        let beat = shop.sidecar.heartbeat(&[(shop.chain.id, head)], at(34));
        shop.world.logs[0].heartbeats(&[beat], at(34));
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::Forged, TAMPERED);
    }

    #[test]
    fn a_statement_in_an_authoritys_name_that_it_did_not_sign_does_not_count() {
        let mut shop = World::shop_before_signing();
        let authority = NoteSigner::new("operator".parse().unwrap(), &[9; 32]);
        shop.world.terms.authorities.push(authority.verifier_key().clone());
        let statement = Statement::Accepted { finding: "0".into(), by: "me".into(), reason: "so".into() };
        let id = *authority.verifier_key().id().as_bytes();
        let mut signed = SignedStatement::sign(authority.private_key(), id, "another log", statement);
        signed.key_id = id;
        shop.world.logs[0].push(&Leaf::Authority { signed, received_at: at(34) }, b"");
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::Forged, (Axis::Integrity, Level::Warn));
    }
}
