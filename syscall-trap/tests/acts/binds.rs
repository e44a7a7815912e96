//! Binds, clones and unmounts of trees with locked mounts.

use syscall_trap::act::{Act, Outcome};

use super::Bench;
use super::container::UPTIME;

fn bind(source: &str, target: &str) -> Act {
    Act::Bind { source: source.into(), target: target.into(), flags: libc::MS_BIND }
}

fn umount(target: &str) -> Act {
    umount_with(target, 0)
}

fn umount_with(target: &str, flags: i32) -> Act {
    Act::Umount { target: target.into(), flags }
}

/// What mount(8) makes of `--bind -o ro` after the bind.
fn read_only(target: &str) -> Act {
    Act::Remount { target: target.into(), flags: libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY, data: Vec::new() }
}

/// Whether a mount is `ro` or `rw`.
fn options(bench: &Bench, path: &str) -> String {
    bench.container.run(&format!("grep ' {path} ' /proc/self/mountinfo | cut -d ' ' -f 6 | cut -d , -f 1"))
}

const POOR: &str = "exec setpriv --bounding-set -sys_admin sh -c \"$WAIT\"";

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
    let run = |bench: &Bench, script: &str| bench.container.run(script);
    for (source, cover) in [("/proc", "uptime"), ("/sys", "kernel/notes")] {
        assert_eq!(bench.once("$WAIT", &bind(source, "/srv/a")), Outcome::Done);
        assert_eq!(run(bench, &format!("cat /srv/a/{cover}")), UPTIME);
        assert!(run(bench, &format!("umount -l /srv/a/{cover}")).contains("umount"), "it is locked");
        // What mount(8) does for -o ro.
        assert_eq!(bench.once("$WAIT", &read_only("/srv/a")), Outcome::Done);
        for path in ["/srv/a", &format!("/srv/a/{cover}")] {
            assert_eq!(options(bench, path), "ro", "{path}");
        }
        assert_eq!((options(bench, source), options(bench, &format!("{source}/{cover}"))), ("rw".into(), "rw".into()));
        run(bench, "umount -l /srv/a");
    }
    // Of another tree the top alone.
    assert_eq!(bench.once("$WAIT", &bind("/", "/srv/a")), Outcome::Done);
    assert_eq!(bench.once("$WAIT", &read_only("/srv/a")), Outcome::Done);
    assert_eq!(
        ["/srv/a", "/srv/a/tmp", "/srv/a/proc", "/srv/a/proc/uptime"].map(|path| options(bench, path)),
        ["ro", "rw", "rw", "rw"]
    );
    run(bench, "umount -l /srv/a");
    // What the kernel does or refuses by itself.
    for (source, target) in
        [("/usr", "/srv/a"), ("/none", "/srv/a"), ("/dev/null", "/srv/a"), ("/proc/uptime", "/dev/null")]
    {
        assert_eq!(bench.once("$WAIT", &bind(source, target)), Outcome::Continue, "{source}");
        assert_eq!(bench.once("$WAIT", &open_tree(source)), Outcome::Continue, "{source}");
    }
    assert_eq!(bench.once("$WAIT", &bind("/", "/none")), Outcome::Errno(libc::ENOENT));
    assert_eq!(bench.once("$WAIT", &bind("/", "/dev/null")), Outcome::Errno(libc::ENOTDIR));
    assert_eq!(bench.once(POOR, &bind("/", "/srv/a")), Outcome::Continue);
    assert_eq!(bench.once(POOR, &open_tree("/")), Outcome::Continue);
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
    assert_eq!(bench.once(POOR, &umount("/srv/a")), Outcome::Continue);
    assert_eq!(bench.once("cd /srv; $WAIT", &umount("a")), Outcome::Done);
    assert_eq!(bench.container.run("grep -c ' /srv/a' /proc/self/mountinfo"), "0");
    // The kernel's: what is locked itself, what is no mount, what has nothing below.
    bench.container.run("mount -t tmpfs t /srv/b");
    for target in ["/", "/dev", "/usr/bin", "/none", "/srv/b", "/proc/uptime"] {
        assert_eq!(bench.once("$WAIT", &umount(target)), Outcome::Continue, "{target}");
    }
    let proc = Act::Proc { target: b"/srv/a".to_vec(), flags: 0, data: Vec::new() };
    assert_eq!(bench.once("$WAIT", &proc), Outcome::Done);
    assert_eq!(bench.once("$WAIT", &umount("/srv/a")), Outcome::Done);
    assert_eq!(bench.container.run("grep -c ' /srv/a' /proc/self/mountinfo; ls /proc/1/comm"), "0\n/proc/1/comm");
}

pub(crate) fn the_containers_own_are_busy(bench: &mut Bench) {
    const EBUSY: Outcome = Outcome::Errno(libc::EBUSY);
    for flags in [0, libc::MNT_DETACH, libc::MNT_FORCE, libc::UMOUNT_NOFOLLOW] {
        for (script, target) in [
            ("$WAIT", "/proc"),
            ("$WAIT", "/sys"),
            ("cd /usr; $WAIT", "../sys/"),
            ("exec 5</proc; $WAIT", "/dev/fd/5/"),
        ] {
            assert_eq!(bench.once(script, &umount_with(target, flags)), EBUSY, "{target} {flags}");
        }
        // Who lacks the right hears that first.
        assert_eq!(bench.once(POOR, &umount_with("/proc", flags)), Outcome::Continue);
        for (inside, outcome) in [("-m", EBUSY), ("-U", Outcome::Continue), ("-Urm", Outcome::Continue)] {
            let nested = format!("exec unshare {inside} sh -c \"$WAIT\"");
            assert_eq!(bench.once(&nested, &umount_with("/proc", flags)), outcome, "{inside} {flags}");
        }
        // Other locked mounts.
        for target in ["/", "/dev", "/proc/uptime", "/proc/irq"] {
            assert_eq!(bench.once("$WAIT", &umount_with(target, flags)), Outcome::Continue, "{target} {flags}");
        }
    }
    assert_eq!(bench.once("$WAIT", &umount_with("/proc", libc::MNT_EXPIRE)), Outcome::Continue);
    // One of the caller's own at the same place.
    let own = |mount: &str| format!("exec unshare -m sh -c '{mount}; exec sh -c \"$0\"' \"$WAIT\"");
    for mount in ["mount -t tmpfs t /proc", "mount -t mqueue m /proc"] {
        assert_eq!(bench.once(&own(mount), &umount("/proc")), Outcome::Continue, "{mount}");
    }
    let caller = bench.container.waiting(&own("true"));
    let proc = Act::Proc { target: b"/proc".to_vec(), flags: 0, data: Vec::new() };
    for outcome in [Outcome::Done, EBUSY] {
        if outcome == Outcome::Done {
            assert_eq!(bench.act(&caller, &proc), Outcome::Done);
            assert_eq!(bench.act(&caller, &umount_with("/proc", libc::MNT_DETACH)), Outcome::Continue);
        }
        assert_eq!(bench.act(&caller, &umount("/proc")), outcome);
    }
    assert_eq!(bench.container.run("ls /proc/1/comm; cat /proc/uptime"), format!("/proc/1/comm\n{UPTIME}"));
}

pub(crate) fn flags_of_an_umount(bench: &mut Bench) {
    bench.container.run("ln -s /srv/a /srv/link");
    let proc = Act::Proc { target: b"/srv/a".to_vec(), flags: 0, data: Vec::new() };
    for (script, target, flags, outcome) in [
        ("$WAIT", "/srv/link", 0, Outcome::Done),
        ("$WAIT", "/srv/link", libc::UMOUNT_NOFOLLOW, Outcome::Continue),
        ("$WAIT", "/srv/link/", libc::UMOUNT_NOFOLLOW, Outcome::Done),
        ("$WAIT", "/srv/a", libc::UMOUNT_NOFOLLOW, Outcome::Done),
        ("exec 5</srv/a; $WAIT", "/proc/self/fd/5", 0, Outcome::Done),
        ("exec 5</srv/a; $WAIT", "/proc/self/fd/5", libc::UMOUNT_NOFOLLOW, Outcome::Continue),
        ("$WAIT", "/srv/a", libc::MNT_FORCE, Outcome::Done),
        ("$WAIT", "/srv/a", libc::MNT_EXPIRE, Outcome::Continue),
        ("$WAIT", "/srv/a", libc::MNT_DETACH, Outcome::Continue),
    ] {
        assert_eq!(bench.once("$WAIT", &proc), Outcome::Done);
        assert_eq!(bench.once(script, &umount_with(target, flags)), outcome, "{target} {flags}");
        let left = if outcome == Outcome::Done { "0" } else { "1" };
        assert_eq!(bench.container.run("grep -c ' /srv/a ' /proc/self/mountinfo"), left, "{target} {flags}");
        bench.container.run("umount -l /srv/a");
    }
    // The kernel has it of a filesystem's owner alone.
    assert_eq!(bench.once("$WAIT", &bind("/", "/srv/a")), Outcome::Done);
    assert!(bench.container.run("umount -f /srv/a").contains("umount"));
    assert_eq!(bench.once("$WAIT", &umount_with("/srv/a", libc::MNT_FORCE)), Outcome::Continue);
    assert_eq!(bench.once("$WAIT", &umount("/srv/a")), Outcome::Done);
}

/// Nobody can be asked whether a mount is in use on which others lie.
pub(crate) fn what_is_in_use_goes_with_its_last_user(bench: &mut Bench) {
    let proc = Act::Proc { target: b"/srv/a".to_vec(), flags: 0, data: Vec::new() };
    for act in [proc, bind("/proc", "/srv/a")] {
        assert_eq!(bench.once("$WAIT", &act), Outcome::Done);
        let user = bench.container.waiting("cd /srv/a; exec 5<uptime; $WAIT");
        assert_eq!(bench.once("$WAIT", &umount("/srv/a")), Outcome::Done);
        assert_eq!(bench.container.run("grep -c ' /srv/a' /proc/self/mountinfo; ls /srv/a"), "0");
        for path in ["cwd/uptime", "fd/5"] {
            let file = rustix::fs::openat(
                bench.container.dir(user.pid),
                path,
                rustix::fs::OFlags::RDONLY,
                rustix::fs::Mode::empty(),
            );
            let text = std::io::read_to_string(std::fs::File::from(file.expect(path))).expect(path);
            assert_eq!(text.trim_end(), UPTIME, "{path}");
        }
    }
    // What has no covers is the kernel's, who knows.
    bench.container.run("mount -t tmpfs t /srv/b");
    let _user = bench.container.waiting("cd /srv/b; $WAIT");
    assert_eq!(bench.once("$WAIT", &umount("/srv/b")), Outcome::Continue);
    assert!(bench.container.run("umount /srv/b").contains("busy"));
}
