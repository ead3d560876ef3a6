//! The driver as a process, called as the kubelet calls it, with real mounts in a mount namespace of its own. Needs root.

#![expect(clippy::unwrap_used, reason = "everything here is a test")]

mod root {
    mod calls;
    mod killed;
    mod life;
}
mod support;
