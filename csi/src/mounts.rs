//! Bind mounts, and what the mount table says of a place.
//!
//! A mount that is made below the kubelet's directory appears on the node as well, with the options that it has at that
//! moment: what is changed of it later is changed here alone, and the node's, which pods get, stays as it was. So options come
//! from the source: the logs are seen through a view that is read-only before anything is mounted from it, and a bind mount
//! is one step. What is on a place is always read from the kernel's table, never remembered: a driver that was killed finds
//! what it did.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::path::Path;

use rustix::fs::{AtFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount_bind, mount_remount, unmount};

use crate::limits::MAX_MOUNT_LINE;

/// The kernel's table of this process's mounts.
const TABLE: &str = "/proc/self/mountinfo";

/// What the table says of one mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mount {
    /// What can be done there.
    pub access: Access,
    /// Whether mounts on it appear elsewhere too.
    pub is_shared: bool,
}

/// What can be done on a mount.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Nothing but reading: no writing, no programs, no device nodes.
    Read,
    /// Writing.
    Write,
    /// No writing, but more than reading.
    Other,
}

impl Mount {
    fn read(options: &[u8], optional_fields: &[&[u8]]) -> Self {
        let has = |word: &[u8]| options.split(|byte| *byte == b',').any(|option| option == word);
        let access = match has(b"ro") {
            false => Access::Write,
            true if has(b"nosuid") && has(b"nodev") && has(b"noexec") => Access::Read,
            true => Access::Other,
        };
        Self { access, is_shared: optional_fields.iter().any(|field| field.starts_with(b"shared:")) }
    }
}

/// Whether something is mounted on a place. Kernels before 5.8 say it only in the table.
pub fn is_mounted(place: &Path) -> io::Result<bool> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    match rustix::fs::statx(rustix::fs::CWD, place, flags, StatxFlags::empty()) {
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error.into()),
        Ok(told) if told.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT) => {
            Ok(told.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
        }
        Ok(_) => Ok(in_table(place)?.is_some()),
    }
}

/// The mount on top of a place; none if nothing is mounted there.
pub fn top(place: &Path) -> io::Result<Option<Mount>> {
    // The table is as long as the node has mounts.
    if is_mounted(place)? { in_table(place) } else { Ok(None) }
}

fn in_table(place: &Path) -> io::Result<Option<Mount>> {
    top_in(BufReader::with_capacity(64 << 10, File::open(TABLE)?), place)
}

fn top_in(mut table: impl io::BufRead, place: &Path) -> io::Result<Option<Mount>> {
    let (mut top, mut line) = (None, Vec::new());
    loop {
        line.clear();
        if table.by_ref().take(MAX_MOUNT_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(top);
        }
        if line.pop() != Some(b'\n') {
            return Err(io::Error::other(format!("{TABLE} has a line of over {MAX_MOUNT_LINE} bytes")));
        }
        // id, parent, device, root, mount point, options, any more up to a dash: later lines lie above earlier ones.
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        if let (Some(point), Some(options)) = (fields.next(), fields.next())
            && is_at(point, place)
        {
            let optional: Vec<&[u8]> = fields.take_while(|field| *field != b"-").collect();
            top = Some(Mount::read(options, &optional));
        }
    }
}

/// Whether a mount point, as the table writes it, is this place.
fn is_at(point: &[u8], place: &Path) -> bool {
    let place = place.as_os_str().as_encoded_bytes();
    if !point.contains(&b'\\') {
        return point == place;
    }
    unescape(point) == place
}

/// The table writes spaces and the like as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, more)) = rest.split_first() {
        let digits = more.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(byte);
            rest = &more[3..];
        } else {
            bytes.push(*first);
            rest = more;
        }
    }
    bytes
}

/// Lays a view on a mount that nothing can be done through but reading, here and in whatever is mounted from it. The
/// directory as it was can be used through a descriptor from before.
pub fn view(directory: &Path) -> io::Result<()> {
    match top(directory)? {
        None => return Err(io::Error::other("it is no mount of its own")),
        Some(mount) if mount.is_shared => return Err(io::Error::other("mounts on it would appear on the node")),
        Some(_) => {}
    }
    mount_bind(directory, directory)?;
    let read = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount_remount(directory, MountFlags::BIND | read, c"")?)
}

/// Mounts an open directory on a place, with the options of the mount that it was opened on.
pub fn bind(source: BorrowedFd<'_>, place: &Path) -> io::Result<()> {
    // By its descriptor: what was checked is what is mounted.
    Ok(mount_bind(format!("/proc/self/fd/{}", source.as_raw_fd()), place)?)
}

/// Takes the mount on top of a place away, at once for everyone who looks, whoever still uses it.
pub fn take_away(place: &Path) -> io::Result<()> {
    Ok(unmount(place, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOSTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw
90 22 8:1 /var/log/pods/a_b_c /var/lib/kubelet/pods/c/mount ro,nosuid,nodev,noexec,relatime shared:1 - ext4 /dev/root rw
91 22 8:1 /x /var/lib/with\\040space\\134n ro,nosuid - ext4 /dev/root rw
92 90 8:1 /var/log/pods/a_b_c//deleted /var/lib/kubelet/pods/c/mount rw,relatime - ext4 /dev/root rw
";

    fn look(table: &str, place: &str) -> Option<Mount> {
        top_in(table.as_bytes(), Path::new(place)).unwrap()
    }

    #[test]
    fn the_mount_on_top_of_a_place_is_the_last_one_in_the_table() {
        let place = "/var/lib/kubelet/pods/c/mount";
        assert_eq!(look(HOSTS, place), Some(Mount { access: Access::Write, is_shared: false }));
        let first: String = HOSTS.split_inclusive('\n').take(2).collect();
        assert_eq!(look(&first, place), Some(Mount { access: Access::Read, is_shared: true }));
        assert_eq!(look(HOSTS, "/var/lib/kubelet/pods/c"), None);
        assert_eq!(look("", "/"), None);
    }

    #[test]
    fn a_place_with_spaces_and_backslashes_is_found() {
        let mount = Mount { access: Access::Other, is_shared: false };
        assert_eq!(look(HOSTS, "/var/lib/with space\\n"), Some(mount));
    }

    #[test]
    fn a_line_without_an_end_is_no_table() {
        assert!(top_in(&vec![b'x'; 100_000][..], Path::new("/")).is_err());
    }

    proptest! {
        #[test]
        fn any_table_is_read_or_refused(table in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = top_in(&*table, Path::new("/a"));
        }

        #[test]
        fn a_mount_is_found_among_any_others(before in "[ -~\n]{0,80}", name in "[a-z \\\\]{1,9}") {
            let escaped = name.replace('\\', "\\134").replace(' ', "\\040");
            let table = format!("{before}\n1 2 3:4 / /m/{escaped} rw,noexec - a b c\n");
            let mount = Mount { access: Access::Write, is_shared: false };
            prop_assert_eq!(look(&table, &format!("/m/{name}")), Some(mount));
        }
    }
}
