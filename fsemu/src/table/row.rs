//! Rows as docs/emulation.md has them.

use std::fmt;

use super::sysfs::FOR_EVER;
use super::{Check, Kind, Node, Tie};

const INT: (i64, i64) = (i32::MIN as i64, i32::MAX as i64);

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raises = if self.may_raise() { "; `[sysctl]` may raise the host's" } else { "" };
        let (shows, takes) = match self.kind {
            Kind::Live(live) if live.fresh >= FOR_EVER => ("what stays for the container's life", "EACCES".to_owned()),
            Kind::Live(_) => ("what is true at the time", "EACCES".to_owned()),
            Kind::Kept(kept) => ("its own value", format!("{}{}{raises}", kept.check, kept.tie)),
            Kind::Empty => ("an empty directory", "EACCES".to_owned()),
            Kind::Mirror(mirror) if mirror.native => ("the kernel's directory", "EACCES".to_owned()),
            Kind::Mirror(_) => ("the host's directory, filtered", "EACCES".to_owned()),
        };
        write!(f, "| `{}` | {:04o} | {shows} | {takes} | {} |", self.path, self.mode, self.reason)
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Integer(low, high) if (low, high) == INT => write!(f, "an integer"),
            Self::Integer(low, high) if high == INT.1 => write!(f, "from {low}"),
            Self::Integer(low, high) => write!(f, "{low} to {high}"),
            Self::Unsigned(low, high) if high > INT.1.unsigned_abs() => write!(f, "from {low}, 64 bits"),
            Self::Unsigned(low, _) => write!(f, "from {low}"),
            Self::Latch(low, high) => write!(f, "{low} to {high}, of which {high} is final"),
            Self::Integers(count, ..) => write!(f, "{count} integers"),
            Self::PipeSize => write!(f, "to 2 GiB, rounded up to a power of two"),
            Self::Buckets | Self::Hashsize => write!(f, "from 1, rounded up to full pages"),
            Self::Names(list) => write!(f, "names of `{}`; ENOENT for others", name(list)),
        }
    }
}

/// What follows the check.
impl fmt::Display for Tie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::None => Ok(()),
            Self::Same(other) => write!(f, "; is `{}` too", name(other)),
            Self::Zeroes(other) | Self::ChangeZeroes(other) => write!(f, "; makes `{}` 0", name(other)),
        }
    }
}

/// The last part of a path.
fn name(path: &'static str) -> &'static str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::super::nodes;

    #[test]
    fn the_documentation_repeats_the_table() {
        let documentation = include_str!("../../../docs/emulation.md");
        let table: String = nodes().map(|node| format!("{node}\n")).collect();
        let rows = documentation.split_inclusive('\n').filter(|line| line.starts_with("| `/"));
        assert!(rows.collect::<String>() == table, "docs/emulation.md must have these rows and no other:\n{table}");
    }
}
