//! Each row as its own cells say, in containers of every kind.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::json;
use tests::rows::{Row, Takes};
use tests::{Bundle, Container};

use super::{SEE, answers, host_values, listed, rows, with};
use crate::setup::{bash, on, privileged};

/// What a script says of a row under a word.
struct Said(BTreeMap<(String, String), String>);

impl Said {
    fn of(&self, word: &str, path: &str) -> &str {
        self.0.get(&(word.to_owned(), path.to_owned())).map_or("", String::as_str)
    }
}

/// How each looks, and that it does not come off.
fn looks(rows: &[Row]) -> String {
    let mut script = String::new();
    for Row { path, .. } in rows {
        let directory = path.rsplit_once('/').unwrap().0;
        script += &format!("echo \"mode {path} $(stat -c %a:%u:%g {path})\"\n");
        script += &format!(
            "echo \"fuse {path} $(awk '($5 == \"{path}\" || $5 == \"{directory}\") && / - fuse / {{ print $5 }}' /proc/self/mountinfo | sort -u | wc -l)\"\n"
        );
        script += &format!("echo \"umount {path} $(umount {path} 2>&1)\"\n");
    }
    script
}

/// `umounting` is what umount(8) says.
fn look_alike(rows: &[Row], said: &Said, umounting: &str) {
    for Row { path, mode, native, .. } in rows {
        let owner = if *native { 65534 } else { 0 };
        assert_eq!(said.of("mode", path), format!("{mode}:{owner}:{owner}"), "{path}");
        assert_eq!(said.of("fuse", path), "1", "{path} is emulated");
        assert!(said.of("umount", path).ends_with(umounting), "{path}: {}", said.of("umount", path));
    }
}

/// Reads what is only read, and writes everything.
fn tries(rows: &[Row]) -> String {
    let mut script = String::new();
    for Row { path, takes, .. } in rows {
        match takes {
            Takes::Nothing if Path::new(path).is_dir() => {
                script += &format!("ls {path} > /dev/null || echo \"read {path} failed\"\n");
                script += &format!("echo \"write {path} $(mkdir {path}/made 2>&1)\"\n");
            }
            Takes::Nothing => {
                script += &format!("cat {path} > /dev/null || echo \"read {path} failed\"\n");
                script += &format!("echo \"write {path} $( (echo 1 > {path}) 2>&1)\"\n");
            }
            Takes::Values { good, bad, .. } => {
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
    script
}

fn take_what_they_say(rows: &[Row], said: &Said) {
    for Row { path, takes, native, .. } in rows {
        match takes {
            Takes::Nothing => {
                assert_eq!(said.of("read", path), "", "{path}");
                // A directory is no place for more, with the kernel's words for one of sysfs.
                let is_ours = Path::new(path).is_dir() && !native;
                let refusal = if is_ours { "Operation not permitted" } else { "Permission denied" };
                assert!(said.of("write", path).ends_with(refusal), "{path}: {}", said.of("write", path));
            }
            Takes::Values { good, bad, refusal } => {
                for (value, shown) in good {
                    assert_eq!(said.of(&format!("good:{}", value.replace(' ', "_")), path), *shown, "{path} {value}");
                }
                for value in bad {
                    let answer = said.of(&format!("bad:{value}"), path);
                    assert!(answer.ends_with(refusal), "{path} {value}: {answer}");
                }
                assert_eq!(said.of("last", path), good.last().unwrap().1, "{path}");
            }
        }
    }
}

async fn each_shows_takes_and_refuses_what_its_row_says(bundle: Bundle) {
    let rows = rows();
    let before = host_values(&rows);
    let container = Container::sleeping(bundle).await;
    let said = Said(answers(&bash(&container, &(looks(&rows) + &tries(&rows))).await));
    // umount(8)'s words for EINVAL.
    look_alike(&rows, &said, "not mounted.");
    take_what_they_say(&rows, &said);
    assert_eq!(host_values(&rows), before, "the host's are the host's");
    container.end().await;
}

#[tokio::test]
async fn in_a_privileged_container() {
    each_shows_takes_and_refuses_what_its_row_says(privileged("trixie")).await;
}

#[tokio::test]
async fn on_a_read_only_root() {
    each_shows_takes_and_refuses_what_its_row_says(privileged("trixie").set("/root/readonly", json!(true))).await;
}

/// The same files; what its engine has made read-only is that.
#[tokio::test]
async fn in_a_plain_container() {
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.path != "/sys/firmware").collect();
    // Masked as everywhere, with nothing to see.
    let container = Container::sleeping(with(on("trixie"), &listed(&rows))).await;
    assert_eq!(bash(&container, "ls -A /sys/firmware").await.ok(), "");
    let script = format!("{}{SEE}\nsee /proc /sys < /nodes/paths\n{}", looks(&rows), tries(&rows));
    let said = Said(answers(&bash(&container, &script).await));
    look_alike(&rows, &said, "must be superuser to unmount.");
    for row in &rows {
        let path = &row.path;
        let is_read_only = path.starts_with("/proc/sys/") || path.starts_with("/sys/");
        let refusal = if is_read_only { "Read-only file system" } else { "Permission denied" };
        match &row.takes {
            Takes::Nothing => {
                assert_eq!(said.of("read", path), "", "{path}");
                assert!(said.of("write", path).ends_with(refusal), "{path}: {}", said.of("write", path));
            }
            Takes::Values { bad, .. } => {
                assert_eq!(said.of("text", path), row.hosts().trim(), "{path}");
                assert_eq!(said.of("last", path).replace('\t', " "), row.hosts().trim(), "{path}");
                let answer = said.of(&format!("bad:{}", bad[0]), path);
                assert!(answer.ends_with(refusal), "{path}: {answer}");
            }
        }
    }
    container.end().await;
}
