//! Row 17: what evidence costs: links, batches and signatures, against hashing the same bytes once.
//!
//! In this process, on the measured core, with the code that a sidecar runs: [`BatchBuilder`] links each payload and seals
//! as the sidecar does, at 4,096 records or 256 KiB, and a session key signs. Packing is left out and told apart: what is
//! packed is not evidence. The peer hashes a file of the same payloads.

use std::time::Duration;

use anyhow::{Context as _, Result};
use indelible_chain::batch::{BatchBuilder, MAX_BATCH_RECORDS};
use indelible_chain::digest::Digest;
use indelible_chain::frame::Upload;
use indelible_chain::id::{ChainId, Head, SessionId, Time};
use indelible_chain::key::PrivateKey;
use indelible_chain::record::{Flags, RECORD_HEADER_BYTES, Record, Source};
use indelible_chain::stored::{Codec, Packer, Stored};
use rustix::time::{ClockId, clock_gettime};

use super::real;
use crate::corpus::{Workload, write_payloads};
use crate::pairs;
use crate::peers::openssl;
use crate::process::{Core, bind};
use crate::row::{Bound, Case, Durability, Outcome, Row, Side};
use crate::settings::Settings;
use crate::world::version;

/// At this size a sidecar seals a batch.
const BATCH_BYTES: usize = 256 * 1024;

/// The row.
pub const ROW: Row = Row {
    number: 17,
    measure: "price of evidence: CPU of links, batches and signatures",
    workload: "W1",
    cases: &[Case {
        name: "openssl dgst -sha256",
        unit: "×",
        each: "CPU-s/GB of payload",
        must: Some(Bound::AtMost(4.0)),
        aim: Some(Bound::AtMost(3.2)),
        ours: Side {
            name: "chain",
            does: "links each record over two levels, lays batches out, signs each, in one thread",
            class: Durability::None,
        },
        theirs: Some(Side { name: "openssl", does: "hashes the payloads as one file", class: Durability::None }),
    }],
    run,
};

fn run(row: &Row, settings: &Settings) -> Result<Vec<Outcome>> {
    let case = row.case("openssl dgst -sha256")?;
    let peer = match openssl::find() {
        Ok(peer) => peer,
        Err(error) => return Ok(vec![row.skipped(case, &error.to_string())]),
    };
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("payloads");
    write_payloads(&path, Workload::W1, settings.seed, settings.bytes() / 241)?;
    let payloads = std::fs::read(&path)?;
    let a_gb = |cpu: Duration| cpu.as_secs_f64() * 1e9 / real(payloads.len() as u64);

    let mut apart = Vec::new();
    bind(Core::Measured)?;
    let pairs = pairs::run(
        settings.pairs,
        || openssl::sha256(&peer, &path, dir.path()).map(|usage| a_gb(usage.cpu)),
        || {
            let cost = evidence(&payloads)?;
            apart.push((a_gb(cost.links), a_gb(cost.seals), a_gb(cost.packing)));
            Ok(a_gb(cost.links + cost.seals))
        },
    );
    bind(Core::Others)?;
    let (links, seals, packing) = apart.pop().context("there is at least one pair")?;
    let ours = version(settings, "indelible-sidecar")?;
    let outcome = row.compared(case, settings.pairs, &pairs?, (&ours, &peer.version)).noting(format!(
        "In CPU-s/GB of payload: links and laying out {links:.2}, seals {seals:.3}, and apart from the figure packing (zstd) {packing:.2}"
    ));
    Ok(vec![outcome])
}

/// CPU time of this thread, by what it was for.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    links: Duration,
    seals: Duration,
    packing: Duration,
}

fn now() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let whole = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
    whole + Duration::from_nanos(u64::try_from(time.tv_nsec).unwrap_or_default())
}

fn evidence(payloads: &[u8]) -> Result<Cost> {
    let chain = ChainId::new(Digest::sha256(b"bench"));
    let (session, key) = (SessionId::new(Digest::sha256(b"bench")), PrivateKey::from_seed(&[7; 32]));
    let (mut builder, mut packer) = (BatchBuilder::new(chain, Head::start_of(chain)), Packer::new()?);
    let (mut cost, mut time, mut begun) = (Cost::default(), 1_780_000_000_000_000_000, now());
    let mut rest = payloads;
    while let Some(newline) = memchr::memchr(b'\n', rest) {
        let (payload, after) = (&rest[..newline], &rest[newline + 1..]);
        let full = builder.body().len() + RECORD_HEADER_BYTES + payload.len() > BATCH_BYTES;
        if full || builder.count() >= MAX_BATCH_RECORDS {
            begun = seal(&mut builder, (session, &key), &mut packer, (&mut cost, begun))?;
        }
        builder.push(&Record { time: Time::from_nanos(time), source: Source::Stdout, flags: Flags::NONE, payload });
        time += 100_000;
        rest = after;
    }
    seal(&mut builder, (session, &key), &mut packer, (&mut cost, begun))?;
    Ok(cost)
}

fn seal(
    builder: &mut BatchBuilder,
    (session, key): (SessionId, &PrivateKey),
    packer: &mut Packer,
    (cost, begun): (&mut Cost, Duration),
) -> Result<Duration> {
    let linked = now();
    let commitment = builder.seal(session, key).context("a batch has records")?;
    let body = Stored { codec: Codec::Plain, bytes: &[] };
    std::hint::black_box(Upload { commitment, body }.encode());
    let sealed = now();
    std::hint::black_box(packer.pack(builder.body()));
    let packed = now();
    builder.clear();
    cost.links += linked.saturating_sub(begun);
    cost.seals += sealed.saturating_sub(linked);
    cost.packing += packed.saturating_sub(sealed);
    Ok(packed)
}
