//! The judge: is this evidence whole, authentic, complete and recent ([section 6](crate::spec::joining) of the format)?
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
//! | `settle`, `tiles` | one log: are its leaves what it signed, and if not, where does it begin? |
//! | `join`, `fork` | one chain: which positions are in evidence, do all links agree? |
//! | `sources`, `blame` | which logs there are and what is claimed of them; what became of what is missing |
//! | `case` | all that together, and the names of things for people |
//! | `classes` | the join table: one function a row, in the table's order |
//! | `report` | verdicts, findings, their ids, the exit code |

mod blame;
mod case;
mod class;
mod classes;
mod facts;
mod fork;
mod intake;
mod join;
mod judge;
mod limits;
mod prepare;
mod quorum;
mod report;
mod settle;
mod sources;
mod terms;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod text;
mod tiles;

pub use class::{Axis, Class, Level};
pub use facts::{SourceId, ViewId};
pub use judge::{Damage, Judge};
pub use prepare::{Frame, Keys, MAX_TOKEN_BYTES, Prepared, Preparer, Token};
pub use report::{
    ChainSummary, Counts, Finding, LogSummary, Report, Route, Stretch, Verdict, Verdicts, exit_code, finding_id,
    verdicts,
};
pub use terms::{Expected, Known, KnownBy, Scope, SourceKind, Terms, TokenCheck, TokenVerdict};
