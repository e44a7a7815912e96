//! Options of the filesystems themselves: fsconfig(2) keys and values, each filesystem with those that it may have.

use super::id_map;
use super::paths::quoted;
use crate::Refusal;
use crate::idmap::IdMap;

/// Keys and values of one mount.
pub(super) type Data = Vec<(String, Option<String>)>;

/// What a key's value looks like.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// There is none.
    Alone,
    /// There may be one or not.
    Free,
    /// There is one.
    Some,
    /// Octal permission bits.
    Mode,
    /// A container id.
    Id,
}

/// Flags that every filesystem has (fs/fs_context.c).
const EVERY: &[(&str, Form)] = &[("sync", Form::Alone), ("dirsync", Form::Alone), ("lazytime", Form::Alone)];

/// proc(5)
const PROC: &[(&str, Form)] = &[("hidepid", Form::Some), ("gid", Form::Id), ("subset", Form::Some)];

/// tmpfs(5); quotas are left out, they are the host's to set.
const TMPFS: &[(&str, Form)] = &[
    ("size", Form::Some),
    ("nr_blocks", Form::Some),
    ("nr_inodes", Form::Some),
    ("mode", Form::Mode),
    ("uid", Form::Id),
    ("gid", Form::Id),
    ("huge", Form::Some),
    ("mpol", Form::Some),
    ("inode32", Form::Alone),
    ("inode64", Form::Alone),
    ("noswap", Form::Alone),
];

/// Documentation/filesystems/devpts.rst
const DEVPTS: &[(&str, Form)] = &[
    ("newinstance", Form::Alone),
    ("ptmxmode", Form::Mode),
    ("mode", Form::Mode),
    ("uid", Form::Id),
    ("gid", Form::Id),
    ("max", Form::Some),
];

/// Documentation/filesystems/overlayfs.rst
const OVERLAY: &[(&str, Form)] = &[
    ("lowerdir", Form::Some),
    ("lowerdir+", Form::Some),
    ("datadir+", Form::Some),
    ("upperdir", Form::Some),
    ("workdir", Form::Some),
    ("redirect_dir", Form::Some),
    ("index", Form::Some),
    ("metacopy", Form::Some),
    ("xino", Form::Some),
    ("uuid", Form::Some),
    ("nfs_export", Form::Some),
    ("verity", Form::Some),
    ("volatile", Form::Alone),
    ("userxattr", Form::Alone),
    ("default_permissions", Form::Free),
];

const RAMFS: &[(&str, Form)] = &[("mode", Form::Mode)];

/// Holds `data` against what a filesystem of this type may have; types that are not listed have no options.
///
/// # Errors
/// The reason, which names the option.
pub(super) fn check(fstype: &str, data: &Data) -> Result<(), String> {
    let (keys, every) = match fstype {
        "proc" => (PROC, EVERY),
        "tmpfs" => (TMPFS, EVERY),
        "devpts" => (DEVPTS, EVERY),
        "overlay" => (OVERLAY, EVERY),
        "ramfs" => (RAMFS, EVERY),
        _ => (&[][..], &[][..]),
    };
    for (key, value) in data {
        let named = || quoted(&value.as_ref().map_or_else(|| key.clone(), |value| format!("{key}={value}")));
        let Some((_, form)) = keys.iter().chain(every).find(|(name, _)| name == key) else {
            return Err(format!("{} is not an option of {fstype}", named()));
        };
        let fits = match (form, value.as_deref()) {
            (Form::Alone, None) | (Form::Free, _) => true,
            (Form::Alone, Some(_)) | (_, None) => false,
            (Form::Some, Some(value)) => !value.is_empty(),
            (Form::Mode, Some(value)) => u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777),
            (Form::Id, Some(value)) => id(value).is_some(),
        };
        if !fits {
            return Err(format!("{} is not what {fstype} expects", named()));
        }
    }
    Ok(())
}

/// An id in decimal digits alone, so that `+1`, `-1` and `0x10` mean nothing.
fn id(text: &str) -> Option<u32> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Refuses container ids in `data` that the map does not cover.
pub(super) fn check_ids(index: usize, data: &Data, map: IdMap) -> Result<(), Refusal> {
    for (key, value) in data {
        if matches!(key.as_str(), "uid" | "gid") {
            let Some(id) = value.as_deref().and_then(id) else { continue };
            id_map::covered(format!("mounts[{index}].options: {key}"), id, map)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(fstype: &str, option: &str) -> Result<(), String> {
        let entry = match option.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        };
        check(fstype, &vec![entry])
    }

    #[test]
    fn a_filesystem_has_its_own_options_only() {
        for (fstype, option) in [
            ("tmpfs", "size=64m"),
            ("tmpfs", "mode=1777"),
            ("tmpfs", "uid=1000"),
            ("tmpfs", "noswap"),
            ("tmpfs", "sync"),
            ("devpts", "newinstance"),
            ("devpts", "ptmxmode=0666"),
            ("proc", "hidepid=2"),
            ("proc", "subset=pid"),
            ("overlay", "lowerdir=/a:/b"),
        ] {
            assert_eq!(check_one(fstype, option), Ok(()), "{fstype} {option}");
        }
        assert_eq!(check_one("tmpfs", "hidepid=2"), Err("\"hidepid=2\" is not an option of tmpfs".to_owned()));
        assert_eq!(check_one("sysfs", "sync"), Err("\"sync\" is not an option of sysfs".to_owned()));
        assert_eq!(check_one("bind", "size=1"), Err("\"size=1\" is not an option of bind".to_owned()));
        let pidns = "pidns=/proc/1/ns/pid";
        assert_eq!(check_one("proc", pidns), Err(format!("\"{pidns}\" is not an option of proc")));
    }

    #[test]
    fn values_have_a_form() {
        for option in
            ["mode=9", "mode=10000", "mode", "uid=-1", "uid=+1", "uid=4294967296", "uid=0x1", "noswap=1", "size="]
        {
            let refusal = check_one("tmpfs", option).expect_err(option);
            assert_eq!(refusal, format!("\"{option}\" is not what tmpfs expects"));
        }
    }

    #[test]
    fn ids_are_the_containers() {
        let map = IdMap { host: 100_000, size: 65536 };
        let data = |id: &str| vec![("size".to_owned(), Some("1".to_owned())), ("uid".to_owned(), Some(id.to_owned()))];
        assert_eq!(check_ids(2, &data("65535"), map), Ok(()));
        let refusal = check_ids(2, &data("65536"), map).expect_err("refused").to_string();
        assert_eq!(refusal, "mounts[2].options: uid: 65536 is outside the container's ids, which are 0 to 65535");
    }
}
