//! Which ids a sealed segment cannot hold.
//!
//! A Bloom filter of a fixed size, so that memory follows the number of segments and never that of ids. Ids are
//! SHA-256 digests: their own bytes are the hashes. A full filter costs reads of an index, never a wrong answer.

use indelible_chain::digest::Digest;

use crate::limits::FILTER_BYTES;

/// The filter of one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter(Box<[u8]>);

const HASHES: usize = 4;

impl Filter {
    /// Of no ids.
    pub fn new() -> Self {
        Self(vec![0; FILTER_BYTES].into())
    }

    /// From stored bytes; `None` if they are not as many as a filter has.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == FILTER_BYTES).then(|| Self(bytes.into()))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Takes in an id.
    pub fn insert(&mut self, id: &Digest) {
        for bit in bits(id) {
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Whether the id may be there.
    pub fn may_hold(&self, id: &Digest) -> bool {
        bits(id).all(|bit| self.0[bit / 8] >> (bit % 8) & 1 == 1)
    }
}

fn bits(id: &Digest) -> impl Iterator<Item = usize> {
    id.as_bytes()
        .as_chunks::<4>()
        .0
        .iter()
        .take(HASHES)
        .map(|word| u32::from_be_bytes(*word) as usize % (FILTER_BYTES * 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_in_may_be_there_and_little_else() {
        let mut filter = Filter::new();
        let id = |n: u32| Digest::sha256(&n.to_be_bytes());
        (0..3000).for_each(|n| filter.insert(&id(n)));
        assert!((0..3000).all(|n| filter.may_hold(&id(n))));
        let others = (10_000..20_000).filter(|n| filter.may_hold(&id(*n))).count();
        assert!(others < 200, "{others} of 10,000 others may be there");
        assert_eq!(Filter::from_bytes(filter.as_bytes()), Some(filter));
        assert_eq!(Filter::from_bytes(&[0; 3]), None);
    }
}
