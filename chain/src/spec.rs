//! The parts of the specification that are rules rather than structures, and worked examples.
//!
//! There is no code here. The structures are specified where they are defined; the judge that implements [`joining`] is
//! [`crate::verify`].

#[doc = include_str!("spec/example.md")]
pub mod example {}

#[doc = include_str!("spec/worked.md")]
pub mod worked {}

#[doc = include_str!("spec/from_files.md")]
pub mod from_files {}

#[doc = include_str!("spec/incarnations.md")]
pub mod incarnations {}

#[doc = include_str!("spec/interface.md")]
pub mod interface {}

#[doc = include_str!("spec/joining.md")]
pub mod joining {}
