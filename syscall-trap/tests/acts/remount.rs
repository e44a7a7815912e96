//! Remounts, devices, and filesystems that do not answer.

use syscall_trap::act::{Act, Outcome};

use super::Bench;

const POOR: &str = "exec setpriv --bounding-set -sys_admin,-mknod sh -c \"$WAIT\"";

fn remount(target: &str, flags: u64, data: &str) -> Act {
    Act::Remount { target: target.into(), flags: flags | libc::MS_REMOUNT, data: data.into() }
}

fn open_tree(path: &str) -> Act {
    Act::OpenTree { dirfd: libc::AT_FDCWD, path: path.into(), flags: 0 }
}

fn mknod(path: &str, minor: u32, mode: u32) -> Act {
    Act::Mknod {
        dirfd: libc::AT_FDCWD,
        path: path.into(),
        mode: libc::S_IFCHR | mode,
        device: rustix::fs::makedev(1, minor),
    }
}

pub(crate) fn covers_follow_a_remount(bench: &mut Bench) {
    let shown = |bench: &Bench, path: &str| {
        let options = format!("grep ' {path} ' /proc/self/mountinfo | cut -d' ' -f6,9- | cut -d, -f1-");
        bench.container.run(&options)
    };
    // Without the flags that are locked, which the kernel refuses.
    assert!(bench.container.run("mount --options-mode ignore -o remount,hidepid=2 proc /proc").contains("ermi"));
    assert_eq!(bench.once("$WAIT", &remount("/proc", 0, "hidepid=2")), Outcome::Done);
    assert!(shown(bench, "/proc").contains("hidepid=invisible"));
    assert_eq!(bench.once("$WAIT", &remount("/proc", libc::MS_RDONLY, "hidepid=0")), Outcome::Done);
    assert!(shown(bench, "/proc").starts_with("ro,nosuid,nodev,noexec,relatime"), "{}", shown(bench, "/proc"));
    assert!(shown(bench, "/proc/uptime").starts_with("ro,"), "{}", shown(bench, "/proc/uptime"));
    assert_eq!(bench.once("$WAIT", &remount("/proc", 0, "")), Outcome::Done);
    assert!(shown(bench, "/proc/uptime").starts_with("rw,"));
    assert!(shown(bench, "/proc/irq").starts_with("ro,"), "one that is read-only for good stays so");
    assert_eq!(bench.once("$WAIT", &remount("/proc", 0, "hidepid=9")), Outcome::Errno(libc::EINVAL));
    // What is not locked may go.
    let own = Act::Proc { target: b"/srv/a".to_vec(), flags: libc::MS_NOSUID, data: Vec::new() };
    assert_eq!(bench.once("$WAIT", &own), Outcome::Done);
    assert_eq!(bench.once("$WAIT", &remount("/srv/a", 0, "")), Outcome::Done);
    assert!(shown(bench, "/srv/a").starts_with("rw,relatime"), "{}", shown(bench, "/srv/a"));

    // Of sysfs the mount alone, and its covers.
    assert_eq!(bench.once("$WAIT", &remount("/sys", libc::MS_RDONLY, "")), Outcome::Done);
    let sys = shown(bench, "/sys");
    assert!(sys.starts_with("ro,nosuid,nodev,noexec") && sys.ends_with("rw"), "{sys}");
    assert!(shown(bench, "/sys/kernel/notes").starts_with("ro,"));
    assert_eq!(bench.once("$WAIT", &remount("/sys", 0, "")), Outcome::Done);
    assert!(shown(bench, "/sys").starts_with("rw,"));

    // The kernel's own.
    for path in ["/", "/proc/sys", "/none", "/usr/bin", "/srv"] {
        assert_eq!(bench.once("$WAIT", &remount(path, 0, "")), Outcome::Continue, "{path}");
    }
    assert_eq!(bench.once(POOR, &remount("/proc", 0, "hidepid=2")), Outcome::Continue);
}

/// Whether what is mounted there is `ro` or `rw`.
fn shown(bench: &Bench, path: &str) -> String {
    bench.container.run(&format!("grep ' {path} ' /proc/self/mountinfo | cut -d ' ' -f 6 | cut -d , -f 1"))
}

pub(crate) fn covers_follow_the_flags_of_a_mount(bench: &mut Bench) {
    const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
    let setattr =
        |path: &str, set, clear| Act::Setattr { dirfd: libc::AT_FDCWD, path: path.into(), flags: 0, set, clear };
    for (top, cover) in [("/proc", "/proc/uptime"), ("/sys", "/sys/kernel/notes")] {
        assert_eq!(bench.once("$WAIT", &setattr(top, RDONLY, 0)), Outcome::Done);
        assert_eq!((shown(bench, top), shown(bench, cover)), ("ro".into(), "ro".into()));
        assert_eq!(bench.once("$WAIT", &setattr(top, 0, RDONLY)), Outcome::Done);
        assert_eq!((shown(bench, top), shown(bench, cover)), ("rw".into(), "rw".into()));
    }
    assert_eq!(shown(bench, "/proc/irq"), "ro", "one that is read-only for good stays so");
    // By a descriptor, as runtimes do; and with what is locked, which is the kernel's to refuse.
    let by_fd = |flags: i32| {
        let (flags, path) = (flags.cast_unsigned(), Vec::new());
        Act::Setattr { dirfd: 7, path, flags, set: RDONLY, clear: 0 }
    };
    assert_eq!(bench.once("exec 7</proc; $WAIT", &by_fd(0)), Outcome::Continue);
    assert_eq!(bench.once("exec 7</proc; $WAIT", &by_fd(libc::AT_EMPTY_PATH)), Outcome::Done);
    assert_eq!(shown(bench, "/proc/uptime"), "ro");
    assert_eq!(
        bench.once("$WAIT", &setattr("/proc", 0, RDONLY | libc::MOUNT_ATTR_NOSUID)),
        Outcome::Errno(libc::EPERM)
    );
    assert_eq!(shown(bench, "/proc/uptime"), "ro");
    assert_eq!(bench.once(POOR, &setattr("/proc", 0, RDONLY)), Outcome::Continue);
    for path in ["/", "/proc/sys", "/none", "/usr/bin", "/srv", ""] {
        assert_eq!(bench.once("$WAIT", &setattr(path, RDONLY, 0)), Outcome::Continue, "{path}");
    }
    assert_eq!(bench.once("$WAIT", &setattr("/proc", 0, RDONLY)), Outcome::Done);
}

pub(crate) fn a_cover_can_be_remounted(bench: &mut Bench) {
    for (flags, expected) in [(libc::MS_RDONLY, "ro"), (0, "rw")] {
        assert_eq!(bench.once("$WAIT", &remount("/proc/uptime", flags | libc::MS_BIND, "")), Outcome::Done);
        assert_eq!([shown(bench, "/proc/uptime"), shown(bench, "/proc")], [expected, "rw"]);
    }
    for (path, flags) in [("/proc/irq", 0), ("/proc/fs", 0), ("/proc/irq", libc::MS_NOSUID)] {
        let refused = bench.once("$WAIT", &remount(path, flags | libc::MS_BIND, ""));
        assert_eq!(refused, Outcome::Errno(libc::EPERM), "{path}");
        assert_eq!(shown(bench, path), "ro", "{path}");
    }
    assert_eq!(bench.once(POOR, &remount("/proc/uptime", libc::MS_RDONLY | libc::MS_BIND, "")), Outcome::Continue);
}

pub(crate) fn owners_that_util_linux_feeds_back_are_left_out(bench: &mut Bench) {
    bench.container.run("mount -t tmpfs -o size=1m,uid=5,gid=6,mode=700 t /srv/a");
    let native = bench.container.run("mount -o remount,size=2m /srv/a");
    assert!(native.contains("mount"), "it is refused natively: {native}");
    let again = remount("/srv/a", 0, "size=2m,mode=700,uid=1000005,gid=1000006");
    assert_eq!(bench.once("$WAIT", &again), Outcome::Done);
    let shown = bench.container.run("grep ' /srv/a ' /proc/self/mounts; stat -c %u:%g:%a /srv/a");
    assert!(shown.contains("size=2048k") && shown.ends_with("\n5:6:700"), "{shown}");
    assert_eq!(bench.once("$WAIT", &remount("/srv/a", 0, "size=2m")), Outcome::Continue);
    assert_eq!(bench.once("$WAIT", &remount("/srv/a", 0, "uid=1000005,nonsense")), Outcome::Errno(libc::EINVAL));
    // The host's tmpfs stays the host's.
    let refused = bench.once("$WAIT", &remount("/srv", 0, "uid=1000000,size=900m"));
    assert_eq!(refused, Outcome::Errno(libc::EPERM));
}

pub(crate) fn a_remount_that_is_served_is_led_to_mount_2(bench: &mut Bench) {
    // Its owner is none that the kernel takes for granted.
    bench.container.run("mount -t tmpfs t /srv/a");
    for path in ["/proc", "/sys", "/srv/a"] {
        assert_eq!(bench.once("$WAIT", &open_tree(path)), Outcome::Errno(libc::ENOSYS), "{path}");
    }
    let by_fd = Act::OpenTree { dirfd: 7, path: Vec::new(), flags: libc::AT_EMPTY_PATH.cast_unsigned() };
    assert_eq!(bench.once("exec 7</srv/a; $WAIT", &by_fd), Outcome::Errno(libc::ENOSYS));
    for path in ["/", "/proc/sys", "/none", "/usr", "/srv/a/x"] {
        assert_eq!(bench.once("$WAIT", &open_tree(path)), Outcome::Continue, "{path}");
    }
    assert_eq!(bench.once("$WAIT", &by_fd), Outcome::Continue, "no such descriptor");
    assert_eq!(bench.once(POOR, &open_tree("/proc")), Outcome::Continue);
}

pub(crate) fn devices_can_be_opened_wherever_they_are_made(bench: &mut Bench) {
    assert!(bench.container.run("mknod /srv/native c 1 3").contains("not permitted"));
    bench.container.run("mount -t tmpfs own /srv/a; mkdir -m 1777 /srv/a/x");
    // On a filesystem of the host's a node, on one of the container's a mount.
    for (script, path, place) in [
        ("$WAIT", "/opt/null", "/opt/null"),
        ("$WAIT", "/srv/null", "/srv/null"),
        ("cd /srv/b; $WAIT", "null", "/srv/b/null"),
        ("$WAIT", "/srv/a/null", "/srv/a/null"),
        ("exec 5</srv/a; $WAIT", "/proc/self/fd/5/other", "/srv/a/other"),
    ] {
        assert_eq!(bench.once(&format!("umask 022; {script}"), &mknod(path, 3, 0o666)), Outcome::Done, "{path}");
        let seen =
            bench.container.run(&format!("stat -c '%F %t:%T %a %u:%g' {place}; echo x > {place}; wc -c < {place}"));
        assert_eq!(seen, "character special file 1:3 644 0:0\n0", "{path}");
        assert_eq!(bench.once(script, &mknod(path, 3, 0o666)), Outcome::Errno(libc::EEXIST), "{script} {path}");
    }
    let mounts = bench
        .container
        .run("grep -cE ' (/opt|/srv)/null ' /proc/self/mountinfo; grep -c ' /srv/a/null ' /proc/self/mountinfo");
    assert_eq!(mounts, "0\n1");
    // An overlay that the container has mounted.
    bench.container.run("cd /srv/a; mkdir l u w m; mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m");
    assert_eq!(bench.once("$WAIT", &mknod("/srv/a/m/null", 3, 0o666)), Outcome::Done);
    assert_eq!(
        bench.container.run("stat -c '%F %t:%T' /srv/a/m/null; echo x > /srv/a/m/null; umount -l /srv/a/m"),
        "character special file 1:3"
    );
    // Nobody would think of unmounting what he has made as a file.
    let umount = Act::Umount { target: b"/srv/a".to_vec(), flags: 0 };
    bench.container.run("mount --bind /srv/a /srv/a; mount -t tmpfs own /srv/a");
    assert_eq!(bench.once("$WAIT", &mknod("/srv/a/null", 3, 0o666)), Outcome::Done);
    assert_eq!(bench.once("$WAIT", &umount), Outcome::Done);
    bench.container.run("umount /srv/a");
    let user = "umask 0; exec setpriv --reuid 5 --regid 6 --clear-groups --inh-caps +mknod --ambient-caps +mknod sh -c \"$WAIT\"";
    assert_eq!(bench.once(user, &mknod("/srv/a/x/mine", 5, 0o600)), Outcome::Done);
    assert_eq!(
        bench.container.run("stat -c '%t:%T %a %u:%g' /srv/a/x/mine; head -c 2 /srv/a/x/mine | wc -c"),
        "1:5 600 5:6\n2"
    );
    assert_eq!(bench.once(user, &mknod("/srv/null2", 3, 0o600)), Outcome::Errno(libc::EACCES));
    // A mount without devices is its owner's wish.
    bench.container.run("mount -t tmpfs -o nodev own /srv/b");
    assert_eq!(bench.once("$WAIT", &mknod("/srv/b/null", 3, 0o666)), Outcome::Done);
    assert_eq!(bench.container.run("grep -c /srv/b/ /proc/self/mountinfo; stat -c %t:%T /srv/b/null"), "0\n1:3");
    for (path, errno) in [("/usr/null", libc::EROFS), ("/none/x", libc::ENOENT), ("/srv/null/x", libc::ENOTDIR)] {
        assert_eq!(bench.once("$WAIT", &mknod(path, 3, 0o666)), Outcome::Errno(errno), "{path}");
    }
    // No names of a new file: the kernel says what is wrong with each.
    for path in ["", "/", "/srv/x/", "/srv/.."] {
        assert_eq!(bench.once("$WAIT", &mknod(path, 3, 0o666)), Outcome::Continue, "{path}");
    }
}

pub(crate) fn other_devices_are_not_made(bench: &mut Bench) {
    let device = |mode, major, minor| Act::Mknod {
        dirfd: libc::AT_FDCWD,
        path: b"/srv/x".to_vec(),
        mode,
        device: rustix::fs::makedev(major, minor),
    };
    // /dev/mem, a whiteout, a disk.
    for act in [device(libc::S_IFCHR, 1, 1), device(libc::S_IFCHR, 0, 0), device(libc::S_IFBLK, 1, 3)] {
        assert_eq!(bench.once("$WAIT", &act), Outcome::Continue, "{act:?}");
    }
    let null = mknod("/srv/x", 3, 0o666);
    assert_eq!(bench.once(POOR, &null), Outcome::Continue);
    assert_eq!(bench.once("exec unshare -Urm sh -c \"$WAIT\"", &null), Outcome::Continue, "another user namespace");
    assert_eq!(bench.container.run("ls /srv/x 2>&1 | grep -c 'No such'"), "1");
    assert_eq!(bench.once("$WAIT", &null), Outcome::Done);
}

/// Of the mount itself the kernel asks nobody.
fn its_mount_is_the_kernels(bench: &mut Bench) {
    for script in ["$WAIT", "cd /srv; $WAIT"] {
        let path = if script == "$WAIT" { "/srv/deep" } else { "deep" };
        for (act, outcome) in [
            (Act::Umount { target: path.into(), flags: 0 }, Outcome::Continue),
            (remount(path, 0, ""), Outcome::Continue),
            (open_tree(path), Outcome::Continue),
            (Act::OpenTree { dirfd: libc::AT_FDCWD, path: path.into(), flags: 1 }, Outcome::Continue),
            (remount(path, libc::MS_BIND | libc::MS_RDONLY, ""), Outcome::Done),
            (remount(path, libc::MS_BIND, ""), Outcome::Done),
            (Act::Bind { source: "/".into(), target: path.into(), flags: libc::MS_BIND }, Outcome::Done),
            (Act::Umount { target: path.into(), flags: 0 }, Outcome::Done),
            (Act::Proc { target: path.into(), flags: 0, data: Vec::new() }, Outcome::Done),
            (Act::Umount { target: path.into(), flags: 0 }, Outcome::Done),
        ] {
            assert_eq!(bench.once(script, &act), outcome, "{act:?}");
        }
    }
}

pub(crate) fn a_filesystem_of_somebody_else(bench: &mut Bench) {
    its_mount_is_the_kernels(bench);
    let inside = Act::Umount { target: "/srv/deep/x".into(), flags: 0 };
    assert_eq!(bench.once("$WAIT", &inside), Outcome::Continue, "the kernel says EACCES");
    bench.container.answer_no_more();
}

pub(crate) fn a_filesystem_that_does_not_answer(bench: &mut Bench) {
    its_mount_is_the_kernels(bench);
    let target = "/srv/deep/x";
    let proc = |target: &str| Act::Proc { target: target.into(), flags: 0, data: Vec::new() };
    for act in [proc(target), Act::Umount { target: target.into(), flags: 0 }, mknod("/srv/deep/null", 3, 0o666)] {
        assert_eq!(bench.once("$WAIT", &act), Outcome::Errno(libc::ETIMEDOUT), "{act:?}");
        // The helper has time for others.
        assert_eq!(bench.once("$WAIT", &proc("/srv/a")), Outcome::Done);
    }
    bench.container.answer_no_more();
    for _ in 0..6000 {
        if bench.idle() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("a process still waits");
}
