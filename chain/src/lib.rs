//! The evidence format of Indelible, version 1.
//!
//! Everything that is hashed or signed is defined in this crate, byte by byte, so that a second implementation in
//! another language can be written from these pages. No clock, no file, no socket: bytes in, bytes or verdicts out.
//!
//! | section | modules |
//! | --- | --- |
//! | conventions | [`bytes`], [`digest`], [`id`], [`json`], [`key`] |
//! | 1 records and chains | [`record`], [`genesis`], [`control`]; [`spec::from_files`], [`spec::incarnations`] |
//! | 2 sessions and batches | [`session`], [`batch`], [`heartbeat`] |
//! | 3 leaves of a log | [`leaf`], [`statement`], [`receipt`] |
//! | 4 the Merkle log (RFC 6962, C2SP) | [`merkle`], [`tile`], [`note`], [`checkpoint`], [`cosignature`], [`policy`], [`tlog_proof`], [`witness`], [`record_proof`], [`sparse`] |
//! | 5 what is sent and stored | [`stored`], [`frame`], [`spec::interface`] |
//! | 6 joining chains, judging logs | [`spec::joining`], [`verify`] |
//!
//! Worked through in hex: one line, from a container to a tree, in [`spec::example`]; everything that is sent and signed
//! around it in [`spec::worked`].
//!
//! **Conventions.** Integers are big-endian; `lp16(x)` is a u16 length then the bytes, `lp32(x)` likewise; strings are
//! UTF-8 of at most 1,024 bytes unless said otherwise; times are i64 nanoseconds since the Unix epoch, UTC; digests
//! are SHA-256; hex is lower case; base64 is standard, padded, canonical; decimals have no leading zeros. Errors,
//! always: trailing bytes, reserved flag bits, invalid UTF-8, an unlisted version, capture, source, attestation or
//! codec. Only unknown leaf types and statement kinds are tolerated. Collector and verifier share every decoder.

pub mod batch;
pub mod bytes;
pub mod checkpoint;
pub mod control;
pub mod cosignature;
pub mod digest;
pub mod frame;
pub mod genesis;
pub mod heartbeat;
pub mod id;
pub mod json;
pub mod key;
pub mod leaf;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod receipt;
pub mod record;
pub mod record_proof;
pub mod session;
pub mod sparse;
pub mod spec;
pub mod statement;
pub mod stored;
pub mod tile;
pub mod tlog_proof;
pub mod verify;
pub mod witness;
