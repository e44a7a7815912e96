//! Every row of docs/emulation.md whose place this kernel has: what it shows, what it takes, who sees what was written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tests::{Bundle, Container, place};

use crate::setup::{bash, privileged};

/// One row.
struct Row {
    path: String,
    mode: String,
    /// Whether it shows what is true of who mounts the procfs or sysfs.
    goes_by_groups: bool,
    takes: Takes,
    /// Whether it is the kernel's directory, which is the host's root's.
    native: bool,
}

/// What a write takes.
enum Takes {
    /// EACCES.
    Nothing,
    /// These are taken, each with what is read then, and those are EINVAL.
    Values { good: Vec<(String, String)>, bad: Vec<String> },
}

/// The rows, but for the one of the pid namespaces' own value (Linux 6.14).
fn rows() -> Vec<Row> {
    let text = fs::read_to_string(place::sources().join("../docs/emulation.md")).unwrap();
    let rows: Vec<Row> = text.lines().filter_map(row).collect();
    assert!(rows.len() > 70, "{}", rows.len());
    rows.into_iter().filter(|row| Path::new(&row.path).exists() && !row.path.ends_with("/pid_max")).collect()
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| `/")?.split(" | ").collect();
    let path = format!("/{}", cells[0].trim_end_matches('`'));
    let (mode, native) = (cells[1].trim_start_matches('0').to_owned(), cells[2] == "the kernel's directory");
    let is_true_of_groups = ["what is true at the time", "the host's directory, filtered"].contains(&cells[2]);
    let goes_by_groups = is_true_of_groups || path == "/proc/pressure";
    Some(Row { path, mode, goes_by_groups, takes: takes(cells[3]), native })
}

/// Two values that the cell's words take, and some that they do not.
fn takes(words: &str) -> Takes {
    let range = words.split([';', ',']).next().unwrap();
    let number = |text: &str| text.parse::<i128>().unwrap();
    let values = |good: &[i128], bad: &[i128]| {
        let text = |values: &[i128]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let good = text(good).into_iter().map(|value| (value.clone(), value)).collect();
        Takes::Values { good, bad: [text(bad), vec!["nonsense".to_owned()]].concat() }
    };
    if range == "EACCES" {
        Takes::Nothing
    } else if range == "an integer" {
        values(&[5, -6], &[1 << 31])
    } else if range == "4 integers" {
        let vector = |text: &str| (text.to_owned(), text.replace(' ', "\t"));
        Takes::Values { good: vec![vector("1 2 3 4"), vector("7 4 1 7")], bad: vec!["nonsense".to_owned()] }
    } else if words.contains("power of two") {
        let rounded = [("70000".to_owned(), "131072".to_owned()), ("1048576".to_owned(), "1048576".to_owned())];
        Takes::Values { good: rounded.into(), bad: vec!["2147483649".to_owned(), "nonsense".to_owned()] }
    } else if words.contains("full pages") {
        values(&[1024, 2048], &[0])
    } else if let Some((low, high)) = range.split_once(" to ") {
        let (low, high) = (number(low), number(high));
        // The highest of some is for good.
        let high_good = if words.contains("final") { high - 1 } else { high };
        values(&[low, high_good], &[low - 1, high + 1])
    } else if let Some(low) = range.strip_prefix("from ") {
        let low = number(low);
        values(&[low + 7, low + 4096], &[low - 1])
    } else {
        panic!("what is taken by: {words}")
    }
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
    let kept = rows.iter().filter(|row| matches!(row.takes, Takes::Values { .. }));
    kept.map(|row| fs::read_to_string(&row.path).unwrap_or_default()).collect()
}

#[tokio::test]
async fn each_shows_takes_and_refuses_what_its_row_says() {
    let rows = rows();
    let before = host_values(&rows);
    let container = Container::sleeping(with(privileged("trixie"), &listed(&rows))).await;
    let mut script = String::new();
    for Row { path, takes, .. } in &rows {
        let directory = path.rsplit_once('/').unwrap().0;
        script += &format!("echo \"mode {path} $(stat -c %a:%u:%g {path})\"\n");
        script += &format!(
            "echo \"fuse {path} $(awk '($5 == \"{path}\" || $5 == \"{directory}\") && / - fuse /' /proc/self/mountinfo | wc -l)\"\n"
        );
        script += &format!("echo \"umount {path} $(umount {path} 2>&1)\"\n");
        match takes {
            Takes::Nothing if Path::new(path).is_dir() => {
                script += &format!("ls {path} > /dev/null || echo \"read {path} failed\"\n");
                script += &format!("echo \"write {path} $(mkdir {path}/made 2>&1)\"\n");
            }
            Takes::Nothing => {
                script += &format!("cat {path} > /dev/null || echo \"read {path} failed\"\n");
                script += &format!("echo \"write {path} $( (echo 1 > {path}) 2>&1)\"\n");
            }
            Takes::Values { good, bad } => {
                for (value, _) in good {
                    script += &format!(
                        "echo '{value}' > {path}; echo \"good:{} {path} $(cat {path})\"\n",
                        value.replace(' ', "_")
                    );
                }
                for value in bad {
                    script += &format!("echo \"bad:{value} {path} $( (echo '{value}' > {path}) 2>&1)\"\n");
                }
                script += &format!("echo \"last {path} $(cat {path})\"\n");
            }
        }
    }
    let said = answers(&bash(&container, &script).await);
    let of = |word: &str, path: &str| said.get(&(word.to_owned(), path.to_owned())).cloned().unwrap_or_default();
    for Row { path, mode, takes, native, .. } in &rows {
        let owner = if *native { 65534 } else { 0 };
        assert_eq!(of("mode", path), format!("{mode}:{owner}:{owner}"), "{path}");
        assert_eq!(of("fuse", path), "1", "{path} is emulated");
        // umount(8)'s word for EINVAL.
        assert!(of("umount", path).ends_with("not mounted."), "{path}: {}", of("umount", path));
        match takes {
            Takes::Nothing => {
                assert_eq!(of("read", path), "", "{path}");
                // A directory is no place for more, with the kernel's words for one of sysfs.
                let is_ours = Path::new(path).is_dir() && !native;
                let refusal = if is_ours { "Operation not permitted" } else { "Permission denied" };
                assert!(of("write", path).ends_with(refusal), "{path}: {}", of("write", path));
            }
            Takes::Values { good, bad } => {
                for (value, shown) in good {
                    assert_eq!(of(&format!("good:{}", value.replace(' ', "_")), path), *shown, "{path} {value}");
                }
                for value in bad {
                    let answer = of(&format!("bad:{value}"), path);
                    assert!(answer.ends_with("Invalid argument"), "{path} {value}: {answer}");
                }
                assert_eq!(of("last", path), good.last().unwrap().1, "{path}");
            }
        }
    }
    assert_eq!(host_values(&rows), before, "the host's are the host's");
    container.end().await;
}

#[tokio::test]
async fn each_is_the_same_file_through_every_procfs_and_sysfs_of_the_container_alone() {
    let rows = rows();
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
    let steady: Vec<&Row> = rows.iter().filter(|row| matches!(row.takes, Takes::Values { .. })).collect();
    assert!(steady.len() > 30);
    let same = |what: &str, seen: &BTreeMap<(String, String), String>, kernels: &dyn Fn(&str) -> bool| {
        for row in &rows {
            let is = ("is".to_owned(), row.path.clone());
            let text = ("text".to_owned(), row.path.clone());
            assert_eq!(seen.get(&is) == own.get(&is), !kernels(&row.path), "{what}: {}", row.path);
            if !kernels(&row.path) && matches!(row.takes, Takes::Values { .. }) {
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
