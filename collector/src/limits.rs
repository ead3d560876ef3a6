//! Every bound of the collector, by name: queues, bodies, groups, caches, files that are open.
//!
//! A number that limits something stands here and nowhere else. What is full is a visible state: each doc comment says
//! what a caller sees then.

use std::time::Duration;

/// Requests that wait for the store's writer; beyond it `AppendError::Busy`.
pub const QUEUED_APPENDS: usize = 4096;
/// Bytes of the requests that wait for the store's writer; beyond it `AppendError::Busy`.
pub const QUEUED_APPEND_BYTES: usize = 64 << 20;
/// Requests that one group commit takes; the others wait for the next.
pub const GROUP_ITEMS: usize = 4096;
/// Bytes after which a group commit takes no further request.
pub const GROUP_BYTES: usize = 8 << 20;

/// How long the store's writer may be at one group before nothing new is taken (`AppendError::Stalled`), and the collector
/// is not ready.
pub const MAX_GROUP_TIME: Duration = Duration::from_secs(5);
/// How often the writer looks at the volume's free bytes when it has nothing else to do.
pub const LOOK_AT_VOLUME: Duration = Duration::from_secs(1);

/// The default of `--segment-bytes`.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// The least `--segment-bytes`.
pub const MIN_SEGMENT_BYTES: u64 = 1 << 10;
/// The most `--segment-bytes`: offsets in an index have 32 bits, and a group may go beyond.
pub const MAX_SEGMENT_BYTES: u64 = 2 << 30;
/// The default of `--checkpoint-interval`.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// Free bytes of the volume under which nothing new is taken (`AppendError::NoSpace`): two segments of the default
/// size, so that tiles, checkpoints and the seal still fit.
pub const MIN_FREE_BYTES: u64 = 2 * SEGMENT_BYTES;

/// Conflicts that are stored for one chain; a further batch that contradicts gets `AppendError::TooManyConflicts`.
pub const CONFLICTS_PER_CHAIN: u32 = 16;
/// For how long sessions and chains stay in memory after they were last written; then they are found on disk.
pub const REMEMBERED: Duration = Duration::from_hours(1);
/// Sessions, and likewise chains, that stay in memory; beyond it those written longest ago are found on disk.
pub const REMEMBERED_ITEMS: usize = 32_768;
/// Bytes that are read from a segment at a time.
pub const READ_CHUNK_BYTES: usize = 256 << 10;
/// Bytes that are read from a segment at a time where only the leaves are wanted.
pub const READ_LEAF_BYTES: usize = 4 << 10;
/// Segments and indexes that stay open to be read; beyond it the one used longest ago is closed.
pub const OPEN_FILES: usize = 64;
/// Leaves after which a segment is followed by the next whatever its size: what stands where in it is in memory.
pub const LEAVES_PER_SEGMENT: u32 = 1 << 18;
/// Leaves between two offsets that an index keeps: so many frames' heads are passed at most to come to a leaf.
pub const LEAVES_PER_OFFSET: u32 = 64;
/// Bytes of the filter that says which ids a sealed segment cannot hold; fuller filters cost reads, never answers.
pub const FILTER_BYTES: usize = 4 << 10;
/// Longest index file.
pub const MAX_INDEX_BYTES: usize = 1 << 30;
/// Leaves that one checkpoint takes in; more wait for the next, which follows at once.
pub const LEAVES_PER_CHECKPOINT: u64 = 65_536;
/// One checkpoint is kept in so much time.
pub const KEPT_CHECKPOINT_EVERY: Duration = Duration::from_mins(1);
/// A log without a leaf for so long appends a statement 10.
pub const SIGN_OF_LIFE_AFTER: Duration = Duration::from_mins(1);
/// Most torn tails at one index; one more is refused until a person has looked.
pub const TORN_TAILS_PER_INDEX: u32 = 1000;
/// Hashes of durable leaves that wait to be compared with the bytes on disk.
pub const PROMISED_HASHES: usize = 1 << 20;
/// Chains that are read at a time from each index when all are listed.
pub const CHAINS_PER_READ: usize = 16;
/// Longest of the small files of a data directory: key, vkey, version, checkpoint.
pub const SMALL_FILE_BYTES: usize = 64 << 10;
/// Leaves after a torn tail's index in which its statement is looked for.
pub const LEAVES_OF_STARTS: u64 = 1024;
/// Longest bundle: 256 leaves of the greatest length.
pub const MAX_BUNDLE_BYTES: usize = 256 * (2 + 65_535);
/// Directories of tiles that are remembered to be there.
pub const KNOWN_DIRS: usize = 4096;
/// How long sealing waits before it tries again to get into a full queue.
pub const SEAL_RETRY: Duration = Duration::from_millis(5);

/// The least `--checkpoint-interval`.
pub const MIN_CHECKPOINT_INTERVAL: Duration = Duration::from_millis(10);
/// The most `--checkpoint-interval`.
pub const MAX_CHECKPOINT_INTERVAL: Duration = Duration::from_mins(10);

// Tokens and their keys.

/// Issuers of tokens.
pub const MAX_ISSUERS: usize = 16;
/// Bytes of a token; beyond it 401.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;
/// Bytes of a claim that goes into a leaf; beyond it 401.
pub const MAX_CLAIM_BYTES: usize = indelible_chain::bytes::MAX_STRING;
/// Seconds by which the clocks of issuer and collector may differ, where no evidence depends on it.
pub const TOKEN_LEEWAY_SECONDS: i64 = 60;
/// Seconds that a token must still live to introduce a session: its leaf must be dated before the token's end.
pub const TOKEN_MARGIN_SECONDS: i64 = 10;
/// Seconds after its end in which a token still carries batches of an introduced session.
pub const LATE_BATCH_SECONDS: i64 = 24 * 3600;
/// Tokens that are remembered as good; beyond it they are checked again.
pub const MAX_CACHED_TOKENS: usize = 16_384;
/// Bytes of a key set; a larger file is refused and the old one stays.
pub const MAX_JWKS_BYTES: usize = 256 << 10;
/// Keys of a key set.
pub const MAX_JWKS_KEYS: usize = 64;
/// Bytes of the modulus of an RSA key: 2048 bits.
pub const MIN_RSA_BYTES: usize = 256;

// What pods may introduce.

/// Sessions that one pod may introduce within an hour; beyond it 429.
pub const MAX_SESSIONS_PER_HOUR: u32 = 60;
/// Chains that one pod may introduce within a day; beyond it 429.
pub const MAX_CHAINS_PER_DAY: u32 = 256;
/// Statements that one pod may send within an hour; beyond it 429.
pub const MAX_STATEMENTS_PER_HOUR: u32 = 600;
/// Pods that are counted for these; beyond it the counts that began longest ago are forgotten.
pub const MAX_COUNTED_PODS: usize = 65_536;
/// The longest that who has written more than its limit is told to wait: the limit may be raised meanwhile.
pub const MAX_BUDGET_RETRY: Duration = Duration::from_mins(5);
/// Authorities whose keys are known.
pub const MAX_AUTHORITIES: usize = 16;
/// Bytes of the list of opted-in namespaces.
pub const MAX_NAMESPACES_BYTES: usize = 4 << 20;
/// Opted-in namespaces.
pub const MAX_NAMESPACES: usize = 16_384;
/// Namespaces that wait for the list to name them.
pub const MAX_WAITING_NAMESPACES: usize = 1024;
/// Seconds for which a namespace that is not in the list is told to come again.
pub const NAMESPACE_GRACE_SECONDS: i64 = 120;

// Heartbeats and what else is remembered of pods.

/// Sessions whose newest heartbeat is held; beyond it 503 for new ones.
pub const MAX_HEARD_SESSIONS: usize = 32_768;
/// Bytes that newest heartbeats take in memory; beyond it 503.
pub const MAX_HEARD_BYTES: usize = 64 << 20;
/// Seconds after which a silent session gives way when room is needed.
pub const HEARD_FOR_SECONDS: i64 = 900;
/// Seconds for which a session's heartbeat in the log is young enough.
pub const LIVENESS_SECONDS: i64 = 300;
/// How often liveness leaves are written.
pub const LIVENESS_TICK: Duration = Duration::from_mins(1);
/// Requests that wait for what is remembered of pods; beyond it 503.
pub const DESK_QUEUE: usize = 1024;

// Files that are read again.

/// How often files are looked at for changes.
pub const RELOAD_TICK: Duration = Duration::from_secs(1);
/// Bytes of a certificate chain or key file.
pub const MAX_PEM_BYTES: usize = 256 << 10;
/// Certificates of a chain.
pub const MAX_CERTIFICATES: usize = 16;
/// Bytes of the pool file.
pub const MAX_POOL_BYTES: usize = 1 << 20;
/// Collectors of a pool.
pub const MAX_POOL_COLLECTORS: usize = 1024;

// The metrics page.

/// Connections to the metrics page; further ones wait.
pub const MAX_METRICS_CONNECTIONS: usize = 16;
/// How long a connection to the metrics page may last.
pub const METRICS_TIMEOUT: Duration = Duration::from_mins(1);

// Connections.

/// Connections; one more is closed at once, if all have shown a token. Each may hold a window of bytes that were not
/// asked for yet.
pub const MAX_CONNECTIONS: usize = 4096;
/// Connections on which one pod's token was the first good one; one more gets 429, and is closed as one without a token.
pub const MAX_POD_CONNECTIONS: usize = 64;
/// How long a TLS handshake, or the head of a request for metrics, may take.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections on which no good token was shown yet; one more, and the oldest of them is closed. One more than
/// [`MAX_CONNECTIONS`] likewise takes the place of the oldest of them, if there is one.
pub const MAX_STRANGERS: usize = 1024;
/// How long a connection may last on which no good token was shown; then it is closed.
pub const TOKEN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent, although it is pinged.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(75);
/// How often a silent peer is pinged.
pub const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long a ping may be unanswered.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes that a peer may send on one stream before they are taken.
pub const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes that a peer may send on one connection before they are taken. Bodies are taken as they come, or refused.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of an HTTP/2 frame.
pub const H2_FRAME_BYTES: u32 = 256 << 10;
/// Requests at a time on one connection; further ones wait.
pub const MAX_STREAMS_PER_CONNECTION: u32 = 128;
/// Bytes of a request's head: a token and what stands round it.
pub const MAX_HEADER_BYTES: u32 = 24 << 10;
/// Bytes of an answer that wait in one stream for a peer to take them.
pub const MAX_SEND_BUFFER_BYTES: usize = 256 << 10;
/// Pause after a connection could not be accepted.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

// The end: some seconds where pods and readers go on as usual, and never more than `END_TIMEOUT` in all.

/// The whole end at the worst, with a volume and a reader that use all of their time: well within a grace period of 60 s.
/// Where the volume takes the seal at once, a slow reader does not bring it near Kubernetes' default of 30 s either.
pub const END_TIMEOUT: Duration = LAST_WRITES.saturating_add(SEAL_TIMEOUT).saturating_add(DRAIN_TIMEOUT);
/// How long pods may go on writing when the collector ends, before the log is sealed.
pub const LAST_WRITES: Duration = Duration::from_secs(2);
/// For how long no pod must have written to end that earlier.
pub const NO_MORE_WRITES: Duration = Duration::from_millis(50);
/// How long the seal may take.
pub const SEAL_TIMEOUT: Duration = Duration::from_secs(20);
/// How long requests in flight may take once the log has its end.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// How long the last answers may take to reach their peers then. Twice that is left to those who ask for more, before
/// connections are told to go away.
pub const LAST_ANSWERS: Duration = Duration::from_secs(1);

const _: () = assert!(END_TIMEOUT.as_secs() < 45, "a grace period of 60 s has room for the end");
const _: () = assert!(LAST_WRITES.as_secs() + DRAIN_TIMEOUT.as_secs() < 20, "one of 30 s has, if the seal is quick");

// Requests.

/// Bytes of request bodies that are held at a time, for all; beyond it 503. With the windows and buffers of 64 connections
/// that send all they may, and a group that is being written, a collector stays clear of 256 MiB (docs/benchmarks.md, 18).
pub const MAX_BODY_BYTES_IN_FLIGHT: usize = 96 << 20;
/// Bytes of request bodies that are held at a time for one pod; beyond it 429. A sidecar sends a quarter of it
/// at a time.
pub const MAX_POD_BODY_BYTES: usize = 16 << 20;
/// Requests of one pod in flight; beyond it 429.
pub const MAX_POD_REQUESTS: usize = 128;
/// How long a body may take to come in; beyond it 408.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of a query.
pub const MAX_QUERY_BYTES: usize = 4096;
/// Bytes of `PUT /v1/sessions`: a key, nine strings of the greatest length, a time.
pub const MAX_SESSION_BODY_BYTES: usize = 1 + 32 + 9 * (2 + 1024) + 8;
/// Bytes of `PUT /v1/chains`: an id and a genesis with six strings of the greatest length.
pub const MAX_CHAIN_BODY_BYTES: usize = 32 + 2 + 6 * (2 + 1024) + 8;
/// Bytes of `POST /v1/batches`: a commitment and a stored body.
pub const MAX_BATCH_BODY_BYTES: usize =
    indelible_chain::batch::COMMITMENT_BYTES + 5 + indelible_chain::frame::MAX_STORED_BYTES;
/// Bytes of `POST /v1/heartbeats`: all heads and all receipts that one may have.
pub const MAX_HEARTBEAT_BYTES: usize = 73
    + 2
    + indelible_chain::heartbeat::MAX_HEADS * 72
    + 2
    + indelible_chain::heartbeat::MAX_RECEIPTS * (2 + 1024 + indelible_chain::receipt::KEPT_RECEIPT_BYTES)
    + 64;
/// Bytes of `POST /v1/statements`: a kind, the longest JSON, a key's id, a signature.
pub const MAX_STATEMENT_BODY_BYTES: usize = 2 + 4 + indelible_chain::statement::MAX_STATEMENT_BYTES + 4 + 64;

// Answers.

/// Items of a list; a client goes on with `after`.
pub const MAX_LISTED: usize = 1000;
/// Bytes of answers to readers that are held until they are sent, for all, streams apart; beyond it 503.
pub const MAX_ANSWER_BYTES_IN_FLIGHT: usize = 128 << 20;
/// Bytes of answers that are held until they are sent, for one pod; beyond it 429.
pub const MAX_POD_ANSWER_BYTES: usize = 8 << 20;
/// Answers that are streamed or put together from disk at a time; beyond it 503.
pub const MAX_STREAMS_OUT: usize = 64;
/// Readers that wait for new leaves; beyond it 503.
pub const MAX_WAITING_READERS: usize = 1024;
/// The longest `wait`.
pub const MAX_WAIT: Duration = Duration::from_secs(30);
/// Bytes of an answer of frames; a client goes on from the index after the last one.
pub const MAX_STREAM_BYTES: usize = 64 << 20;
/// Bytes that are read at a time for an answer of frames.
pub const STREAM_PIECE_BYTES: usize = 256 << 10;
/// How long a client may leave a piece or a whole answer untaken; then its connection is closed.
pub const STREAM_TIMEOUT: Duration = Duration::from_mins(1);

// Witnesses.

/// Witnesses that are asked.
pub const MAX_WITNESSES: usize = 16;
/// Bytes of the ConfigMap's lines of witnesses.
pub const MAX_WITNESS_LINES_BYTES: usize = 64 << 10;
/// How often a witness is asked for a cosignature, if there is a newer checkpoint: each that got one is kept.
pub const COSIGN_INTERVAL: Duration = Duration::from_secs(30);
/// How long a witness may take.
pub const COSIGN_TIMEOUT: Duration = Duration::from_secs(20);
/// How often a witness is asked in a row while nobody there is it at the moment (503).
pub const COSIGN_TRIES: u32 = 10;
/// How long between two of these.
pub const COSIGN_RETRY: Duration = Duration::from_millis(500);
/// The most pause after a witness was away or did not cosign: when it is back, readers wait for it.
pub const MAX_COSIGN_PAUSE: Duration = Duration::from_mins(1);
/// Bytes of a witness' answer.
pub const MAX_COSIGN_ANSWER_BYTES: usize = 64 << 10;
/// How long witnesses may take to cosign the last checkpoint, while readers get the last of the log.
pub const LAST_COSIGNATURES: Duration = Duration::from_secs(15);

// What a collector asks others: the API server, issuers.

/// Bytes of a URL.
pub const MAX_URL_BYTES: usize = 2048;
/// Addresses of a host that are tried.
pub const MAX_ADDRESSES: usize = 8;
/// How long one address may take to connect, and a TLS handshake.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the API server may take to answer.
pub const API_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests to the API server at a time; further ones wait.
pub const MAX_API_CALLS: usize = 16;
/// Bytes of the API server's answer to a review.
pub const MAX_API_ANSWER_BYTES: usize = 256 << 10;
/// The least pause after the API server was away, or made no sense.
pub const MIN_API_PAUSE: Duration = Duration::from_secs(1);
/// The most: a collector that is not told of a new pool in time is no use to it.
pub const MAX_API_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of an event of the ConfigMap that is watched: 1 MiB of data, escaped, with what stands round it.
pub const MAX_CONFIGMAP_BYTES: usize = 4 << 20;
/// Seconds that a watch is asked to last.
pub const WATCH_SECONDS: u64 = 120;
/// A watch that is over before that has failed.
pub const LEAST_WATCH: Duration = Duration::from_secs(1);
/// How long a watch may be silent: longer than it lasts, since the API server has nothing to say of what does not change.
pub const WATCH_SILENCE: Duration = Duration::from_secs(WATCH_SECONDS + 30);
/// How long an issuer's keys may take to come.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest that an issuer's keys are used before they are fetched again.
pub const MAX_JWKS_AGE: Duration = Duration::from_hours(1);
/// The shortest, whatever the issuer says and however many unknown keys tokens name.
pub const MIN_JWKS_AGE: Duration = Duration::from_mins(1);
/// The most pause after an issuer was away.
pub const MAX_JWKS_PAUSE: Duration = Duration::from_mins(1);
/// For how long it is known what a reader may read.
pub const REVIEWED: Duration = Duration::from_mins(1);
/// Readers of whom that is known; beyond it those asked for longest ago are asked for again.
pub const MAX_REVIEWED: usize = 4096;
/// Opted-in namespaces that are asked for one by one whether a reader may read their pods' logs.
pub const MAX_REVIEWED_NAMESPACES: usize = 1024;
/// Of these at a time for one reader.
pub const REVIEWS_AT_A_TIME: usize = 8;
/// Sessions of which it is known while an answer is put together whether its reader sees them.
pub const MAX_SEEN_SESSIONS: usize = 4096;

/// How long `await` waits for a certificate.
pub const AWAIT_TIMEOUT: Duration = Duration::from_secs(4);
/// How often it looks.
pub const AWAIT_TICK: Duration = Duration::from_millis(100);
