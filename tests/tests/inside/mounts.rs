//! mount(8) and umount(8), of Debian 12 and 13 (the first by mount(2), the second by the new calls) and busybox.

use tests::{Container, place};

use crate::setup::{Kind, bash, on};

const BUSYBOX: &str = "/busybox/bin/busybox mount";

in_kinds!(
    whatever_is_mounted_comes_off: privileged, privileged_read_only, system, system_read_only;
    whatever_is_mounted_comes_off_on_bookworm: privileged, system;
    proc_and_sys_can_be_remounted: privileged, system;
    what_the_host_has_mounted_stays: privileged, system;
    what_is_the_hosts_can_be_made_read_only_and_nothing_less: privileged, system;
    what_the_host_has_made_read_only_stays_so: privileged_read_only, system_read_only;
);

/// Scripts in which `$mount` is a tool, and what they say.
async fn all_say(container: &Container, scripts: &[(&str, &str)]) {
    for mount in ["mount", BUSYBOX] {
        for (script, expected) in scripts {
            // Busybox leaves the second step of a read-only bind to its user.
            let again = if mount == BUSYBOX { "$mount -o remount,bind,ro /mnt/x" } else { "true" };
            let script = format!("cd /; set -e; mount='{mount}'; again=\"{again}\"; {script}");
            let said = bash(container, &script).await;
            assert!(said.status == 0 && said.stdout.trim() == *expected, "{script}: {said:#?}");
        }
        // Each leaves nothing.
        assert_eq!(bash(container, "grep -c ' /mnt/' /proc/self/mountinfo").await.stdout.trim(), "0", "{mount}");
    }
}

const BINDS: [(&str, &str); 10] = [
    (
        "mkdir -p /mnt/x; $mount --bind / /mnt/x; ls -d /mnt/x/proc/uptime /mnt/x/usr; umount /mnt/x",
        "/mnt/x/proc/uptime\n/mnt/x/usr",
    ),
    // What it has mounted itself is not part of it.
    (
        "mkdir -p /mnt/x /mnt/y; $mount -t tmpfs t /mnt/y; touch /mnt/y/f; $mount --bind / /mnt/x; ls /mnt/x/mnt; umount /mnt/x; ls /mnt/y; umount /mnt/y",
        "x\ny\nf",
    ),
    // What a chroot is given.
    (
        "$mount --bind / /mnt/x; for type in proc sysfs; do $mount -t $type $type /mnt/x/${type%fs}; done; chroot /mnt/x ls -d /proc/uptime /sys/firmware
        umount /mnt/x/sys; umount /mnt/x/proc; umount /mnt/x; ls /mnt/x",
        "/proc/uptime\n/sys/firmware",
    ),
    ("$mount --bind . /mnt/x; ls -d /mnt/x/dev/null; umount /mnt/x", "/mnt/x/dev/null"),
    ("$mount --bind /dev /mnt/x; ls -d /mnt/x/null /mnt/x/pts; umount /mnt/x", "/mnt/x/null\n/mnt/x/pts"),
    (
        "$mount --bind /proc /mnt/x; cmp /mnt/x/sys/kernel/random/boot_id /proc/sys/kernel/random/boot_id; umount /mnt/x; ls /mnt/x",
        "",
    ),
    ("$mount --rbind /sys /mnt/x; ls /mnt/x/firmware; umount -l /mnt/x; ls /mnt/x", ""),
    ("$mount --bind /sys /mnt/x; ls /mnt/x/firmware; ls -d /mnt/x/class; umount /mnt/x; ls /mnt/x", "/mnt/x/class"),
    // The top alone.
    (
        "$mount --bind -o ro / /mnt/x; $again; (touch /mnt/x/f) 2>&1 | grep -o Read-only; touch /mnt/x/dev/f; rm /dev/f; umount /mnt/x; ls /mnt/x",
        "Read-only",
    ),
    // With all that stands for its files.
    (
        "$mount --bind -o ro /proc /mnt/x; $again; (echo 5 > /mnt/x/sys/kernel/panic) 2>&1 | grep -o Read-only
        awk '$5 ~ \"^/mnt/x\" { print $6 }' /proc/self/mountinfo | cut -d , -f 1 | sort -u; echo 5 > /proc/sys/kernel/panic; umount /mnt/x",
        "Read-only\nro",
    ),
];

const FILESYSTEMS: [(&str, &str); 10] = [
    ("$mount -t tmpfs t /mnt/x; $mount -o remount,ro /mnt/x; ! touch /mnt/x/f 2> /dev/null; $mount -o remount,rw /mnt/x; touch /mnt/x/f; umount /mnt/x", ""),
    ("$mount -t tmpfs -o size=1m,mode=700,uid=5 t /mnt/x; $mount -o remount,ro /mnt/x; $mount -o remount,rw,size=2m /mnt/x; touch /mnt/x/f
      df -k /mnt/x | awk 'END { print $2 }'; stat -c %u:%a /mnt/x; umount /mnt/x", "2048\n5:700"),
    ("$mount -t proc -o hidepid=2 p /mnt/x; grep ' /mnt/x ' /proc/self/mounts | grep -o hidepid=[a-z]*; umount /mnt/x", "hidepid=invisible"),
    ("$mount -t proc -o ro p /mnt/x; (echo 1 > /mnt/x/sys/kernel/panic) 2>&1 | grep -o Read-only; awk '$5 ~ \"^/mnt/x\" { print $6 }' /proc/self/mountinfo | cut -d , -f 1 | sort -u; umount /mnt/x", "Read-only\nro"),
    ("$mount -t proc p /mnt/x; $mount -t tmpfs t /mnt/x/fs; umount /mnt/x 2>&1 | grep -o busy; umount /mnt/x/fs; umount /mnt/x; ls /mnt/x", "busy"),
    ("$mount -t sysfs s /mnt/x; $mount -t sysfs s /mnt/x 2>&1 | grep -oi busy; umount /mnt/x; ls /mnt/x", "busy"),
    ("for type in devpts mqueue; do $mount -t $type d /mnt/x; umount /mnt/x; done; $mount -t proc p /mnt/x; $mount -t proc p /mnt/x; umount /mnt/x; umount /mnt/x; ls /mnt/x", ""),
    ("mkdir -p /mnt/y; for type in proc sysfs tmpfs; do $mount -t $type $type /mnt/x; $mount --move /mnt/x /mnt/y; ls /mnt/x | wc -l
      grep -c \" /mnt/y .* - $type $type \" /proc/self/mountinfo; [ $type != proc ] || head -c 8 /mnt/y/meminfo; [ $type = tmpfs ] || umount /mnt/y/* 2>&1 | grep -q .; umount /mnt/y; done", "0\n1\nMemTotal0\n1\n0\n1"),
    ("for type in proc sysfs; do $mount -t $type $type /mnt/x; $mount --make-private /mnt/x; $mount --make-rslave /mnt/x; $mount --make-shared /mnt/x; grep -c ' /mnt/x .* shared:' /proc/self/mountinfo
      $mount --make-private /mnt/x; umount /mnt/x; done; ls /mnt/x", "1\n1"),
    // It is empty for good: what lies there hides nothing.
    ("$mount -t binfmt_misc b /proc/sys/fs/binfmt_misc; cd /proc/sys/fs/binfmt_misc; printf 'magic\\n' > /mnt/run; chmod +x /mnt/run
      echo ':own:M::magic::/bin/echo:' > register; /mnt/run; unshare -Urpf --mount-proc true; echo -1 > own; cd /; umount /proc/sys/fs/binfmt_misc; rm /mnt/run", "/mnt/run"),
];

const OVERLAYS: [(&str, &str); 3] = [
    (
        "$mount -t tmpfs t /mnt/x; cd /mnt/x; mkdir l u w m; touch l/a; $mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; rm m/a; touch m/b; ls m; stat -c %F u/a; umount m; cd /; umount /mnt/x",
        "b\ncharacter special file",
    ),
    (
        "cd /volume; mkdir -p l/d u w m; touch l/d/a; $mount -t overlay o -o userxattr,lowerdir=l,upperdir=u,workdir=w m; rm -r m/d; mkdir m/d; ls m/d; umount m; ls u; cd /; rm -rf /volume/*",
        "d",
    ),
    (
        "cd /volume; mkdir -p l/d u w m; touch l/d/a; $mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m; rm m/d/a; ls m/d; umount m; ls u; cd /; rm -rf /volume/*",
        "d",
    ),
];

async fn whatever_is_mounted_comes_off(kind: Kind) {
    comes_off_on(kind, "trixie").await;
}

async fn whatever_is_mounted_comes_off_on_bookworm(kind: Kind) {
    comes_off_on(kind, "bookworm").await;
}

async fn comes_off_on(kind: Kind, suite: &str) {
    let bundle = kind.on(suite).bind(&place::new_dir("volume"), "/volume", &[]);
    let (container, _room) = kind.sleeping(bundle).await;
    bash(&container, "mkdir -p /mnt/x").await.ok();
    for scripts in [&BINDS[..], &FILESYSTEMS, &OVERLAYS] {
        all_say(&container, scripts).await;
    }
    container.end().await;
}

async fn proc_and_sys_can_be_remounted(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    // Without what engines make read-only for good, and what they mask: below the mask nobody reaches it.
    let all = |place: &str| {
        format!(
            "awk '$5 ~ \"^{place}(/|$)\" && $5 !~ \"^/(proc/(bus|fs|irq|sysrq-trigger)|sys/firmware)$\" && / - (fuse|{}) / {{ print $6 }}' /proc/self/mountinfo | cut -d , -f 1 | sort -u",
            if place == "/proc" { "proc" } else { "sysfs" }
        )
    };
    let [of_proc, of_sys] = ["/proc", "/sys"].map(all);
    let panic = "(echo 5 > /proc/sys/kernel/panic) 2>&1 | grep -o Read-only";
    all_say(&container, &[
        ("$mount -o remount,hidepid=2 /proc; grep -o hidepid=[a-z]* /proc/self/mountinfo | sort -u; $mount -o remount,hidepid=0 /proc", "hidepid=invisible"),
        (&format!("$mount -o remount,ro /proc; {of_proc}; {panic}; $mount -o remount,rw /proc; {of_proc}; echo 5 > /proc/sys/kernel/panic"), "ro\nRead-only\nrw"),
        (&format!("$mount -o remount,ro /sys; {of_sys}; $mount -o remount,rw /sys; {of_sys}"), "ro\nrw"),
    ]).await;
    container.end().await;
}

async fn what_the_host_has_mounted_stays(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    for umount in ["umount", "/busybox/bin/busybox umount"] {
        for place in ["/proc", "/sys", "/dev", "/proc/uptime", "/sys/firmware", "/etc"] {
            let said = bash(&container, &format!("{umount} {place}")).await;
            let (said, is_busy) = (said.failed(), ["/proc", "/sys"].contains(&place));
            // In the tools' words: EBUSY, EINVAL.
            let words = if is_busy { ["busy"; 2] } else { ["not mounted", "Invalid argument"] };
            assert!(words.iter().any(|word| said.contains(word)), "{umount} {place}: {said}");
            bash(&container, &format!("unshare -m {umount} {place}")).await.failed();
            let lazily = bash(&container, &format!("{umount} -l {place}")).await;
            assert_eq!(lazily.failed().contains("busy"), is_busy, "{umount} -l {place}: {lazily:?}");
        }
        bash(&container, &format!("{umount} /")).await.failed();
        // What has no right, and another user namespace, for which the kernel locks all.
        for (before, busy) in [("chroot --userspec=1000:1000 /", false), ("unshare -Urm", false), ("unshare -m", true)]
        {
            let said = bash(&container, &format!("{before} {umount} /proc")).await;
            assert_eq!(said.failed().contains("busy"), busy, "{before} {umount}: {said:?}");
        }
    }
    container.end().await;
}

/// systemd-nspawn names no other flag, and so is refused by the kernel on what lies on a tmpfs of an engine's.
async fn what_is_the_hosts_can_be_made_read_only_and_nothing_less(kind: Kind) {
    let bundle = kind.on("trixie").mount("tmpfs", "tmpfs", "/run", &["nosuid", "nodev", "noexec", "mode=755"]);
    let (container, _room) = kind.sleeping(bundle).await;
    let shown = "awk '$5 == \"/mnt/x\" { print $6 }' /proc/self/mountinfo | cut -d , -f 1-4";
    // mount(2) itself: tools name the flags that there are.
    let remount = |flags: u64| {
        let flags = flags | libc::MS_REMOUNT | libc::MS_BIND;
        format!("perl -e '$d = \"/mnt/x\"; exit(syscall({}, 0, $d, 0, {flags}, 0) ? 1 : 0)'", libc::SYS_mount)
    };
    bash(&container, "mkdir /mnt/x /run/d; mount --bind /run/d /mnt/x").await.ok();
    bash(&container, &remount(0)).await.failed();
    bash(&container, &remount(libc::MS_RDONLY)).await.ok();
    assert_eq!(bash(&container, shown).await.ok(), "ro,nosuid,nodev,noexec");
    for less in [0, libc::MS_RDONLY, libc::MS_NOSUID] {
        bash(&container, &remount(less)).await.failed();
    }
    assert_eq!(bash(&container, shown).await.ok(), "ro,nosuid,nodev,noexec");
    bash(&container, "umount /mnt/x").await.ok();
    container.end().await;
}

async fn what_the_host_has_made_read_only_stays_so(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    for mount in ["mount", BUSYBOX] {
        bash(&container, &format!("{mount} -o remount,rw /")).await.failed();
        bash(&container, &format!("{mount} -o remount,bind,rw /")).await.failed();
        bash(&container, &format!("{mount} --bind / /mnt && {mount} -o remount,bind,rw /mnt")).await.failed();
        bash(&container, "umount /mnt").await.ok();
    }
    assert!(bash(&container, "touch /x").await.failed().contains("Read-only"));
    container.end().await;
}

#[tokio::test]
async fn a_plain_container_has_the_files_and_no_right_to_mount() {
    let container = Container::sleeping(on("trixie")).await;
    assert_eq!(bash(&container, "for file in uptime meminfo stat cpuinfo; do grep -c \" /proc/$file .* - fuse \" /proc/self/mountinfo; done | sort -u").await.ok(), "1");
    for script in
        ["mount -t proc p /mnt", "mount --bind / /mnt", "mount -o remount,ro /proc", "umount /mnt", "unshare -m true"]
    {
        let said = bash(&container, script).await;
        let said = said.failed();
        assert!(
            ["permission denied", "not permitted", "must be superuser"].iter().any(|word| said.contains(word)),
            "{script}: {said}"
        );
    }
    container.end().await;
}
