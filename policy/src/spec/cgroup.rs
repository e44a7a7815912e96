//! `linux.cgroupsPath`, in its two forms.

use oci_spec::runtime::Linux;

use super::{paths, resources};
use crate::Refusal;
use crate::plan::{Cgroup, CgroupPath};

const FIELD: &str = "linux.cgroupsPath";

/// The group and its limits.
pub(super) fn cgroup(linux: Option<&Linux>) -> Result<Cgroup, Refusal> {
    let Some(linux) = linux else { return Ok(Cgroup::default()) };
    Ok(Cgroup {
        path: match linux.cgroups_path() {
            Some(path) => self::path(&paths::text(path)).map_err(|reason| Refusal::new(FIELD, reason))?,
            None => None,
        },
        resources: match linux.resources() {
            Some(resources) => resources::of_new(resources)?,
            None => Default::default(),
        },
    })
}

/// A path, or `slice:prefix:name` for systemd. A relative path with colons is the latter or a mistake.
fn path(text: &str) -> Result<Option<CgroupPath>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 4095 || text.contains(char::is_control) {
        return Err(format!("{} is too long or has a control character", paths::quoted(text)));
    }
    if !text.starts_with('/') && text.contains(':') {
        return systemd(text).map(Some);
    }
    let mut clean = if text.starts_with('/') { "/".to_owned() } else { String::new() };
    for part in text.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == ".." {
            return Err(format!("{} has a .. component", paths::quoted(text)));
        }
        // NAME_MAX; a group is a directory.
        if part.len() > 255 {
            return Err(format!("{} has a component longer than 255 bytes", paths::quoted(text)));
        }
        if !clean.is_empty() && !clean.ends_with('/') {
            clean.push('/');
        }
        clean.push_str(part);
    }
    if clean.is_empty() || clean == "/" {
        return Err(format!("{} is a group of the host's own", paths::quoted(text)));
    }
    Ok(Some(CgroupPath::Cgroupfs(clean)))
}

fn systemd(text: &str) -> Result<CgroupPath, String> {
    let parts: Vec<_> = text.split(':').collect();
    let [slice, prefix, name] = parts[..] else {
        return Err(format!("{} is not slice:prefix:name", paths::quoted(text)));
    };
    if !slice.is_empty() && !is_slice(slice) {
        return Err(format!("{} is not the name of a slice", paths::quoted(slice)));
    }
    for part in [prefix, name] {
        if part.is_empty() || !part.chars().all(unit_character) {
            return Err(format!("{} cannot be part of a unit's name", paths::quoted(part)));
        }
    }
    // systemd.unit(5): a unit's name is at most 255 bytes, with prefix-name.scope.
    if prefix.len() + name.len() > 240 {
        return Err(format!("{} is too long for a unit's name", paths::quoted(text)));
    }
    Ok(CgroupPath::Systemd { slice: slice.to_owned(), prefix: prefix.to_owned(), name: name.to_owned() })
}

/// systemd.slice(5): dashes name the slices above, so none may be at an end or doubled; `-.slice` is the root.
fn is_slice(slice: &str) -> bool {
    let Some(name) = slice.strip_suffix(".slice") else { return false };
    name == "-"
        || (slice.len() <= 255 && name.split('-').all(|part| !part.is_empty()) && name.chars().all(unit_character))
}

/// systemd.unit(5), without the characters that a path or an escape would need.
fn unit_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-.@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let cgroupfs = |text: &str| Ok(Some(CgroupPath::Cgroupfs(text.to_owned())));
        assert_eq!(path("/docker/abc"), cgroupfs("/docker/abc"));
        assert_eq!(path("//k8s.io/./abc/"), cgroupfs("/k8s.io/abc"));
        assert_eq!(path("default/abc"), cgroupfs("default/abc"));
        assert_eq!(path("/odd/a:b:c"), cgroupfs("/odd/a:b:c"));
        assert_eq!(path(""), Ok(None));
        let systemd = |slice: &str, prefix: &str, name: &str| {
            Ok(Some(CgroupPath::Systemd { slice: slice.into(), prefix: prefix.into(), name: name.into() }))
        };
        assert_eq!(path("system.slice:docker:abc"), systemd("system.slice", "docker", "abc"));
        assert_eq!(path(":cri-containerd:abc"), systemd("", "cri-containerd", "abc"));
        let pod = "kubepods-besteffort-pod1_2.slice";
        assert_eq!(path(&format!("{pod}:cri-containerd:abc")), systemd(pod, "cri-containerd", "abc"));
    }

    #[test]
    fn paths_that_climb_or_name_the_hosts_groups_are_refused() {
        for (text, message) in [
            ("/a/../b", "\"/a/../b\" has a .. component"),
            ("..", "\"..\" has a .. component"),
            ("/", "\"/\" is a group of the host's own"),
            ("./", "\"./\" is a group of the host's own"),
            ("a:b", "\"a:b\" is not slice:prefix:name"),
            ("a.slice:b:c:d", "\"a.slice:b:c:d\" is not slice:prefix:name"),
            ("a:b:c", "\"a\" is not the name of a slice"),
            ("../x.slice:b:c", "\"../x.slice\" is not the name of a slice"),
            ("a--b.slice:b:c", "\"a--b.slice\" is not the name of a slice"),
            ("a.slice::c", "\"\" cannot be part of a unit's name"),
            ("a.slice:b:", "\"\" cannot be part of a unit's name"),
            ("a.slice:b:../c", "\"../c\" cannot be part of a unit's name"),
        ] {
            assert_eq!(path(text), Err(message.to_owned()));
        }
        assert!(path("/a\nb").is_err());
    }
}
