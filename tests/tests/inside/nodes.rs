//! Every row of docs/emulation.md whose place this kernel has: what it shows, what it takes, who sees what was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tests::rows::{self, Row, Takes};
use tests::{Bundle, Container, place};

use crate::setup::{bash, privileged};

/// The rows, but for the one of the pid namespaces' own value (Linux 6.14).
fn here() -> Vec<Row> {
    rows::rows().into_iter().filter(|row| Path::new(&row.path).exists() && !row.path.ends_with("/pid_max")).collect()
}

/// The lines that a script prints for each row: a word, a path, and the rest.
fn answers(output: &tests::Output) -> BTreeMap<(String, String), String> {
    output
        .ok()
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().unwrap_or_default().trim().to_owned();
            ((word(), word()), word())
        })
        .collect()
}

/// A shell's function: what is seen of each path that it reads, in the procfs and the sysfs at `$1` and `$2`.
const SEE: &str = r#"see() { while read -r path; do
    case $path in /proc/*) at=$1${path#/proc} ;; *) at=$2${path#/sys} ;; esac
    [ -e "$at" ] || continue
    echo "is $path $(stat -c %d:%i "$at")"
    [ -d "$at" ] || echo "text $path $(head -n 1 "$at" | tr '\t' ' ')"
done; }"#;

/// The list of paths as a file in a directory, to be bound.
fn listed(rows: &[Row]) -> PathBuf {
    let dir = place::new_dir("nodes");
    let paths: String = rows.iter().map(|row| format!("{}\n", row.path)).collect();
    fs::write(dir.join("paths"), paths).unwrap();
    dir
}

fn with(bundle: Bundle, dir: &Path) -> Bundle {
    bundle.bind(dir, "/nodes", &["ro"])
}

fn host_values(rows: &[Row]) -> Vec<String> {
    let kept = rows.iter().filter(|row| row.is_kept());
    kept.map(|row| fs::read_to_string(&row.path).unwrap_or_default()).collect()
}

#[tokio::test]
async fn each_shows_takes_and_refuses_what_its_row_says() {
    let rows = here();
    let before = host_values(&rows);
    let container = Container::sleeping(with(privileged("trixie"), &listed(&rows))).await;
    let said = bash(&container, &rows::questions(&rows)).await;
    let mut said: Vec<&str> = said.stdout.lines().collect();
    said.sort_unstable();
    let answers = rows::answers(&rows);
    let differs = said.iter().zip(&answers).find(|(said, answer)| *said != answer);
    assert_eq!((differs, said.len()), (None, answers.len()), "{said:#?}");
    assert_eq!(host_values(&rows), before, "the host's are the host's");
    container.end().await;
}

#[tokio::test]
async fn each_is_the_same_file_through_every_procfs_and_sysfs_of_the_container_alone() {
    let rows = here();
    let dir = listed(&rows);
    let container = Container::sleeping(with(privileged("trixie"), &dir)).await;
    // Values that nobody else has, but for those that empty another one.
    let set: String = rows
        .iter()
        .filter_map(|row| match &row.takes {
            Takes::Values { good, .. } => Some(format!("echo '{}' > {}\n", good[0].0, row.path)),
            Takes::Nothing => None,
        })
        .collect();
    bash(&container, &set).await.ok();
    let see = |places: &str| format!("{SEE}\nsee {places} < /nodes/paths");
    let own = answers(&bash(&container, &see("/proc /sys")).await);
    let steady: Vec<&Row> = rows.iter().filter(|row| row.is_kept()).collect();
    assert!(steady.len() > 30);
    let same = |what: &str, seen: &BTreeMap<(String, String), String>, kernels: &dyn Fn(&str) -> bool| {
        for row in &rows {
            let is = ("is".to_owned(), row.path.clone());
            let text = ("text".to_owned(), row.path.clone());
            assert_eq!(seen.get(&is) == own.get(&is), !kernels(&row.path), "{what}: {}", row.path);
            if !kernels(&row.path) && row.is_kept() {
                assert_eq!(seen.get(&text), own.get(&text), "{what}: {}", row.path);
            }
        }
    };
    // What a network namespace names is the kernel's own in another procfs.
    let of_the_network = |path: &str| path.starts_with("/proc/sys/net/");
    let (new, old) = ("mount", "/busybox/bin/busybox mount");
    for (what, mount) in [("mount(2)", old), ("the new calls", new)] {
        let mounts = format!("mkdir -p /mnt/p /mnt/s; {mount} -t proc p /mnt/p && {mount} -t sysfs s /mnt/s || exit 3");
        let taken_away = "umount /mnt/p && umount /mnt/s && [ $(ls /mnt/p /mnt/s | wc -w) = 2 ]";
        let script = format!("{mounts}\n{}\n{taken_away}", see("/mnt/p /mnt/s"));
        same(what, &answers(&bash(&container, &script).await), &of_the_network);
        // None of its files comes off by itself.
        let script = format!(
            "{mounts}\nwhile read -r path; do case $path in /proc/*) at=/mnt/p${{path#/proc}} ;; *) at=/mnt/s${{path#/sys}} ;; esac
             umount $at 2>&1 | grep -q 'not mounted' || echo $at; done < /nodes/paths; {taken_away}"
        );
        assert_eq!(bash(&container, &script).await.ok(), "", "{what}");
        let nested =
            format!("exec unshare -m bash -c '{}'", script_in_quotes(&format!("{mounts}\n{}", see("/mnt/p /mnt/s"))));
        same(&format!("{what}, nested"), &answers(&bash(&container, &nested).await), &of_the_network);
    }
    let nested = format!("exec unshare -Urpf --mount-proc bash -c '{}'", script_in_quotes(&see("/proc /sys")));
    same("a nested user namespace", &answers(&bash(&container, &nested).await), &of_the_network);
    let inner = crate::runtimes::run("runc", "inner", &see("/proc /sys"));
    // What goes by groups is its own, as it has groups of its own.
    let by_groups = |path: &str| rows.iter().any(|row| row.path == path && row.goes_by_groups);
    let of_its_groups = |path: &str| of_the_network(path) || path == "/sys/firmware" || by_groups(path);
    same("an inner container", &answers(&bash(&container, &inner).await), &of_its_groups);

    let other = Container::sleeping(with(privileged("trixie"), &dir)).await;
    let others = answers(&bash(&other, &see("/proc /sys")).await);
    for row in steady {
        let text = ("text".to_owned(), row.path.clone());
        let host = fs::read_to_string(&row.path).unwrap_or_default();
        let host = host.lines().next().unwrap_or_default().replace('\t', " ");
        assert_eq!(others[&text], host.trim(), "another container: {}", row.path);
    }
    other.end().await;
    container.end().await;
}

/// A script as a part of another, between single quotes.
fn script_in_quotes(script: &str) -> String {
    script.replace('\'', r"'\''")
}
