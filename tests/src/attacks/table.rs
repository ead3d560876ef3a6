//! The table: each attack with the verdicts, the exit code, the class and the sentence that it must lead to.
//!
//! In the order of what a reader asks first: the log that was signed again with its own key, then what else is done to
//! logs and to what is read of them, then what sidecars, networks and failures do.

mod logs;
mod running;
mod stolen;

use std::sync::LazyLock;

use super::Attack;
use super::Verdict::{self, Fail, Pass, Unknown, Warn};

const INTEGRITY: [Verdict; 4] = [Fail, Pass, Pass, Pass];
const AUTHENTICITY: [Verdict; 4] = [Pass, Fail, Pass, Pass];
const COMPLETENESS: [Verdict; 4] = [Pass, Pass, Fail, Pass];
const EXPLAINED: [Verdict; 4] = [Pass, Pass, Warn, Pass];
const FRESHNESS: [Verdict; 4] = [Pass, Pass, Pass, Warn];
const NOTHING_RAISED: [Verdict; 4] = [Pass; 4];
const UNJUDGED: [Verdict; 4] = [Unknown; 4];

/// What a report comes down to over which nothing was raised.
const HOLDS: &str = "Everything that is here is what was recorded, and nothing is missing. (exit 0)";

/// A chain that ends before it has been closed.
const UNCLOSED: &str = "the chain of container app of pod {…} stopped without an end: record {n} would be its next, and its \
    last sign of life was at {time}, {…} ago (leaf {n} of log {…}). See whether the pod still runs and \
    its sidecar reaches the pool.";

/// All attacks.
pub static TABLE: LazyLock<Vec<Attack>> = LazyLock::new(|| [stolen::ROWS, logs::ROWS, running::ROWS].concat());
