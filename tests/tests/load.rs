//! Bad input under load: whoever floods, dribbles, idles or lies, memory is bounded, the others are served, and a
//! metric says so.
//!
//! All are real processes. How fast anything goes depends on the machine, so rates are printed; what is asserted are
//! counts, bounds of memory, and that what is waited for comes at all.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod load {
    //! One module for each way to be a burden.
    mod flood;
    mod honest;
    mod idle;
    mod liar;
    mod slow;
}
