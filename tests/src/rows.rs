//! The rows of docs/emulation.md, what a shell asks of each in a container, and what is answered.

use std::fs;

use crate::place;

/// What a shell says of EINVAL.
const EINVAL: &str = "Invalid argument";

/// One row.
pub struct Row {
    /// Where it shows.
    pub path: String,
    /// As stat(1) has it.
    pub mode: String,
    /// Whether it shows what is true of who mounts the procfs or sysfs.
    pub goes_by_groups: bool,
    /// The cell about writes.
    pub takes: Takes,
    /// Whether it is the kernel's directory, which is the host's root's.
    pub native: bool,
    /// Whether a write makes another one 0.
    pub tied: bool,
    is_directory: bool,
}

/// In what kind of container it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// One whose root may write what its rows say.
    Privileged,
    /// One as engines make it, where nothing is to be written.
    Plain,
}

/// What a write takes.
pub enum Takes {
    /// EACCES.
    Nothing,
    /// Values.
    Values {
        /// Some that are taken, each with what is read then.
        good: Vec<(String, String)>,
        /// Some that are refused.
        bad: Vec<String>,
        /// With these words of a shell's.
        refusal: &'static str,
    },
}

/// Every row.
pub fn rows() -> Vec<Row> {
    let text = fs::read_to_string(place::sources().join("../docs/emulation.md")).unwrap();
    let rows: Vec<Row> = text.lines().filter_map(row).collect();
    assert!(rows.len() > 70, "{}", rows.len());
    rows
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix("| `/")?.split(" | ").collect();
    let path = format!("/{}", cells[0].trim_end_matches('`'));
    let (mode, native) = (cells[1].trim_start_matches('0').to_owned(), cells[2] == "the kernel's directory");
    let is_true_of_groups = ["what is true at the time", "the host's directory, filtered"].contains(&cells[2]);
    let goes_by_groups = is_true_of_groups || path == "/proc/pressure";
    let is_directory = cells[2].contains("directory");
    Some(Row {
        path,
        mode,
        goes_by_groups,
        takes: takes(cells[3]),
        native,
        tied: cells[3].contains("makes `"),
        is_directory,
    })
}

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
    } else if range.starts_with("names of ") {
        // Which every kernel has.
        let good = ["reno", "cubic"].map(|name| (name.to_owned(), name.to_owned()));
        Takes::Values { good: good.into(), bad: nonsense(), refusal: "No such file or directory" }
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

impl Row {
    /// Whether it is a value of the container's own.
    pub fn is_kept(&self) -> bool {
        matches!(self.takes, Takes::Values { .. })
    }

    /// What this host shows, as [`seen`] has it.
    pub fn hosts(&self) -> String {
        seen(&self.first_line())
    }

    /// The first line of the host's own.
    fn first_line(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default().lines().next().unwrap_or_default().to_owned()
    }

    /// A value to write, and what is read then, that is none of these; nothing for what takes none.
    pub fn other_than(&self, taken: &[&str]) -> Option<(&str, String)> {
        let Takes::Values { good, .. } = &self.takes else { return None };
        let other = good.iter().find(|(_, shown)| !taken.contains(&seen(shown).as_str()));
        let (value, shown) = other.unwrap_or_else(|| panic!("{} takes nothing but {taken:?}", self.path));
        Some((value, seen(shown)))
    }

    /// Whether it lies where engines make everything read-only.
    fn is_read_only(&self) -> bool {
        self.path.starts_with("/proc/sys/") || self.path.starts_with("/sys/")
    }

    /// What is read of it and written to it: a shell's line each, after [`WORDS`], and what that prints.
    fn asked(&self, by: By) -> Vec<(String, String)> {
        let Self { path, takes, native, is_directory, .. } = self;
        let refused = match by {
            By::Plain if self.is_read_only() => Some("Read-only file system"),
            By::Plain => Some("Permission denied"),
            By::Privileged => None,
        };
        let (good, bad, refusal) = match takes {
            Takes::Nothing => {
                let write = if *is_directory { format!("mkdir {path}/made") } else { format!("put 1 {path}") };
                // A directory is no place for more, with the kernel's words for one of sysfs.
                let own = if *is_directory && !native { "Operation not permitted" } else { "Permission denied" };
                let refusal = refused.unwrap_or(own);
                let read = (format!("tell {path} read look {path}"), format!("{path} read "));
                return vec![read, (format!("tell {path} write {write}"), format!("{path} write {refusal}"))];
            }
            Takes::Values { good, bad, refusal } => (good, bad, refusal),
        };
        let good = good.iter().flat_map(|(value, shown)| {
            let said = refused.unwrap_or_default();
            let shown = if refused.is_some() { self.first_line() } else { shown.clone() };
            let write = format!("tell {path} 'takes {value}' put '{value}' {path}");
            let show = format!("show {path} '{value}'");
            [(write, format!("{path} takes {value} {said}")), (show, format!("{path} shows {value} as {shown}"))]
        });
        let bad = bad.iter().map(|value| {
            let write = format!("tell {path} 'refuses {value}' put {value} {path}");
            (write, format!("{path} refuses {value} {}", refused.unwrap_or(refusal)))
        });
        good.chain(bad).collect()
    }
}

/// The first line of a text, with blanks for tabs.
pub fn seen(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace('\t', " ")
}

/// Commands that run without a process of their own, which are dear in an emulated machine: `tell PATH WORD COMMAND...` prints the last
/// words of a command, if it has any.
const WORDS: &str = r#"tell() {
    local path=$1 word=$2 text
    shift 2
    "$@" > /dev/shm/said 2>&1
    IFS= read -r text < /dev/shm/said
    echo "$path $word ${text##*: }"
}
put() { echo "$1" > "$2"; }
look() { local entries; if [ -d "$1" ]; then entries=("$1"/*); else read -r entries < "$1"; fi; }
show() { local text; IFS= read -r text < "$1"; echo "$1 shows $2 as $text"; }
"#;

/// What is asked of all at once.
const OF_ALL: &str = r#"
stat -c '%n mode %a:%u:%g' "${paths[@]}"
umount "${paths[@]}" 2>&1 | sed 's/^umount: \(.*\): /\1 umount /'
declare -A mounts
while read -r _ _ _ _ place rest; do
    [[ $rest != *' - fuse '* ]] || mounts[$place]=$((${mounts[$place]:-0} + 1))
done < /proc/self/mountinfo
for path in "${paths[@]}"; do echo "$path mounts $((${mounts[$path]:-0} + ${mounts[${path%/*}]:-0}))"; done
"#;

/// A script of bash's that asks these rows, as far as the kernel has their places.
pub fn questions(rows: &[Row]) -> String {
    let of_each = rows.iter().map(|row| {
        let lines: String =
            row.asked(By::Privileged).into_iter().map(|(question, _)| format!("{question}\n")).collect();
        format!("if [ -e {0} ]; then\npaths+=({0})\n{lines}fi\n", row.path)
    });
    [WORDS.to_owned()].into_iter().chain(of_each).chain([OF_ALL.to_owned()]).collect()
}

/// The lines that the script prints, sorted.
pub fn answers(rows: &[Row], by: By) -> Vec<String> {
    let of_each = rows.iter().flat_map(|row| {
        let Row { path, mode, native, .. } = row;
        let owner = if *native { 65534 } else { 0 };
        let (mounts, umount) = match by {
            // umount(8)'s words for EINVAL.
            By::Privileged => (1, "not mounted."),
            // An engine's read-only bind has what lies below, too.
            By::Plain if path.starts_with("/proc/sys/") => (2, "must be superuser to unmount."),
            By::Plain => (1, "must be superuser to unmount."),
        };
        let of_all = [format!("mounts {mounts}"), format!("umount {umount}"), format!("mode {mode}:{owner}:{owner}")];
        row.asked(by).into_iter().map(|(_, answer)| answer).chain(of_all.map(|line| format!("{path} {line}")))
    });
    let mut lines: Vec<String> = of_each.collect();
    lines.sort_unstable();
    lines
}
