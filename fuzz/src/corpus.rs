//! The committed corpus of `fuzz/`, and what one byte makes of it, through a crate's targets.

use std::path::Path;

/// A parser by its name, and what is asked of it for any bytes: it panics where the parser is wrong.
pub type Target = (&'static str, fn(&[u8]));

/// Of longer seeds not every byte is tried.
const TRIED: usize = 300;

/// Gives each target its seeds, whole, cut off, and with every byte changed.
pub fn try_all(targets: &[Target]) {
    for (name, target) in targets {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(name);
        let mut seeds = 0;
        for seed in std::fs::read_dir(&corpus).unwrap_or_else(|e| panic!("{}: {e}", corpus.display())) {
            let path = seed.unwrap_or_else(|e| panic!("{}: {e}", corpus.display())).path();
            let seed = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
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
