//! Indelible's sidecar: tails a pod's log files, links and signs every record, forwards batches.
//!
//! The modules in the order of the data's way. Capture (files, open lines, positions, unsealed records, decisions, the
//! cursor) ends at [`capture::Capture`]; forwarding begins with the [`capture::Output`] that it hands out and reports
//! back what is receipted. One thread, one owner each.

pub mod alarm;
pub mod armed;
pub mod capture;
pub mod clock;
pub mod config;
pub mod cri;
pub mod decision;
pub mod failpoint;
pub mod files;
pub mod forward;
pub mod incarnation;
pub mod journal;
pub mod limits;
pub mod lines;
pub mod logdir;
pub mod metrics;
pub mod own;
pub mod reload;
pub mod run;
pub mod session;
pub mod tail;
pub mod token;
pub mod trouble;
pub mod trust;
pub mod watch;
