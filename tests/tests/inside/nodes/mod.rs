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

use tests::rows::Row;
use tests::{Bundle, place};

/// The rows, but for the one of the pid namespaces' own value (Linux 6.14).
fn rows() -> Vec<Row> {
    let here = |row: &Row| Path::new(&row.path).exists() && !row.path.ends_with("/pid_max");
    tests::rows::rows().into_iter().filter(here).collect()
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
