//! Flags and options of mount(2), as fsconfig(2) and mount_setattr(2) take them.

use policy::plan::MountFlags;
use rustix::io::Errno;

use super::Result;

/// The flags of mount(2) that are the mount's own, and not its times of access.
const PLAIN: [(u64, u64); 5] = [
    (libc::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
    (libc::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
    (libc::MS_NODEV, libc::MOUNT_ATTR_NODEV),
    (libc::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    (NOSYMFOLLOW, libc::MOUNT_ATTR_NOSYMFOLLOW),
];

/// `MS_NOSYMFOLLOW` of linux/mount.h.
const NOSYMFOLLOW: u64 = 256;

/// What a mount does with times of access (`MNT_ATIME_MASK` of the kernel).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Atime {
    noatime: bool,
    nodiratime: bool,
    relatime: bool,
}

impl Atime {
    /// That of mount(2)'s flags (`path_mount()` of fs/namespace.c).
    pub(super) fn asked(flags: u64) -> Self {
        let is = |flag| flags & flag != 0;
        let strict = is(libc::MS_STRICTATIME);
        Self {
            noatime: is(libc::MS_NOATIME) && !strict,
            nodiratime: is(libc::MS_NODIRATIME),
            relatime: !is(libc::MS_NOATIME) && !strict,
        }
    }

    /// That of a line of mountinfo.
    pub(super) fn of(options: &[String]) -> Self {
        let is = |name: &str| options.iter().any(|option| option == name);
        Self { noatime: is("noatime"), nodiratime: is("nodiratime"), relatime: is("relatime") }
    }

    /// As mount_setattr(2) takes it.
    pub(super) fn attributes(self) -> MountFlags {
        let kind = match self {
            Self { noatime: true, .. } => libc::MOUNT_ATTR_NOATIME,
            Self { relatime: true, .. } => libc::MOUNT_ATTR_RELATIME,
            _ => libc::MOUNT_ATTR_STRICTATIME,
        };
        let directories = if self.nodiratime { libc::MOUNT_ATTR_NODIRATIME } else { 0 };
        MountFlags { set: kind | directories, clear: libc::MOUNT_ATTR__ATIME }
    }
}

/// The mount's own flags of mount(2)'s, but for times of access.
pub(super) fn attributes(flags: u64) -> MountFlags {
    let set = PLAIN.iter().filter(|(ms, _)| flags & ms != 0).fold(0, |set, (_, attribute)| set | attribute);
    MountFlags { set, clear: 0 }
}

/// The flags of mount(2) that a line of mountinfo shows.
pub(super) fn flags_of(options: &[String]) -> u64 {
    let flag = |option: &String| match option.as_str() {
        "nosuid" => libc::MS_NOSUID,
        "nodev" => libc::MS_NODEV,
        "noexec" => libc::MS_NOEXEC,
        "nosymfollow" => NOSYMFOLLOW,
        "noatime" => libc::MS_NOATIME,
        "nodiratime" => libc::MS_NODIRATIME,
        "relatime" => libc::MS_RELATIME,
        _ => 0,
    };
    options.iter().map(flag).fold(0, |flags, flag| flags | flag)
}

/// The options of mount(2)'s data, as `generic_parse_monolithic()` (fs/fs_context.c) reads them.
pub(super) fn split(data: &[u8]) -> Result<Vec<(String, Option<String>)>> {
    let data = std::str::from_utf8(data).map_err(|_| Errno::INVAL)?;
    let options = data.split(',').filter(|option| !option.is_empty() && !option.starts_with('='));
    Ok(options
        .map(|option| match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_access_are_as_mount_2_has_them() {
        let options = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
        for (flags, shown, set) in [
            (0, "rw,relatime", libc::MOUNT_ATTR_RELATIME),
            (libc::MS_RELATIME, "ro,relatime", libc::MOUNT_ATTR_RELATIME),
            (libc::MS_NOATIME, "rw,noatime", libc::MOUNT_ATTR_NOATIME),
            (libc::MS_STRICTATIME, "rw", libc::MOUNT_ATTR_STRICTATIME),
            (libc::MS_STRICTATIME | libc::MS_NOATIME, "rw", libc::MOUNT_ATTR_STRICTATIME),
            (libc::MS_NODIRATIME, "rw,nodiratime,relatime", libc::MOUNT_ATTR_RELATIME | libc::MOUNT_ATTR_NODIRATIME),
        ] {
            let asked = Atime::asked(flags);
            assert_eq!(asked, Atime::of(&options(shown)), "{shown}");
            assert_eq!(asked.attributes(), MountFlags { set, clear: libc::MOUNT_ATTR__ATIME }, "{shown}");
        }
        assert_ne!(Atime::asked(libc::MS_NOATIME), Atime::of(&options("rw,relatime")));
    }

    #[test]
    fn data_are_options() {
        let option = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        let expected = vec![option("hidepid", Some("2")), option("subset", Some("pid")), option("ro", None)];
        assert_eq!(split(b"hidepid=2,,subset=pid,=x,ro"), Ok(expected));
        assert_eq!(split(b"a=b=c"), Ok(vec![option("a", Some("b=c"))]));
        assert_eq!(split(b""), Ok(vec![]));
        assert_eq!(split(b"\xff"), Err(Errno::INVAL));
    }
}
