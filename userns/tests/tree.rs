//! Paths in a container's tree: nothing outside the root is opened or made (S09, S15).

#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod kernel;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use kernel::{disk, path, private, tree};
use policy::plan::DeviceKind;

/// A root filesystem beside a directory that must never be touched.
struct Setting {
    dir: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        let dir = disk();
        for name in ["root/dir", "outside"] {
            std::fs::create_dir_all(dir.path().join(name)).expect("mkdir");
        }
        std::fs::write(dir.path().join("outside/secret"), "secret").expect("write");
        Self { dir }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("root")
    }

    fn outside(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("outside")).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

#[test]
fn symlinks_stay_inside_the_root() {
    let setting = Setting::new();
    let root = setting.root();
    std::fs::write(root.join("dir/file"), "").expect("write");
    symlink("/dir", root.join("absolute")).expect("symlink");
    symlink("../../../dir", root.join("dir/up")).expect("symlink");
    symlink("../outside", root.join("escape")).expect("symlink");
    symlink(setting.dir.path().join("outside"), root.join("host")).expect("symlink");
    let tree = tree(&root);
    let inode = tree.open(&path("/dir")).expect("open").stat().expect("stat").st_ino;
    for same in ["/absolute", "/dir/up", "/absolute/up"] {
        assert_eq!(tree.open(&path(same)).expect(same).stat().expect("stat").st_ino, inode, "{same}");
    }
    for outside in ["/escape/secret", "/host/secret", "/missing"] {
        assert!(tree.try_open(&path(outside)).expect(outside).is_none(), "{outside}");
        let error = tree.open(&path(outside)).expect_err(outside).to_string();
        assert_eq!(error, format!("open {outside}: No such file or directory (os error 2)"));
    }
    let link = tree.open_nofollow(&path("/escape")).expect("the symlink");
    assert_eq!(link.read_link().expect("its target"), "../outside");
}

#[test]
fn magic_links_are_not_followed() {
    private(|| {
        let setting = Setting::new();
        let root = setting.root();
        kernel::mount_new("proc", &root.join("proc"));
        symlink("/proc/self/root/outside", root.join("magic")).expect("symlink");
        let tree = tree(&root);
        for magic in ["/proc/self/root/etc", "/proc/self/cwd", "/magic"] {
            let error = tree.open(&path(magic)).expect_err(magic);
            assert_eq!(error.errno(), Some(rustix::io::Errno::LOOP), "{magic}: {error}");
            tree.mountpoint_dir(&path(magic)).expect_err(magic);
        }
        tree.open(&path("/proc/self/status")).expect("an ordinary file of proc");
    });
}

#[test]
fn mountpoints_are_made_with_their_parents() {
    let setting = Setting::new();
    let root = setting.root();
    symlink("/dir", root.join("link")).expect("symlink");
    let tree = tree(&root);
    tree.mountpoint_dir(&path("/link/a/b")).expect("directories");
    tree.mountpoint_file(&path("/link/a/c/file")).expect("a file");
    assert!(root.join("dir/a/b").is_dir() && root.join("dir/a/c/file").is_file());
    // Again, as they exist now; and the root itself.
    assert!(tree.mountpoint_dir(&path("/dir/a/b")).expect("exists").is_dir().expect("stat"));
    tree.mountpoint_file(&path("/dir/a/c/file")).expect("exists");
    tree.mountpoint_dir(&path("/")).expect("the root");
}

#[test]
fn a_wrong_type_on_the_way_is_refused_by_path() {
    let setting = Setting::new();
    let root = setting.root();
    std::fs::write(root.join("file"), "").expect("write");
    for (link, target) in [("dangling", "/nowhere"), ("to-file", "/file"), ("loop", "/loop"), ("out", "/../outside")] {
        symlink(target, root.join(link)).expect("symlink");
    }
    let tree = tree(&root);
    let dir = |text: &str| tree.mountpoint_dir(&path(text)).expect_err(text).to_string();
    let file = |text: &str| tree.mountpoint_file(&path(text)).expect_err(text).to_string();
    assert_eq!(dir("/dangling/a"), "/dangling: is a symlink where a directory must be");
    assert_eq!(dir("/dangling"), "/dangling: is a symlink where a directory must be");
    assert_eq!(dir("/out/a"), "/out: is a symlink where a directory must be");
    assert_eq!(dir("/to-file"), "/to-file: is a symlink where a directory must be");
    assert_eq!(dir("/to-file/a"), "/to-file: is a symlink where a directory must be");
    assert_eq!(dir("/loop/a"), "/loop: is a symlink where a directory must be");
    assert_eq!(dir("/file"), "/file: is a file where a directory must be");
    assert_eq!(dir("/file/a/b"), "/file: is a file where a directory must be");
    assert_eq!(file("/file/a"), "/file: is a file where a directory must be");
    assert_eq!(file("/dir"), "/dir: is a directory where a file must be");
    assert_eq!(file("/"), "/: is a directory where a file must be");
    assert_eq!(file("/dangling"), "/dangling: is a symlink to nothing where a file must be");
    tree.mountpoint_file(&path("/to-file")).expect("a symlink to a file inside the root");
}

#[test]
fn names_below_a_node_are_single_components() {
    let setting = Setting::new();
    let tree = tree(&setting.root());
    let dir = tree.open(&path("/dir")).expect("open");
    for name in ["", ".", "..", "a/b", "../outside/x"] {
        let error = dir.mkdir(name, 0o755).expect_err(name).to_string();
        assert_eq!(error, format!("/dir/{name}: does not end in the name of a file"));
    }
    dir.mkdir("sub", 0o750).expect("mkdir").symlink("../outside", "link").expect("symlink");
    assert_eq!(dir.mkdir("sub", 0o750).expect_err("exists").errno(), Some(rustix::io::Errno::EXIST));
    let link = dir.child("sub").expect("open").child("link").expect("the symlink itself");
    assert_eq!(link.path(), "/dir/sub/link");
    assert_eq!(link.read_link().expect("readlink"), "../outside");
}

#[test]
fn devices_and_filesystems_are_verified() {
    let setting = Setting::new();
    let tree = tree(&setting.root());
    let dir = tree.open(&path("/dir")).expect("open");
    let null = dir.mknod("null", DeviceKind::Char, (1, 3), 0o666, (5, 6)).expect("mknod");
    assert_eq!(kernel::owner(setting.root().join("dir/null")), (5, 6));
    null.verify_device(DeviceKind::Char, 1, 3).expect("it is");
    for (kind, major, minor) in [(DeviceKind::Char, 1, 5), (DeviceKind::Block, 1, 3)] {
        let error = null.verify_device(kind, major, minor).expect_err("it is not").to_string();
        assert_eq!(error, format!("/dir/null: is not the device {major}:{minor}"));
    }
    dir.mknod("pipe", DeviceKind::Fifo, (0, 0), 0o600, (0, 0)).expect("mkfifo");
    // statfs(2)
    const PROC_SUPER_MAGIC: u32 = 0x9fa0;
    let error = dir.verify_filesystem(PROC_SUPER_MAGIC, "proc").expect_err("no proc").to_string();
    assert_eq!(error, "/dir: is not on proc");
    let proc = kernel::tree(Path::new("/proc")).open(&path("/self")).expect("open");
    proc.verify_filesystem(PROC_SUPER_MAGIC, "proc").expect("proc");
}

/// S09, S15: somebody swaps a directory on the way for a symlink that leads out, again and again. Mountpoints are made
/// or refused, and never outside.
#[test]
fn a_race_of_symlinks_makes_nothing_outside() {
    const ROUNDS: usize = 1500;
    let setting = Setting::new();
    let root = setting.root();
    std::fs::create_dir(root.join("real")).expect("mkdir");
    symlink("../outside", root.join("trap-relative")).expect("symlink");
    symlink(setting.dir.path().join("outside"), root.join("trap-absolute")).expect("symlink");
    let tree = tree(&root);
    let stop = AtomicBool::new(false);
    let (mut made, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let exchange = rustix::fs::RenameFlags::EXCHANGE;
            let (real, swapped) = (root.join("real"), ["trap-relative", "trap-absolute"].map(|name| root.join(name)));
            for trap in swapped.iter().cycle() {
                for _ in 0..2 {
                    rustix::fs::renameat_with(rustix::fs::CWD, &real, rustix::fs::CWD, trap, exchange).expect("swap");
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        for round in 0..ROUNDS {
            let answers = [
                tree.mountpoint_dir(&path(&format!("/real/d{round}/sub"))).map(drop),
                tree.mountpoint_file(&path(&format!("/real/f{round}"))).map(drop),
            ];
            for answer in answers {
                *(if answer.is_ok() { &mut made } else { &mut refused }) += 1;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(setting.outside(), ["secret"]);
    assert!(made > 0 && refused > 0, "the race was no race: {made} made, {refused} refused");
}
