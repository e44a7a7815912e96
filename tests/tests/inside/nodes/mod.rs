//! Every row of docs/emulation.md whose place this kernel has: what it shows, what it takes, who sees what was written.

mod errnos;
mod own;
mod pods;
mod seen;
mod table;
mod users;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tests::{Bundle, place};

/// One row.
struct Row {
    path: String,
    mode: String,
    /// Whether it shows what is true of who mounts the procfs or sysfs.
    goes_by_groups: bool,
    takes: Takes,
    /// Whether it is the kernel's directory, which is the host's root's.
    native: bool,
    /// Whether a write makes another one 0.
    tied: bool,
}

/// What a write takes.
enum Takes {
    /// EACCES.
    Nothing,
    /// These are taken, each with what is read then, and those are refused, with these words.
    Values { good: Vec<(String, String)>, bad: Vec<String>, refusal: &'static str },
}

impl Row {
    /// Whether it has a value of its own.
    fn is_kept(&self) -> bool {
        matches!(self.takes, Takes::Values { .. })
    }

    /// What the host shows, as [`SEE`] does.
    fn hosts(&self) -> String {
        seen(&fs::read_to_string(&self.path).unwrap_or_default())
    }

    /// A value to write, and what is read then, that is none of these; nothing for what takes none.
    fn other_than(&self, taken: &[&str]) -> Option<(&str, String)> {
        let Takes::Values { good, .. } = &self.takes else { return None };
        let other = good.iter().find(|(_, shown)| !taken.contains(&seen(shown).as_str()));
        let (value, shown) = other.unwrap_or_else(|| panic!("{} takes nothing but {taken:?}", self.path));
        Some((value, seen(shown)))
    }
}

/// The first line of a text, with blanks for tabs.
fn seen(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace('\t', " ")
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
    Some(Row { path, mode, goes_by_groups, takes: takes(cells[3]), native, tied: cells[3].contains("makes `") })
}

/// What a shell says of EINVAL.
const EINVAL: &str = "Invalid argument";

/// Two values that the cell's words take, and some that they do not.
fn takes(words: &str) -> Takes {
    let range = words.split([';', ',']).next().unwrap();
    let number = |text: &str| text.parse::<i128>().unwrap();
    let values = |good: &[i128], bad: &[i128]| {
        let text = |values: &[i128]| values.iter().map(ToString::to_string).collect::<Vec<_>>();
        let good = text(good).into_iter().map(|value| (value.clone(), value)).collect();
        Takes::Values { good, bad: [text(bad), vec!["nonsense".to_owned()]].concat(), refusal: EINVAL }
    };
    let nonsense = || vec!["nonsense".to_owned()];
    if range == "EACCES" {
        Takes::Nothing
    } else if range == "an integer" {
        values(&[5, -6], &[1 << 31])
    } else if range == "4 integers" {
        let vector = |text: &str| (text.to_owned(), text.replace(' ', "\t"));
        Takes::Values { good: vec![vector("1 2 3 4"), vector("7 4 1 7")], bad: nonsense(), refusal: EINVAL }
    } else if words.contains("power of two") {
        let rounded = [("70000".to_owned(), "131072".to_owned()), ("1048576".to_owned(), "1048576".to_owned())];
        Takes::Values { good: rounded.into(), bad: vec!["2147483649".to_owned()], refusal: EINVAL }
    } else if words.contains("full pages") {
        values(&[1024, 2048], &[0])
    } else if let Some(list) = range.strip_prefix("names of ") {
        let list = format!("/proc/sys/net/ipv4/{}", list.trim_matches('`'));
        let names: Vec<_> = fs::read_to_string(list).unwrap().split_whitespace().map(str::to_owned).collect();
        let good = names.into_iter().map(|name| (name.clone(), name)).collect();
        Takes::Values { good, bad: nonsense(), refusal: "No such file or directory" }
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
    rows.iter().filter(|row| row.is_kept()).map(Row::hosts).collect()
}

/// Writes to each setting what the host has not, and nobody who has written nothing.
fn change(rows: &[Row]) -> String {
    let change = |row: &Row| Some(format!("echo '{}' > {}\n", row.other_than(&[&row.hosts()])?.0, row.path));
    rows.iter().filter_map(change).collect()
}

/// A script as a part of another, between single quotes.
fn script_in_quotes(script: &str) -> String {
    script.replace('\'', r"'\''")
}
