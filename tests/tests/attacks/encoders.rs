//! A19: two distinct records never share a preimage.
//!
//! That two different values never encode alike is a property of every codec, tested in `chain/tests/codecs.rs`. Here
//! the same is held over what is hashed: links, with records whose bytes could flow into one another.

use indelible_chain::digest::Digest;
use indelible_chain::id::{ChainId, Head, Seq, Time};
use indelible_chain::record::{Flags, Record, Source};
use indelible_tests::tamper::wire;
use proptest::prelude::*;

/// What a link is made of: chain, position, the link before, time, source, flags, payload.
type Preimage = (u8, u64, u8, i64, u8, u8, Vec<u8>);

/// Few different values for each part, so that two often differ in one only, and payloads that could be read as the
/// fields beside them.
fn preimage() -> impl Strategy<Value = Preimage> {
    let payload = prop_oneof![
        proptest::collection::vec(0u8..3, 0..4),
        proptest::collection::vec(any::<u8>(), 0..80),
        Just(vec![0; 32]),
        Just(vec![0; 33]),
    ];
    let seq = prop_oneof![0u64..3, any::<u64>().prop_map(|n| n >> 1)];
    (0u8..2, seq, 0u8..2, 0i64..3, 1u8..4, 0u8..16, payload)
}

fn link((chain, seq, before, time, source, flags, payload): &Preimage) -> [u8; 32] {
    let record = Record {
        time: Time::from_nanos(*time),
        source: Source::from_code(*source).unwrap(),
        flags: Flags::from_bits(*flags).unwrap(),
        payload,
    };
    let head = Head { next_seq: Seq::new(*seq), link: Digest::new([*before; 32]) };
    *record.link(ChainId::new(Digest::new([*chain; 32])), head).link.as_bytes()
}

proptest! {
    #[test]
    fn two_different_records_or_positions_never_have_one_link(one in preimage(), other in preimage()) {
        prop_assert_eq!(one == other, link(&one) == link(&other));
    }

    #[test]
    fn both_implementations_link_alike(one in preimage()) {
        let (chain, seq, before, time, source, flags, payload) = one.clone();
        let record = wire::Record { time, source, flags, payload };
        prop_assert_eq!(link(&one), wire::link(&[chain; 32], seq, &[before; 32], &record));
    }
}
