//! What is wrong with bytes as such: bad bodies, leaves, tiles and checkpoints.
//!
//! Each is told with as much as can still be made out: the pod, container and time of the batch that was damaged, or of
//! those around it.

use std::collections::HashMap;

use crate::id::LeafIndex;

use super::super::case::{Admission, Case};
use super::super::class::{Axis, Class, Level};
use super::super::facts::{BatchFact, ChainNo, Flaw, FlawKind, Place, View, ViewId};
use super::super::limits::{MAX_FLAWS, NAMED};
use super::super::prepare::Body;
use super::super::terms::KnownBy;
use super::super::text::{Between, Records, Utc, list};
use super::findings::{About, Findings, TAMPERED, UNJUDGED};

const NOTED: (Axis, Level) = (Axis::Integrity, Level::Warn);

/// A stored body is damaged, or is there in a form that is not judged yet.
///
/// A removed body (codec 255) and a redacted one (2, 3) are judged with the archive; until then the commitment stands,
/// and what it stands for is unknown.
pub(super) fn bad_body(case: &Case<'_>, out: &mut Findings) {
    let notes = notes(case);
    for (number, batch) in case.facts.batches.iter().enumerate() {
        let is_true = case.standings[batch.place.view.0].is_true;
        // A damaged frame in a log whose leaves are not what it signed is told as its leaf.
        if case.admissions[number] != Admission::BadBody || batch.is_flawed && !is_true {
            continue;
        }
        let why = match &batch.body {
            Body::Damaged(why) | Body::Contradicts(why) => why,
            Body::Holds | Body::NotGiven | Body::Pruned | Body::Sparse => "its signature does not hold",
        };
        let note = notes.get(&batch.place).map(|note| format!("; {note}")).unwrap_or_default();
        let text = format!(
            "{} are damaged in storage: {why}{note} ({}). They cannot be read there any more; look for another copy, and \
             keep this one as evidence.",
            records(case, batch),
            case.leaf(number),
        );
        out.add(Class::BadBody, TAMPERED, About::batch(case, number), text);
    }
    for (number, view) in case.facts.views.iter().enumerate() {
        for flaw in shown(view).filter(|flaw| flaw.kind == FlawKind::Body) {
            let place = Place { view: ViewId(number), index: flaw.index };
            let text =
                format!("the body of leaf {} of {} is damaged: {}.", flaw.index, case.log(place.view), flaw.note);
            out.add(Class::BadBody, TAMPERED, About::leaf(case, place), text);
        }
        for flaw in shown(view).filter(|flaw| flaw.kind == FlawKind::Damaged && case.standings[number].is_true) {
            let place = Place { view: ViewId(number), index: flaw.index };
            let batch = case.facts.batch_at(place);
            // Told above with its body.
            if batch.is_some_and(|batch| case.admissions[batch] == Admission::BadBody) {
                continue;
            }
            let what =
                batch.map(|batch| format!(", {},", records(case, &case.facts.batches[batch]))).unwrap_or_default();
            let text = format!(
                "the frame of leaf {}{what} of {} is damaged ({}), though leaf and body are still what was signed. The \
                 volume was written to or is failing: replace it, and keep this one as evidence.",
                flaw.index,
                case.log(place.view),
                flaw.note,
            );
            out.add(Class::BadBody, TAMPERED, About::leaf(case, place), text);
        }
    }
    not_judged(case, out);
}

/// Bodies that are not there to be judged, told once for each chain.
fn not_judged(case: &Case<'_>, out: &mut Findings) {
    for chain in case.numbers().filter(|chain| case.in_scope(*chain)) {
        for (body, class, why) in [
            (Body::NotGiven, Class::Unreadable, "are not given out to this reader: use a token that may read them"),
            (
                Body::Pruned,
                Class::BadBody,
                "were removed; whether that was due is judged with the archive, not yet here",
            ),
            (
                Body::Sparse,
                Class::BadBody,
                "were redacted; whether that was due is judged with the archive, not yet here",
            ),
        ] {
            let edges = case.of(chain).edges.iter().filter(|edge| {
                let held = |number: &usize| case.admissions[*number] == Admission::TakesPart;
                !edge.batches.iter().any(held) && edge.batches.iter().any(|n| case.facts.batches[*n].body == body)
            });
            let bounds = edges.map(|edge| (edge.first, edge.next));
            let Some((first, next)) = bounds.reduce(|(first, next), (f, n)| (first.min(f), next.max(n))) else {
                continue;
            };
            let text = format!("bodies of {}, {}, {why}.", case.who(chain), Records(first, next));
            out.add(class, UNJUDGED, About::default().chain(case, chain).records(first, next), text);
        }
    }
}

/// A leaf was changed or removed after the log signed it, or cannot be read.
pub(super) fn bad_leaf(case: &Case<'_>, out: &mut Findings) {
    let answering = case.blame.answering();
    for (number, view) in case.facts.views.iter().enumerate() {
        let id = ViewId(number);
        let mut is_told = answering.contains(&id);
        let is_true = case.standings[number].is_true;
        let flaws = shown(view).filter(|flaw| match flaw.kind {
            FlawKind::Damaged => !is_true,
            FlawKind::Lost | FlawKind::Between | FlawKind::Undecodable | FlawKind::Order => true,
            FlawKind::Body => false,
        });
        for flaw in flaws {
            is_told = true;
            tell_flaw(case, Place { view: id, index: flaw.index }, flaw, out);
        }
        let untold = view.flaws.len().saturating_sub(MAX_FLAWS);
        if untold > 0 {
            let text = format!(
                "{} has {untold} more damaged leaves or frames than the {MAX_FLAWS} that were looked at one by one. Do not use \
                 this copy but as evidence.",
                case.log(id),
            );
            out.add(Class::BadLeaf, TAMPERED, About::log(case, id), text);
        }
        let is_forged = |batch: &usize| {
            case.admissions[*batch] == Admission::Forged
                && case.standings[number].suspects(case.facts.batches[*batch].place.index)
        };
        is_told |= view.batches.iter().any(is_forged) && view.shown() == view.size();
        if !is_true && !case.standings[number].is_cut && !view.heads.is_empty() && !is_told {
            untrue(case, id, view, out);
        }
        if view.unknown_leaves + view.unknown_statements > 0 {
            let text = format!(
                "{} holds {} leaves and {} statements of kinds that this version does not know; they were counted and \
                 not judged. Use a newer version.",
                case.log(id),
                view.unknown_leaves,
                view.unknown_statements,
            );
            out.add(Class::BadLeaf, NOTED, About::log(case, id), text);
        }
    }
}

fn tell_flaw(case: &Case<'_>, place: Place, flaw: &Flaw, out: &mut Findings) {
    let (index, log) = (flaw.index, case.log(place.view));
    let what = match flaw.kind {
        FlawKind::Between => format!("bytes before leaf {index} of {log} are damaged; no leaf is concerned"),
        FlawKind::Lost => format!("leaf {index} of {log} is lost: nothing can be made of its bytes"),
        FlawKind::Undecodable => format!("leaf {index} of {log} cannot be read"),
        FlawKind::Order => format!("leaf {index} of {log} is there again or out of order"),
        FlawKind::Damaged | FlawKind::Body => match case.facts.batch_at(place) {
            Some(batch) => format!("leaf {index} of {log}, {}, was changed", records(case, &case.facts.batches[batch])),
            None => format!("leaf {index} of {log} was changed"),
        },
    };
    let text = format!(
        "{what} ({}).{} Compare with other copies of that log, and keep this one as evidence.",
        flaw.note,
        around(case, place.view, index.get(), index.get() + 1),
    );
    out.add(Class::BadLeaf, TAMPERED, About::leaf(case, place), text);
}

/// A log whose leaves do not give the root, and nothing else says where.
fn untrue(case: &Case<'_>, id: ViewId, view: &View, out: &mut Findings) {
    let standing = &case.standings[id.0];
    let (from, to) = standing.suspects.unwrap_or((0, view.size()));
    let where_ = if to > from + 1 { format!("from {from} to {}", to - 1) } else { from.to_string() };
    let missing = view.size().saturating_sub(view.shown());
    let how = match (missing, standing.lost.is_empty()) {
        (0, true) => "a leaf was changed or moved".to_owned(),
        (0, false) => format!("leaves were changed: {}", list(standing.lost.iter().map(|(index, _)| index), NAMED)),
        (1, _) => "one leaf is missing".to_owned(),
        (n, _) => format!("{n} leaves are missing"),
    };
    let text = format!(
        "the leaves of {} do not give the root that it signed for {} leaves: {how}, among leaves {where_}.{} Compare with \
         other copies of that log, and keep this one as evidence.",
        case.log(id),
        view.size(),
        around(case, id, from, to),
    );
    out.add(Class::BadLeaf, TAMPERED, About::leaf(case, Place { view: id, index: LeafIndex::new(from) }), text);
}

/// A tile or bundle is not what the leaves give, though the leaves are what the log signed; or it is none at all.
pub(super) fn bad_tile(case: &Case<'_>, out: &mut Findings) {
    for (number, view) in case.facts.views.iter().enumerate() {
        let id = ViewId(number);
        let is_true = case.standings[number].is_true;
        let bad = view.tiles.bad.iter().filter(|tile| is_true || !tile.differs);
        let named = list(bad.clone().map(|tile| format!("{} ({})", tile.path, tile.why)), NAMED);
        if bad.count() > 0 {
            let text = format!(
                "tiles of {} are not what its leaves give: {named}. No record is concerned, but others cannot check this \
                 log with them.{} Keep them as evidence, and let the collector make them again.",
                case.log(id),
                around(case, id, 0, view.size()),
            );
            out.add(Class::BadTile, TAMPERED, About::log(case, id), text);
        }
    }
}

/// A checkpoint of a log whose signature or form does not hold: integrity fail, that log. One that was given for
/// comparison and does not hold: unknown, nothing is compared with it; by a witness: authenticity warn.
pub(super) fn bad_checkpoint(case: &Case<'_>, out: &mut Findings) {
    for (number, view) in case.facts.views.iter().enumerate().filter(|(_, view)| !view.bad_notes.is_empty()) {
        let id = ViewId(number);
        let text = format!(
            "checkpoints of {} do not hold: {}.{} A log signs each of them, so they were changed afterwards: look into \
             that collector's storage.",
            case.log(id),
            list(view.bad_notes.iter().map(|(name, why)| format!("{name} ({why})")), NAMED),
            around(case, id, 0, view.size()),
        );
        out.add(Class::BadCheckpoint, TAMPERED, About::log(case, id), text);
    }
    for (known, why) in &case.sources.bad_known {
        let label = &known.label;
        if known.by == KnownBy::Witness {
            // Its word is asked for and not needed: it must not keep others' evidence from being judged.
            let text = format!(
                "what the witness {label} shows does not hold: {why}. It counts for nothing, and nothing was compared \
                 with it: see to that witness, or to who answers for it."
            );
            out.add(Class::BadCheckpoint, (Axis::Authenticity, Level::Warn), About::default(), text);
            continue;
        }
        let text = format!("the checkpoint {label} that was given does not hold: {why}. Nothing was compared with it.");
        out.add(Class::BadCheckpoint, UNJUDGED, About::default(), text);
    }
}

/// Flaws of leaves that count.
fn shown(view: &View) -> impl Iterator<Item = &Flaw> {
    view.flaws.iter().filter(|flaw| flaw.index.get() < view.size()).take(MAX_FLAWS)
}

/// What readers said of damaged frames.
fn notes<'a>(case: &Case<'a>) -> HashMap<Place, &'a str> {
    let views = case.facts.views.iter().enumerate();
    let flaws = views.flat_map(|(number, view)| view.flaws.iter().map(move |flaw| (ViewId(number), flaw)));
    let damaged = flaws.filter(|(_, flaw)| flaw.kind == FlawKind::Damaged);
    damaged.map(|(view, flaw)| (Place { view, index: flaw.index }, flaw.note.as_str())).collect()
}

/// "records 3 to 9 of container app of pod shop/cart, printed between … and …".
fn records(case: &Case<'_>, batch: &BatchFact) -> String {
    let c = &batch.commitment;
    format!(
        "{} of {}, printed {}",
        Records(c.first_seq, c.next_seq()),
        case.who(batch.chain),
        Between(Some(c.first_time), Some(c.last_time)),
    )
}

/// Whose output the leaves of a range, and those next to it, hold, and when they were received.
fn around(case: &Case<'_>, view: ViewId, from: u64, to: u64) -> String {
    let facts = case.facts.view(view);
    let (before, after) = (from.saturating_sub(1), to.min(facts.size().saturating_sub(1)));
    let time = |index| facts.time(index).map(Utc);
    let when = match (time(before), time(after)) {
        (Some(from), Some(to)) => format!(" The leaves around there were received from {from} to {to}"),
        (Some(from), None) => format!(" The leaves around there were received after {from}"),
        (None, Some(to)) => format!(" The leaves around there were received before {to}"),
        (None, None) => return String::new(),
    };
    let near = case.facts.batches_among(view, from.saturating_sub(8), to.saturating_add(8));
    let mut chains: Vec<ChainNo> = near.map(|batch| batch.chain).collect();
    chains.sort_unstable();
    chains.dedup();
    if chains.is_empty() {
        return format!("{when}.");
    }
    format!("{when} and hold output of {}.", list(chains.iter().map(|chain| case.who(*chain)), NAMED))
}

#[cfg(test)]
mod tests {
    use super::super::super::class::{Axis, Class, Level};
    use super::super::super::facts::ViewId;
    use super::super::super::judge::Damage;
    use super::super::super::terms::{Known, KnownBy};
    use super::super::super::testing::{Entry, World, assert_honest, assert_only, at, found};
    use super::super::findings::{TAMPERED, UNJUDGED};
    use super::NOTED;
    use crate::id::LeafIndex;
    use crate::stored::{Codec, Packer};
    use crate::tile::{BundleId, TileId, encode_tile};

    #[test]
    fn a_packed_body_that_cannot_be_unpacked_is_a_bad_body() {
        let mut shop = World::shop();
        let entry = &mut shop.world.logs[1].entries[3];
        let mut packer = Packer::new().unwrap();
        let packed = packer.pack(&entry.body);
        assert_eq!(packed.codec, Codec::Zstd);
        (entry.codec, entry.body) = (Codec::Zstd, packed.bytes.to_vec());
        let mut broken = World::shop();
        broken.world.logs[1].entries[3] = Entry { body: entry.body[..20].to_vec(), ..entry.clone() };
        assert_honest(&shop.world.judge());
        let text = assert_only(&broken.world.judge(), Class::BadBody, TAMPERED);
        for part in ["records 10 to 19", "container app of pod shop/cart-0", "shop/c1-", "2026-"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_damaged_frame_is_named_by_what_can_still_be_read_of_it() {
        // The checksum alone, the body, the leaf's signature, the whole leaf.
        for (change, class) in [(0, Class::BadBody), (1, Class::BadBody), (2, Class::BadLeaf), (3, Class::BadLeaf)] {
            let mut shop = World::shop();
            let entry = &mut shop.world.logs[1].entries[3];
            entry.flaw = Some("segments/0.seg at 300: the checksum does not match".into());
            match change {
                0 => {}
                1 => entry.body[20] ^= 1,
                2 => *entry.leaf.last_mut().unwrap() ^= 1,
                _ => entry.leaf[1] = 0xee,
            }
            let report = shop.world.judge();
            assert!(
                report.findings.iter().any(|finding| {
                    let names = ["shop/cart-0", "container app", "shop/c1-"];
                    finding.class == class && names.iter().all(|name| finding.text.contains(name))
                }),
                "{change}: {:#?}",
                report.findings
            );
            assert_eq!(report.exit, 1);
        }
    }

    #[test]
    fn a_lost_frame_takes_its_records_with_it_and_says_so() {
        let mut shop = World::shop();
        shop.world.logs[1].entries.remove(3);
        for entry in &mut shop.world.logs[1].entries[3..] {
            entry.index = Some(0);
        }
        for (position, entry) in shop.world.logs[1].entries.iter_mut().enumerate().skip(3) {
            entry.index = Some(position as u64 + 1);
        }
        let report = shop.world.judge_with(|judge| {
            let lost = Damage::Lost { index: LeafIndex::new(3), note: "segments/0.seg at 300" };
            judge.damaged(ViewId(1), lost);
        });
        assert!(report.findings.iter().all(|finding| finding.class == Class::BadLeaf), "{:#?}", report.findings);
        assert!(report.findings.iter().any(|finding| finding.text.contains("records 10 to 19")));
        assert_eq!(report.exit, 1);
    }

    #[test]
    fn damage_behind_the_last_signed_leaf_is_a_torn_tail_and_no_finding() {
        let shop = World::shop();
        let size = shop.world.logs[1].entries.len() as u64;
        assert_honest(&shop.world.judge_with(|judge| {
            judge.damaged(ViewId(1), Damage::Between { before: LeafIndex::new(size), note: "torn" });
            judge.damaged(ViewId(1), Damage::Lost { index: LeafIndex::new(size), note: "torn" });
        }));
        assert_only(
            &World::shop().world.judge_with(|judge| {
                judge.damaged(ViewId(1), Damage::Between { before: LeafIndex::new(size - 1), note: "a mark" });
            }),
            Class::BadLeaf,
            TAMPERED,
        );
    }

    #[test]
    fn any_changed_removed_doubled_or_moved_leaf_is_found() {
        let leaves = World::shop().world.logs[0].entries.len();
        for at in 0..leaves {
            for change in 0..4 {
                // What follows the last leaf that is signed does not count.
                if (at, change) == (leaves - 1, 1) {
                    continue;
                }
                let mut shop = World::shop();
                let entries = &mut shop.world.logs[0].entries;
                match change {
                    0 => drop(entries.remove(at)),
                    1 => entries.insert(at, entries[at].clone()),
                    2 => entries.swap(at, (at + 1) % leaves),
                    _ => *entries[at].leaf.last_mut().unwrap() ^= 1,
                }
                let report = shop.world.judge();
                assert_eq!(report.exit, 1, "{at} {change}: {:#?}", report.findings);
                assert!(report.findings.iter().any(|finding| {
                    finding.log.as_ref().is_some_and(|log| log.starts_with("shop/c0-")) && finding.level == Level::Fail
                }));
            }
        }
    }

    #[test]
    fn a_leaf_that_is_lost_is_found_among_those_between_two_checkpoints() {
        let mut shop = World::shop_before_signing();
        let entries = shop.world.logs[1].entries.clone();
        for size in [2, 5] {
            shop.world.logs[1].entries.truncate(size);
            shop.world.logs[1].sign();
            shop.world.logs[1].entries.clone_from(&entries);
        }
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        shop.world.logs[1].entries.remove(3);
        let report = shop.world.judge();
        assert_eq!(found(&report), [(Class::BadLeaf, Level::Fail)]);
        assert!(report.findings[0].text.contains("a leaf from 2 to 4"), "{}", report.findings[0].text);
    }

    #[test]
    fn a_leaf_that_no_version_can_read_is_a_bad_leaf_and_an_unknown_kind_a_warning() {
        let mut shop = World::shop_before_signing();
        shop.world.logs[0].push_raw(vec![1, 99, 1, 2, 3], b"");
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::BadLeaf, NOTED);

        let mut shop = World::shop_before_signing();
        shop.world.logs[0].push_raw(vec![2, 1], b"");
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::BadLeaf, TAMPERED);
    }

    #[test]
    fn a_session_with_a_weak_key_is_a_leaf_that_cannot_be_read() {
        let mut shop = World::shop_before_signing();
        let mut leaf = shop.world.logs[0].entries[1].leaf.clone();
        // The neutral element: of small order.
        leaf[3..35].fill(0);
        leaf[3] = 1;
        shop.world.logs[0].push_raw(leaf, b"jwt");
        shop.world.sign_all();
        assert_only(&shop.world.judge(), Class::BadLeaf, TAMPERED);
    }

    #[test]
    fn removed_and_redacted_bodies_are_unknown_and_their_positions_are_not_missing() {
        for codec in [Codec::Pruned, Codec::Sparse, Codec::SparseZstd] {
            let mut shop = World::shop();
            let entry = &mut shop.world.logs[1].entries[3];
            entry.codec = codec;
            entry.body.clear();
            let report = shop.world.judge();
            assert_only(&report, Class::BadBody, UNJUDGED);
            assert_eq!((report.exit, report.chains[0].records), (4, 41));
        }
    }

    #[test]
    fn bytes_that_no_leaf_commits_to_are_a_bad_body() {
        for index in [0, 2] {
            let mut shop = World::shop();
            shop.world.logs[0].entries[index].body = b"more".to_vec();
            assert_only(&shop.world.judge(), Class::BadBody, TAMPERED);
        }
        let mut shop = World::shop();
        shop.world.logs[1].entries[5].body[9] ^= 1;
        assert_only(&shop.world.judge(), Class::BadBody, TAMPERED);
    }

    #[test]
    fn a_tile_or_bundle_that_differs_from_true_leaves_is_bad() {
        let leaves: Vec<Vec<u8>> = World::shop().world.logs[1].entries.iter().map(|entry| entry.leaf.clone()).collect();
        let hashes: Vec<_> = leaves.iter().map(|leaf| crate::merkle::leaf_hash(leaf)).collect();
        let width = u16::try_from(leaves.len()).unwrap();
        let (tile, bundle) = (TileId::new(0, 0, width).unwrap(), BundleId::new(0, width).unwrap());
        let tile_bytes = encode_tile(&hashes);
        let bundle_bytes = bundle.encode(leaves.iter().map(Vec::as_slice)).unwrap();
        let report = |tile_bytes: &[u8], bundle_bytes: &[u8]| {
            World::shop().world.judge_with(|judge| {
                judge.tile(ViewId(1), tile, tile_bytes);
                judge.bundle(ViewId(1), bundle, bundle_bytes);
            })
        };
        assert_honest(&report(&tile_bytes, &bundle_bytes));
        for (part, at) in [(0, 5), (1, 5), (0, tile_bytes.len() - 1), (1, bundle_bytes.len() - 1)] {
            let (mut tile_bytes, mut bundle_bytes) = (tile_bytes.clone(), bundle_bytes.clone());
            let bytes = if part == 0 { &mut tile_bytes } else { &mut bundle_bytes };
            bytes[at] ^= 1;
            assert_only(&report(&tile_bytes, &bundle_bytes), Class::BadTile, TAMPERED);
        }
        assert_only(&report(&tile_bytes[1..], &bundle_bytes), Class::BadTile, TAMPERED);
    }

    #[test]
    fn a_bundle_tells_exactly_which_leaf_was_removed() {
        let mut shop = World::shop();
        let leaves: Vec<Vec<u8>> = shop.world.logs[1].entries.iter().map(|entry| entry.leaf.clone()).collect();
        let bundle = BundleId::new(0, u16::try_from(leaves.len()).unwrap()).unwrap();
        let bytes = bundle.encode(leaves.iter().map(Vec::as_slice)).unwrap();
        shop.world.logs[1].entries.remove(3);
        let report = shop.world.judge_with(|judge| judge.bundle(ViewId(1), bundle, &bytes));
        let text = assert_only(&report, Class::BadLeaf, TAMPERED);
        assert!(text.contains("leaf 3)") && text.contains("records 10 to 19"), "{text}");
        assert_eq!(report.findings[0].batch_index, Some(LeafIndex::new(3)));
    }

    #[test]
    fn a_checkpoint_whose_signature_or_form_does_not_hold_is_bad() {
        let mut shop = World::shop_before_signing();
        shop.world.sign_all();
        shop.world.logs.iter_mut().for_each(|log| log.seal(at(60)));
        let notes = shop.world.logs[0].notes.clone();
        for at in (0..notes[0].1.len()).step_by(7) {
            let mut shop = World::shop();
            shop.world.logs[0].notes.clone_from(&notes);
            shop.world.logs[0].notes[0].1[at] ^= 2;
            let report = shop.world.judge();
            assert!(found(&report).contains(&(Class::BadCheckpoint, Level::Fail)), "{at}: {:#?}", report.findings);
            assert_eq!(report.exit, 1);
        }
    }

    #[test]
    fn a_byte_changed_in_the_only_checkpoint_is_a_bad_checkpoint_whatever_it_says_now() {
        let shop = World::shop();
        let note = shop.world.logs[0].notes[0].1.clone();
        for at in 0..note.len() {
            let mut shop = World::shop();
            shop.world.logs[0].notes[0].1[at] ^= 1;
            let report = shop.world.judge();
            // Where origin and signature both name nobody any more, nothing is left that says whose it was.
            let is_told = found(&report).contains(&(Class::BadCheckpoint, Level::Fail));
            assert!(is_told && report.exit == 1 || report.exit == 4, "{at}: {:#?}", report.findings);
            assert!(is_told || found(&report).contains(&(Class::UnknownKey, Level::Unknown)), "{at}");
        }
    }

    #[test]
    fn a_checkpoint_given_for_comparison_that_does_not_hold_compares_nothing() {
        let mut shop = World::shop();
        let mut note = shop.world.logs[0].notes[0].1.clone();
        let last = note.len() - 5;
        note[last] ^= 1;
        let known = |by| Known { by, label: "mine".into(), note: note.clone() };
        shop.world.terms.known.push(known(KnownBy::Operator));
        assert_only(&shop.world.judge(), Class::BadCheckpoint, UNJUDGED);
        // A witness that lies keeps nobody's evidence from being judged.
        let mut shop = World::shop();
        shop.world.terms.known.push(known(KnownBy::Witness));
        let report = shop.world.judge();
        let text = assert_only(&report, Class::BadCheckpoint, (Axis::Authenticity, Level::Warn));
        assert!(text.contains("the witness mine") && report.exit == 0, "{text}");
    }

    #[test]
    fn a_statement_of_an_unknown_kind_by_an_authority_is_counted() {
        let mut shop = World::shop_before_signing();
        let authority = crate::note::NoteSigner::new("operator".parse().unwrap(), &[9; 32]);
        let statement = crate::statement::Statement::decode(77, "{}").unwrap();
        shop.world.logs[0].authority(&authority, statement, at(34));
        shop.world.sign_all();
        let text = assert_only(&shop.world.judge(), Class::BadLeaf, NOTED);
        assert!(text.contains("0 leaves and 1 statements"), "{text}");
    }
}
