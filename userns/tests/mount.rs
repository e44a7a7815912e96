//! Detached mounts: flags, propagation, id maps, and what the kernel says when it refuses.

#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod kernel;

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use kernel::{MAP, at_mnt, disk, inside, mount_new, owner, private, user_namespace};
use policy::plan::{IdMapping, MountFlags, Propagation};
use userns::mount::{Detached, MountIds};

/// `MOUNT_ATTR_RDONLY` of mount_setattr(2).
const RDONLY: MountFlags = MountFlags { set: 1, clear: 0 };

fn bind(source: &Path, recursive: bool) -> userns::Result<Detached> {
    let userns = user_namespace();
    let ids = MountIds { userns: userns.as_fd(), own: Some(MAP), plain: false };
    let source_fd = File::open(source).expect("the source");
    Detached::bind(&source_fd, recursive, ids, &source.display().to_string(), &[])
}

fn chown(path: impl AsRef<Path>, id: u32) {
    std::os::unix::fs::chown(path, Some(id), Some(id)).expect("chown");
}

/// mountinfo's line of a mountpoint.
fn mountinfo(mount_point: &str) -> String {
    let text = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mountinfo");
    let line = text.lines().rfind(|line| line.split(' ').nth(4) == Some(mount_point));
    line.unwrap_or_else(|| panic!("{mount_point} in {text}")).to_owned()
}

#[test]
fn a_bind_shows_owners_through_the_map() {
    private(|| {
        let dir = disk();
        std::fs::write(dir.path().join("file"), "").expect("write");
        chown(dir.path().join("file"), 33);
        let mnt = at_mnt(&bind(dir.path(), true).expect("bind"));
        assert_eq!(owner(&mnt), (MAP.host, MAP.host));
        assert_eq!(owner(mnt.join("file")), (MAP.host + 33, MAP.host + 33));
        assert_eq!(owner(dir.path().join("file")), (33, 33), "the disk is as it was");
        let userns = user_namespace();
        assert_eq!(inside(&userns, &mnt, "touch new; chown 7:8 new; stat -c %u:%g . new"), "0:0\n7:8");
        assert_eq!(owner(dir.path().join("new")), (7, 8));
    });
}

#[test]
fn a_single_file_is_bound_too() {
    private(|| {
        let dir = disk();
        let file = dir.path().join("file");
        std::fs::write(&file, "").expect("write");
        let target = dir.path().join("target");
        std::fs::write(&target, "").expect("write");
        bind(&file, true).expect("bind").attach_at(File::open(&target).expect("open")).expect("attach");
        assert_eq!(owner(&target), (MAP.host, MAP.host));
    });
}

#[test]
fn a_source_that_belongs_to_the_container_is_shown_as_it_is() {
    private(|| {
        let dir = disk();
        chown(dir.path(), MAP.host + 5);
        let mnt = at_mnt(&bind(dir.path(), true).expect("bind"));
        assert_eq!(owner(&mnt), (MAP.host + 5, MAP.host + 5));
        assert!(!mountinfo("/mnt").contains("idmapped"));
    });
}

/// Submounts: one that can be mapped is, one of the kernel's own filesystems stays as it is.
#[test]
fn submounts_are_mapped_one_by_one() {
    private(|| {
        let dir = disk();
        mount_new("tmpfs", &dir.path().join("a/tmp"));
        mount_new("tmpfs", &dir.path().join("a/tmp/deep"));
        mount_new("proc", &dir.path().join("proc"));
        mount_new("tmpfs", &dir.path().join("own"));
        chown(dir.path().join("own"), MAP.host);
        let mnt = at_mnt(&bind(dir.path(), true).expect("bind"));
        for mapped in ["", "a", "a/tmp", "a/tmp/deep"] {
            assert_eq!(owner(mnt.join(mapped)), (MAP.host, MAP.host), "{mapped}");
        }
        assert_eq!(owner(mnt.join("proc")), (0, 0));
        assert_eq!(owner(mnt.join("own")), (MAP.host, MAP.host));
        assert!(mountinfo("/mnt/a/tmp/deep").contains("idmapped") && !mountinfo("/mnt/own").contains("idmapped"));
    });
}

#[test]
fn a_filesystem_that_cannot_be_mapped_is_refused_by_name() {
    private(|| {
        let dir = disk();
        let ramfs = dir.path().join("ramfs");
        mount_new("ramfs", &ramfs);
        let expected = format!("{}: is on ramfs, which cannot be id-mapped", ramfs.display());
        assert_eq!(bind(&ramfs, false).expect_err("ramfs").to_string(), expected);
        assert_eq!(bind(&ramfs, true).expect_err("ramfs").to_string(), expected);
        // Below a source that can be mapped, too; and a pseudo filesystem as the source itself.
        assert_eq!(bind(dir.path(), true).expect_err("ramfs below").to_string(), expected);
        assert_eq!(
            bind(Path::new("/proc/sys"), true).expect_err("proc").to_string(),
            "/proc/sys: is on proc, which cannot be id-mapped"
        );
        // The near misses: without the submount, and with an owner that needs no map.
        bind(dir.path(), false).expect("the directory alone");
        chown(&ramfs, MAP.host);
        bind(dir.path(), true).expect("with a submount that belongs to the container");
        bind(&ramfs, true).expect("a source that belongs to the container");
    });
}

#[test]
fn a_source_with_another_map_is_refused() {
    private(|| {
        let dir = disk();
        let other = policy::idmap::IdMap { host: 300_000, size: 65536 };
        let userns = userns::idmap::user_namespace_of(File::open("/proc").expect("/proc"), other).expect("a namespace");
        let source = File::open(dir.path()).expect("open");
        let ids = MountIds { userns: userns.as_fd(), own: None, plain: false };
        let mnt = at_mnt(&Detached::bind(&source, false, ids, "source", &[]).expect("bind"));
        let error = bind(&mnt, true).expect_err("mapped already").to_string();
        assert_eq!(error, "/mnt: is on ext4 and id-mapped already".replace("ext4", &fstype(&mnt)));
    });
}

fn fstype(path: &Path) -> String {
    let line = mountinfo(&path.display().to_string());
    let (_, filesystem) = line.split_once(" - ").expect("a line");
    filesystem.split(' ').next().expect("a type").to_owned()
}

#[test]
fn an_explicit_mapping_is_applied_whoever_owns_the_source() {
    private(|| {
        let dir = disk();
        std::fs::write(dir.path().join("file"), "").expect("write");
        chown(dir.path().join("file"), 1000);
        let line = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let uid = [line(0, MAP.host, 1), line(1000, MAP.host + 5, 1)];
        let gid = [line(0, MAP.host, 1), line(1000, MAP.host + 6, 1)];
        let userns = userns::idmap::user_namespace(File::open("/proc").expect("/proc"), &uid, &gid).expect("made");
        let source = File::open(dir.path()).expect("open");
        let ids = MountIds { userns: userns.as_fd(), own: None, plain: false };
        let mnt = at_mnt(&Detached::bind(&source, false, ids, "source", &[]).expect("bind"));
        assert_eq!(owner(mnt.join("file")), (MAP.host + 5, MAP.host + 6));
        let overlapping = [line(0, MAP.host, 2), line(1, MAP.host + 5, 1)];
        let error = userns::idmap::user_namespace(File::open("/proc").expect("/proc"), &overlapping, &gid);
        let text = error.expect_err("overlap").to_string();
        assert_eq!(text, "write the id map 0 1000000 2 1 1000005 1: Invalid argument (os error 22)");
    });
}

/// A child that is cloned while another waits holds a copy of what that one waits for.
#[test]
fn user_namespaces_are_made_by_many_threads_at_once() {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..25).for_each(|_| drop(user_namespace())));
        }
    });
}

#[test]
fn no_child_is_left_by_a_user_namespace() {
    let children = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("tasks");
        let of = |task: std::io::Result<std::fs::DirEntry>| -> Option<String> {
            std::fs::read_to_string(task.ok()?.path().join("children")).ok()
        };
        tasks.filter_map(of).collect::<String>().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let userns = user_namespace();
    // Other tests of this process have children; none of them is in this namespace.
    let inode = |path: PathBuf| std::fs::metadata(path).ok().map(|file| std::os::unix::fs::MetadataExt::ino(&file));
    let ours = rustix::fs::fstat(&userns).expect("stat").st_ino;
    for child in children() {
        assert_ne!(inode(format!("/proc/{child}/ns/user").into()), Some(ours), "{child}");
    }
}

#[test]
fn flags_and_propagation_are_recursive_when_asked() {
    private(|| {
        let dir = disk();
        mount_new("tmpfs", &dir.path().join("sub"));
        let clone = |flags_recursive| {
            let clone = Detached::clone_of_path(dir.path(), true).expect("clone");
            clone.set_flags(RDONLY, flags_recursive).expect("ro");
            clone.set_propagation(Propagation::Shared, flags_recursive).expect("shared");
            at_mnt(&clone)
        };
        let write = |path: PathBuf| std::fs::write(path, "").map_err(|error| error.kind());
        let read_only = Err(std::io::ErrorKind::ReadOnlyFilesystem);
        let mnt = clone(false);
        assert_eq!(write(mnt.join("file")), read_only);
        assert_eq!(write(mnt.join("sub/file")), Ok(()));
        assert!(mountinfo("/mnt").contains("shared:") && !mountinfo("/mnt/sub").contains("shared:"));
        let mnt = clone(true);
        assert_eq!((write(mnt.join("file")), write(mnt.join("sub/file"))), (read_only, read_only));
        assert!(mountinfo("/mnt/sub").contains("shared:"));
        assert_eq!(write(dir.path().join("file")), Ok(()), "the source stays writable");
    });
}

#[test]
fn a_new_filesystem_says_why_it_cannot_be_mounted() {
    let data = |key: &str, value: Option<&str>| [(key.to_owned(), value.map(str::to_owned))];
    let error = |fstype, data: &[_]| Detached::filesystem(fstype, None, data, &[]).expect_err(fstype).to_string();
    assert_eq!(error("no-such-fs", &[]), "no-such-fs: this kernel has no such filesystem");
    assert_eq!(
        error("tmpfs", &data("size", Some("lots"))),
        "set option size=lots of tmpfs: Invalid argument (os error 22) (tmpfs: Bad value for 'size')"
    );
    assert!(error("overlay", &data("volatile", None)).starts_with("mount overlay: "));
    Detached::filesystem("tmpfs", Some("tmpfs"), &data("size", Some("64k")), &[]).expect("tmpfs");
}

/// Everything that the builder mounts is locked once the container has its own mount namespace (kernel.md 1).
#[test]
fn mounts_are_locked_inside() {
    private(|| {
        let dir = disk();
        std::fs::create_dir(dir.path().join("volume")).expect("mkdir");
        let root = bind(dir.path(), true).expect("bind");
        let mnt = at_mnt(&root);
        let volume = bind(&dir.path().join("volume"), true).expect("bind");
        volume.set_flags(RDONLY, true).expect("ro");
        volume.attach_at(File::open(mnt.join("volume")).expect("open")).expect("attach");
        let userns = user_namespace();
        for refused in [
            "mount -o remount,bind,rw volume",
            "umount volume",
            "umount -l volume",
            "mount --bind . /tmp",
            "unshare -Urm mount -o remount,bind,rw volume",
            "unshare -m umount -l volume",
            "touch volume/file",
        ] {
            let answer = inside(&userns, &mnt, &format!("{refused}; echo $?"));
            let status = answer.lines().last().unwrap_or_default();
            assert!(status != "0", "{refused}: {answer}");
        }
        // What the container may do with mounts of its own.
        let own = "mkdir own && mount -t tmpfs own own && mount -t tmpfs -o remount,ro none own && ! touch own/x 2>/dev/null \
            && mount -t tmpfs -o remount,rw none own && touch own/x && umount own && echo done";
        assert_eq!(inside(&userns, &mnt, own), "done");
    });
}
