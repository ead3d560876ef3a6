//! The committed corpus of `fuzz/` through the functions that fuzzing runs, with every byte of it changed or missing, too.

use std::path::Path;

#[path = "../../fuzz/src/collector.rs"]
mod targets;

/// Of longer seeds not every byte is tried.
const TRIED: usize = 300;

#[test]
fn no_parser_of_bytes_from_outside_is_wrong_about_the_corpus_or_what_one_byte_makes_of_it() {
    for (name, target) in targets::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut seeds = 0;
        for seed in std::fs::read_dir(&corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display())) {
            let seed = std::fs::read(seed.unwrap().path()).unwrap();
            seeds += 1;
            target(&seed);
            for at in (0..seed.len()).step_by(seed.len().div_ceil(TRIED).max(1)) {
                target(&seed[..at]);
                let mut changed = seed.clone();
                for bit in [1, 0x80] {
                    changed[at] ^= bit;
                    target(&changed);
                }
            }
        }
        assert!(seeds > 0, "{} is empty", corpus.display());
    }
}
