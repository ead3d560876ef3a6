//! Every bound of this program, by name.
//!
//! What it reads comes from disks and servers that may be hostile, so each file, answer, list and wait has a limit. A
//! limit that is met is an error or a finding that names it, never a silent cut.

use std::time::Duration;

/// Largest signed checkpoint that is read.
pub const MAX_CHECKPOINT_BYTES: usize = 64 * 1024;
/// Largest `version` of a data directory.
pub const MAX_VERSION_BYTES: usize = 1024;
/// Most kept checkpoints of one data directory that are read; one a minute for two years are fewer.
pub const MAX_KEPT_CHECKPOINTS: usize = 1 << 20;
/// Bytes of all checkpoints of one data directory.
pub const MAX_NOTES_BYTES: usize = 512 * 1024 * 1024;
/// Most pages of a collector's list of kept checkpoints; two years of them are half as many.
pub const MAX_CHECKPOINT_PAGES: usize = 2048;
/// Most kept checkpoints that are fetched from one collector, newest first.
pub const MAX_FETCHED_CHECKPOINTS: usize = 256;
/// Most files of one directory of a source.
pub const MAX_DIRECTORY_ENTRIES: usize = 1 << 22;
/// Bytes that are read from a segment at a time.
pub const READ_BYTES: usize = 1 << 20;
/// How many bytes may be checksummed for each byte of a damaged segment while looking for its next intact frame.
pub const RESYNC_WORK: u64 = 64;

/// Largest policy, key set, list of accepted findings or PEM file that is read.
pub const MAX_CONFIG_BYTES: usize = 4 * 1024 * 1024;
/// Largest list of expected containers.
pub const MAX_EXPECT_BYTES: usize = 256 * 1024 * 1024;
/// Most receipts of one directory.
pub const MAX_RECEIPTS: usize = 1 << 20;
/// Largest state of `--state` for one log.
pub const MAX_STATE_BYTES: usize = MAX_CHECKPOINT_BYTES;
/// Most logs of one run.
pub const MAX_SOURCES: usize = 1024;

/// How long a connection to a collector may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a collector may take to begin its answer, beside what it was asked to wait.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may stand still.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The least that an answer must bring of each second that is waited for it, once it has gone on for that long.
pub const MIN_BYTES_PER_SECOND: u64 = 16 * 1024;
/// Largest answer that is read piece by piece; a collector ends one of frames far before.
pub const MAX_STREAM_BYTES: u64 = 1024 * 1024 * 1024;
/// Longest part of a server's explanation that is repeated to the user.
pub const MAX_PROBLEM_BYTES: usize = 4096;
/// Largest header list of an answer.
pub const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// What the server may send of one answer before it is read.
pub const WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// Witnesses that are asked side by side for what they hold.
pub const WITNESSES_AT_ONCE: usize = 16;
/// After this long, a witness is asked for no further log.
pub const WITNESS_TIME: Duration = Duration::from_mins(1);
/// How often an answer that broke off, or a server that was busy, is asked again.
pub const MAX_RETRIES: u32 = 4;
/// The wait before the first of these; each further one doubles it.
pub const RETRY_WAIT: Duration = Duration::from_millis(250);
/// Tiles that are asked for at once.
pub const TILES_AT_ONCE: usize = 16;
/// Frames that are read from a collector with one that is asked for.
pub const READ_AHEAD_FRAMES: u64 = 64;
/// Bytes of them that are kept.
pub const READ_AHEAD_BYTES: usize = 8 * 1024 * 1024;
/// Longest line that `logs` joins of its parts; a longer one is printed in pieces of this length.
pub const MAX_JOINED_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of all lines that `logs` has only parts of; beyond it such a line is printed in pieces.
pub const MAX_OPEN_BYTES: usize = 256 * 1024 * 1024;
/// Batches of one chain that `logs --follow` holds until those before them come; then it goes on without them.
pub const MAX_HELD_BATCHES: usize = 256;
/// Bytes of the batches of all chains that it holds so, and of their records' links.
pub const MAX_HELD_BYTES: usize = 64 * 1024 * 1024;
/// Ends of batches of one chain, the last ones, whose links it keeps to hold against them what comes again.
pub const MAX_COMPARED_ENDS: usize = 256;
/// Bytes of leaves and bodies that it holds of a log until it knows that a checkpoint covers them; what is beyond is
/// read once more then.
pub const MAX_UNCOVERED_BYTES: usize = 16 * 1024 * 1024;
/// Leaves that may come under one checkpoint; then the log is not followed any more.
pub const MAX_UNCOVERED_LEAVES: u64 = 1 << 22;
/// Frames that wait between a followed source and the printer.
pub const FOLLOW_QUEUE: usize = 64;
/// Largest JSON answer of a collector.
pub const MAX_JSON_BYTES: usize = 16 * 1024 * 1024;
/// How long `logs --follow` lets a collector wait for news.
pub const FOLLOW_WAIT: Duration = Duration::from_secs(30);
/// How often `logs --follow` looks into a data directory, and the first wait for a log that is away.
pub const FOLLOW_POLL: Duration = Duration::from_secs(1);
/// The longest wait before it asks a log again that is away.
pub const MAX_AWAY_WAIT: Duration = Duration::from_secs(30);
/// How often it asks for the checkpoint that a leaf waits for.
pub const CHECKPOINT_POLL: Duration = Duration::from_millis(250);
/// After this long, something that still works shows its progress on a terminal.
pub const PROGRESS_AFTER: Duration = Duration::from_secs(1);
/// Most chains of one collector that are asked for.
pub const MAX_LISTED_CHAINS: usize = 100_000;
/// Of so many chains of a collector `status` asks for the heads, one by one.
pub const MAX_ASKED_HEADS: usize = 256;

/// How long a connection to a cluster's API server may take.
pub const API_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an API server may take for one answer.
pub const API_TIMEOUT: Duration = Duration::from_secs(30);
/// Objects of a list that are asked for at once.
pub const API_PAGE: u32 = 500;
/// Most pods of one namespace that are listed.
pub const MAX_LISTED_PODS: usize = 100_000;
/// Most namespaces that are listed.
pub const MAX_NAMESPACES: usize = 20_000;
/// How long a reader token that is asked for lives.
pub const READER_TOKEN_LIFE: Duration = Duration::from_hours(1);
/// Most sessions of one collector that are listed.
pub const MAX_SESSIONS: usize = 200_000;
/// How long the operator may take to take an acknowledgement.
pub const ACKNOWLEDGE_WAIT: Duration = Duration::from_mins(2);
/// How often it is looked whether it has.
pub const ACKNOWLEDGE_POLL: Duration = Duration::from_secs(1);
/// Longest reason of an acknowledgement, in bytes.
pub const MAX_REASON_BYTES: usize = 1024;

/// Largest request to cosign that the witness reads: the longest proof and a checkpoint with lines of others fit.
pub const MAX_WITNESS_BODY_BYTES: usize = 32 * 1024;
/// Largest checkpoint that it keeps: the largest that it reads, with its own line.
pub const MAX_KEPT_NOTE_BYTES: usize = 2 * MAX_WITNESS_BODY_BYTES;
/// Most logs that one witness knows.
pub const MAX_WITNESSED_LOGS: usize = 4096;
/// Larger checkpoints of one log that are stored at once; and how often one more.
pub const LOG_BURST: u32 = 64;
/// How often a log may grow, beside such a burst.
pub const LOG_INTERVAL: Duration = Duration::from_millis(200);
/// Connections to the witness that are open at once. One more takes the place of the one that was idle for longest.
pub const MAX_WITNESS_CONNECTIONS: usize = 512;
/// Connections that ask for its counts.
pub const MAX_METRICS_CONNECTIONS: usize = 16;
/// Requests of one HTTP/2 connection to it at once.
pub const MAX_WITNESS_STREAMS: u32 = 4;
/// What a client may send of its requests on one connection before they are read: no request is larger.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
pub const WITNESS_WINDOW_BYTES: u32 = 2 * MAX_WITNESS_BODY_BYTES as u32;
/// Headers of a request to it.
pub const MAX_WITNESS_HEADERS: usize = 64;
/// Requests that it judges at once; others wait.
pub const WITNESS_JUDGES: usize = 16;
/// How long the head of a request to it may take.
pub const WITNESS_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the body may take, and how long a request waits to be judged.
pub const WITNESS_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection to it may be without a request.
pub const WITNESS_IDLE: Duration = Duration::from_secs(30);
/// How long requests in hand have at its end.
pub const WITNESS_DRAIN: Duration = Duration::from_secs(5);
/// The wait after a connection could not be accepted, and between two looks at those that end.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

const _: () = assert!(MAX_KEPT_NOTE_BYTES >= MAX_WITNESS_BODY_BYTES + indelible_chain::note::MAX_LINE_BYTES + 2);
