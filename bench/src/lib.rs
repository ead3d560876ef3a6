//! Indelible's programs and others side by side: one machine, the same input, in pairs, ratios instead of figures.
//!
//! A [`row`] says what is measured against whom and how good it must be; [`rows`] measure, each with the same tools:
//! a seeded [`corpus`], a [`process`] on a core of its own, [`pairs`] of runs, a [`world`] of our programs, [`peers`]
//! and the [`sink`] that takes what they send; [`senders`] load a collector as no sidecar could. The [`report`] keeps what came out.
//! A [`receiver`] keeps the lines that peers send it on disk, for the fault run of row 11. Nothing here links our programs'
//! code: they are run as a user runs them.

pub mod corpus;
pub mod limits;
pub mod metrics;
pub mod pairs;
pub mod peers;
pub mod printer;
pub mod process;
pub mod receiver;
pub mod report;
pub mod row;
pub mod rows;
pub mod senders;
pub mod settings;
pub mod sink;
pub mod world;
