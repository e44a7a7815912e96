//! New procfs and sysfs.

use syscall_trap::act::{Act, Outcome};

use super::Bench;
use super::container::UPTIME;

fn proc_at(target: &str) -> Act {
    proc_with(target, 0, "")
}

fn proc_with(target: &str, flags: u64, data: &str) -> Act {
    Act::Proc { target: target.into(), flags, data: data.into() }
}

fn sysfs_at(target: &str) -> Act {
    Act::Sysfs { target: target.into(), flags: 0, data: Vec::new() }
}

pub(crate) fn proc_has_its_covers(bench: &mut Bench) {
    // Natively it is refused, which is why all this exists.
    let native = bench.container.run("mount -t proc proc /srv/a");
    assert!(native.contains("permission denied") || native.contains("not permitted"), "{native}");
    assert_eq!(bench.once("$WAIT", &proc_at("/srv/a")), Outcome::Done);
    let run = |script: &str| bench.container.run(script);
    assert_eq!(run("cat /srv/a/uptime"), UPTIME);
    assert_eq!(run("wc -c < /srv/a/kallsyms; ls /srv/a/fs | wc -l"), "0\n0");
    assert!(!run("head -c 20 /srv/a/keys").contains(UPTIME), "a cover of the container's own procfs alone");
    assert_eq!(run("cat /srv/a/sys/kernel/shmmax | wc -c; ls -d /srv/a/bus/pci"), "21\n/srv/a/bus/pci");
    assert_eq!(run("cat /srv/a/1/comm; grep -c . /srv/a/version"), "cat\n1");
    for covered in ["uptime", "kallsyms", "fs", "irq"] {
        let refused = run(&format!("umount /srv/a/{covered}; umount -l /srv/a/{covered}"));
        assert_eq!(
            refused.matches("invalid argument").count() + refused.matches("not mounted").count(),
            2,
            "{refused}"
        );
    }
    assert!(run("mount -o remount,bind,rw /srv/a/irq").contains("permission denied"));
    // Nothing of ours shows, and nothing propagates.
    let lines = run("grep ' /srv/a' /proc/self/mountinfo");
    assert_eq!(lines.lines().count(), 5, "{lines}");
    assert!(!lines.contains("master:") && !lines.contains("shared:"), "{lines}");
    assert_eq!(run("umount -l /srv/a; grep -c ' /srv/a' /proc/self/mountinfo"), "0");
}

pub(crate) fn sysfs_has_its_covers(bench: &mut Bench) {
    assert_eq!(bench.once("$WAIT", &sysfs_at("/srv/a")), Outcome::Done);
    let run = |script: &str| bench.container.run(script);
    assert_eq!(run("cat /srv/a/kernel/notes; ls /srv/a/class/net"), format!("{UPTIME}\nlo"));
    assert!(run("umount /srv/a/kernel/notes").contains("umount"));
    assert_eq!(run("cat /srv/a/kernel/notes"), UPTIME);
    // Twice at one place, but not over what is locked there.
    assert_eq!(bench.once("$WAIT", &sysfs_at("/srv/a")), Outcome::Errno(libc::EBUSY));
    assert_eq!(bench.once("$WAIT", &sysfs_at("/sys")), Outcome::Done);
    assert_eq!(bench.once("$WAIT", &sysfs_at("/sys")), Outcome::Errno(libc::EBUSY));
    assert_eq!(bench.once("$WAIT", &sysfs_at("/srv/b")), Outcome::Done);
}

pub(crate) fn targets(bench: &mut Bench) {
    let seen = |bench: &Bench, place: &str| {
        let text = bench.container.run(&format!("cat {place}/uptime; umount -l {place}"));
        assert_eq!(text, UPTIME, "{place}");
    };
    for (script, target, place) in [
        ("cd /srv; $WAIT", "a", "/srv/a"),
        ("cd /srv/b; $WAIT", "../a", "/srv/a"),
        ("cd /srv/a; $WAIT", ".", "/srv/a"),
        ("cd /srv; ln -s a link; $WAIT", "link", "/srv/a"),
        ("ln -s /srv/b /srv/absolute; $WAIT", "/srv/absolute/c/..//c/", "/srv/b/c"),
        ("exec 6</srv/a; $WAIT", "/proc/self/fd/6", "/srv/a"),
        ("exec 6</srv; $WAIT", "/proc/thread-self/fd/6/a", "/srv/a"),
        ("exec 6</srv; $WAIT", "/dev/fd/6/b", "/srv/b"),
        ("cd /srv/a; $WAIT", "/proc/self/cwd", "/srv/a"),
        ("$WAIT", "/../../srv/a", "/srv/a"),
    ] {
        assert_eq!(bench.once(script, &proc_at(target)), Outcome::Done, "{script} {target}");
        seen(bench, place);
    }
    // In a chroot, from which the container's own procfs is not to be seen.
    bench.container.run("mkdir /srv/r; mount --rbind /usr /srv/r; mount -t tmpfs t /srv/r/lib/modules 2>&1");
    bench
        .container
        .run("umount -l /srv/r; mkdir -p /tmp/r/usr /tmp/r/m; mount --bind /usr /tmp/r/usr; cd /tmp/r; ln -s usr/* .");
    assert_eq!(bench.once("exec chroot /tmp/r sh -c \"cd /; $WAIT\"", &proc_at("/m")), Outcome::Done);
    seen(bench, "/tmp/r/m");
    for (script, target, errno) in [
        ("$WAIT", "/srv/none", libc::ENOENT),
        ("$WAIT", "", libc::ENOENT),
        ("$WAIT", "/dev/null", libc::ENOTDIR),
        ("$WAIT", "/dev/null/x", libc::ENOTDIR),
        ("ln -s loop /srv/loop; $WAIT", "/srv/loop", libc::ELOOP),
        ("$WAIT", "/proc/self/fd/77", libc::ENOENT),
    ] {
        assert_eq!(bench.once(script, &proc_at(target)), Outcome::Errno(errno), "{target}");
    }
    // As somebody with the right to mount, but no other.
    let alone = "mkdir -m 700 /srv/closed; exec setpriv --reuid 5 --regid 5 --clear-groups --inh-caps -all,+sys_admin \
                 --ambient-caps -all,+sys_admin --bounding-set -all,+sys_admin sh -c \"$WAIT\"";
    bench.container.run("mkdir -p /srv/closed/x; chmod 700 /srv/closed");
    assert_eq!(
        bench.once(&alone.replace("mkdir -m 700 /srv/closed;", ""), &proc_at("/srv/closed/x")),
        Outcome::Errno(libc::EACCES)
    );
    assert_eq!(bench.once(&alone.replace("mkdir -m 700 /srv/closed;", ""), &proc_at("/srv/a")), Outcome::Done);
}

pub(crate) fn flags_and_options(bench: &mut Bench) {
    let usual = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    assert_eq!(bench.once("$WAIT", &proc_with("/srv/a", usual | libc::MS_RDONLY, "")), Outcome::Done);
    let shown = bench.container.run("grep -E ' /srv/a(/uptime)? ' /proc/self/mounts");
    assert!(shown.contains("/srv/a proc ro,nosuid,nodev,noexec,relatime"), "{shown}");
    assert!(shown.contains("/srv/a/uptime tmpfs ro,"), "a cover follows: {shown}");
    // What the caller asked for it may undo, because there is a writable one.
    let undone = bench.container.run("mount -o remount,bind,rw,suid /srv/a && grep ' /srv/a ' /proc/self/mountinfo");
    assert!(undone.contains(" /srv/a rw,nodev,noexec,relatime "), "{undone}");
    bench.container.run("umount -l /srv/a");

    assert_eq!(bench.once("$WAIT", &proc_with("/srv/a", 0, "hidepid=2,subset=pid,gid=7")), Outcome::Done);
    let shown = bench.container.run("grep ' /srv/a ' /proc/self/mounts; ls /srv/a | grep -vE '^[0-9]' | tr '\\n' ' '");
    assert!(shown.contains(&format!("gid={},hidepid=invisible,subset=pid", 1_000_007)), "{shown}");
    assert!(shown.contains("self thread-self") && !shown.contains("uptime"), "{shown}");
    bench.container.run("umount -l /srv/a");
    for data in ["hidepid=9", "nonsense", "pidns=/proc/1/ns/pid"] {
        assert_eq!(bench.once("$WAIT", &proc_with("/srv/a", 0, data)), Outcome::Errno(libc::EINVAL), "{data}");
    }
    // The kernel's own rule: times of access as those of what is visible.
    assert_eq!(bench.once("$WAIT", &proc_with("/srv/a", libc::MS_NOATIME, "")), Outcome::Continue);
}

pub(crate) fn who_may_not(bench: &mut Bench) {
    let nested = |options: &str| format!("exec unshare {options} sh -c \"$WAIT\"");
    for (script, what) in [
        ("exec setpriv --bounding-set -sys_admin sh -c \"$WAIT\"".to_owned(), "no capability"),
        ("exec setpriv --reuid 5 --regid 5 --clear-groups sh -c \"$WAIT\"".to_owned(), "no root"),
        (nested("-U -r"), "a user namespace without a mount namespace"),
        (nested("-U -r -m"), "another's pid namespace"),
    ] {
        assert_eq!(bench.once(&script, &proc_at("/srv/a")), Outcome::Continue, "{what}");
    }
    assert_eq!(bench.once(&nested("-U -r -m"), &sysfs_at("/srv/a")), Outcome::Continue, "another's network");
    // Near misses.
    let caller = bench.container.waiting(&nested("-U -r -m -p -f --kill-child"));
    assert_eq!(bench.act(&caller, &proc_at("/srv/a")), Outcome::Done);
    assert_eq!(
        bench.container.run_beside(caller.pid, "cat /srv/a/uptime; ls -d /srv/a/1"),
        format!("{UPTIME}\n/srv/a/1")
    );
    assert!(bench.container.run_beside(caller.pid, "umount /srv/a/uptime").contains("umount"));
    drop(caller);
    assert_eq!(bench.once(&nested("-U -r -m -n"), &sysfs_at("/srv/a")), Outcome::Done);
}

pub(crate) fn inner_masks(bench: &mut Bench) {
    let nested = |before: &str| {
        format!("exec unshare -m sh -c '{before}; exec unshare -Urmpf --kill-child sh -c \"$0\"' \"$WAIT\"")
    };
    for mask in
        ["mount --bind /dev/null /proc/version", "mount --bind /dev/null /proc/uptime", "mount -t tmpfs t /proc/bus"]
    {
        assert_eq!(bench.once(&nested(mask), &proc_at("/srv/a")), Outcome::Continue, "{mask}");
    }
    for fine in [
        "true",
        "mount --bind /dev/null /proc/kallsyms",
        "mount --bind /dev/null /proc/version; umount /proc/version",
        "mount -t tmpfs t /sys/fs/cgroup",
    ] {
        assert_eq!(bench.once(&nested(fine), &proc_at("/srv/a")), Outcome::Done, "{fine}");
    }
    // Of sysfs the network namespace counts.
    let other_net =
        |before: &str| format!("exec unshare -m sh -c '{before}; exec unshare -Urmn sh -c \"$0\"' \"$WAIT\"");
    for (mask, outcome) in [
        ("mount -t tmpfs t /sys/class", Outcome::Continue),
        ("mount -t tmpfs t /sys/fs/cgroup", Outcome::Done),
        ("mount -t tmpfs t /sys/class; umount /sys/class", Outcome::Done),
        ("mount -t tmpfs t /proc/bus", Outcome::Done),
    ] {
        let caller = bench.container.waiting(&other_net(mask));
        let is_there = bench.container.run_beside(caller.pid, "grep -c ' - tmpfs t ' /proc/self/mountinfo");
        assert_eq!(is_there, if mask.contains("umount") { "0" } else { "1" }, "{mask}");
        assert_eq!(bench.act(&caller, &sysfs_at("/srv/a")), outcome, "{mask}");
    }
    // In the same user namespace a mask can be taken away, and hides nothing.
    let same = "exec unshare -m sh -c 'mount --bind /dev/null /proc/version; exec sh -c \"$0\"' \"$WAIT\"";
    assert_eq!(bench.once(same, &proc_at("/srv/a")), Outcome::Done);
    // A procfs that was made on behalf shows as much as the first.
    let below = nested("true");
    let caller = bench.container.waiting(&below);
    assert_eq!(bench.act(&caller, &proc_at("/proc")), Outcome::Done);
    assert_eq!(bench.act(&caller, &proc_at("/srv/a")), Outcome::Done);
}

pub(crate) fn a_caller_that_dies(bench: &mut Bench) {
    let caller = bench.container.waiting("$WAIT");
    let dir = bench.container.dir(caller.pid);
    drop(caller);
    assert_eq!(bench.world.perform(dir, &proc_at("/srv/a"), || true), Ok(Outcome::Continue));
    // The helper lives.
    assert_eq!(bench.once("$WAIT", &proc_at("/srv/a")), Outcome::Done);
}

/// As when another thread of its process has executed a set-user-ID program: the directory in procfs is that program's.
pub(crate) fn a_caller_that_has_left_its_call(bench: &mut Bench) {
    let caller = bench.container.waiting("$WAIT");
    let act = |bench: &mut Bench, act: &Act| bench.world.perform(bench.container.dir(caller.pid), act, || false);
    let mounts = bench.container.run("cat /proc/1/mountinfo; ls /srv/a");
    for asked in [
        proc_at("/srv/a"),
        sysfs_at("/srv/a"),
        Act::Bind { source: b"/proc".to_vec(), target: b"/srv/a".to_vec(), flags: libc::MS_BIND },
        Act::Remount { target: b"/proc".to_vec(), flags: libc::MS_REMOUNT | libc::MS_RDONLY, data: Vec::new() },
        Act::Mknod { dirfd: libc::AT_FDCWD, path: b"/srv/a/null".to_vec(), mode: 0o020_666, device: 0x103 },
    ] {
        assert_eq!(act(bench, &asked), Ok(Outcome::Continue), "{asked:?}");
    }
    assert_eq!(bench.container.run("cat /proc/1/mountinfo; ls /srv/a"), mounts);
    assert_eq!(bench.act(&caller, &proc_at("/srv/a")), Outcome::Done);
    let unmount = Act::Umount { target: b"/srv/a".to_vec(), flags: 0 };
    assert_eq!(act(bench, &unmount), Ok(Outcome::Continue));
    assert_eq!(bench.act(&caller, &unmount), Outcome::Done);
}

/// `fsconfig subset=,` takes `subset=pid` back (proc_parse_subset_param() of fs/proc/root.c).
pub(crate) fn what_a_subset_hides_is_covered(bench: &mut Bench) {
    assert_eq!(bench.once("$WAIT", &proc_with("/srv/a", 0, "subset=pid")), Outcome::Done);
    assert!(bench.container.run("ls /srv/a").lines().all(|name| name != "version"), "it is hidden");
    bench.container.whole("/srv/a");
    let run = |script: &str| bench.container.run(script);
    assert_eq!(run("ls /srv/a | grep -cx version"), "1", "it is shown");
    assert_eq!(run("cat /srv/a/uptime; wc -c < /srv/a/kallsyms; ls /srv/a/fs | wc -l"), format!("{UPTIME}\n0\n0"));
}

pub(crate) fn where_the_own_is_read_only(bench: &mut Bench) {
    let shown = |bench: &Bench, path: &str| {
        bench.container.run(&format!("awk '$5 == \"{path}\" {{ print $6 }}' /proc/self/mountinfo | cut -d , -f 1"))
    };
    let remount = |target: &str, flags: u64| Act::Remount { target: target.into(), flags, data: Vec::new() };
    for (own, act, cover) in
        [("/proc", proc_at("/srv/a"), "/srv/a/uptime"), ("/sys", sysfs_at("/srv/a"), "/srv/a/kernel/notes")]
    {
        let all = libc::MS_REMOUNT | libc::MS_RDONLY;
        assert_eq!(bench.once("$WAIT", &remount(own, all)), Outcome::Done);
        assert_eq!(bench.once("$WAIT", &act), Outcome::Done);
        assert_eq!([shown(bench, "/srv/a"), shown(bench, cover)], ["ro", "ro"], "{own}");
        for path in ["/srv/a", cover] {
            let back = bench.once("$WAIT", &remount(path, libc::MS_REMOUNT | libc::MS_BIND));
            assert_eq!(back, Outcome::Errno(libc::EPERM), "{path}");
        }
        bench.container.run("umount -l /srv/a");
        assert_eq!(bench.once("$WAIT", &remount(own, libc::MS_REMOUNT)), Outcome::Done);
        assert_eq!(bench.once("$WAIT", &act), Outcome::Done);
        assert_eq!([shown(bench, "/srv/a"), shown(bench, cover)], ["rw", "rw"], "{own}");
        bench.container.run("umount -l /srv/a");
    }
}
