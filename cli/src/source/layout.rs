//! Which leaf is at which offset of which segment, as far as damaged files still tell.
//!
//! A segment's name says the index of its first leaf, and the next one's how many it should have; frames say nothing.
//! Where frames were removed without a trace, what follows would count as other leaves than it is. A mark says where it
//! stood when it was written, so the first mark that stands earlier than that comes right after what was removed, and
//! one that stands later, after what was added.
//! All of this only names leaves; whether they are those that the log signed is the judge's business.

use indelible_chain::frame::SegmentFrame;

use super::segment::{Damage, Step};

/// Most leaves of one hole that are named one by one.
pub(super) const MAX_NAMED_LOST: u64 = 1024;

/// What a segment holds, without the bytes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Scan {
    pieces: Vec<Piece>,
}

/// A piece of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// An intact frame of a leaf.
    Leaf { offset: u64 },
    /// Bytes that are no intact frame.
    Damage { offset: u64, length: u64, is_leaf: bool, is_mark: bool, why: String },
    /// A mark, and how far before the place where it was written it stands now.
    Mark { offset: u64, shift: i64 },
}

/// What to do with the bytes at an offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An intact frame is the leaf `index`.
    Leaf { index: u64, offset: u64 },
    /// A damaged frame was the leaf `index`, and its leaf can still be read from `length` bytes at `offset`.
    Damaged { index: u64, offset: u64, length: u64, note: String },
    /// The leaf `index` is not to be had.
    Lost { index: u64, note: String },
    /// Damaged bytes that concern no leaf; the leaf `before` comes next.
    Between { before: u64, note: String },
}

impl Scan {
    /// Adds the next step of a segment.
    pub fn add(&mut self, step: &Step<'_>) {
        match step {
            Step::Leaf { offset, .. } => self.pieces.push(Piece::Leaf { offset: *offset }),
            Step::Mark { offset, durable } => {
                // Offsets beyond this are no file's; as a shift they are still not 0.
                let place = |at: u64| i64::try_from(at).unwrap_or(i64::MAX);
                self.pieces.push(Piece::Mark { offset: *offset, shift: place(*durable) - place(*offset) });
            }
            Step::Damage(Damage { offset, length, remains, why, .. }) => self.pieces.push(Piece::Damage {
                offset: *offset,
                length: *length,
                is_leaf: matches!(remains, Some(SegmentFrame::Leaf { .. })),
                is_mark: matches!(remains, Some(SegmentFrame::Mark { .. })),
                why: why.to_string(),
            }),
        }
    }

    /// How many leaves it holds at the least.
    pub fn leaves(&self) -> u64 {
        let is_leaf = |piece: &&Piece| match piece {
            Piece::Leaf { .. } => true,
            Piece::Damage { is_mark, .. } => !is_mark,
            Piece::Mark { .. } => false,
        };
        self.pieces.iter().filter(is_leaf).count() as u64
    }

    /// Gives each piece its leaf, if the first one is `first` and the segment should end before `end`.
    pub fn place(&self, name: &str, first: u64, end: u64) -> Vec<Place> {
        let mut missing = end.saturating_sub(first).saturating_sub(self.leaves());
        let mut holes = self.holes();
        let mut places = Vec::with_capacity(self.pieces.len());
        let mut index = first;
        let mut shifted = 0;
        for (n, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Leaf { offset } => {
                    places.push(Place::Leaf { index, offset: *offset });
                    index += 1;
                }
                Piece::Damage { offset, length, is_leaf, is_mark, why } => {
                    let note = format!("{name}, {length} bytes at offset {offset}: {why}");
                    places.push(match (is_leaf, is_mark) {
                        (true, _) => Place::Damaged { index, offset: *offset, length: *length, note },
                        (false, true) => Place::Between { before: index, note },
                        (false, false) => Place::Lost { index, note },
                    });
                    index += u64::from(!is_mark);
                }
                Piece::Mark { shift, .. } if *shift == shifted => {}
                Piece::Mark { offset, shift } if *shift < shifted => {
                    let note = format!(
                        "{name}: the mark at offset {offset} was written {} bytes before it; bytes were added, or it was \
                         moved",
                        shifted - shift
                    );
                    shifted = *shift;
                    places.push(Place::Between { before: index, note });
                }
                Piece::Mark { offset, shift } => {
                    let note = format!("{name}: {} bytes before offset {offset} were removed", shift - shifted);
                    shifted = *shift;
                    if missing == 0 {
                        places.push(Place::Between { before: index, note });
                        continue;
                    }
                    holes.retain(|hole| *hole != n);
                    // Each later hole has lost a leaf at least; all others were lost here.
                    let here = missing.saturating_sub(holes.len() as u64).max(1);
                    missing -= here;
                    lose(&mut places, index, here, &note);
                    index = index.saturating_add(here);
                }
            }
        }
        let note = format!("{name}: its last {missing} leaves are not there");
        lose(&mut places, index, missing, &note);
        places
    }

    /// The pieces before which bytes were removed.
    fn holes(&self) -> Vec<usize> {
        let mut shifted = 0;
        let mut holes = Vec::new();
        for (n, piece) in self.pieces.iter().enumerate() {
            if let Piece::Mark { shift, .. } = piece {
                if *shift > shifted {
                    holes.push(n);
                }
                shifted = *shift;
            }
        }
        holes
    }
}

fn lose(places: &mut Vec<Place>, index: u64, count: u64, note: &str) {
    for index in index..index + count.min(MAX_NAMED_LOST) {
        places.push(Place::Lost { index, note: note.to_owned() });
    }
}

#[cfg(test)]
mod tests {
    use indelible_chain::frame::FrameError;
    use indelible_chain::stored::{Codec, Stored};

    use super::*;

    const BODY: Stored<'static> = Stored { codec: Codec::Plain, bytes: b"" };

    /// `l` a leaf, `m` a mark, `d` damage, `D` damage that was a leaf, `M` damage that was a mark; digits are bytes that
    /// were removed in hundreds, `+` a hundred that were added. Each piece is 10 bytes long.
    fn scan(text: &str) -> Scan {
        let (mut scan, mut offset, mut removed) = (Scan::default(), 1000, 0i64);
        for c in text.chars() {
            let damage = |remains| {
                Step::Damage(Damage { offset, length: 10, at_end: false, remains, why: FrameError::Truncated })
            };
            let step = match c {
                'l' => Step::Leaf { offset, leaf: b"", body: BODY },
                'm' => Step::Mark { offset, durable: offset.checked_add_signed(removed).unwrap() },
                'd' => damage(None),
                'D' => damage(Some(SegmentFrame::Leaf { leaf: b"", body: BODY })),
                'M' => damage(Some(SegmentFrame::Mark { durable: 0 })),
                _ => {
                    removed += if c == '+' { -100 } else { 100 };
                    continue;
                }
            };
            scan.add(&step);
            offset += 10;
        }
        scan
    }

    /// The places in short: leaves by index, `!` damaged, `?` lost, `-` between.
    fn placed(text: &str, first: u64, end: u64) -> String {
        let show = |place: &Place| match place {
            Place::Leaf { index, .. } => format!("{index}"),
            Place::Damaged { index, .. } => format!("{index}!"),
            Place::Lost { index, .. } => format!("{index}?"),
            Place::Between { before, .. } => format!("-{before}"),
        };
        scan(text).place("s", first, end).iter().map(show).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_intact_segment_counts_from_its_name() {
        assert_eq!(placed("mllml", 7, 10), "7 8 9");
        assert_eq!(placed("mllml", 7, 7), "7 8 9", "a running collector's last segment grows");
    }

    #[test]
    fn damage_takes_the_place_of_the_leaf_that_it_was() {
        assert_eq!(placed("mlDdMl", 0, 4), "0 1! 2? -3 3");
    }

    #[test]
    fn what_was_removed_before_a_mark_keeps_its_index_free() {
        assert_eq!(placed("ml1ml", 0, 3), "0 1? 2");
        assert_eq!(placed("ml1mlml", 0, 5), "0 1? 2? 3 4", "the last mark adds nothing to what was removed");
        assert_eq!(placed("m1mlm1mlml", 0, 7), "0? 1? 2? 3 4? 5 6");
    }

    #[test]
    fn removed_bytes_without_a_missing_leaf_are_named_between() {
        assert_eq!(placed("ml1ml", 0, 2), "0 -1 1");
    }

    #[test]
    fn a_mark_that_stands_behind_its_place_tells_that_bytes_were_added() {
        assert_eq!(placed("ml+mlml", 0, 3), "0 -1 1 2");
        assert_eq!(placed("ml+m1mlml", 0, 3), "0 -1 -1 1 2", "a mark that was moved, and the next in its place");
        assert_eq!(placed("ml1ml+ml", 0, 4), "0 1? 2 -3 3");
    }

    #[test]
    fn leaves_that_no_mark_places_are_missed_at_the_end() {
        assert_eq!(placed("mll", 0, 4), "0 1 2? 3?");
        assert_eq!(scan("").place("s", 0, u64::MAX).len() as u64, MAX_NAMED_LOST);
    }
}
