//! What the way of a line costs in allocations: counted over a million records, from the file to the sealed batch.
//!
//! One test alone in its program, because the count is of the whole process.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use indelible_chain::digest::Digest;
use indelible_chain::id::{SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_sidecar::capture::{Capture, Output, Pod, Settings, Signer};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const RECORDS: u64 = 1_000_000;

/// Works until this many records were handed out, each batch receipted at once.
fn work(capture: &mut Capture, now: &mut i64, records: u64) {
    let mut handed_out = 0;
    while handed_out < records {
        // Whatever waits for a flush is due.
        *now += Time::SECOND;
        for output in capture.work(Time::from_nanos(*now)) {
            match output {
                Output::Batch(sealed) => {
                    handed_out += u64::from(sealed.commitment.count);
                    capture.receipted(sealed.chain, sealed.commitment.head_after());
                }
                Output::Ask { container, .. } => capture.known(&container, false),
                Output::Introduce { .. } | Output::Closed(_) => {}
            }
        }
    }
    assert_eq!(handed_out, records);
}

#[test]
fn a_million_records_take_at_most_ten_thousand_allocations() {
    let dir = tempfile::tempdir().unwrap();
    let logs = dir.path().join("app");
    std::fs::create_dir(&logs).unwrap();
    let mut log = std::io::BufWriter::new(std::fs::File::create(logs.join("0.log")).unwrap());
    let print = |log: &mut std::io::BufWriter<std::fs::File>, lines: std::ops::Range<u64>| {
        for n in lines {
            let stream = if n % 10 == 0 { "stderr" } else { "stdout" };
            writeln!(log, "2026-01-01T00:00:00.{n:09}Z {stream} F {{\"n\":{n},\"msg\":\"order placed\"}}").unwrap();
        }
        log.flush().unwrap();
    };
    let settings = Settings {
        logs: dir.path().to_owned(),
        state: dir.path().join("state"),
        pod: Pod { cluster_uid: String::new(), namespace: "shop".into(), name: "api".into(), uid: "1".into() },
        boot_id: "boot".into(),
        excluded: vec!["state".into()],
        flush_interval: Duration::from_millis(250),
        max_batch_bytes: 256 << 10,
        max_held_bytes: 64 << 20,
        min_node_free_percent: 0,
    };
    let session = SessionId::new(Digest::sha256(b"session"));
    let signer = Arc::new(Signer { session, key: PrivateKey::from_seed(&[1; 32]) });
    let mut capture = Capture::open(settings, signer).unwrap();

    // Buffers grow to their sizes first: with them the chain's own first record.
    print(&mut log, 0..20_000);
    let mut now = 1_800_000_000 * Time::SECOND;
    work(&mut capture, &mut now, 20_000 + 1);
    print(&mut log, 20_000..20_000 + RECORDS);

    let _profiler = dhat::Profiler::builder().testing().trim_backtraces(Some(4)).build();
    work(&mut capture, &mut now, RECORDS);
    let counted = dhat::HeapStats::get().total_blocks;
    println!("{counted} allocations for {RECORDS} records");
    assert!(counted <= RECORDS / 100, "{counted} allocations for {RECORDS} records: at most 0.01 each");
}
