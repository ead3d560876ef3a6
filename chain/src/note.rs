//! Signed notes.

pub(crate) mod text;
