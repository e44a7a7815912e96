use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::facts::{Carried, Found, Identity, Kind, Object, Place, Source};
use super::restricted::{Class, RESTRICTED, Restricted, of_engine};
use super::{Cover, Ids, Known, Request, Rules};
use crate::config::{Ancestors, Mounts};
use crate::plan::RootMount;

/// A host with one filesystem at `/` and others at the mountpoints of `mounts`: a filesystem's name, and the directory of it that
/// is mounted there.
struct Host {
    mounts: Vec<(&'static str, &'static str, &'static str)>,
    missing: Vec<&'static str>,
    sockets: Vec<&'static str>,
    links: u64,
}

impl Host {
    fn new() -> Self {
        let mounts = vec![("/", "disk", "/"), ("/run", "run", "/"), ("/proc", "proc", "/"), ("/dev", "devtmpfs", "/")];
        Self { mounts, missing: vec!["/opt/cni", "/opt/containerd"], sockets: vec!["/run/docker.sock"], links: 1 }
    }

    fn mounted(mut self, at: &'static str, filesystem: &'static str, root: &'static str) -> Self {
        self.mounts.push((at, filesystem, root));
        self
    }

    /// The mount that a path lies on, and the place there.
    fn place(&self, path: &Path, whole: &Path) -> (&'static str, Place) {
        let (at, filesystem, root) =
            self.mounts.iter().filter(|(at, ..)| path.starts_with(at)).max_by_key(|(at, ..)| at.len()).unwrap();
        let below = path.strip_prefix(at).unwrap();
        let path = Path::new(root).join(below).components().collect();
        let on = whole.strip_prefix(Path::new(at).join(below)).unwrap().to_owned();
        (at, Place { filesystem: (*filesystem).to_owned(), path, on })
    }

    fn identity(&self, path: &Path) -> Identity {
        let (_, place) = self.place(path, path);
        let number =
            |text: &[u8]| text.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(131).wrapping_add((*byte).into()));
        let inode = number(place.path.as_os_str().as_encoded_bytes());
        Identity { device: number(place.filesystem.as_bytes()), inode }
    }

    fn object(&self, path: &str, kind: Kind) -> Object {
        let whole = Path::new(path);
        let mut places = Vec::new();
        let mut at = whole;
        loop {
            let (mountpoint, place) = self.place(at, whole);
            places.push(place);
            if mountpoint == "/" {
                break;
            }
            // The mountpoint, as the mount below has it.
            let mut lower = Self { mounts: self.mounts.clone(), ..Self::new() };
            lower.mounts.retain(|(at, ..)| !Path::new(at).starts_with(mountpoint));
            let (next, mut place) = lower.place(Path::new(mountpoint), Path::new(mountpoint));
            place.on = whole.strip_prefix(mountpoint).unwrap().to_owned();
            places.push(place);
            at = Path::new(next);
            if next == "/" {
                break;
            }
        }
        let kind = if self.sockets.contains(&path) { Kind::Socket } else { kind };
        Object {
            identity: self.identity(whole),
            kind,
            links: self.links,
            fstype: match self.place(whole, whole).1.filesystem.as_str() {
                "disk" => "ext4".to_owned(),
                "run" => "tmpfs".to_owned(),
                other => other.to_owned(),
            },
            parents: whole.ancestors().skip(1).map(|above| self.identity(above)).collect(),
            places,
        }
    }

    fn found(&self, path: &Path) -> Found {
        let exists = |path: &Path| !self.missing.iter().any(|missing| path.starts_with(missing));
        let here = path.ancestors().find(|path| exists(path)).unwrap();
        let kind = if self.sockets.contains(&here.to_str().unwrap()) { Kind::Socket } else { Kind::Directory };
        Found { object: self.object(here.to_str().unwrap(), kind), exists: here == path }
    }

    fn known(&self, rules: &Rules) -> Known {
        Known {
            restricted: rules.restricted.iter().map(|entry| self.found(&entry.path)).collect(),
            shared: rules.shared.iter().flatten().map(|path| self.found(path)).collect(),
        }
    }

    /// A recursive bind mount of a directory.
    fn judge(&self, rules: &Rules, path: &str) -> Result<Vec<String>, String> {
        self.judge_as(rules, path, Kind::Directory, true)
    }

    fn judge_as(&self, rules: &Rules, path: &str, kind: Kind, recursive: bool) -> Result<Vec<String>, String> {
        let below = |at: &&(&str, &str, &str)| recursive && at.0 != path && Path::new(at.0).starts_with(path);
        let carried = |(at, ..): &(&'static str, &str, &str)| Carried {
            relative: Path::new(at).strip_prefix(path).unwrap().to_owned(),
            object: self.object(at, Kind::Directory),
        };
        let source = Source {
            object: self.object(path, kind),
            carried: self.mounts.iter().filter(below).map(carried).collect(),
        };
        let covers = rules.judge(&self.known(rules), Path::new(path), Path::new(path), &source);
        let relative = |cover: Cover| cover.relative.to_str().unwrap().to_owned();
        covers.map(|covers| covers.into_iter().map(relative).collect()).map_err(|refusal| {
            assert_eq!(refusal.denial.as_ref().unwrap().object, path);
            refusal.to_string()
        })
    }
}

fn rules_of(mounts: &Mounts) -> Rules {
    let bundle = Path::new("/run/containerd/io.containerd.runtime.v2.task/moby/c1");
    let asked = Request { bundle, root: Path::new("/data/docker/overlay2/x/merged"), rootfs: &[], sockets: &[] };
    Rules::new(mounts, &asked, Ids { own: vec!["c1".into()], shares: false })
}

fn rules() -> Rules {
    rules_of(&Mounts::default())
}

fn restricted(path: &str) -> String {
    format!("can't mount {path} because it's configured as a restricted host mount")
}

#[test]
fn each_of_the_list_is_refused_and_what_lies_below_and_above() {
    let host = Host { missing: Vec::new(), ..Host::new() };
    let rules = rules();
    for (path, class) in RESTRICTED {
        let is_socket = *class == Class::Socket && host.sockets.contains(path);
        if !is_socket {
            assert_eq!(host.judge(&rules, path), Err(restricted(path)), "{path}");
        }
        let below = format!("{path}/deep/er");
        assert_eq!(host.judge(&rules, &below), Err(restricted(&below)));
        for above in Path::new(path).ancestors().skip(1) {
            let above = above.to_str().unwrap();
            let refusal = host.judge(&rules, above).unwrap_err();
            assert!(refusal.starts_with(&restricted(above)), "{refusal}");
        }
        // A name that only looks alike.
        let beside = format!("{path}-other");
        if Path::new(path).parent().unwrap() == Path::new("/etc") || path.starts_with("/var/lib/") {
            let allowed =
                !RESTRICTED.iter().any(|(other, _)| *other != *path && beside.starts_with(&format!("{other}/")));
            assert_eq!(host.judge(&rules, &beside).is_ok(), allowed, "{beside}");
        }
    }
}

#[test]
fn a_socket_of_an_engine_is_denied_with_words_of_its_own() {
    let host = Host::new();
    let denied = "docker socket mount denied: /run/docker.sock is the socket of a container engine and would hand over the \
                  host; run an engine inside the container instead";
    assert_eq!(host.judge_as(&rules(), "/run/docker.sock", Kind::Socket, true), Err(denied.to_owned()));
    // With another name on its filesystem no directory there is safe.
    let linked = Host { links: 2, ..Host::new() };
    let refusal = linked.judge(&rules(), "/run/app").unwrap_err();
    assert_eq!(refusal, restricted("/run/app") + " (it holds maybe one of the hard links of /run/docker.sock)");
    assert_eq!(linked.judge(&rules(), "/srv"), Ok(vec![]));
    assert_eq!(host.judge(&rules(), "/run/app"), Ok(vec![]));
}

#[test]
fn bind_mounts_of_what_is_restricted_are_known_by_their_place() {
    let host = Host::new().mounted("/srv/alias", "disk", "/etc/docker/certs").mounted("/srv/etc", "disk", "/etc");
    assert_eq!(host.judge(&rules(), "/srv/alias"), Err(restricted("/srv/alias") + " (it leads to /etc/docker)"));
    let refusal = host.judge(&rules(), "/srv/etc").unwrap_err();
    assert!(refusal.starts_with(&(restricted("/srv/etc") + " (it holds /etc/")), "{refusal}");
    // One above both brings them along, unless it is not recursive.
    assert!(host.judge(&rules(), "/srv").unwrap_err().starts_with(&restricted("/srv")));
    assert_eq!(host.judge_as(&rules(), "/srv", Kind::Directory, false), Ok(vec![]));
}

#[test]
fn what_is_missing_is_restricted_where_it_could_be_made() {
    let rules = rules();
    assert_eq!(Host::new().judge(&rules, "/opt"), Err(restricted("/opt") + " (it holds the place of /opt/containerd)"));
    assert_eq!(Host::new().judge(&rules, "/opt/tools"), Ok(vec![]));
    let none = Host { missing: vec!["/opt"], ..Host::new() };
    assert!(none.judge(&rules, "/").is_err());
    let masking = rules_of(&Mounts { ancestors: Ancestors::Mask, ..Mounts::default() });
    assert_eq!(Host::new().judge(&masking, "/opt"), Ok(vec![]));
}

#[test]
fn masks_are_the_outermost_restricted_paths() {
    let masking = rules_of(&Mounts { ancestors: Ancestors::Mask, ..Mounts::default() });
    let host = Host::new().mounted("/var/lib/docker/overlay2/x/merged", "overlay", "/");
    let covers = host.judge(&masking, "/var/lib").unwrap();
    assert!(covers.contains(&"docker".to_owned()) && covers.contains(&"kubelet".to_owned()), "{covers:?}");
    assert!(!covers.iter().any(|cover| cover.starts_with("docker/")), "{covers:?}");
    let all = host.judge(&masking, "/").unwrap();
    for expected in ["proc", "dev", "etc/docker", "run/docker.sock", "var/lib/docker"] {
        assert!(all.contains(&expected.to_owned()), "{expected}: {all:?}");
    }
    // What is restricted itself stays refused.
    assert!(host.judge(&masking, "/etc/docker").is_err());
    assert!(host.judge(&masking, "/proc").is_err());
}

#[test]
fn engines_are_found_where_they_really_are() {
    let host = Host::new();
    for (path, allowed) in [
        ("/data/docker/containers/c1/hosts", true),
        ("/data/docker/containers/c2/hosts", false),
        ("/data/docker/volumes/v/_data/x", true),
        ("/data/docker/volumes", false),
        ("/data", false),
        ("/data/other", true),
        ("/data/docker", false),
    ] {
        assert_eq!(host.judge(&rules(), path).is_ok(), allowed, "{path}");
    }
    let layer = |option: &str| RootMount {
        fstype: "overlay".into(),
        source: "overlay".into(),
        target: String::new(),
        options: vec!["index=off".into(), option.to_owned()],
    };
    let found = of_engine(
        Path::new("/state/io.containerd.runtime.v2.task/k8s.io/c1"),
        Path::new("/state/io.containerd.runtime.v2.task/k8s.io/c1/rootfs"),
        &[layer("lowerdir=/root/io.containerd.snapshotter.v1.overlayfs/snapshots/1/fs:/x")],
    );
    let entry = |path: &str, class| Restricted { path: path.into(), class };
    assert_eq!(found, [entry("/state", Class::ContainerdState), entry("/root", Class::ContainerdRoot)]);
    // A bundle of nobody's engine, and one that would make everything an engine's.
    assert_eq!(of_engine(Path::new("/tmp/b"), Path::new("/tmp/b/rootfs"), &[]), []);
    let at_root = Path::new("/overlay2/x/merged");
    assert_eq!(of_engine(Path::new("/io.containerd.runtime.v2.task/n/c"), at_root, &[]), []);
}

#[test]
fn another_containers_files_are_its_own_unless_namespaces_are_shared() {
    let host = Host::new();
    let others = "/var/lib/docker/containers/c2/hosts";
    assert_eq!(host.judge_as(&rules(), others, Kind::File, false), Err(restricted(others)));
    let mut sharing = rules();
    sharing.ids.shares = true;
    assert_eq!(host.judge_as(&sharing, others, Kind::File, false), Ok(vec![]));
    for path in ["/var/lib/docker/containers/c2/config.v2.json", "/var/lib/docker/containers/c2/mounts/secrets"] {
        assert_eq!(host.judge_as(&sharing, path, Kind::File, false), Err(restricted(path)));
    }
}

#[test]
fn a_volume_is_what_is_mounted_there() {
    let volume = "/var/lib/docker/volumes/v/_data";
    let host = |root| Host::new().mounted("/var/lib/docker/volumes/v/_data", "disk", root);
    assert_eq!(host("/etc/docker").judge(&rules(), volume), Err(restricted(volume) + " (it leads to /etc/docker)"));
    assert!(host("/etc").judge(&rules(), volume).is_err());
    assert_eq!(host("/home/user").judge(&rules(), volume), Ok(vec![]));
    let shared = rules_of(&Mounts { shared: Some(vec!["/home".into()]), ..Mounts::default() });
    assert_eq!(host("/home/user").judge(&shared, volume), Ok(vec![]));
    assert!(host("/srv").judge(&shared, volume).unwrap_err().contains("[mounts] shared"));
    assert_eq!(Host::new().judge(&shared, volume), Ok(vec![]));
    // Programs that engines bind for `--init`.
    assert_eq!(Host::new().judge_as(&shared, "/usr/bin/docker-init", Kind::File, false), Ok(vec![]));
    assert!(Host::new().judge_as(&shared, "/srv/docker-init", Kind::File, false).is_err());
    // Sharing where volumes are does not share what users mount there.
    let volumes = rules_of(&Mounts { shared: Some(vec!["/var/lib/docker/volumes".into()]), ..Mounts::default() });
    assert!(host("/srv").judge(&volumes, volume).is_err());
}

#[test]
fn devices_by_themselves_are_bound_and_their_directory_is_not() {
    let host = Host::new();
    assert_eq!(host.judge_as(&rules(), "/dev/fuse", Kind::Device, false), Ok(vec![]));
    assert_eq!(host.judge(&rules(), "/dev/dri"), Err(restricted("/dev/dri")));
    let shm = Host::new().mounted("/dev/shm", "run2", "/");
    assert_eq!(shm.judge(&rules(), "/dev/shm"), Ok(vec![]));
    let operators = rules_of(&Mounts { restricted: Some(vec!["/dev/fuse".into()]), ..Mounts::default() });
    assert_eq!(host.judge_as(&operators, "/dev/fuse", Kind::Device, false), Err(restricted("/dev/fuse")));
}

#[test]
fn the_documentation_lists_what_never_may_be_bound() {
    let documentation = include_str!("../../../docs/configuration.md");
    let (_, list) = documentation.split_once("## What never may be bound").expect("the heading");
    let list = list.split("\n## ").next().unwrap_or_default();
    let listed: Vec<&str> = list.split('`').skip(1).step_by(2).filter(|word| word.starts_with('/')).collect();
    for (path, _) in RESTRICTED {
        assert!(listed.contains(path), "docs/configuration.md must list {path}");
    }
    let (table, _) = list.split_once("###").expect("the exceptions");
    for path in table.split('`').skip(1).step_by(2).filter(|word| word.starts_with('/')) {
        assert!(RESTRICTED.iter().any(|(entry, _)| *entry == path), "{path} is not in the list");
    }
}

fn path() -> impl Strategy<Value = PathBuf> {
    let name =
        prop_oneof!["etc", "docker", "var", "lib", "run", "srv", "a", "volumes", "_data", "containers", "c1", "hosts"];
    prop::collection::vec(name, 1..6).prop_map(|names| Path::new("/").join(names.iter().collect::<PathBuf>()))
}

proptest! {
    /// Whatever is bound under another name is judged as under its own.
    #[test]
    fn an_alias_is_judged_as_what_it_shows(path in path()) {
        let text: &'static str = Box::leak(path.to_str().unwrap().to_owned().into_boxed_str());
        // Of the filesystem at /, which has no mounts of its own below these paths.
        let host = Host { mounts: vec![("/", "disk", "/")], ..Host::new() };
        let own = host.judge(&rules(), text);
        let alias = Host { mounts: vec![("/", "disk", "/"), ("/mnt/alias", "disk", text)], ..Host::new() };
        let aliased = alias.judge(&rules(), "/mnt/alias");
        prop_assert_eq!(own.is_ok(), aliased.is_ok(), "{:?} {:?}", own, aliased);
    }

    /// What a directory may bring along, each directory below it may show.
    #[test]
    fn what_may_be_bound_has_nothing_below_it_that_may_not(path in path(), more in path()) {
        let host = Host::new();
        let below = path.join(more.strip_prefix("/").unwrap());
        let (path, below) = (path.to_str().unwrap(), below.to_str().unwrap());
        if host.judge(&rules(), path).is_ok() {
            prop_assert!(host.judge(&rules(), below).is_ok(), "{} but not {}", path, below);
        }
    }

    /// A mask covers all that would be refused.
    #[test]
    fn what_is_not_covered_may_be_bound(path in path(), more in path()) {
        let host = Host { missing: Vec::new(), ..Host::new() };
        let masking = rules_of(&Mounts { ancestors: Ancestors::Mask, ..Mounts::default() });
        let more = more.strip_prefix("/").unwrap();
        if let Ok(covers) = host.judge(&masking, path.to_str().unwrap())
            && !covers.iter().any(|cover| more.starts_with(cover))
        {
            let below = path.join(more);
            prop_assert!(host.judge(&masking, below.to_str().unwrap()).is_ok(), "{} in {:?}", below.display(), path);
        }
    }
}
