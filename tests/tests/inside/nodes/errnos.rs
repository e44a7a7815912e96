//! Calls that no file of /proc and /sys takes, as docs/emulation.md tells of them.

use std::fs;

use tests::{Container, place};

use crate::setup::privileged;

/// The table: the calls, and the answers for each path.
fn documented() -> Vec<(String, String)> {
    let text = fs::read_to_string(place::sources().join("../docs/emulation.md")).unwrap();
    let (_, section) = text.split_once("\n## What else is tried on them\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let table: Vec<Vec<&str>> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|line| line.split(" | ").collect())
        .collect();
    let [head, calls @ ..] = &table[..] else { panic!("no table: {section}") };
    assert!(head.len() > 3 && calls.len() > 10 && calls.iter().all(|row| row.len() == head.len()), "{table:?}");
    let column = |at: usize| calls.iter().map(|row| format!("{} {}\n", row[0], row[at])).collect();
    (1..head.len()).map(|at| (head[at].trim_matches('`').to_owned(), column(at))).collect()
}

#[tokio::test]
async fn calls_answer_what_the_documentation_tells() {
    let container = Container::sleeping(privileged("trixie").with_inside()).await;
    let documented = documented();
    let of = |path: &str| &documented.iter().find(|(column, _)| column == path).unwrap().1;
    // Of each part, and of both where the column is one for both.
    let (mount, row) = (of("/proc/sys/kernel/panic"), of("/proc/sys/vm/swappiness"));
    let (native, below) = (of("/proc/sys/vm/laptop_mode"), of("/sys/devices/system/cpu/online"));
    for (path, answers) in [
        ("/proc/sys/kernel/panic", mount),
        ("/proc/sys/fs/file-max", mount),
        ("/proc/sys/net/core/rmem_max", mount),
        ("/proc/stat", mount),
        ("/proc/loadavg", mount),
        ("/proc/meminfo", mount),
        ("/proc/sys/kernel/random/boot_id", mount),
        ("/proc/sys/vm/swappiness", row),
        ("/proc/sys/fs/epoll/max_user_watches", row),
        ("/proc/pressure/cpu", row),
        ("/proc/sys/vm/laptop_mode", native),
        ("/sys/devices/system/cpu/online", below),
        ("/sys/devices/system/cpu/cpu0/topology/core_id", below),
    ] {
        let before = container.sh(&format!("cat {path}")).await.stdout;
        let said = container.exec(&["/inside", "answers", path]).await;
        assert_eq!(said.stdout.trim_end(), answers.trim_end(), "{path}");
        let kept = !["/proc/stat", "/proc/loadavg", "/proc/meminfo", "/proc/pressure/cpu"].contains(&path);
        assert!(!kept || container.sh(&format!("cat {path}")).await.stdout == before, "{path} has changed");
    }
    // The kernel's own answers to most of it are the same: with its own words for time and for sparse files.
    let said = container.exec(&["/inside", "answers", "/proc/sys/kernel/msgmax"]).await;
    let differ: Vec<_> = said.stdout.lines().zip(mount.lines()).filter(|(one, other)| one != other).collect();
    let known = ["utimensat(2) done", "lseek(2) to data ENXIO", "lseek(2) to a hole ENXIO"];
    assert!(differ.iter().map(|(one, _)| *one).eq(known), "{differ:?}");
    container.end().await;
}

/// openat2(2) reaches what no mount lies on: as runc does with what an inner container's config sets.
#[tokio::test]
async fn what_is_native_can_be_opened_without_crossing_a_mount() {
    let container = Container::sleeping(privileged("trixie").with_inside()).await;
    for (path, how, answer) in [
        ("sys/kernel/hostname", "r", "ok"),
        ("sys/kernel/domainname", "r", "ok"),
        ("sys/net/ipv4/ip_forward", "w", "ok"),
        ("sys/net/core/somaxconn", "w", "ok"),
        ("sys/net/ipv6/conf/all/forwarding", "w", "ok"),
        ("sys/kernel/msgmax", "w", "ok"),
        ("sys/kernel/sem", "w", "ok"),
        ("sys/kernel/shmmax", "w", "ok"),
        ("sys/fs/mqueue/msg_max", "w", "ok"),
        ("sys/user/max_net_namespaces", "r", "ok"),
        ("self/status", "r", "ELOOP"),
        ("sys/kernel/panic", "w", "EXDEV"),
        ("sys/vm/swappiness", "w", "EXDEV"),
        ("sys/vm/laptop_mode", "r", "EXDEV"),
        ("sys/net/core/rmem_max", "w", "EXDEV"),
        ("meminfo", "r", "EXDEV"),
    ] {
        let said = container.exec(&["/inside", "open-no-xdev", path, how]).await;
        assert_eq!(said.stdout.trim(), answer, "{path}");
    }
    container.end().await;
}
