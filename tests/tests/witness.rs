//! `indelible witness` as a process: what it cosigns, what it remembers, whom it lets wait, and what a verifier makes of it.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod witness {
    //! One module for each party that a witness meets.
    mod logs;
    mod processes;
    mod quorum;
    mod strangers;
    mod support;
}
