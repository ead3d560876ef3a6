//! What a sidecar reads that others wrote: containers' log files and their names, collectors' answers, its own state.

use indelible_sidecar::cri::{self, Scan};
use indelible_sidecar::files::{FileName, first_time};
use indelible_sidecar::forward::pool::PoolList;
use indelible_sidecar::journal::{self, entry::Entry};

use super::corpus::Target;

/// Targets by name.
pub const TARGETS: &[Target] =
    &[("sidecar_cri", cri), ("sidecar_file_name", file_name), ("sidecar_pool", pool), ("sidecar_journal", journal)];

/// Every prefix of a line is judged as the line is, or not yet.
fn cri(data: &[u8]) {
    let whole = cri::scan(data);
    if let Scan::Line { content, .. } = whole {
        assert!(content <= data.len());
        // Whatever the content is, it changes nothing.
        assert_eq!(cri::scan(&data[..content]), whole);
    }
    first_time(data);
}

fn file_name(data: &[u8]) {
    let Ok(name) = std::str::from_utf8(data) else { return };
    if let Some(parsed) = FileName::parse(name) {
        assert!([parsed.base.clone(), format!("{}.gz", parsed.base)].contains(&name.to_owned()));
        assert!(parsed.base.starts_with(&FileName::live(parsed.restart)));
    }
}

fn pool(data: &[u8]) {
    if let Ok(list) = PoolList::parse(data) {
        assert!(list.collectors.len() <= data.len());
    }
}

/// An entry's content, which a checksum guards against chance and not against people.
fn journal(data: &[u8]) {
    let frame = framed(data);
    if let Ok((entry, length)) = Entry::decode(&frame) {
        assert_eq!(length, frame.len());
        let mut written = Vec::new();
        entry.encode_into(&mut written);
        // What follows from the rows is not taken from the bytes, so these may differ.
        assert_eq!(Entry::decode(&written).map(|(again, _)| again), Ok(entry));
    }
    // What can be read can be made a state of, whatever the state was.
    let origin = framed(include_bytes!("../corpus/sidecar_journal/entry-1-0"));
    journal::load(&[&*origin, &frame, &frame].concat());
}

fn framed(entry: &[u8]) -> Vec<u8> {
    let length = u32::try_from(entry.len()).expect("no input is so long");
    [&length.to_be_bytes()[..], &crc32c::crc32c(entry).to_be_bytes(), entry].concat()
}
