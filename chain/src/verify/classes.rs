//! The join table (section 6 of the format): one function a class, in the table's order, then what is wrong with bytes
//! as such.
//!
//! Each function reads the [`Case`] and adds its findings; none depends on what another added. Rows that raise nothing
//! are elsewhere: contiguous, duplicate and overlap are `join` and `fork`, pending is `blame`. The rows pruned, redacted,
//! shadowed, missing and unlisted come with the archive and take their places in [`TABLE`].

mod abandoned;
mod absent;
mod after_final;
mod after_sealed;
mod bytes;
mod clock;
mod declared_gap;
mod findings;
mod foreign;
mod forged;
mod fork;
mod gap;
mod resumed;
pub(super) mod rewritten;
mod silent;
mod stale;
mod summary;
mod twins;
mod unattested;
mod unclosed;
mod unintroduced;
mod unreadable;
mod withheld;

use self::findings::Findings;
use super::case::Case;
use super::report::Report;

/// A row of the table.
type Row = fn(&Case<'_>, &mut Findings);

/// The rows that raise findings, in the table's order.
const TABLE: [Row; 25] = [
    foreign::foreign,
    unintroduced::unintroduced,
    forged::forged,
    fork::fork,
    twins::twins,
    unattested::unattested,
    withheld::withheld,
    gap::gap,
    declared_gap::declared_gap,
    resumed::resumed,
    after_final::after_final,
    unclosed::unclosed,
    silent::silent,
    stale::stale,
    clock::clock,
    rewritten::rewritten,
    unreadable::unreadable,
    absent::absent,
    abandoned::abandoned,
    after_sealed::after_sealed,
    bytes::bad_body,
    bytes::bad_leaf,
    bytes::bad_tile,
    bytes::bad_checkpoint,
    unreadable::unknown_key,
];

/// Goes through the table and says what was found.
pub(super) fn judge(case: &Case<'_>) -> Report {
    let mut findings = Findings::default();
    for row in TABLE {
        row(case, &mut findings);
    }
    summary::report(case, findings)
}
