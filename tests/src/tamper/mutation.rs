//! Changes of kept evidence: flip, cut, drop, swap, duplicate, splice from another log.
//!
//! Drawn over every file of a pool's data directories, in bytes, in whole frames and in whole files. Who changes frames
//! may renew their checksums, which are no secret; nobody here has a key. A mutation always changes something.

mod bytes;
mod files;

use super::image::Image;
use super::rng::Rng;
use super::story::History;

/// A change, made.
#[derive(Debug, Clone)]
pub struct Mutation {
    /// What was done, for a person.
    pub text: String,
    /// The directories afterwards; `None` where one is gone.
    pub directories: Vec<Option<Image>>,
}

/// What is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Flip,
    Cut,
    Drop,
    Swap,
    Duplicate,
    Splice,
}

impl Act {
    const ALL: [Self; 6] = [Self::Flip, Self::Cut, Self::Drop, Self::Swap, Self::Duplicate, Self::Splice];
}

impl Mutation {
    /// Draws one.
    pub fn draw(rng: &mut Rng, history: &History) -> Self {
        loop {
            let mut directories = history.directories.clone();
            let at = rng.below(directories.len());
            if rng.once_in(100) {
                let mut directories: Vec<_> = directories.into_iter().map(Some).collect();
                directories[at] = None;
                return Self { text: format!("directory {at}: gone"), directories };
            }
            if let Some(text) = change(rng, history, &mut directories, at)
                && directories != history.directories
            {
                return Self { text, directories: directories.into_iter().map(Some).collect() };
            }
        }
    }
}

/// Changes one file, or two; gives what it did, or nothing if it could not be done.
fn change(rng: &mut Rng, history: &History, directories: &mut [Image], at: usize) -> Option<String> {
    let path = draw_path(rng, &directories[at]);
    let act = *rng.pick(&Act::ALL);
    let is_segment = files::is_segment(&path);
    // Whole files a fifth of the time; frames, where there are any, most of the rest.
    let done = if rng.once_in(5) {
        files::change(rng, history, directories, at, &path, act)?
    } else {
        let other = files::donor(rng, history, at, &path);
        let file = directories[at].get(&path)?;
        let (done, bytes) = if is_segment && !rng.once_in(3) {
            bytes::change_frames(rng, file, other.as_deref(), act)?
        } else {
            bytes::change(rng, file, other.as_deref(), act)?
        };
        directories[at].put(&path, bytes);
        done
    };
    Some(format!("directory {at}, {path}: {act:?}: {done}"))
}

/// Any file; every other time a segment, which is where the evidence is.
fn draw_path(rng: &mut Rng, image: &Image) -> String {
    let only_segments = rng.once_in(2);
    let paths: Vec<_> = image.paths().filter(|path| !only_segments || files::is_segment(path)).collect();
    (*rng.pick(&paths)).to_owned()
}
