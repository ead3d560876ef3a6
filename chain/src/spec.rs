//! The parts of the specification that are rules rather than structures, and one worked example.
//!
//! There is no code here. The structures are specified where they are defined; how chains that are spread over
//! several logs are joined and judged is specified in [`crate::verify`].

#[doc = include_str!("spec/example.md")]
pub mod example {}

#[doc = include_str!("spec/from_files.md")]
pub mod from_files {}

#[doc = include_str!("spec/incarnations.md")]
pub mod incarnations {}

#[doc = include_str!("spec/interface.md")]
pub mod interface {}
