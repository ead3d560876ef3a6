//! The root of `indelible-judge`: the soak's judge with all that it stands on, and nothing else of these files.
//!
//! That crate depends on no crate of the product, so the judge cannot share code with it. And it is built in seconds, so
//! that `make mutants` can change it hundreds of times and ask its tests.

pub mod insider;
pub mod oracle;
pub mod trace;

pub mod soak {
    //! What the judge takes from the soak: lines, and the files that they were in.

    pub mod container;
    pub mod judge;
    pub mod line;
}

pub mod tamper {
    //! The second implementation of the format, without what runs the product's programs.

    pub mod actor;
    pub mod image;
    pub mod log;
    pub mod rng;
    pub mod wire;

    pub use image::Image;
    pub use rng::Rng;
}
