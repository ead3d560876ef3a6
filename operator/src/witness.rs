//! The cluster's witness: it cosigns a checkpoint of a pool's log after it has checked that it extends the last one.
//!
//! What is cosigned is decided by [`indelible_chain::witness`]; what was, is remembered per pool in one ConfigMap
//! ([`memory`], [`keeper`]); who asks is served by every operator, but only the one with the Lease answers ([`serve`]).
//!
//! The memory is also where keys are pinned: a log is known by the key that was seen first, and a collector that comes
//! with another one raises an alarm unless its volume was set aside. Alarms stay until somebody acknowledges them.
//!
//! Invariant: a cosignature leaves only after the head that it is for is durable, and of two operators that both believe
//! to hold the Lease one alone can write: an Update with the resourceVersion that was read.

pub mod keeper;
pub mod memory;
pub mod serve;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

pub use keeper::Handle;
pub use memory::Memory;

use crate::observed::PoolName;

/// The pools whose memory this process keeps; none while it does not hold the Lease.
pub type Board = watch::Sender<Option<Arc<BTreeMap<PoolName, Handle>>>>;

/// What of the board is read.
pub type Witnessed = watch::Receiver<Option<Arc<BTreeMap<PoolName, Handle>>>>;

#[cfg(test)]
mod tests;
