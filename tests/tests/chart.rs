//! The chart and what is made from it: what can be read off the files, and (module `helm`) what Helm makes of them.
//!
//! Generated files are renewed with `UPDATE_EXPECT=1`, all of them by `make generate`. The tests of module `helm` need Helm,
//! in `HELM` or in the path; `make test` leaves them out, and says so, where there is none.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

#[path = "chart/bundle.rs"]
mod bundle;
#[path = "chart/files.rs"]
mod files;
#[path = "chart/helm.rs"]
mod helm;
#[path = "chart/monitoring.rs"]
mod monitoring;
#[path = "chart/values.rs"]
mod values;
