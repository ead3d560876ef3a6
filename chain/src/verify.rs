//! The judge: is this evidence whole, authentic, complete and recent (section 6 of the format)?
//!
//! [`Judge`] takes what several sources show of several logs, recomputes every leaf hash, root, tile, signature and
//! link, joins each chain's batches over all logs, and gives a [`Report`]: four [`Verdicts`], the findings behind them,
//! and an exit code. It is sans-IO and has no clock: the caller reads sources and says what time it is ([`Terms`]).
//!
//! | module | owns |
//! | --- | --- |
//! | `terms` | by which rules, on whose word, at what time |
//! | `prepare` | one frame by itself: decode, unpack, links, signature; on any thread |
//! | `judge`, `intake`, `facts` | taking what sources show, in log order; the memory of it |
//! | `settle`, `join` | one log: are its leaves what it signed? one chain: which positions, which links |
//! | `classes` | the join table: one function a row, in the table's order |
//! | `report` | verdicts, findings, their ids, the exit code |

mod class;
mod classes;
mod facts;
mod intake;
mod join;
mod judge;
mod limits;
mod prepare;
mod report;
mod settle;
mod terms;
mod text;

pub use class::{Axis, Class, Level};
pub use facts::{SourceId, ViewId};
pub use judge::{Damage, Judge};
pub use prepare::{Frame, Keys, MAX_TOKEN_BYTES, Prepared, Preparer};
pub use report::{
    ChainSummary, Counts, Finding, LogSummary, Report, Route, Stretch, Verdict, Verdicts, exit_code, finding_id,
    verdicts,
};
pub use terms::{Expected, Known, KnownBy, Scope, SourceKind, Terms, TokenCheck, TokenVerdict};
