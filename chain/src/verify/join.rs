//! stub
use super::judge::Judge;
use crate::id::Seq;
use std::collections::BTreeMap;
impl Judge {
    pub(super) fn questions(&self) -> BTreeMap<usize, Vec<Seq>> {
        BTreeMap::new()
    }
}
