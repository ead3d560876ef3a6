//! Directories and bind mounts: what a validated call does on the node.
//!
//! Each step may be the last before a crash, and each call may come again, also to a driver that knows nothing of the first:
//! so everything is decided by what is there. What a crash leaves is said at each step.

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::layout::Layout;
use crate::limits::MAX_LAYERS;
use crate::mounts::{self, Access};
use crate::request::{Content, LogDirectory, PodUid, Publish, Target};

/// What a publish found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// Nothing was mounted; now it is.
    Mounted,
    /// It was mounted already, exactly so.
    Already,
    /// Something else was mounted; it is right now.
    Repaired,
}

/// What an unpublish found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unpublished {
    /// Something was there; nothing is now.
    Removed,
    /// There was nothing.
    Already,
}

/// Why a call could not be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {path}: {source}")]
pub struct PublishError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// For `map_err`: what was tried with which path.
fn failed(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError { what, path, source }
}

/// The node's directories and mounts. One at a time: whoever owns this is the only one who changes them.
#[derive(Debug)]
pub struct Publisher {
    layout: Layout,
    /// The directory of pods' log directories as it is below the read-only view.
    pod_logs: OwnedFd,
}

impl Publisher {
    /// Makes what is ours below the kubelet's directory, and the view that logs are mounted from. The view is in this
    /// process's mount namespace alone, and ends with it.
    pub fn open(layout: Layout) -> Result<Self, PublishError> {
        for path in [layout.own(), layout.states()] {
            DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed("make", &path))?;
        }
        let pod_logs = open(&layout.pod_logs)?;
        mounts::view(&layout.pod_logs).map_err(failed("lay a read-only view on", &layout.pod_logs))?;
        Ok(Self { layout, pod_logs })
    }

    /// Mounts what was asked for where it was asked for.
    pub fn publish(&mut self, publish: &Publish) -> Result<Published, PublishError> {
        let Publish { content, target } = publish;
        let (source, access) = match content {
            Content::Logs(directory) => (self.logs(directory)?, Access::Read),
            Content::State => (self.state(target)?, Access::Write),
        };
        let place = self.layout.target(target);
        // A crash after this leaves an empty directory, which unpublish removes.
        make(&place, 0o750)?;
        let mut found = Published::Mounted;
        for _ in 0..MAX_LAYERS {
            match mounts::top(&place).map_err(failed("see what is mounted on", &place))? {
                None => {
                    mounts::bind(source.as_fd(), &place).map_err(failed("mount on", &place))?;
                    return Ok(found);
                }
                Some(there) if there.access == access && is_same(&source, &place)? => {
                    // What lay above it, if anything did, is gone.
                    return Ok(if found == Published::Mounted { Published::Already } else { found });
                }
                // Of a log directory that was removed and made again, or of another content: not what is asked for.
                Some(_) => {
                    mounts::take_away(&place).map_err(failed("take the mount away from", &place))?;
                    found = Published::Repaired;
                }
            }
        }
        Err(failed("mount on", &place)(too_many_layers()))
    }

    /// Takes away what is mounted on a target, and the state that belongs to it.
    pub fn unpublish(&mut self, target: &Target) -> Result<Unpublished, PublishError> {
        let place = self.layout.target(target);
        let mut found = Unpublished::Already;
        let mut layers = 0;
        while mounts::is_mounted(&place).map_err(failed("see what is mounted on", &place))? {
            if layers == MAX_LAYERS {
                return Err(failed("clear", &place)(too_many_layers()));
            }
            layers += 1;
            mounts::take_away(&place).map_err(failed("take the mount away from", &place))?;
            found = Unpublished::Removed;
        }
        // A crash from here on leaves an empty directory or state without a mount: the kubelet calls again, or the pod is
        // gone and the sweep finds the state.
        if is_gone(fs::remove_dir(&place)).map_err(failed("remove", &place))? {
            found = Unpublished::Removed;
        }
        let state = self.layout.state(&target.uid, &target.volume);
        if is_gone(fs::remove_dir_all(&state)).map_err(failed("remove", &state))? {
            found = Unpublished::Removed;
        }
        let states = self.layout.pod_states(&target.uid);
        match fs::remove_dir(&states) {
            // Another volume of the pod has state.
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            done => drop(is_gone(done).map_err(failed("remove", &states))?),
        }
        Ok(found)
    }

    /// Removes the state of pods that are no longer on the node, of which the kubelet will say nothing any more: it was
    /// away, or the node booted. Gives how many pods have state, and how many of them had it removed.
    pub fn sweep(&mut self) -> Result<(usize, usize), PublishError> {
        let (states, pods) = (self.layout.states(), self.layout.pods());
        let listed = fs::read_dir(&states).map_err(failed("list", &states))?;
        // Without the kubelet's list nothing can be said to be gone.
        fs::read_dir(&pods).map_err(failed("list", &pods))?;
        let (mut kept, mut removed) = (0, 0);
        for entry in listed {
            let entry = entry.map_err(failed("list", &states))?;
            let Some(uid) = entry.file_name().to_str().and_then(|name| PodUid::read(name).ok()) else { continue };
            let pod = pods.join(uid.as_str());
            if pod.try_exists().map_err(failed("look for", &pod))? {
                kept += 1;
                continue;
            }
            let state = self.layout.pod_states(&uid);
            is_gone(fs::remove_dir_all(&state)).map_err(failed("remove", &state))?;
            removed += 1;
        }
        Ok((kept, removed))
    }

    /// A pod's log directory, through the view. The kubelet makes it too, later, and is content with one that is there; it
    /// removes the directories of pods that are gone.
    fn logs(&self, directory: &LogDirectory) -> Result<OwnedFd, PublishError> {
        let path = self.layout.logs(directory);
        let mode = Mode::from_raw_mode(0o755);
        match rustix::fs::mkdirat(&self.pod_logs, directory.as_str(), mode) {
            Err(Errno::EXIST) => {}
            Err(error) => return Err(failed("make", &path)(error.into())),
            Ok(()) => {
                // Whatever the umask took away. It was made just now, by root, where only root may.
                let set = rustix::fs::chmodat(&self.pod_logs, directory.as_str(), mode, AtFlags::empty());
                set.map_err(|error| failed("set the mode of", &path)(error.into()))?;
            }
        }
        open(&path)
    }

    /// The state of a volume: for its group, 0, which the sidecar has whatever its user is.
    fn state(&self, target: &Target) -> Result<OwnedFd, PublishError> {
        make(&self.layout.pod_states(&target.uid), 0o700)?;
        let state = self.layout.state(&target.uid, &target.volume);
        make(&state, 0o770)?;
        fs::set_permissions(&state, Permissions::from_mode(0o770)).map_err(failed("set the mode of", &state))?;
        open(&state)
    }
}

fn too_many_layers() -> io::Error {
    io::Error::other(format!("more than {MAX_LAYERS} mounts lie on each other there"))
}

/// Makes one directory, whose parent has to be there, with this mode; one that is there stays as it is.
fn make(path: &Path, mode: u32) -> Result<(), PublishError> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let metadata = fs::symlink_metadata(path).map_err(failed("look at", path))?;
            if metadata.is_dir() { Ok(()) } else { Err(failed("use", path)(ErrorKind::NotADirectory.into())) }
        }
        Err(error) => Err(failed("make", path)(error)),
        // Whatever the umask took away.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(mode)).map_err(failed("set the mode of", path)),
    }
}

/// Opens a directory as a place, no link.
fn open(path: &Path) -> Result<OwnedFd, PublishError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed("open", path)(error.into()))
}

/// Whether what is seen at a place is this directory.
fn is_same(source: &OwnedFd, place: &Path) -> Result<bool, PublishError> {
    let id = |metadata: Metadata| (metadata.dev(), metadata.ino());
    let source = source.try_clone().and_then(|source| File::from(source).metadata());
    let there = fs::metadata(place);
    Ok(id(source.map_err(failed("look at the source of", place))?) == id(there.map_err(failed("look at", place))?))
}

/// Whether something was removed; that nothing was there is as good.
fn is_gone(removed: io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
