//! Binds, clones and unmounts of trees with locked mounts.

use syscall_trap::act::{Act, Outcome};

use super::Bench;

fn bind(source: &str, target: &str) -> Act {
    Act::Bind { source: source.into(), target: target.into(), flags: libc::MS_BIND }
}

fn umount(target: &str) -> Act {
    Act::Umount { target: target.into(), flags: 0 }
}

fn open_tree(path: &str) -> Act {
    Act::OpenTree { dirfd: libc::AT_FDCWD, path: path.into(), flags: 1 }
}

pub(crate) fn a_bind_takes_locked_mounts_along(bench: &mut Bench) {
    assert!(bench.container.run("mount --bind / /srv/a").contains("mount"), "it is refused natively");
    for (script, source, target) in [
        ("$WAIT", "/", "/srv/a"),
        ("cd /; $WAIT", ".", "srv/a"),
        ("exec 5</; $WAIT", "/proc/self/fd/5", "/srv/a"),
        ("$WAIT", "/proc/self/root", "/srv/a"),
    ] {
        assert_eq!(bench.once(script, &open_tree(source)), Outcome::Errno(libc::ENOSYS), "{source}");
        assert_eq!(bench.once(script, &bind(source, target)), Outcome::Done, "{source}");
        let run = |script: &str| bench.container.run(script);
        assert_eq!(run("cat /srv/a/proc/1/comm; ls -d /srv/a/usr"), "cat\n/srv/a/usr");
        assert!(run("umount -l /srv/a/proc").contains("umount"));
        assert!(run("mount -o remount,bind,rw /srv/a").contains("permission denied"));
        assert_eq!(run("umount -l /srv/a; ls /srv/a | wc -l"), "0");
    }
    assert_eq!(bench.once("$WAIT", &bind("/proc", "/srv/a")), Outcome::Done);
    // What the kernel does or refuses by itself.
    for (source, target) in
        [("/usr", "/srv/a"), ("/none", "/srv/a"), ("/dev/null", "/srv/a"), ("/proc/uptime", "/dev/null")]
    {
        assert_eq!(bench.once("$WAIT", &bind(source, target)), Outcome::Continue, "{source}");
        assert_eq!(bench.once("$WAIT", &open_tree(source)), Outcome::Continue, "{source}");
    }
    assert_eq!(bench.once("$WAIT", &bind("/", "/none")), Outcome::Errno(libc::ENOENT));
    assert_eq!(bench.once("$WAIT", &bind("/", "/dev/null")), Outcome::Errno(libc::ENOTDIR));
    let poor = "exec setpriv --bounding-set -sys_admin sh -c \"$WAIT\"";
    assert_eq!(bench.once(poor, &bind("/", "/srv/a")), Outcome::Continue);
    assert_eq!(bench.once(poor, &open_tree("/")), Outcome::Continue);
}

pub(crate) fn a_bind_has_no_other_mounts_below(bench: &mut Bench) {
    for propagation in ["private", "shared"] {
        let own = "mount -t tmpfs t /srv/b; mkdir /srv/b/x; mount -t tmpfs t /srv/b/x; mount -t tmpfs t /srv/b; touch /srv/b/mine";
        bench.container.run(&format!("mount --make-{propagation} /; {own}"));
        assert_eq!(bench.once("$WAIT", &bind("/", "/srv/a")), Outcome::Done);
        let run = |script: &str| bench.container.run(script);
        let below = "grep -c ' /srv/a/srv/b' /proc/self/mountinfo; [ -e /srv/a/srv/b/mine ] || ls -d /srv/a/proc/1";
        assert_eq!(run(below), "0\n/srv/a/proc/1", "{propagation}");
        assert_eq!(run("ls /srv/b; umount /srv/b; ls /srv/b"), "mine\nx", "{propagation}");
        assert_eq!(bench.once("$WAIT", &umount("/srv/a")), Outcome::Done, "{propagation}");
        bench.container.run("umount /srv/b/x; umount /srv/b; mount --make-private /");
    }
}

pub(crate) fn only_what_is_locked_is_unmounted_along(bench: &mut Bench) {
    assert_eq!(bench.once("$WAIT", &bind("/", "/srv/a")), Outcome::Done);
    assert!(bench.container.run("umount /srv/a").contains("busy"), "it is refused natively");
    bench.container.run("mount -t tmpfs t /srv/a/run");
    assert_eq!(bench.once("$WAIT", &umount("/srv/a")), Outcome::Continue, "the caller's own mount keeps it busy");
    bench.container.run("umount /srv/a/run");
    let poor = "exec setpriv --bounding-set -sys_admin sh -c \"$WAIT\"";
    assert_eq!(bench.once(poor, &umount("/srv/a")), Outcome::Continue);
    assert_eq!(bench.once("cd /srv; $WAIT", &umount("a")), Outcome::Done);
    assert_eq!(bench.container.run("grep -c ' /srv/a' /proc/self/mountinfo"), "0");
    // The kernel's: what is locked itself, what is no mount, what has nothing below.
    bench.container.run("mount -t tmpfs t /srv/b");
    for target in ["/proc", "/sys", "/", "/usr/bin", "/none", "/srv/b", "/proc/uptime"] {
        assert_eq!(bench.once("$WAIT", &umount(target)), Outcome::Continue, "{target}");
    }
    let proc = Act::Proc { target: b"/srv/a".to_vec(), flags: 0, data: Vec::new() };
    assert_eq!(bench.once("$WAIT", &proc), Outcome::Done);
    assert_eq!(bench.once("$WAIT", &umount("/srv/a")), Outcome::Done);
    assert_eq!(bench.container.run("grep -c ' /srv/a' /proc/self/mountinfo; ls /proc/1/comm"), "0\n/proc/1/comm");
}
