//! What a verification says, for people and for scripts.
pub mod json;
pub mod people;
