//! What became of each line that was printed: it is in no file of any receiver, in one, or more than once.
//!
//! Of a run it knows the script, how many lines were printed, and the receivers' files, and nothing else.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::soak::line::Script;

/// Longest line of a receiver's file that is taken as one: those of a run have 300 bytes.
const MAX_LINE_BYTES: u64 = 1 << 16;

/// The counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines that were printed.
    pub printed: u64,
    /// Of these, lines that are nowhere.
    pub lost: u64,
    /// Copies beyond the first of a line.
    pub duplicated: u64,
    /// Lines of the files that are none that was printed.
    pub garbled: u64,
}

/// Counts.
pub fn count(script: &Script, printed: u64, files: &[PathBuf]) -> Result<Tally> {
    let mut tally = Tally { printed, ..Tally::default() };
    let mut seen = vec![false; usize::try_from(printed)?];
    for path in files {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        take(script, file, &mut seen, &mut tally).with_context(|| path.display().to_string())?;
    }
    tally.lost = seen.iter().filter(|seen| !**seen).count() as u64;
    Ok(tally)
}

fn take(script: &Script, file: File, seen: &mut [bool], tally: &mut Tally) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 20, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        if input.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let place = number(script, text).and_then(|n| seen.get_mut(usize::try_from(n).ok()?));
        match place {
            None => tally.garbled += 1,
            Some(seen) if *seen => tally.duplicated += 1,
            Some(seen) => *seen = true,
        }
    }
}

/// Which line it is: what the application printed, or the whole of what the runtime wrote.
fn number(script: &Script, text: &[u8]) -> Option<u64> {
    if let Some((n, _)) = script.recognise(text) {
        return Some(n);
    }
    let content = text.iter().position(|byte| *byte == b'{')?;
    let (n, time) = script.recognise(&text[content..])?;
    let mut raw = Vec::with_capacity(text.len() + 1);
    script.write(n, time, &mut raw);
    (raw.strip_suffix(b"\n") == Some(text)).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: i64 = 1_790_000_000_000_000_000;

    fn counted(printed: u64, files: &[Vec<Vec<u8>>]) -> Tally {
        let dir = tempfile::tempdir().unwrap();
        let name = |n: usize| dir.path().join(n.to_string());
        for (n, lines) in files.iter().enumerate() {
            std::fs::write(name(n), lines.join(&b"\n"[..])).unwrap();
        }
        count(&script(), printed, &(0..files.len()).map(name).collect::<Vec<_>>()).unwrap()
    }

    fn script() -> Script {
        Script::new(1, "row11", (180, 260))
    }

    /// Line `n`, and how the runtime writes it.
    fn line(n: u64) -> (Vec<u8>, Vec<u8>) {
        let time = TIME + i64::try_from(n).unwrap();
        let mut raw = Vec::new();
        script().write(n, time, &mut raw);
        raw.pop();
        (script().line(n, time), raw)
    }

    #[test]
    fn a_line_is_counted_in_whichever_file_and_form_it_is() {
        let files = [vec![line(0).0, line(3).1], vec![line(1).0], vec![line(2).1]];
        assert_eq!(counted(4, &files), Tally { printed: 4, ..Tally::default() });
    }

    #[test]
    fn what_is_nowhere_is_lost_and_what_is_there_thrice_is_duplicated_twice() {
        let files = [vec![line(0).0, line(2).0, line(2).0], vec![line(2).1]];
        assert_eq!(counted(4, &files), Tally { printed: 4, lost: 2, duplicated: 2, garbled: 0 });
    }

    #[test]
    fn a_line_that_was_changed_cut_or_never_printed_is_garbled() {
        let (content, raw) = line(0);
        let mut changed = raw.clone();
        changed[3] = b'9';
        let files = [vec![content[..50].to_vec(), changed, line(7).0, [&raw[..], &b"x"[..]].concat()]];
        assert_eq!(counted(1, &files), Tally { printed: 1, lost: 1, duplicated: 0, garbled: 4 });
    }
}
