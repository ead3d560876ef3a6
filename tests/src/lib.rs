//! What the tests that span crates are made of: input that a real kubelet produced, and second opinions that share no
//! code with the crates under test.

pub mod api_server;
pub mod attacks;
pub mod crowd;
pub mod evidence;
pub mod insider;
pub mod kubelet;
pub mod liar;
pub mod oracle;
pub mod peer;
pub mod printer;
pub mod soak;
pub mod stubborn;
pub mod tamper;
pub mod trace;
pub mod world;
