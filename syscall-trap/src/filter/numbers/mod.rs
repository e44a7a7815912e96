//! Names and numbers of system calls, per ABI.
//!
//! Invariant: every table is sorted by name and names nothing twice (a test checks it), so a look-up is a binary search.

mod arm;
mod x86;

/// Names with their numbers, sorted by name.
pub(super) type Table = &'static [(&'static str, u32)];

pub(super) const X86_64: Table = x86::X86_64;
pub(super) const X32: Table = x86::X32;
pub(super) const I386: Table = x86::I386;
pub(super) const AARCH64: Table = arm::AARCH64;
pub(super) const ARM: Table = arm::ARM;

/// The number of `name` in `table`.
pub(super) fn number(table: Table, name: &str) -> Option<u32> {
    table.binary_search_by_key(&name, |&(known, _)| known).ok().and_then(|at| table.get(at)).map(|&(_, nr)| nr)
}

/// Whether any ABI of either family has a call of this name.
pub(super) fn known(name: &str) -> bool {
    [X86_64, X32, I386, AARCH64, ARM].iter().any(|table| number(table, name).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_unambiguous() {
        for table in [X86_64, X32, I386, AARCH64, ARM] {
            assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
            let mut numbers: Vec<_> = table.iter().map(|&(_, nr)| nr).collect();
            numbers.sort_unstable();
            numbers.dedup();
            // On Arm, sync_file_range2 is a second name of arm_sync_file_range.
            let second_names = usize::from(number(table, "arm_sync_file_range").is_some());
            assert_eq!(numbers.len(), table.len() - second_names);
        }
    }

    #[test]
    fn numbers_are_the_kernels() {
        assert_eq!(number(X86_64, "mount"), Some(165));
        assert_eq!(number(I386, "mount"), Some(21));
        assert_eq!(number(X32, "ioctl"), Some(514));
        assert_eq!(number(AARCH64, "mount"), Some(40));
        assert_eq!(number(ARM, "cacheflush"), Some(0xf0002));
        assert_eq!(number(X86_64, "file_setattr"), Some(469));
        assert_eq!(number(X86_64, "socketcall"), None);
        assert!(known("socketcall") && !known("mount3") && !known(""));
    }
}
