//! Which cgroup hierarchies this process sees, and where.
//!
//! The views of the mount namespace (`/proc/self/mountinfo`) and of the cgroup namespace (`/proc/self/cgroup`) decide; no
//! path is taken for granted. v1 (cgroups(7)), v2 and any mix of the two are the same list of [`Hierarchy`], so that the
//! rest of the module asks where a controller lives and not what kind of host this is.

use std::path::{Path, PathBuf};

use super::error::{Error, step};

/// What kind of hierarchy it is, and what it controls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// cgroup v1, with the controllers mounted together (`cpu`, `cpuacct`) or the name (`name=systemd`).
    V1(Vec<String>),
    /// cgroup v2. Its controllers differ from group to group (`cgroup.controllers`).
    V2,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// v1 with its controllers, or v2.
    pub(crate) kind: Kind,
    /// Where it is mounted.
    pub(crate) mount_point: PathBuf,
    /// This process's own group, as a directory below the mount point; the mount point itself where the own group lies
    /// outside of what is mounted.
    pub(crate) own: PathBuf,
}

impl Kind {
    /// Those of v1; none for cgroup v2.
    pub(crate) fn controllers(&self) -> &[String] {
        match self {
            Self::V1(controllers) => controllers,
            Self::V2 => &[],
        }
    }
}

impl Hierarchy {
    /// Whether it is the unified hierarchy.
    pub(crate) fn is_v2(&self) -> bool {
        self.kind == Kind::V2
    }

    /// Whether it is a v1 hierarchy with this controller.
    pub(crate) fn has_v1(&self, controller: &str) -> bool {
        matches!(&self.kind, Kind::V1(controllers) if controllers.iter().any(|name| name == controller))
    }
}

/// The hierarchies that this process sees, in the order of `/proc/self/cgroup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Never empty, and at most one of them is v2.
    pub(crate) hierarchies: Vec<Hierarchy>,
    /// Whether we run in a user namespace of somebody else, where the kernel lets nobody set device rules (and where
    /// those of the namespace's maker hold).
    pub(crate) in_user_namespace: bool,
}

impl Layout {
    /// Reads the views of this process.
    ///
    /// # Errors
    /// When `/proc` cannot be read or no hierarchy is mounted.
    pub(crate) fn detect() -> Result<Self, Error> {
        Self::of("self")
    }

    /// The same hierarchies, with process 1's groups as the own ones.
    ///
    /// # Errors
    /// As [`Self::detect`].
    pub(super) fn of_process_1() -> Result<Self, Error> {
        Self::of("1")
    }

    /// The same hierarchies, with a thread's groups as the own ones.
    ///
    /// # Errors
    /// As [`Self::detect`], and when the thread is gone.
    pub(crate) fn of_thread(tid: u32) -> Result<Self, Error> {
        Self::of(&tid.to_string())
    }

    fn of(process: &str) -> Result<Self, Error> {
        let read = |path: &str| {
            std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).map_err(step("read", path))
        };
        let mountinfo = read("/proc/self/mountinfo")?;
        let hierarchies = parse(&mountinfo, &read(&format!("/proc/{process}/cgroup"))?, is_on_top);
        if hierarchies.is_empty() {
            return Err(Error::NoHierarchy);
        }
        let in_user_namespace = !policy::mapped::is_initial(&read("/proc/self/uid_map")?);
        Ok(Self { hierarchies, in_user_namespace })
    }

    /// Whether cgroup v2 is all there is.
    pub(crate) fn is_unified(&self) -> bool {
        self.hierarchies.iter().all(Hierarchy::is_v2)
    }

    /// The hierarchy below whose mount point `path` lies.
    pub(crate) fn of_path(&self, path: &Path) -> Option<&Hierarchy> {
        let below = self.hierarchies.iter().filter(|it| path != it.mount_point && path.starts_with(&it.mount_point));
        below.max_by_key(|hierarchy| hierarchy.mount_point.as_os_str().len())
    }
}

/// A line of mountinfo (proc_pid_mountinfo(5)) that mounts a hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// `major:minor` as stat(2) gives it for what is on the mount.
    device: String,
    root: String,
    mount_point: String,
    v2: bool,
    /// Of the superblock: the controllers among them.
    options: Vec<String>,
}

/// A mount may be hidden below a later one (a v2 view mounted over v1 hierarchies); then its path leads to another device.
fn is_on_top(mount: &Mount) -> bool {
    let Ok(stat) = rustix::fs::stat(Path::new(&mount.mount_point)) else { return false };
    mount.device == format!("{}:{}", rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev))
}

/// Joins the two files' texts: each line of `/proc/self/cgroup` whose hierarchy is mounted becomes a [`Hierarchy`].
fn parse(mountinfo: &str, cgroup: &str, visible: impl Fn(&Mount) -> bool) -> Vec<Hierarchy> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(parse_mount).filter(visible).collect();
    cgroup.lines().filter_map(|line| hierarchy(line, &mounts)).collect()
}

fn parse_mount(line: &str) -> Option<Mount> {
    let (mount, superblock) = line.split_once(" - ")?;
    let mut superblock = superblock.split(' ');
    let v2 = match superblock.next()? {
        "cgroup" => false,
        "cgroup2" => true,
        _ => return None,
    };
    let options = superblock.nth(1)?.split(',').map(str::to_owned).collect();
    let mut mount = mount.split(' ').skip(2);
    let device = mount.next()?.to_owned();
    let (root, mount_point) = (unescape(mount.next()?), unescape(mount.next()?));
    Some(Mount { device, root, mount_point, v2, options })
}

/// mountinfo writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        match after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if byte.is_ascii() => {
                plain.push(char::from(byte));
                rest = &after[3..];
            }
            _ => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

/// A line of `/proc/self/cgroup` (`id:controllers:path`, cgroups(7)), joined with the mount that shows most of it.
fn hierarchy(line: &str, mounts: &[Mount]) -> Option<Hierarchy> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let names: Vec<String> = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let v2 = names.is_empty();
    let ours =
        |mount: &&Mount| mount.v2 == v2 && (v2 || names.iter().all(|name| mount.options.iter().any(|it| it == name)));
    // The whole hierarchy rather than a bind mount of a part, a part with our own group rather than another, the first.
    let rank = |mount: &&Mount| (mount.root != "/", below(&mount.root, path).is_none());
    let mount = mounts.iter().filter(ours).min_by_key(rank)?;
    let mount_point = PathBuf::from(&mount.mount_point);
    let own = match below(&mount.root, path) {
        Some(rest) => super::place::join(&mount_point, rest),
        None => mount_point.clone(),
    };
    let kind = if v2 { Kind::V2 } else { Kind::V1(names) };
    Some(Hierarchy { kind, mount_point, own })
}

/// `path` as seen from `root`, both paths of a hierarchy. None when it lies outside, as `/..` does in the view of a cgroup
/// namespace (cgroup_namespaces(7)).
fn below<'a>(root: &str, path: &'a str) -> Option<&'a str> {
    let rest = if root == "/" { path } else { path.strip_prefix(root)? };
    let inside = (rest.is_empty() || rest.starts_with('/')) && !rest.split('/').any(|part| part == "..");
    inside.then_some(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "\
23 27 0:22 / /sys rw,relatime - sysfs sysfs rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime shared:4 master:2 - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";
    const HYBRID_OWN: &str = "\
9:name=systemd:/system.slice/containerd.service
8:pids:/
4:memory:/a:b
2:cpu,cpuacct:/system.slice
0::/system.slice/containerd.service
";

    fn parse_all(mountinfo: &str, cgroup: &str) -> Vec<Hierarchy> {
        parse(mountinfo, cgroup, |_| true)
    }

    fn v1(controllers: &[&str]) -> Kind {
        Kind::V1(controllers.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_hybrid_host_has_every_mounted_hierarchy() {
        let found = parse_all(HYBRID, HYBRID_OWN);
        let kinds: Vec<_> = found.iter().map(|it| it.kind.clone()).collect();
        assert_eq!(kinds, [v1(&["name=systemd"]), v1(&["memory"]), v1(&["cpu", "cpuacct"]), Kind::V2]);
        let own: Vec<_> = found.iter().map(|it| it.own.to_str().unwrap()).collect();
        assert_eq!(own[0], "/sys/fs/cgroup/systemd/system.slice/containerd.service");
        assert_eq!(own[1], "/sys/fs/cgroup/memory/a:b");
        assert_eq!(own[2], "/sys/fs/cgroup/cpu,cpuacct/system.slice");
        assert!(found[2].has_v1("cpuacct") && !found[1].has_v1("cpu") && found[3].is_v2());
    }

    #[test]
    fn a_unified_host_has_one_hierarchy() {
        let found = parse_all("31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n", "0::/\n");
        let mount_point = PathBuf::from("/sys/fs/cgroup");
        assert_eq!(found, [Hierarchy { kind: Kind::V2, own: mount_point.clone(), mount_point }]);
        let layout = Layout { hierarchies: found, in_user_namespace: false };
        assert!(layout.is_unified());
        assert!(layout.of_path(Path::new("/sys/fs/cgroup/a")).is_some());
        assert!(layout.of_path(Path::new("/sys/fs/cgroup")).is_none());
        assert!(layout.of_path(Path::new("/sys/fs/cgroup2/a")).is_none());
    }

    #[test]
    fn a_covered_mount_does_not_count() {
        let mountinfo = format!("{HYBRID}50 23 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        let found = parse(&mountinfo, HYBRID_OWN, |mount| mount.mount_point == "/sys/fs/cgroup");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].own, Path::new("/sys/fs/cgroup/system.slice/containerd.service"));
    }

    #[test]
    fn a_mount_of_a_part_shows_the_group_relative_to_it() {
        // Docker without a cgroup namespace: host paths in /proc/self/cgroup, a bind mount of the container's part.
        let part = "9 8 0:32 /docker/c1 /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(parse_all(part, "4:memory:/docker/c1/x\n")[0].own, Path::new("/sys/fs/cgroup/memory/x"));
        // Another part than our own, and a mount made outside of our cgroup namespace.
        assert_eq!(parse_all(part, "4:memory:/docker/c10\n")[0].own, Path::new("/sys/fs/cgroup/memory"));
        let outside = part.replace("/docker/c1 ", "/.. ");
        assert_eq!(parse_all(&outside, "4:memory:/../..\n")[0].own, Path::new("/sys/fs/cgroup/memory"));
        // The whole hierarchy elsewhere wins over the part.
        let both = format!("{part}10 8 0:32 / /mnt/all\\040of\\134it rw - cgroup cgroup rw,memory\n");
        assert_eq!(parse_all(&both, "4:memory:/docker/c1\n")[0].mount_point, Path::new("/mnt/all of\\it"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(mountinfo in ".{0,200}", cgroup in ".{0,100}") {
            parse_all(&mountinfo, &cgroup);
        }

        #[test]
        fn a_mount_line_round_trips(name in "[a-z \\\\]{1,12}", optional in "( shared:[0-9]{1,3}){0,2}") {
            let escaped = name.replace('\\', "\\134").replace(' ', "\\040");
            let line = format!("9 8 0:32 / /m/{escaped} rw{optional} - cgroup cgroup rw,memory");
            prop_assert_eq!(parse_mount(&line).expect("a cgroup mount").mount_point, format!("/m/{name}"));
        }

        #[test]
        fn the_own_group_never_leaves_the_mount(root in "(/[a.]{1,3}){0,3}", path in "(/[a.]{1,3}){0,4}") {
            let root = if root.is_empty() { "/".to_owned() } else { root };
            let line = format!("9 8 0:32 {root} /m rw - cgroup2 cgroup2 rw");
            let found = parse_all(&line, &format!("0::{path}\n"));
            prop_assert!(found[0].own.starts_with("/m"));
            prop_assert!(!found[0].own.components().any(|part| part == std::path::Component::ParentDir));
        }
    }
}
