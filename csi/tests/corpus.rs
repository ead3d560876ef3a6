//! The committed corpus of `fuzz/` through the functions that fuzzing runs, with every byte of it changed or missing, too.

#[path = "../../fuzz/src/corpus.rs"]
mod corpus;
#[path = "../../fuzz/src/csi.rs"]
mod targets;

#[test]
fn no_parser_of_bytes_from_outside_is_wrong_about_the_corpus_or_what_one_byte_makes_of_it() {
    corpus::try_all(targets::TARGETS);
}
