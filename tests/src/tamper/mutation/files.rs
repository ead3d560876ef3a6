//! Changes of whole files: gone, exchanged, under a second name, another log's in their place.

use super::Act;
use crate::tamper::image::Image;
use crate::tamper::rng::Rng;
use crate::tamper::story::History;

/// What a file is for: files of one kind can take each other's place.
fn kind(path: &str) -> &str {
    match path.split_once('/') {
        Some(("tile", rest)) => rest.split('/').next().unwrap_or(rest),
        Some(("checkpoints", _)) => "checkpoint",
        Some(("segments", name)) => name.rsplit('.').next().unwrap_or(name),
        Some((directory, _)) => directory,
        None => path,
    }
}

fn same_kind<'a>(image: &'a Image, path: &'a str) -> impl Iterator<Item = &'a str> {
    image.paths().filter(move |other| kind(other) == kind(path))
}

/// A file of the same kind of another log, of the pool or not.
pub(super) fn donor(rng: &mut Rng, history: &History, at: usize, path: &str) -> Option<Vec<u8>> {
    let others = history.directories.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, image)| image);
    let others: Vec<_> = others.chain([&history.stranger]).collect();
    let image = *rng.pick(&others);
    let paths: Vec<_> = same_kind(image, path).collect();
    let other: &&str = if paths.is_empty() { return None } else { rng.pick(&paths) };
    image.get(other).map(<[u8]>::to_vec)
}

/// Changes which files there are.
pub(super) fn change(
    rng: &mut Rng,
    history: &History,
    directories: &mut [Image],
    at: usize,
    path: &str,
    act: Act,
) -> Option<String> {
    Some(match act {
        Act::Flip => {
            let bytes = directories[at].get(path)?.iter().map(|byte| !byte).collect::<Vec<_>>();
            directories[at].put(path, bytes);
            "every bit".into()
        }
        Act::Cut => {
            directories[at].put(path, &b""[..]);
            "to nothing".into()
        }
        Act::Drop if rng.once_in(3) => {
            let below = path.split_once('/')?.0;
            let paths: Vec<_> = directories[at].below(below).map(|(rest, _)| format!("{below}/{rest}")).collect();
            for path in &paths {
                directories[at].remove(path);
            }
            format!("all of {below}/")
        }
        Act::Drop => {
            directories[at].remove(path)?;
            "the file".into()
        }
        Act::Swap => {
            // With another of its kind in this directory, or with its namesake in another.
            let (with, other) = if rng.once_in(2) {
                ((at + 1 + rng.below(directories.len() - 1)) % directories.len(), path.to_owned())
            } else {
                let others: Vec<_> = same_kind(&directories[at], path).filter(|other| *other != path).collect();
                (at, (!others.is_empty()).then(|| rng.pick(&others).to_string())?)
            };
            let theirs = directories[with].get(&other)?.to_vec();
            let ours = directories[at].remove(path)?;
            directories[with].put(&other, ours);
            directories[at].put(path, theirs);
            format!("with directory {with}, {other}")
        }
        Act::Duplicate => {
            let copy = second_name(rng, path);
            let bytes = directories[at].get(path)?.to_vec();
            directories[at].put(&copy, bytes);
            format!("as {copy}")
        }
        Act::Splice if path == "version" => {
            directories[at].put(path, &b"2 indelible-collector/9.9.9\n"[..]);
            "a newer one's".into()
        }
        Act::Splice => {
            let other = donor(rng, history, at, path)?;
            directories[at].put(path, other);
            "another log's whole file".into()
        }
    })
}

/// Whether a file is a segment.
pub(super) fn is_segment(path: &str) -> bool {
    path.strip_suffix(".seg").is_some()
}

/// A name that a file of this kind could have, or one that means nothing.
fn second_name(rng: &mut Rng, path: &str) -> String {
    let number = rng.below(400);
    match path.rsplit_once('/') {
        Some(("segments", name)) if is_segment(name) && rng.once_in(2) => format!("segments/{number:020}.seg"),
        Some(("checkpoints", _)) if rng.once_in(2) => format!("checkpoints/{number}"),
        Some((tile, _)) if tile.starts_with("tile/") && rng.once_in(2) => format!("{tile}/{:03}", rng.between(0, 3)),
        _ => format!("{path}.copy"),
    }
}
