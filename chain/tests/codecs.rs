//! What holds for every codec: it round-trips, two different values never encode alike, no input makes a decoder
//! panic, and what a decoder accepts is exactly what the encoder writes.
//!
//! The last is the strong form of "two distinct values never share a preimage" (attack A19): if every accepted text
//! is the encoding of the value read from it, then equal bytes mean equal values and the other way round.

#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

use indelible_chain::batch::{Batch, BatchBuilder, Commitment};
use indelible_chain::bytes::Reader;
use indelible_chain::control::{Control, GapReason, ResumeReason};
use indelible_chain::digest::Digest;
use indelible_chain::frame::{SegmentFrame, Upload, WireFrame};
use indelible_chain::genesis::{Capture, Genesis};
use indelible_chain::heartbeat::Heartbeat;
use indelible_chain::id::{ChainId, Head, LeafIndex, LogId, Seq, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::leaf::{Attestation, Attested, Leaf};
use indelible_chain::receipt::{KeptReceipt, Receipt};
use indelible_chain::record::{Flags, Record, Records, Source, link};
use indelible_chain::record_proof::RecordProof;
use indelible_chain::session::Session;
use indelible_chain::sparse;
use indelible_chain::statement::{EndReason, SealReason, SignedStatement, Statement};
use indelible_chain::stored::{Codec, Packer, Stored};
use proptest::collection::vec;
use proptest::prelude::*;

fn digest() -> impl Strategy<Value = Digest> {
    any::<[u8; 32]>().prop_map(Digest::new)
}

fn time() -> impl Strategy<Value = Time> {
    any::<i64>().prop_map(Time::from_nanos)
}

fn text() -> impl Strategy<Value = String> {
    ".{0,20}"
}

fn head() -> impl Strategy<Value = Head> {
    (any::<u64>(), digest()).prop_map(|(n, link)| Head { next_seq: Seq::new(n), link })
}

fn signature() -> impl Strategy<Value = [u8; 64]> {
    any::<[u8; 32]>().prop_map(|half| {
        let mut whole = [0; 64];
        whole[..32].copy_from_slice(&half);
        whole[32..].copy_from_slice(&half);
        whole
    })
}

prop_compose! {
    fn genesis()(capture in 0..5u8, s in vec(text(), 6), incarnation in any::<u64>()) -> Genesis {
        let capture = [
            Capture::CriLogFile, Capture::PlainFile, Capture::StandardInput, Capture::KubernetesAudit, Capture::Otlp,
        ][usize::from(capture)];
        let path = if capture == Capture::CriLogFile { String::new() } else { s[5].clone() };
        Genesis {
            capture, cluster_uid: s[0].clone(), namespace: s[1].clone(), pod_name: s[2].clone(), pod_uid: s[3].clone(),
            container: s[4].clone(), path, incarnation,
        }
    }
}

prop_compose! {
    fn session()(seed in any::<[u8; 32]>(), s in vec(text(), 9), started_at in time()) -> Session {
        Session {
            public_key: PrivateKey::from_seed(&seed).public(), cluster_uid: s[0].clone(), namespace: s[1].clone(),
            pod_name: s[2].clone(), pod_uid: s[3].clone(), node_name: s[4].clone(), service_account: s[5].clone(),
            audit_log: s[6].clone(), software: s[7].clone(), excluded: s[8].clone(), started_at,
        }
    }
}

prop_compose! {
    fn commitment()(
        is_final in any::<bool>(), ids in (digest(), digest()), first_seq in 0..i64::MAX.unsigned_abs() - 4096,
        count in 1..=4096u32, links in (digest(), digest()), times in (time(), time()), body_len in 0..=1u32 << 20,
        signature in signature(),
    ) -> Commitment {
        Commitment {
            is_final, session: SessionId::new(ids.0), chain: ChainId::new(ids.1), first_seq: Seq::new(first_seq), count,
            prev_link: links.0, last_link: links.1, first_time: times.0, last_time: times.1, body_len, signature,
        }
    }
}

prop_compose! {
    fn receipt()(
        log in digest(), index in any::<u64>(), leaf_hash in digest(), received_at in time(), signature in signature(),
    ) -> Receipt {
        Receipt { log: LogId::new(log), index: LeafIndex::new(index), leaf_hash, received_at, signature }
    }
}

prop_compose! {
    fn heartbeat()(
        session in digest(), time in time(), ca_digest in digest(),
        heads in proptest::collection::btree_map(digest().prop_map(ChainId::new), head(), 0..5),
        receipts in vec((text(), receipt(), commitment()), 0..3), signature in signature(),
    ) -> Heartbeat {
        Heartbeat {
            session: SessionId::new(session), time, ca_digest, heads: heads.into_iter().collect(),
            receipts: receipts.into_iter().map(|(o, receipt, commitment)| (o, KeptReceipt { receipt, commitment })).collect(),
            signature,
        }
    }
}

fn statement() -> impl Strategy<Value = Statement> {
    let index = || any::<u64>().prop_map(LeafIndex::new);
    let chain = || digest().prop_map(ChainId::new);
    let seq = || any::<u64>().prop_map(Seq::new);
    prop_oneof![
        text().prop_map(|software| Statement::Started { software }),
        (any::<u64>(), digest()).prop_map(|(bytes, sha256)| Statement::Recovered { bytes, sha256 }),
        (text(), any::<u64>(), digest()).prop_map(|(origin, size, root)| Statement::SuccessorOf { origin, size, root }),
        any::<bool>().prop_map(|down| Statement::Sealed {
            reason: if down { SealReason::ScaleDown } else { SealReason::Shutdown }
        }),
        (any::<u64>(), digest()).prop_map(|(manifest, sha256)| Statement::Archived { manifest, sha256 }),
        (index(), index(), text(), text()).prop_map(|(from, to, retention, by)| Statement::Pruned {
            from,
            to,
            retention,
            by
        }),
        (chain(), seq(), index(), index()).prop_map(|(chain, seq, first, second)| Statement::Conflict {
            chain,
            seq,
            first,
            second
        }),
        (any::<bool>(), text(), text()).prop_map(|(set, by, reason)| Statement::Hold { set, by, reason }),
        (digest(), vec(text(), 4)).prop_map(|(report, w)| Statement::Verified {
            report,
            integrity: w[0].clone(),
            authenticity: w[1].clone(),
            completeness: w[2].clone(),
            freshness: w[3].clone()
        }),
        any::<Option<i64>>().prop_map(|offset_ms| Statement::Clock { offset_ms }),
        (text(), 0..4usize, time()).prop_map(|(pod_uid, reason, at)| Statement::Ended {
            pod_uid,
            reason: [EndReason::Deleted, EndReason::Evicted, EndReason::NodeLost, EndReason::Forced][reason],
            at
        }),
        (chain(), seq(), text(), text()).prop_map(|(chain, seq, by, reason)| Statement::Redacted {
            chain,
            seq,
            by,
            reason
        }),
        (text(), text(), text()).prop_map(|(finding, by, reason)| Statement::Accepted { finding, by, reason }),
        (14..u16::MAX, text()).prop_map(|(kind, json)| Statement::decode(kind, &json).unwrap()),
    ]
}

fn control() -> impl Strategy<Value = Control> {
    let resume = prop::sample::select(vec![
        ResumeReason::Reboot,
        ResumeReason::FileGone,
        ResumeReason::StateLost,
        ResumeReason::Rejected,
        ResumeReason::AfterEnd,
    ]);
    prop_oneof![
        any::<u32>().prop_map(|restart| Control::ContainerStarted { restart }),
        (any::<bool>(), text(), any::<Option<u64>>()).prop_map(|(held, file, bytes)| Control::Gap {
            reason: if held { GapReason::HeldBytesExceeded } else { GapReason::Unreadable },
            file,
            bytes
        }),
        Just(Control::End),
        (resume, proptest::option::of((digest().prop_map(ChainId::new), head())))
            .prop_map(|(reason, from)| Control::Resumed { reason, from }),
    ]
}

fn leaf() -> impl Strategy<Value = Leaf> {
    let attested = (0..3usize, vec(text(), 4), digest(), time()).prop_map(|(a, s, token_digest, token_expires)| {
        let attestation = [Attestation::None, Attestation::ServiceAccountToken, Attestation::TokenReview][a];
        let [issuer, subject, pod_uid, token_id] = <[String; 4]>::try_from(s).unwrap();
        Attested { attestation, issuer, subject, pod_uid, token_id, token_digest, token_expires }
    });
    prop_oneof![
        (session(), attested, time()).prop_map(|(session, attested, received_at)| Leaf::Session {
            session,
            attested,
            received_at
        }),
        (genesis(), digest(), time()).prop_map(|(genesis, session, received_at)| Leaf::Genesis {
            genesis,
            session: SessionId::new(session),
            received_at
        }),
        (commitment(), time()).prop_map(|(commitment, received_at)| Leaf::Batch { commitment, received_at }),
        (statement(), time()).prop_map(|(statement, time)| Leaf::Statement { statement, time }),
        (any::<u32>(), 0..=1u32 << 20, digest(), time()).prop_map(|(count, body_len, body_digest, received_at)| {
            Leaf::Liveness { count, body_len, body_digest, received_at }
        }),
        (statement(), any::<[u8; 4]>(), signature(), time()).prop_map(|(statement, key_id, signature, received_at)| {
            Leaf::Authority { signed: SignedStatement { statement, key_id, signature }, received_at }
        }),
    ]
}

fn record() -> impl Strategy<Value = (Time, Source, Flags, Vec<u8>)> {
    let source = prop::sample::select(vec![Source::Stdout, Source::Stderr, Source::Control, Source::File, Source::Api]);
    (time(), source, (0..16u8).prop_map(|bits| Flags::from_bits(bits).unwrap()), vec(any::<u8>(), 0..40))
}

/// One codec, as the properties need it.
struct Codecs {
    name: &'static str,
    /// Decodes, and encodes again what was read.
    recode: fn(&[u8]) -> Option<Vec<u8>>,
}

/// Every decoder of the crate that reads a whole structure.
const CODECS: &[Codecs] = &[
    Codecs { name: "genesis", recode: |b| Genesis::decode(b).ok().map(|v| v.encode().unwrap()) },
    Codecs { name: "session", recode: |b| Session::decode(b).ok().map(|v| v.encode().unwrap()) },
    Codecs { name: "heartbeat", recode: |b| Heartbeat::decode(b).ok().map(|v| v.encode().unwrap()) },
    Codecs { name: "leaf", recode: |b| Leaf::decode(b).ok().map(|v| v.encode().unwrap()) },
    Codecs { name: "receipt", recode: |b| Receipt::decode(b).ok().map(|v| v.encode().to_vec()) },
    Codecs { name: "kept receipt", recode: |b| KeptReceipt::decode(b).ok().map(|v| v.encode().to_vec()) },
    Codecs { name: "upload", recode: |b| Upload::decode(b).ok().map(|v| v.encode()) },
    Codecs { name: "record proof", recode: |b| RecordProof::decode(b).ok().map(|v| v.encode().unwrap()) },
    Codecs { name: "control", recode: |b| Control::decode(b).ok().map(|v| v.encode().into_bytes()) },
    Codecs {
        name: "signed statement",
        recode: |b| {
            SignedStatement::decode(b).ok().map(|v| {
                let mut out = Vec::new();
                v.encode_into(&mut out);
                out
            })
        },
    },
    Codecs {
        name: "body",
        recode: |b| {
            let records: Vec<Record<'_>> = Records::new(b).collect::<Result<_, _>>().ok()?;
            let mut out = Vec::new();
            for record in &records {
                record.encode_into(&mut out);
            }
            Some(out)
        },
    },
    Codecs {
        name: "sparse body",
        recode: |b| {
            let mut out = Vec::new();
            for record in sparse::decode(b).ok()? {
                record.encode_into(&mut out);
            }
            Some(out)
        },
    },
    Codecs {
        name: "segment frame",
        recode: |b| {
            let (frame, length) = SegmentFrame::decode(b).ok()?;
            let mut out = Vec::new();
            frame.encode_into(&mut out);
            (length == b.len()).then_some(out)
        },
    },
    Codecs {
        name: "wire frame",
        recode: |b| {
            let mut reader = Reader::new(b);
            let frame = WireFrame::decode_from(&mut reader).ok()?;
            let mut out = Vec::new();
            frame.encode_into(&mut out);
            reader.rest().is_empty().then_some(out)
        },
    },
];

/// Some valid bytes of any codec, to start mutations from.
fn valid_bytes() -> impl Strategy<Value = Vec<u8>> {
    let stored = || (leaf().prop_map(|leaf| leaf.encode().unwrap()), vec(any::<u8>(), 0..30));
    prop_oneof![
        genesis().prop_map(|v| v.encode().unwrap()),
        session().prop_map(|v| v.encode().unwrap()),
        heartbeat().prop_map(|v| v.encode().unwrap()),
        leaf().prop_map(|v| v.encode().unwrap()),
        receipt().prop_map(|v| v.encode().to_vec()),
        (receipt(), commitment())
            .prop_map(|(receipt, commitment)| KeptReceipt { receipt, commitment }.encode().to_vec()),
        control().prop_map(|v| v.encode().into_bytes()),
        (commitment(), vec(any::<u8>(), 0..30)).prop_map(|(commitment, b)| Upload {
            commitment,
            body: Stored { codec: Codec::Plain, bytes: &b }
        }
        .encode()),
        stored().prop_map(|(leaf, body)| {
            let mut out = Vec::new();
            let body = Stored { codec: Codec::Zstd, bytes: &body };
            SegmentFrame::Leaf { leaf: &leaf, body }.encode_into(&mut out);
            out
        }),
        stored().prop_map(|(leaf, body)| {
            let mut out = Vec::new();
            let body = Stored { codec: Codec::Plain, bytes: &body };
            WireFrame { index: LeafIndex::new(7), leaf: &leaf, body }.encode_into(&mut out);
            out
        }),
        (commitment(), genesis(), session(), vec(any::<u8>(), 0..30)).prop_map(
            |(commitment, genesis, session, sparse_body)| {
                let proof =
                    RecordProof { commitment, received_at: Time::from_nanos(1), genesis, session, n: 0, sparse_body };
                proof.encode().unwrap()
            }
        ),
        vec(record(), 0..5).prop_map(|records| {
            let mut out = Vec::new();
            for (time, source, flags, payload) in &records {
                Record { time: *time, source: *source, flags: *flags, payload }.encode_into(&mut out);
            }
            out
        }),
    ]
}

proptest! {
    #[test]
    fn values_round_trip(
        genesis in genesis(), session in session(), heartbeat in heartbeat(), leaf in leaf(), receipt in receipt(),
        commitment in commitment(), control in control(), statement in statement(),
    ) {
        prop_assert_eq!(&Genesis::decode(&genesis.encode().unwrap()).unwrap(), &genesis);
        prop_assert_eq!(&Session::decode(&session.encode().unwrap()).unwrap(), &session);
        prop_assert_eq!(&Heartbeat::decode(&heartbeat.encode().unwrap()).unwrap(), &heartbeat);
        prop_assert_eq!(&Leaf::decode(&leaf.encode().unwrap()).unwrap(), &leaf);
        prop_assert_eq!(Receipt::decode(&receipt.encode()).unwrap(), receipt);
        prop_assert_eq!(Commitment::decode_from(&mut Reader::new(&commitment.encode())).unwrap(), commitment);
        prop_assert_eq!(&Control::decode(control.encode().as_bytes()).unwrap(), &control);
        prop_assert_eq!(&Statement::decode(statement.kind(), &statement.json()).unwrap(), &statement);
    }

    #[test]
    fn what_a_decoder_accepts_is_what_the_encoder_writes(
        bytes in valid_bytes(), at in any::<prop::sample::Index>(), change in 1..=255u8, cut in any::<prop::sample::Index>(),
        kind in 0..4usize,
    ) {
        let mut bytes = bytes;
        match kind {
            0 => {}
            1 if !bytes.is_empty() => { let at = at.index(bytes.len()); bytes[at] ^= change; }
            2 if !bytes.is_empty() => bytes.truncate(cut.index(bytes.len())),
            _ => bytes.push(change),
        }
        for codec in CODECS {
            if let Some(again) = (codec.recode)(&bytes) {
                prop_assert_eq!(&again, &bytes, "{}", codec.name);
            }
        }
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..400)) {
        for codec in CODECS {
            if let Some(again) = (codec.recode)(&bytes) {
                prop_assert_eq!(&again, &bytes, "{}", codec.name);
            }
        }
    }

    #[test]
    fn two_records_with_the_same_link_are_the_same(
        a in (digest(), head(), record()), b in (digest(), head(), record()), same in 0..7usize,
    ) {
        // Most of the time the two differ in one thing only, which is where a sloppy preimage would collide.
        let (chain, head, record) = a.clone();
        let near = match same {
            0 => (b.0, head, record.clone()),
            1 => (chain, b.1, record.clone()),
            2 => (chain, head, (b.2.0, record.1, record.2, record.3.clone())),
            3 => (chain, head, (record.0, b.2.1, record.2, record.3.clone())),
            4 => (chain, head, (record.0, record.1, b.2.2, record.3.clone())),
            5 => (chain, head, (record.0, record.1, record.2, b.2.3.clone())),
            _ => b,
        };
        let link_of = |(chain, head, (time, source, flags, payload)): &(Digest, Head, (Time, Source, Flags, Vec<u8>))| {
            let record = Record { time: *time, source: *source, flags: *flags, payload };
            link(ChainId::new(*chain), *head, &record.header(), &record.content())
        };
        prop_assert_eq!(link_of(&a) == link_of(&near), a == near);
    }

    #[test]
    fn a_packed_body_unpacks_to_itself_and_never_beyond_its_limit(body in vec(0..4u8, 0..5000), short in 1..100usize) {
        let (mut packer, mut unpacker) = (Packer::new().unwrap(), Packer::new().unwrap());
        let stored = packer.pack(&body);
        prop_assert_eq!(unpacker.unpack(stored, body.len()).unwrap(), &body[..]);
        if body.len() > short {
            prop_assert!(unpacker.unpack(stored, body.len() - short).is_err());
        }
    }

    #[test]
    fn sealed_batches_hold_and_are_contiguous(records in vec(record(), 1..40), cuts in vec(any::<bool>(), 40)) {
        let key = PrivateKey::from_seed(&[7; 32]);
        let chain = ChainId::new(Digest::sha256(b"chain"));
        let mut builder = BatchBuilder::new(chain, Head::start_of(chain));
        let mut expected = Head::start_of(chain);
        let mut seen = Vec::new();
        for (i, (time, source, flags, payload)) in records.iter().enumerate() {
            builder.push(&Record { time: *time, source: *source, flags: *flags, payload });
            if cuts[i] || i + 1 == records.len() {
                let commitment = builder.seal(SessionId::new(Digest::default()), &key).unwrap();
                prop_assert_eq!(commitment.head_before(), expected);
                let batch = Batch::new(commitment, builder.body()).check(&key.public()).unwrap();
                seen.extend(batch.records().map(|(_, r)| (r.time, r.source, r.flags, r.payload.to_vec())));
                expected = commitment.head_after();
                builder.clear();
            }
        }
        prop_assert_eq!(seen, records);
    }
}

#[test]
fn json_of_a_known_kind_has_one_text_only() {
    for wrong in [
        r#"{"software":"a" }"#,
        r#"{ "software":"a"}"#,
        r#"{"software":"a"}x"#,
        r#"{"software":"\u0061"}"#,
        r#"{"software":"\/"}"#,
        r#"{"software":"\n"}"#,
        "{\"software\":\"\u{1}\"}",
        r#"{"software":"\u001F"}"#,
        r#"{"Software":"a"}"#,
        r#"{"software":1}"#,
        r"{}",
        "",
    ] {
        assert!(Statement::decode(1, wrong).is_err(), "{wrong}");
    }
    for wrong in ["01", "-0", "+1", "1.0", "1e3", "99999999999999999999999999999999999999999"] {
        assert!(Statement::decode(10, &format!(r#"{{"offset_ms":{wrong}}}"#)).is_err(), "{wrong}");
    }
}
