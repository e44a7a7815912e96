//! The mounts of the calling thread's mount namespace, as `/proc/thread-self/mountinfo` tells them
//! (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Statx, StatxAttributes, StatxFlags};

use crate::{Error, Result};

/// One line of mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// The mount's id, as `STATX_MNT_ID` gives it.
    pub id: u64,
    /// The id of the mount that it is mounted on.
    pub parent: u64,
    /// The superblock, `major:minor`.
    pub device: String,
    /// The directory of the filesystem that is the mount's root.
    pub root: PathBuf,
    /// Where it is mounted, seen from the reader's root.
    pub mount_point: PathBuf,
    /// The mount's own options (`ro`, `noatime`, …), in the kernel's order.
    pub options: Vec<String>,
    /// The filesystem's type.
    pub fstype: String,
    /// Its source.
    pub source: String,
    /// The superblock's options, unescaped, in the kernel's order.
    pub super_options: Vec<String>,
}

/// All mounts of the calling thread's namespace, in the kernel's order: a mount comes after those it lies on.
///
/// # Errors
/// When `/proc/thread-self/mountinfo` cannot be read.
pub fn read() -> Result<Vec<MountEntry>> {
    let text = std::fs::read("/proc/thread-self/mountinfo")
        .map_err(|error| Error::failed("read", "/proc/thread-self/mountinfo", error))?;
    Ok(parse(&text))
}

/// The mounts that the text of a mountinfo tells of.
pub fn parse(text: &[u8]) -> Vec<MountEntry> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// The id of the mount that a descriptor lies on.
///
/// # Errors
/// What statx(2) says.
pub fn id_of(fd: impl AsFd) -> rustix::io::Result<u64> {
    of_the_mount(fd).map(|stat| stat.stx_mnt_id)
}

/// The id of the mount whose root a descriptor is; none where it is something else.
///
/// # Errors
/// What statx(2) says.
pub fn id_of_root(fd: impl AsFd) -> rustix::io::Result<Option<u64>> {
    let stat = of_the_mount(fd)?;
    Ok(stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT).then_some(stat.stx_mnt_id))
}

/// Whether both descriptors are of one superblock.
///
/// # Errors
/// What statx(2) says.
pub fn same_superblock(one: impl AsFd, other: impl AsFd) -> rustix::io::Result<bool> {
    let device = |stat: Statx| (stat.stx_dev_major, stat.stx_dev_minor);
    Ok(device(of_the_mount(one)?) == device(of_the_mount(other)?))
}

/// What the kernel itself knows of a file: its mount (`vfs_statx_path()` of fs/stat.c fills that in whatever is asked for) and the
/// device. A filesystem that is asked for nothing has nothing to wait for, and nobody to refuse (`fuse_getattr()` of fs/fuse/dir.c).
fn of_the_mount(fd: impl AsFd) -> rustix::io::Result<Statx> {
    rustix::fs::statx(fd, c"", AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC, StatxFlags::empty())
}

/// The mounts below directory `path` (absolute, resolved) of the mount `id`: mounts on it, mounts on those, and so on,
/// parents first.
pub fn below<'a>(entries: &'a [MountEntry], id: u64, path: &Path) -> Vec<&'a MountEntry> {
    let mut tree = vec![id];
    let mut found = Vec::new();
    for entry in entries {
        if entry.id != id && tree.contains(&entry.parent) && entry.mount_point.starts_with(path) {
            tree.push(entry.id);
            found.push(entry);
        }
    }
    found
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let mut field = || fields.next().map(unescape);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let list = |field: &[u8]| field.split(|byte| *byte == b',').map(|option| text(unescape(option))).collect();
    let path = |bytes: Vec<u8>| PathBuf::from(OsString::from_vec(bytes));
    let mut number = || text(field()?).parse().ok();
    let (id, parent) = (number()?, number()?);
    let (device, root, mount_point) = (text(field()?), path(field()?), path(field()?));
    let options = list(fields.next()?);
    // Optional fields.
    let _propagation = fields.by_ref().find(|field| *field == b"-")?;
    let (fstype, source) = (text(unescape(fields.next()?)), text(unescape(fields.next()?)));
    let super_options = list(fields.next()?);
    Some(MountEntry { id, parent, device, root, mount_point, options, fstype, source, super_options })
}

/// Undoes the kernel's `\ooo` escapes (`seq_escape`).
fn unescape(bytes: &[u8]) -> Vec<u8> {
    if !bytes.contains(&b'\\') {
        return bytes.to_vec();
    }
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let octal = bytes.get(at + 1..at + 4).filter(|digits| digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        match octal {
            Some(digits) if *byte == b'\\' => {
                plain.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
                at += 4;
            }
            _ => {
                plain.push(*byte);
                at += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        30 22 0:40 / /a\\040b rw - overlay overlay rw,lowerdir=/l\\0541:/l2,upperdir=/u\n\
        31 30 0:41 / /a\\040b/c rw - tmpfs none rw,mode=755\n\
        32 22 0:42 / /a\\040bc rw - tmpfs none rw\n";

    fn entries() -> Vec<MountEntry> {
        LINES.lines().filter_map(|line| parse_line(line.as_bytes())).collect()
    }

    #[test]
    fn lines_are_parsed_and_unescaped() {
        let entries = entries();
        assert_eq!(entries.len(), 4);
        let overlay = entries.get(1).expect("an entry");
        assert_eq!((overlay.id, overlay.parent, overlay.mount_point.as_path()), (30, 22, Path::new("/a b")));
        assert_eq!((overlay.device.as_str(), overlay.root.as_path()), ("0:40", Path::new("/")));
        assert_eq!(overlay.options, ["rw"]);
        assert_eq!(overlay.super_options, ["rw", "lowerdir=/l,1:/l2", "upperdir=/u"]);
        assert_eq!(unescape(b"\\134\\x\\01"), b"\\\\x\\01");
        let odd = parse_line(b"30 22 0:40 / /a\xff rw - tmpfs none rw").expect("a name that is no UTF-8");
        assert_eq!(odd.mount_point.as_os_str().as_encoded_bytes(), b"/a\xff");
    }

    #[test]
    fn below_follows_parents_and_whole_components() {
        let entries = entries();
        let points =
            |id, path: &str| -> Vec<u64> { below(&entries, id, Path::new(path)).iter().map(|e| e.id).collect() };
        assert_eq!(points(22, "/a b"), [30, 31]);
        assert_eq!(points(30, "/a b"), [31]);
        assert_eq!(points(22, "/"), [30, 31, 32]);
        assert!(points(31, "/a b/c").is_empty());
    }
}
