//! The evidence format of Indelible, version 1.
pub mod bytes;
pub mod digest;
pub mod merkle;
