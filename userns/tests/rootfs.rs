//! Root filesystems: every form in which an engine hands one over, with the owners on disk as the container sees them.

#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod kernel;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use kernel::{MAP, at_mnt, disk, inside, mount_new, owner, private, user_namespace};
use policy::plan::RootMount;
use userns::creds::FsIds;
use userns::mount::Detached;
use userns::rootfs::{LayerRoute, Request, assemble, writable_layer};

/// Layers as containerd's overlayfs snapshotter lays them out: `N/fs`, and `N/work` of the writable one.
struct Snapshots {
    dir: tempfile::TempDir,
}

impl Snapshots {
    /// Two read-only layers (1 below 2), a writable one (3), and the bundle's rootfs directory. All is owned by `id`.
    fn new(id: u32) -> Self {
        let dir = disk();
        for name in ["1/fs/etc", "2/fs/etc", "3/fs", "3/work", "rootfs"] {
            std::fs::create_dir_all(dir.path().join(name)).expect("mkdir");
        }
        let this = Self { dir };
        let write = |name: &str, text: &str, mode| {
            std::fs::write(this.at(name), text).expect("write");
            std::fs::set_permissions(this.at(name), std::fs::Permissions::from_mode(mode)).expect("chmod");
        };
        write("1/fs/etc/lower", "1", 0o644);
        write("1/fs/etc/both", "1", 0o644);
        write("2/fs/etc/both", "2", 0o644);
        write("1/fs/suid", "", 0o644);
        for name in ["1/fs", "1/fs/etc", "1/fs/etc/lower", "2/fs", "2/fs/etc", "2/fs/etc/both", "3/fs", "3/work"] {
            chown(&this.at(name), id);
        }
        chown(&this.at("1/fs/suid"), id + 33);
        std::fs::set_permissions(this.at("1/fs/suid"), std::fs::Permissions::from_mode(0o4755)).expect("chmod");
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.at(name).display().to_string()
    }

    /// The Create request's mount, with further options.
    fn overlay(&self, more: &[&str]) -> RootMount {
        let mut options = vec![
            format!("lowerdir={}:{}", self.text("2/fs"), self.text("1/fs")),
            format!("upperdir={}", self.text("3/fs")),
            format!("workdir={}", self.text("3/work")),
        ];
        options.extend(more.iter().map(|&option| option.to_owned()));
        RootMount { options, ..mount("overlay", "overlay", &[]) }
    }

    fn assemble(&self, mounts: &[RootMount], route: LayerRoute) -> userns::Result<Detached> {
        assemble_at(mounts, &self.at("rootfs"), route)
    }
}

fn assemble_at(mounts: &[RootMount], path: &Path, route: LayerRoute) -> userns::Result<Detached> {
    let userns = user_namespace();
    let ids = FsIds::enter(MAP).expect("filesystem ids");
    assemble(&Request { mounts, path, userns: userns.as_fd(), route }, &ids)
}

fn mount(fstype: &str, source: &str, options: &[&str]) -> RootMount {
    let options = options.iter().map(|&option| option.to_owned()).collect();
    RootMount { fstype: fstype.into(), source: source.into(), target: String::new(), options }
}

fn chown(path: &Path, id: u32) {
    std::os::unix::fs::chown(path, Some(id), Some(id)).expect("chown");
}

/// What a container sees and does in the root filesystem of [`Snapshots`], whoever owns it on disk.
const SCRIPT: &str = "stat -c '%n %u:%g %a' . etc etc/lower suid; cat etc/both; \
    echo x > new && chown 5:6 new && echo y >> etc/lower && rm etc/both && mkdir dir && stat -c '%n %u:%g' new dir; \
    rmdir dir; chown 70000 new 2>/dev/null || echo outside";
const SEEN: &str = ". 0:0 755\netc 0:0 755\netc/lower 0:0 644\nsuid 33:33 4755\n2new 5:6\ndir 0:0\noutside";

/// What of [`SCRIPT`] is on the disk, in the writable layer, with owners that begin at `base`.
fn check_disk(upper: &Path, base: u32) {
    assert_eq!(owner(upper.join("new")), (base + 5, base + 6));
    assert_eq!(owner(upper.join("etc/lower")), (base, base));
    let whiteout = std::fs::symlink_metadata(upper.join("etc/both")).expect("a whiteout");
    assert_eq!((whiteout.rdev(), whiteout.size()), (0, 0));
    assert!(!upper.join("dir").exists());
}

#[test]
fn an_overlay_keeps_its_owners_on_disk() {
    for route in [LayerRoute::Auto, LayerRoute::Attached] {
        private(|| {
            let snapshots = Snapshots::new(0);
            let before = std::env::current_dir().expect("cwd");
            let mnt = at_mnt(&snapshots.assemble(&[snapshots.overlay(&["index=off"])], route).expect("assembled"));
            assert_eq!(std::env::current_dir().expect("cwd"), before);
            assert_eq!(inside(&user_namespace(), &mnt, SCRIPT), SEEN, "{route:?}");
            check_disk(&snapshots.at("3/fs"), 0);
            assert_eq!(owner(snapshots.at("1/fs/suid")), (33, 33));
            assert!(std::fs::read_dir(snapshots.at("rootfs")).expect("rootfs").next().is_none(), "nothing is left");
        });
    }
}

#[test]
fn the_filesystem_ids_are_put_back() {
    private(|| {
        let dir = disk();
        drop(FsIds::enter(MAP).expect("filesystem ids"));
        std::fs::write(dir.path().join("file"), "").expect("write");
        assert_eq!(owner(dir.path().join("file")), (0, 0));
        let bits = rustix::thread::capabilities_secure_bits().expect("securebits");
        assert!(!bits.contains(rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP));
    });
}

/// userns-remap and `ctr --uidmap`: all layers carry the map's ids already.
#[test]
fn layers_that_carry_the_ids_of_the_map_are_left_so() {
    private(|| {
        let snapshots = Snapshots::new(MAP.host);
        let mounts = [snapshots.overlay(&[])];
        let mnt = at_mnt(&snapshots.assemble(&mounts, LayerRoute::Auto).expect("assembled"));
        assert_eq!(inside(&user_namespace(), &mnt, SCRIPT), SEEN);
        check_disk(&snapshots.at("3/fs"), MAP.host);
    });
}

/// `uidmap=` and `gidmap=` of containerd 2: the writable layer carries the map's ids, those of the image do not.
#[test]
fn each_layers_owner_decides() {
    for route in [LayerRoute::Auto, LayerRoute::Attached] {
        private(|| {
            let snapshots = Snapshots::new(0);
            chown(&snapshots.at("3/fs"), MAP.host);
            let mounts = [snapshots.overlay(&["uidmap=0:1000000:65536", "gidmap=0:1000000:65536"])];
            let mnt = at_mnt(&snapshots.assemble(&mounts, route).expect("assembled"));
            assert_eq!(inside(&user_namespace(), &mnt, SCRIPT), SEEN, "{route:?}");
            check_disk(&snapshots.at("3/fs"), MAP.host);
            assert_eq!(owner(snapshots.at("1/fs/etc")), (0, 0));
            let other = [snapshots.overlay(&["uidmap=0:2000000:65536"])];
            let error = snapshots.assemble(&other, route).expect_err("another map").to_string();
            assert_eq!(error, "rootfs: the mount's id map \"0:2000000:65536\" is not the container's");
        });
    }
}

#[test]
fn a_layer_of_somebody_else_is_refused() {
    private(|| {
        let snapshots = Snapshots::new(0);
        chown(&snapshots.at("3/fs"), 200_000);
        let error = snapshots.assemble(&[snapshots.overlay(&[])], LayerRoute::Auto).expect_err("foreign").to_string();
        let reason = "belongs to host id 200000, which is neither below 65536 nor the container's";
        assert_eq!(error, format!("{}: {reason}", snapshots.text("3/fs")));
    });
}

/// Layers that are mounts of their own, as the erofs snapshotter has them, and an upper directory on another filesystem.
#[test]
fn layers_on_several_mounts_are_mapped_one_by_one() {
    for route in [LayerRoute::Auto, LayerRoute::Attached] {
        private(|| {
            let snapshots = Snapshots::new(0);
            mount_new("tmpfs", &snapshots.at("4/fs"));
            std::fs::write(snapshots.at("4/fs/tmpfs"), "").expect("write");
            let mut overlay = snapshots.overlay(&[]);
            let lowers = ["4/fs", "2/fs", "1/fs"].map(|name| snapshots.text(name)).join(":");
            overlay.options[0] = format!("lowerdir={lowers}");
            let mnt = at_mnt(&snapshots.assemble(&[overlay], route).expect("assembled"));
            std::fs::remove_file(mnt.join("suid")).expect("a file to remove");
            assert_eq!(inside(&user_namespace(), &mnt, "stat -c %u:%g tmpfs etc"), "0:0\n0:0", "{route:?}");
        });
    }
}

#[test]
fn a_layer_that_cannot_be_mapped_is_refused_by_name() {
    private(|| {
        let snapshots = Snapshots::new(0);
        mount_new("ramfs", &snapshots.at("2/fs"));
        let error = snapshots.assemble(&[snapshots.overlay(&[])], LayerRoute::Auto).expect_err("ramfs").to_string();
        assert_eq!(error, format!("{}: is on ramfs, which cannot be id-mapped", snapshots.text("2/fs")));
    });
}

#[test]
fn many_layers_and_odd_names_work() {
    for route in [LayerRoute::Auto, LayerRoute::Attached] {
        private(|| {
            let snapshots = Snapshots::new(0);
            let names: Vec<String> = (0..120).map(|number| format!("long:name\\of a,layer {number}/fs")).collect();
            for (number, name) in names.iter().enumerate() {
                std::fs::create_dir_all(snapshots.at(name)).expect("mkdir");
                std::fs::write(snapshots.at(name).join(format!("file{number}")), "").expect("write");
            }
            let escape = |name: &String| snapshots.text(name).replace('\\', "\\\\").replace(':', "\\:");
            let mut overlay = snapshots.overlay(&[]);
            overlay.options[0] = format!("lowerdir={}", names.iter().map(escape).collect::<Vec<_>>().join(":"));
            let mnt = at_mnt(&snapshots.assemble(&[overlay], route).expect("assembled"));
            assert_eq!(inside(&user_namespace(), &mnt, "ls | wc -l; stat -c %u file119"), "120\n0", "{route:?}");
        });
    }
}

#[test]
fn an_overlay_of_one_read_only_layer_is_that_layer() {
    private(|| {
        let snapshots = Snapshots::new(0);
        let view = mount("overlay", "overlay", &[&format!("lowerdir={}", snapshots.text("1/fs")), "ro"]);
        assert_eq!(writable_layer(std::slice::from_ref(&view), &snapshots.at("rootfs")).expect("known"), None);
        let mnt = at_mnt(&snapshots.assemble(&[view], LayerRoute::Auto).expect("assembled"));
        let seen = inside(&user_namespace(), &mnt, "stat -c %u:%g etc/lower; touch new 2>/dev/null || echo ro");
        assert_eq!(seen, "0:0\nro");
    });
}

/// Docker: the engine has mounted an overlay itself, at `root.path`, and goes on using it.
#[test]
fn an_overlay_that_the_engine_has_mounted_is_assembled_anew() {
    private(|| {
        let snapshots = Snapshots::new(0);
        let merged = snapshots.at("rootfs");
        let mount = snapshots.overlay(&["metacopy=on"]);
        let data = std::ffi::CString::new(mount.options.join(",")).expect("options");
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", &merged, "overlay", none, Some(data.as_c_str())).expect("mount");
        let layer = writable_layer(&[], &merged).expect("known").expect("an upper directory");
        assert_eq!(layer.path, snapshots.at("3/fs"));
        let mnt = at_mnt(&snapshots.assemble(&[], LayerRoute::Auto).expect("assembled"));
        assert_eq!(inside(&user_namespace(), &mnt, SCRIPT), SEEN);
        check_disk(&snapshots.at("3/fs"), 0);
        assert_eq!(owner(snapshots.at("3/work-eci")), (0, 0), "a work directory of our own");
        // The engine's own mount still copies up, and the container sees what it wrote.
        std::fs::write(merged.join("2"), "by the engine").expect("write through the engine's mount");
        std::fs::write(merged.join("suid"), "longer").expect("copy-up through the engine's mount");
        assert_eq!(inside(&user_namespace(), &mnt, "stat -c %u:%g 2; cat 2"), "0:0\nby the engine");
        // A second start finds the work directory there.
        snapshots.assemble(&[], LayerRoute::Auto).expect("assembled again");
        // A directory of an overlay is none that can be mapped.
        let error = assemble_at(&[], &merged.join("etc"), LayerRoute::Auto).expect_err("below an overlay").to_string();
        assert_eq!(error, format!("{}/etc: is a directory on overlay, which cannot be id-mapped", merged.display()));
    });
}

/// Engines change their directory and name layers relative to it when there are many.
#[test]
fn relative_layers_of_a_mounted_overlay_are_found() {
    private(|| {
        let snapshots = Snapshots::new(0);
        let before = std::env::current_dir().expect("cwd");
        std::env::set_current_dir(snapshots.dir.path()).expect("chdir");
        let data = c"lowerdir=2/fs:1/fs,upperdir=3/fs,workdir=3/work";
        let none = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", "rootfs", "overlay", none, Some(data)).expect("mount");
        std::env::set_current_dir(before).expect("chdir");
        let mnt = at_mnt(&snapshots.assemble(&[], LayerRoute::Auto).expect("assembled"));
        assert_eq!(inside(&user_namespace(), &mnt, SCRIPT), SEEN);
        check_disk(&snapshots.at("3/fs"), 0);
    });
}

#[test]
fn a_plain_directory_is_a_root_filesystem() {
    private(|| {
        let snapshots = Snapshots::new(0);
        let source = snapshots.text("1/fs");
        let bind = mount("bind", &source, &["rbind", "rw"]);
        let layer = writable_layer(std::slice::from_ref(&bind), &snapshots.at("rootfs")).expect("known");
        assert_eq!(layer.expect("the source").path, snapshots.at("1/fs"));
        for mounts in [vec![bind], vec![]] {
            let mnt = at_mnt(&assemble_at(&mounts, &snapshots.at("1/fs"), LayerRoute::Auto).expect("assembled"));
            let seen = inside(&user_namespace(), &mnt, "stat -c '%u:%g %a' . suid; echo x > new; chown 5:6 new");
            assert_eq!(seen, "0:0 755\n33:33 4755");
            assert_eq!(owner(snapshots.at("1/fs/new")), (5, 6));
        }
        let read_only = mount("bind", &source, &["bind", "ro"]);
        let mnt = at_mnt(&snapshots.assemble(&[read_only], LayerRoute::Auto).expect("assembled"));
        assert_eq!(inside(&user_namespace(), &mnt, "touch more 2>/dev/null || echo ro"), "ro");
        chown(&snapshots.at("1/fs"), MAP.host);
        let mnt = at_mnt(&assemble_at(&[], &snapshots.at("1/fs"), LayerRoute::Auto).expect("left as it is"));
        assert_eq!(owner(&mnt), (MAP.host, MAP.host));
    });
}

#[test]
fn a_bad_root_filesystem_is_refused_in_one_line() {
    private(|| {
        let snapshots = Snapshots::new(0);
        let error = |mounts: &[RootMount], path: &str| {
            let error = assemble_at(mounts, &snapshots.at(path), LayerRoute::Auto).expect_err(path).to_string();
            error.replace(&snapshots.text(""), "")
        };
        std::fs::write(snapshots.at("file"), "").expect("write");
        mount_new("ramfs", &snapshots.at("ramfs"));
        assert_eq!(error(&[], "missing"), "open directory missing: No such file or directory (os error 2)");
        assert_eq!(error(&[], "file"), "open directory file: Not a directory (os error 20)");
        assert_eq!(error(&[], "ramfs"), "ramfs: is on ramfs, which cannot be id-mapped");
        let bad = |fstype, options: &[&str]| error(&[mount(fstype, "source", options)], "rootfs");
        assert_eq!(bad("nfs", &[]), "nfs: is not a type of mount that a root filesystem may have");
        assert_eq!(bad("bind", &[]), "open directory source: No such file or directory (os error 2)");
        assert_eq!(bad("overlay", &["upperdir=/u"]), "/u: is an upperdir without a workdir");
        let below = RootMount { target: "data".into(), ..mount("bind", "source", &[]) };
        assert_eq!(error(&[below], "rootfs"), "data: a root filesystem's mounts need one without a target");
        let unknown = error(&[snapshots.overlay(&["no_such_option=1"])], "rootfs");
        assert!(unknown.starts_with("set option no_such_option=1 of overlay: Invalid argument"), "{unknown}");
        let missing = writable_layer(&[mount("bind", "/missing", &[])], &snapshots.at("rootfs"));
        let text = missing.expect_err("no such directory").to_string();
        assert_eq!(text, "find the root filesystem's directory /missing: No such file or directory (os error 2)");
    });
}

/// An image file through a loop device, as a layer's mount and as the root itself; and a mount below the root.
#[test]
fn image_files_are_mounted_and_mapped() {
    private(|| {
        let snapshots = Snapshots::new(0);
        let image = snapshots.text("image");
        File::create(&image).and_then(|file| file.set_len(4 << 20)).expect("an image file");
        let made = std::process::Command::new("mkfs.ext4").args(["-q", "-d", &snapshots.text("1/fs"), &image]).status();
        assert!(made.expect("mkfs.ext4").success());
        let below = RootMount { target: "/etc".into(), ..mount("bind", &snapshots.text("2/fs"), &["ro"]) };
        let mounts = [mount("ext4", &image, &["loop", "nosuid"]), below];
        let mnt = at_mnt(&snapshots.assemble(&mounts, LayerRoute::Auto).expect("assembled"));
        let script =
            "stat -c %u:%g . suid; echo x > new; stat -c %u:%g new; ls etc; touch etc/x 2>/dev/null || echo ro";
        assert_eq!(inside(&user_namespace(), &mnt, script), "0:0\n33:33\n0:0\netc\nro");
        let layer = RootMount { target: "layer".into(), ..mount("ext4", &image, &["loop", "ro"]) };
        let mut overlay = snapshots.overlay(&[]);
        overlay.options[0] = format!("lowerdir={}", snapshots.text("rootfs/layer"));
        rustix::mount::unmount("/mnt", rustix::mount::UnmountFlags::DETACH).expect("umount");
        let mnt = at_mnt(&snapshots.assemble(&[layer, overlay], LayerRoute::Auto).expect("assembled"));
        assert_eq!(inside(&user_namespace(), &mnt, "stat -c %u:%g suid; cat new; echo y > new"), "33:33\nx");
        assert_eq!(owner(snapshots.at("3/fs/new")), (0, 0));
    });
}

/// The smallest erofs: a root directory with the file `hello` (the kernel's `fs/erofs/erofs_fs.h`).
fn erofs_image() -> Vec<u8> {
    const BLOCK: usize = 4096;
    /// Inodes have 32 bytes and are numbered by them; the first lie behind the superblock.
    const ROOT: u64 = (1024 + 128) / 32;
    let mut image = vec![0; 3 * BLOCK];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(1024, &0xE0F5_E1E2_u32.to_le_bytes());
    put(1024 + 12, &[12]); // a block has 2^12 bytes
    put(1024 + 14, &(ROOT as u16).to_le_bytes());
    put(1024 + 16, &2_u64.to_le_bytes()); // inodes
    put(1024 + 36, &3_u32.to_le_bytes()); // blocks
    let entries = [(".", ROOT, 2), ("..", ROOT, 2), ("hello", ROOT + 1, 1)];
    let mut name_at = entries.len() * 12;
    for (index, (name, inode, kind)) in entries.into_iter().enumerate() {
        put(BLOCK + index * 12, &inode.to_le_bytes());
        put(BLOCK + index * 12 + 8, &(name_at as u16).to_le_bytes());
        put(BLOCK + index * 12 + 10, &[kind]);
        put(BLOCK + name_at, name.as_bytes());
        name_at += name.len();
    }
    put(2 * BLOCK, b"hello\n");
    // i_mode, i_nlink, i_size, first block, uid and gid of each compact inode with flat data.
    let inodes = [(0o040_755_u16, 2_u16, name_at, 1_u32, 0_u16), (0o100_644, 1, 6, 2, 33)];
    for (index, (mode, links, size, block, id)) in inodes.into_iter().enumerate() {
        let at = (ROOT as usize + index) * 32;
        put(at + 4, &mode.to_le_bytes());
        put(at + 6, &links.to_le_bytes());
        put(at + 8, &(size as u32).to_le_bytes());
        put(at + 16, &block.to_le_bytes());
        put(at + 20, &(index as u32 + 1).to_le_bytes());
        put(at + 24, &[id.to_le_bytes(), id.to_le_bytes()].concat());
    }
    image
}

/// The erofs snapshotter's layers: image files that are mounted first, and the overlay that names their mountpoints.
#[test]
fn erofs_layers_are_mounted_and_mapped() {
    private(|| {
        let snapshots = Snapshots::new(0);
        std::fs::write(snapshots.at("layer.erofs"), erofs_image()).expect("write");
        let erofs = |target: &str| {
            let mount = mount("erofs", &snapshots.text("layer.erofs"), &["ro", "loop"]);
            RootMount { target: target.to_owned(), ..mount }
        };
        let mnt = at_mnt(&snapshots.assemble(&[erofs("")], LayerRoute::Auto).expect("assembled"));
        assert_eq!(
            inside(&user_namespace(), &mnt, "stat -c '%n %u:%g' . hello; cat hello"),
            ". 0:0\nhello 33:33\nhello"
        );
        rustix::mount::unmount(&mnt, rustix::mount::UnmountFlags::DETACH).expect("umount");
        let mut overlay = snapshots.overlay(&[]);
        let lowers = ["rootfs/layers/0", "1/fs"].map(|name| snapshots.text(name)).join(":");
        overlay.options[0] = format!("lowerdir={lowers}");
        let mounts = [erofs("layers/0"), overlay];
        let mnt = at_mnt(&snapshots.assemble(&mounts, LayerRoute::Auto).expect("assembled"));
        assert_eq!(inside(&user_namespace(), &mnt, "echo x >> hello; stat -c %u:%g hello suid"), "33:33\n33:33");
        assert_eq!(owner(snapshots.at("3/fs/hello")), (33, 33));
    });
}
