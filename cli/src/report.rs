//! What a verification says, for people and for scripts.
pub mod json;
pub mod people;

#[cfg(test)]
mod testing {
    use indelible_chain::digest::Digest;
    use indelible_chain::verify::LogSummary;

    /// A sealed log of one leaf.
    pub(super) fn summary(origin: &str, bound_by: &[&str]) -> LogSummary {
        LogSummary {
            origin: origin.into(),
            source: "./c0".into(),
            size: 1,
            root: Digest::default(),
            newest_leaf_time: None,
            sealed: true,
            witnesses: Vec::new(),
            bound_by: bound_by.iter().map(|by| (*by).to_owned()).collect(),
        }
    }
}
