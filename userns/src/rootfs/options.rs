//! The options of a mount as containerd's mount package spells them (those of mount(8)).

use policy::plan::MountFlags;

use crate::mount::MountIds;
use crate::{Error, Result};

/// `MOUNT_ATTR_*` of mount_setattr(2).
const RDONLY: u64 = 0x1;
const NOSUID: u64 = 0x2;
const NODEV: u64 = 0x4;
const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// Options, sorted by who they are for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// For the mount.
    pub(super) flags: MountFlags,
    /// `ro`: for the superblock too.
    pub(super) read_only: bool,
    /// `rbind`.
    pub(super) recursive_bind: bool,
    /// `loop`: the source is an image file.
    pub(super) loop_device: bool,
    /// For the filesystem, in their order.
    pub(super) data: Vec<(String, Option<String>)>,
    /// Values of `uidmap=` and `gidmap=`.
    id_maps: Vec<String>,
}

impl Options {
    pub(super) fn parse(options: &[String]) -> Self {
        let mut parsed = Self::default();
        for option in options {
            parsed.add(option);
        }
        parsed
    }

    fn add(&mut self, option: &str) {
        match option {
            "" | "defaults" | "bind" | "async" | "private" | "rprivate" => {}
            "rbind" => self.recursive_bind = true,
            "loop" => self.loop_device = true,
            "ro" => (self.read_only, self.flags) = (true, set(self.flags, RDONLY)),
            "rw" => (self.read_only, self.flags) = (false, clear(self.flags, RDONLY)),
            "nosuid" => self.flags = set(self.flags, NOSUID),
            "suid" => self.flags = clear(self.flags, NOSUID),
            "nodev" => self.flags = set(self.flags, NODEV),
            "dev" => self.flags = clear(self.flags, NODEV),
            "noexec" => self.flags = set(self.flags, NOEXEC),
            "exec" => self.flags = clear(self.flags, NOEXEC),
            "nodiratime" => self.flags = set(self.flags, NODIRATIME),
            "diratime" => self.flags = clear(self.flags, NODIRATIME),
            "nosymfollow" => self.flags = set(self.flags, NOSYMFOLLOW),
            "relatime" | "atime" => self.atime(0),
            "noatime" => self.atime(NOATIME),
            "strictatime" => self.atime(STRICTATIME),
            _ => self.add_data(option),
        }
    }

    fn add_data(&mut self, option: &str) {
        match option.split_once('=') {
            Some(("uidmap" | "gidmap", map)) => self.id_maps.push(map.to_owned()),
            // mount(8)'s quotes around a security context are not for fsconfig(2).
            Some((key, value)) => self.data.push((key.to_owned(), Some(value.trim_matches('"').to_owned()))),
            None => self.data.push((option.to_owned(), None)),
        }
    }

    /// atime modes exclude each other: the kernel wants the whole field cleared (mount_setattr(2)).
    fn atime(&mut self, mode: u64) {
        self.flags = MountFlags { set: (self.flags.set & !ATIME) | mode, clear: self.flags.clear | ATIME };
    }

    /// Checks that the maps by which containerd asks for id-mapped layers are the container's.
    pub(super) fn check_id_maps(&self, ids: MountIds<'_>) -> Result<()> {
        for map in &self.id_maps {
            for line in map.split(',') {
                let numbers: Vec<u32> = line.split(':').filter_map(|number| number.parse().ok()).collect();
                let same = match (numbers.as_slice(), ids.own) {
                    (&[container, host, size], Some(own)) => {
                        own.to_host(container) == Some(host) && size <= own.size - container
                    }
                    _ => false,
                };
                if !same {
                    return Err(Error::refused(
                        "rootfs",
                        format!("the mount's id map {line:?} is not the container's"),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn set(flags: MountFlags, bit: u64) -> MountFlags {
    MountFlags { set: flags.set | bit, clear: flags.clear & !bit }
}

fn clear(flags: MountFlags, bit: u64) -> MountFlags {
    MountFlags { set: flags.set & !bit, clear: flags.clear | bit }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use policy::idmap::IdMap;

    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_sorted_by_who_they_are_for() {
        let options = parse(&["rbind", "ro", "nosuid", "noatime", "index=off", "volatile", "context=\"a:b\""]);
        assert!(options.recursive_bind && options.read_only);
        assert_eq!(options.flags, MountFlags { set: RDONLY | NOSUID | NOATIME, clear: ATIME });
        let data = [("index", Some("off")), ("volatile", None), ("context", Some("a:b"))];
        assert_eq!(options.data, data.map(|(key, value)| (key.to_owned(), value.map(str::to_owned))));
    }

    #[test]
    fn later_options_win() {
        let options = parse(&["ro", "noatime", "rw", "strictatime"]);
        assert!(!options.read_only);
        assert_eq!(options.flags, MountFlags { set: STRICTATIME, clear: ATIME | RDONLY });
    }

    #[test]
    fn id_maps_must_be_the_containers() {
        let null = std::fs::File::open("/dev/null").expect("a descriptor");
        let ids = MountIds { userns: null.as_fd(), own: Some(IdMap { host: 100_000, size: 65536 }), plain: false };
        let check = |map: &str| parse(&[&format!("uidmap={map}")]).check_id_maps(ids);
        assert!(check("0:100000:65536").is_ok() && check("0:100000:1,1:100001:65535").is_ok());
        for wrong in ["0:0:65536", "0:100000:65537", "1:100000:10", "x", "0:100000"] {
            let error = check(wrong).expect_err("not the container's").to_string();
            assert!(error.starts_with("rootfs: the mount's id map"), "{error}");
        }
    }
}
