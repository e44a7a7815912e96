//! Who sees what was written: every procfs and sysfs of the container, whoever mounts it, and no other container.

use std::collections::BTreeMap;

use tests::Container;
use tests::rows::Row;

use super::{SEE, answers, change, listed, rows, script_in_quotes, with};
use crate::runtimes;
use crate::setup::{bash, privileged};

type Answers = BTreeMap<(String, String), String>;

/// What is seen at two places.
fn see(places: &str) -> String {
    format!("{SEE}\nsee {places} < /nodes/paths")
}

/// What a network namespace names is the kernel's own in another procfs.
fn of_the_network(path: &str) -> bool {
    path.starts_with("/proc/sys/net/")
}

/// The files of one container, as its own `/proc` and `/sys` have them.
struct Own<'a> {
    rows: &'a [Row],
    seen: Answers,
}

impl Own<'_> {
    /// Whether the same are seen elsewhere, but for those that are the `kernels`, or another view.
    fn are_seen(&self, what: &str, elsewhere: &Answers, kernels: &dyn Fn(&str) -> bool) {
        for row in self.rows {
            let is = ("is".to_owned(), row.path.clone());
            let text = ("text".to_owned(), row.path.clone());
            assert!(self.seen.contains_key(&is), "{}", row.path);
            assert_eq!(elsewhere.get(&is) == self.seen.get(&is), !kernels(&row.path), "{what}: {}", row.path);
            if !kernels(&row.path) && row.is_kept() {
                assert_eq!(elsewhere.get(&text), self.seen.get(&text), "{what}: {}", row.path);
            }
        }
    }

    /// What goes by groups is its own in an inner container, as it has groups of its own.
    fn goes_by_groups(&self, path: &str) -> bool {
        self.rows.iter().any(|row| row.path == path && row.goes_by_groups)
    }
}

#[tokio::test]
async fn each_is_the_same_file_through_every_procfs_and_sysfs_of_the_container_alone() {
    let rows = rows();
    let dir = listed(&rows);
    let container = Container::sleeping(with(privileged("trixie"), &dir)).await;
    bash(&container, &change(&rows)).await.ok();
    let own = Own { rows: &rows, seen: answers(&bash(&container, &see("/proc /sys")).await) };
    through_mounts(&container, &own).await;
    through_inner_containers(&container, &own).await;

    let other = Container::sleeping(with(privileged("trixie"), &dir)).await;
    let others = answers(&bash(&other, &see("/proc /sys")).await);
    let settings: Vec<&Row> = rows.iter().filter(|row| row.is_kept()).collect();
    assert!(settings.len() > 30);
    for row in settings {
        let text = ("text".to_owned(), row.path.clone());
        assert_eq!(others[&text], row.hosts().trim(), "another container: {}", row.path);
        // Which tells that of this container from the other's. One that another one empties may be as empty as the host's.
        assert!(row.tied || own.seen[&text] != others[&text], "{}: {}", row.path, others[&text]);
    }
    other.end().await;
    container.end().await;
}

async fn through_mounts(container: &Container, own: &Own<'_>) {
    let (new, old) = ("mount", "/busybox/bin/busybox mount");
    for (what, mount) in [("mount(2)", old), ("the new calls", new)] {
        let mounts = format!("mkdir -p /mnt/p /mnt/s; {mount} -t proc p /mnt/p && {mount} -t sysfs s /mnt/s || exit 3");
        let taken_away = "umount /mnt/p && umount /mnt/s && [ $(ls /mnt/p /mnt/s | wc -w) = 2 ]";
        let script = format!("{mounts}\n{}\n{taken_away}", see("/mnt/p /mnt/s"));
        own.are_seen(what, &answers(&bash(container, &script).await), &of_the_network);
        // None of its files comes off by itself.
        let script = format!(
            "{mounts}\nwhile read -r path; do case $path in /proc/*) at=/mnt/p${{path#/proc}} ;; *) at=/mnt/s${{path#/sys}} ;; esac
             umount $at 2>&1 | grep -q 'not mounted' || echo $at; done < /nodes/paths; {taken_away}"
        );
        assert_eq!(bash(container, &script).await.ok(), "", "{what}");
        let nested =
            format!("exec unshare -m bash -c '{}'", script_in_quotes(&format!("{mounts}\n{}", see("/mnt/p /mnt/s"))));
        own.are_seen(&format!("{what}, nested"), &answers(&bash(container, &nested).await), &of_the_network);
    }
    let nested = format!("exec unshare -Urpf --mount-proc bash -c '{}'", script_in_quotes(&see("/proc /sys")));
    own.are_seen("a nested user namespace", &answers(&bash(container, &nested).await), &of_the_network);
}

async fn through_inner_containers(container: &Container, own: &Own<'_>) {
    for runtime in ["runc", "crun"] {
        let inner = runtimes::run(runtime, &format!("inner-{runtime}"), &see("/proc /sys"));
        let masked = |path: &str| of_the_network(path) || path == "/sys/firmware" || own.goes_by_groups(path);
        own.are_seen(&format!("a container of {runtime}"), &answers(&bash(container, &inner).await), &masked);
        // As for `--privileged`: one that mounts for itself, with Debian's mount(8).
        let script = format!(
            "ln -s usr/lib /lib; ln -s usr/lib64 /lib64; mkdir -p /p /s; mount=/usr/bin/mount
             $mount -t proc p /p && $mount -t sysfs s /s || exit 3\n{}",
            see("/p /s")
        );
        let inner = runtimes::run_privileged(runtime, &format!("mounting-{runtime}"), &script);
        let its_own = |path: &str| of_the_network(path) || own.goes_by_groups(path);
        own.are_seen(
            &format!("a procfs in a container of {runtime}"),
            &answers(&bash(container, &inner).await),
            &its_own,
        );
    }
}
