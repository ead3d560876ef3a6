//! The attack suite of the threat model: each attack flips exactly the verdict and the class that it should.
//!
//! Collectors and verifier are real processes. Where an attack needs a pod that lies, the test is the pod's sidecar
//! itself; where it needs the volume, it changes the files; where it needs the log's key, it takes it from there.
#![expect(clippy::unwrap_used, reason = "a failure is a failed test")]

mod attacks {
    //! One module for each kind of attacker.
    mod bytes;
    mod encoders;
    mod evidence;
    mod insider;
    mod kills;
    mod peers;
    mod sources;
}
