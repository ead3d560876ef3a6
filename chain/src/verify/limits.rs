//! The judge's thresholds and bounds, each named once.

use crate::id::Time;

/// How far a time may lie in the future, and by how much `received_at` may fall: 60 s.
pub(super) const FUTURE: i64 = 60 * Time::SECOND;
/// How long a session may go on after another of its pod was introduced, or a pod's session come after its end: 60 s.
pub(super) const OVERLAP: i64 = 60 * Time::SECOND;
/// How much later than a receipt a log's leaf is dated, before a checkpoint without the receipted leaf convicts: 60 s.
pub(super) const RECEIPT_LAG: i64 = 60 * Time::SECOND;
/// How long evidence may be on its way, and how old a log's or chain's newest sign of life may be: 11 min.
pub(super) const QUIET: i64 = 11 * 60 * Time::SECOND;
/// How far a heartbeat's time and its leaf's may lie apart: 11 min.
pub(super) const APART: i64 = QUIET;
/// Most leaves, chains or ranges that one text names; the rest is counted.
pub(super) const NAMED: usize = 5;
/// Most leaves of a view that are kept because only a bundle shows them.
pub(super) const MAX_LOST_LEAVES: usize = 1024;
/// Most flaws of a view that are told one by one; how many more there are is told once.
pub(super) const MAX_FLAWS: usize = 1000;
