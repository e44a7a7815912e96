//! The option strings of a mount: one table of the specification's, and what a list of them adds up to.
//!
//! An option that takes something away (`rw`, `exec`, `dev`, …) takes back an earlier one of the same list. It does not
//! clear an attribute that the source's own mount has, so that `rw` on a directory that the host keeps read-only widens
//! nothing (mount(2) treats a bind mount the same way). The recursive forms (`rrw`, `rdev`, …) name the attribute of
//! every mount of the tree and do clear it, as mount_setattr(2) says.
//!
//! `ro` of a recursive bind mount is for the whole tree, unless `rrw` says otherwise: an engine that knows no better than
//! mount(2) leaves what is mounted below writable, and asks a runtime for `rro` only when it is runc (Docker's
//! `supportsRecursivelyReadOnly`).

use crate::plan::{MountFlags, Propagation};

use super::paths::quoted;

/// `MOUNT_ATTR_*` of mount_setattr(2).
pub(crate) const RDONLY: u64 = 0x1;
pub(crate) const NOSUID: u64 = 0x2;
pub(crate) const NODEV: u64 = 0x4;
pub(crate) const NOEXEC: u64 = 0x8;
const ATIME: u64 = 0x70;
const RELATIME: u64 = 0x0;
const NOATIME: u64 = 0x10;
const STRICTATIME: u64 = 0x20;
const NODIRATIME: u64 = 0x80;
const NOSYMFOLLOW: u64 = 0x20_0000;

/// What an option does.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Nothing: it is the default, or no kernel that we run on knows the difference any more.
    Nothing,
    /// Sets an attribute of the top mount.
    Set(u64),
    /// Takes back [`Effect::Set`].
    Unset(u64),
    /// Chooses how the top mount updates access times.
    Atime(u64),
    /// Sets an attribute of every mount of the tree.
    SetAll(u64),
    /// Clears an attribute of every mount of the tree.
    ClearAll(u64),
    /// Chooses how every mount of the tree updates access times.
    AtimeAll(u64),
    /// Propagation, and whether it is recursive.
    Propagate(Propagation, bool),
    /// Makes it a bind mount, recursive or not.
    Bind(bool),
    /// Asks for an id-mapped mount, recursive or not.
    IdMap(bool),
    /// `tmpcopyup`
    CopyUp,
    /// A flag of the filesystem itself, by its fsconfig(2) key.
    Filesystem(&'static str),
    /// Takes back [`Effect::Filesystem`].
    NoFilesystem(&'static str),
    /// Not served.
    Refused(&'static str),
}

use Effect::{Atime, AtimeAll, ClearAll, Nothing, Propagate, Set, SetAll, Unset};

const OPTIONS: &[(&str, Effect)] = &[
    ("async", Effect::NoFilesystem("sync")),
    ("atime", Atime(RELATIME)),
    ("bind", Effect::Bind(false)),
    ("defaults", Nothing),
    ("dev", Unset(NODEV)),
    ("diratime", Unset(NODIRATIME)),
    ("dirsync", Effect::Filesystem("dirsync")),
    ("exec", Unset(NOEXEC)),
    ("idmap", Effect::IdMap(false)),
    // The filesystems that count versions have done so without being asked since Linux 6.3.
    ("iversion", Nothing),
    ("lazytime", Effect::Filesystem("lazytime")),
    ("loud", Nothing),
    // Mandatory locking left the kernel in 5.15.
    ("mand", Nothing),
    ("noatime", Atime(NOATIME)),
    ("nodev", Set(NODEV)),
    ("nodiratime", Set(NODIRATIME)),
    ("noexec", Set(NOEXEC)),
    ("noiversion", Nothing),
    ("nolazytime", Effect::NoFilesystem("lazytime")),
    ("nomand", Nothing),
    ("norelatime", Atime(RELATIME)),
    ("nostrictatime", Atime(RELATIME)),
    ("nosuid", Set(NOSUID)),
    ("nosymfollow", Set(NOSYMFOLLOW)),
    ("private", Propagate(Propagation::Private, false)),
    ("ratime", AtimeAll(RELATIME)),
    ("rbind", Effect::Bind(true)),
    ("rdev", ClearAll(NODEV)),
    ("rdiratime", ClearAll(NODIRATIME)),
    ("relatime", Atime(RELATIME)),
    (
        "remount",
        Effect::Refused("asks to change a mount that is already there; give its options to that mount instead"),
    ),
    ("rexec", ClearAll(NOEXEC)),
    ("ridmap", Effect::IdMap(true)),
    ("rnoatime", AtimeAll(NOATIME)),
    ("rnodev", SetAll(NODEV)),
    ("rnodiratime", SetAll(NODIRATIME)),
    ("rnoexec", SetAll(NOEXEC)),
    ("rnorelatime", AtimeAll(RELATIME)),
    ("rnostrictatime", AtimeAll(RELATIME)),
    ("rnosuid", SetAll(NOSUID)),
    ("rnosymfollow", SetAll(NOSYMFOLLOW)),
    ("ro", Set(RDONLY)),
    ("rprivate", Propagate(Propagation::Private, true)),
    ("rrelatime", AtimeAll(RELATIME)),
    ("rro", SetAll(RDONLY)),
    ("rrw", ClearAll(RDONLY)),
    ("rshared", Propagate(Propagation::Shared, true)),
    ("rslave", Propagate(Propagation::Slave, true)),
    ("rstrictatime", AtimeAll(STRICTATIME)),
    ("rsuid", ClearAll(NOSUID)),
    ("rsymfollow", ClearAll(NOSYMFOLLOW)),
    ("runbindable", Propagate(Propagation::Unbindable, true)),
    ("rw", Unset(RDONLY)),
    ("shared", Propagate(Propagation::Shared, false)),
    ("silent", Nothing),
    ("slave", Propagate(Propagation::Slave, false)),
    ("strictatime", Atime(STRICTATIME)),
    ("suid", Unset(NOSUID)),
    ("symfollow", Unset(NOSYMFOLLOW)),
    ("sync", Effect::Filesystem("sync")),
    ("tmpcopyup", Effect::CopyUp),
    ("unbindable", Propagate(Propagation::Unbindable, false)),
];

/// The options of the specification that are understood, sorted; for the features document.
pub fn mount_option_names() -> impl Iterator<Item = &'static str> {
    OPTIONS.iter().filter(|(_, effect)| !matches!(effect, Effect::Refused(_))).map(|(name, _)| *name)
}

/// What a list of options adds up to. Where two contradict each other, the later one holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// `bind` (false) or `rbind` (true).
    pub(super) bind: Option<bool>,
    /// `idmap` (false) or `ridmap` (true).
    pub(super) id_map: Option<bool>,
    pub(super) flags: MountFlags,
    pub(super) recursive_flags: MountFlags,
    pub(super) propagation: Option<(Propagation, bool)>,
    pub(super) copy_up: bool,
    /// Everything else: keys of the filesystem, with their values.
    pub(super) data: Vec<(String, Option<String>)>,
}

impl Options {
    /// Adds up `options`.
    ///
    /// # Errors
    /// The reason, which names the option.
    pub(super) fn parse(options: &[String]) -> Result<Self, String> {
        let mut sum = Self::default();
        for option in options.iter().filter(|option| !option.is_empty()) {
            match OPTIONS.iter().find(|(name, _)| name == option) {
                Some((name, effect)) => sum.apply(name, *effect)?,
                None => sum.add(option)?,
            }
        }
        if sum.bind == Some(true) && sum.recursive_flags.clear & RDONLY == 0 {
            sum.recursive_flags.set |= sum.flags.set & RDONLY;
        }
        Ok(sum)
    }

    fn apply(&mut self, name: &str, effect: Effect) -> Result<(), String> {
        match effect {
            Nothing => {}
            Set(attribute) => self.flags.set |= attribute,
            Unset(attribute) => self.flags.set &= !attribute,
            Atime(kind) => {
                self.flags.set = self.flags.set & !ATIME | kind;
                self.flags.clear |= ATIME;
            }
            SetAll(attribute) => {
                self.recursive_flags.set |= attribute;
                self.recursive_flags.clear &= !attribute;
            }
            ClearAll(attribute) => {
                self.recursive_flags.clear |= attribute;
                self.recursive_flags.set &= !attribute;
            }
            AtimeAll(kind) => {
                self.recursive_flags.set = self.recursive_flags.set & !ATIME | kind;
                self.recursive_flags.clear |= ATIME;
            }
            Propagate(propagation, recursive) => self.propagation = Some((propagation, recursive)),
            Effect::Bind(recursive) => self.bind = Some(recursive),
            Effect::IdMap(recursive) => self.id_map = Some(recursive),
            Effect::CopyUp => self.copy_up = true,
            Effect::Filesystem(key) => self.replace(key, None),
            Effect::NoFilesystem(key) => self.data.retain(|(present, _)| present != key),
            Effect::Refused(reason) => return Err(format!("\"{name}\" {reason}")),
        }
        Ok(())
    }

    /// An option that is not of the table: `key` or `key=value` for the filesystem.
    fn add(&mut self, option: &str) -> Result<(), String> {
        if option.contains(['\0', ',', '\n']) {
            return Err(format!("{} is not one option", quoted(option)));
        }
        match option.split_once('=') {
            Some((key, value)) => self.replace(key, Some(value.to_owned())),
            None => self.replace(option, None),
        }
        Ok(())
    }

    fn replace(&mut self, key: &str, value: Option<String>) {
        // Overlay's layers are the one key that adds up when it is repeated (lowerdir+ of Linux 6.8).
        if !key.ends_with('+') {
            self.data.retain(|(present, _)| present != key);
        }
        self.data.push((key.to_owned(), value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(options: &[&str]) -> Options {
        Options::parse(&options.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("options")
    }

    /// The table of the specification, "Linux mount options"; `rnodev` is missing there by oversight.
    const SPECIFIED: &str = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
        nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind \
        rdev rdiratime relatime remount rexec rnoatime rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
        rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
        silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap rnodev";

    #[test]
    fn every_option_of_the_specification_is_in_the_table_once() {
        let mut specified: Vec<_> = SPECIFIED.split_whitespace().collect();
        let mut table: Vec<_> = OPTIONS.iter().map(|(name, _)| *name).collect();
        specified.sort_unstable();
        table.sort_unstable();
        assert_eq!(table, specified);
    }

    #[test]
    fn attributes_add_up_and_the_later_one_holds() {
        let options = parse(&["nosuid", "nodev", "noexec", "ro", "nosymfollow", "nodiratime"]);
        assert_eq!(options.flags, MountFlags { set: 0x20_008f, clear: 0 });
        assert_eq!(parse(&["ro", "nosuid", "rw", "suid"]).flags, MountFlags::default());
        assert_eq!(parse(&["rw", "ro"]).flags.set, RDONLY);
        assert_eq!(parse(&["noatime", "strictatime"]).flags, MountFlags { set: STRICTATIME, clear: ATIME });
        assert_eq!(parse(&["noatime", "relatime"]).flags, MountFlags { set: 0, clear: ATIME });
    }

    #[test]
    fn only_the_recursive_forms_clear_what_the_source_has() {
        assert_eq!(parse(&["rw", "dev", "suid", "exec", "symfollow", "diratime"]).flags, MountFlags::default());
        let all = parse(&["rrw", "rnosuid"]).recursive_flags;
        assert_eq!(all, MountFlags { set: NOSUID, clear: RDONLY });
        assert_eq!(parse(&["rrw", "rro"]).recursive_flags, MountFlags { set: RDONLY, clear: 0 });
        assert_eq!(parse(&["rnoatime"]).recursive_flags, MountFlags { set: NOATIME, clear: ATIME });
    }

    #[test]
    fn a_read_only_recursive_bind_mount_is_so_to_its_ends() {
        let recursive = |options: &[&str]| parse(options).recursive_flags;
        let all = MountFlags { set: RDONLY, clear: 0 };
        assert_eq!((recursive(&["rbind", "ro"]), recursive(&["ro", "rbind", "rprivate"])), (all, all));
        for one in [&["bind", "ro"][..], &["ro"], &["rbind", "ro", "rw"], &["rbind", "nosuid"]] {
            assert_eq!(recursive(one), MountFlags::default(), "{one:?}");
        }
        assert_eq!(recursive(&["rbind", "ro", "rrw"]), MountFlags { set: 0, clear: RDONLY });
    }

    #[test]
    fn other_options_are_the_filesystems() {
        let options = parse(&["size=65536k", "newinstance", "size=1m", "sync", "lazytime", "nolazytime"]);
        let data = [("newinstance", None), ("size", Some("1m")), ("sync", None)];
        let data = data.map(|(key, value)| (key.to_owned(), value.map(str::to_owned)));
        assert_eq!(options.data, data);
    }

    #[test]
    fn options_that_are_not_served_are_refused_by_name() {
        let refusal = |option: &str| Options::parse(&[option.to_owned()]).expect_err("refused");
        assert!(refusal("remount").starts_with("\"remount\" asks to change a mount"));
        assert_eq!(refusal("size=1m,uid=0"), "\"size=1m,uid=0\" is not one option");
    }
}
