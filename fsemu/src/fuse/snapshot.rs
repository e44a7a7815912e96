//! The text of a file as the kernel knows it: made when it asks for the size, served until it asks again.
//!
//! Whoever reads in pieces, the last of which is the end of the file, is to see one text. An open asks for the size when the
//! text is no longer fresh, and so does each read, which is told apart: for [`GRACE`] more a read is told the old one.
//!
//! Two readers can still be at odds: one has been told a new size while the other is just fetching pages, and the kernel takes
//! the pages of the one with the size of the other. A new size is therefore not told within [`SETTLE`] of serving pages to
//! another thread, and pages are not served within [`SETTLE`] of telling a new size to another thread.

use std::time::{Duration, Instant, SystemTime};

/// For how long a thread may be on its way from the answer to where the kernel applies it.
const SETTLE: Duration = Duration::from_millis(1);

/// For how long a text that is no longer fresh still serves files that are open.
const GRACE: Duration = Duration::from_millis(40);

/// By how much readers can make a snapshot last longer than it is fresh.
const LONGEST_DELAY: Duration = Duration::from_millis(20);

/// A text, and when it was made and used.
#[derive(Debug)]
pub(super) struct Snapshot {
    text: Vec<u8>,
    /// Since the epoch. Grows with every other text: by it the kernel knows that its pages are old.
    pub(super) mtime: Duration,
    made: Instant,
    /// Who was last told a size that was new.
    told: Option<(Instant, u32)>,
    /// Who was last served.
    read: Option<(Instant, u32)>,
}

impl Snapshot {
    /// A new one in place of `old`. The mtime stays when the text does, unless the pages are in doubt (`dirty`): a write went
    /// into them as it was written.
    pub(super) fn new(text: Vec<u8>, old: Option<&Self>, dirty: bool, thread: u32, now: Instant) -> Self {
        let (mtime, told) = match old {
            Some(old) if old.text == text && !dirty => (old.mtime, old.told),
            Some(old) => {
                let told = if old.text.len() == text.len() { old.told } else { Some((now, thread)) };
                (since_epoch().max(old.mtime + Duration::from_nanos(1)), told)
            }
            None => (since_epoch(), Some((now, thread))),
        };
        Self { text, mtime, made: now, told, read: old.and_then(|old| old.read) }
    }

    /// For how long it still serves; None when it is due to be replaced.
    pub(super) fn remains(&self, fresh: Duration, thread: u32, held: bool, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.made);
        if let Some(rest) = fresh.checked_sub(age).filter(|rest| !rest.is_zero()) {
            return Some(rest);
        }
        let busy = self.read.is_some_and(|(at, by)| by != thread && now.saturating_duration_since(at) < SETTLE);
        let late = age.saturating_sub(fresh);
        (held && late < GRACE || busy && late < LONGEST_DELAY).then_some(SETTLE)
    }

    /// The size that GETATTR tells, in bytes.
    pub(super) fn size(&self) -> u64 {
        self.text.len().try_into().unwrap_or(u64::MAX)
    }

    /// For how long `thread` has to wait before it is served.
    pub(super) fn wait(&self, thread: u32, now: Instant) -> Duration {
        match self.told {
            Some((at, by)) if by != thread => SETTLE.saturating_sub(now.saturating_duration_since(at)),
            _ => Duration::ZERO,
        }
    }

    /// A part of the text, empty beyond its end.
    pub(super) fn read(&mut self, offset: u64, size: u32, thread: u32, now: Instant) -> &[u8] {
        self.read = Some((now, thread));
        let length = self.text.len();
        let start = usize::try_from(offset).unwrap_or(length).min(length);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(length)).min(length);
        self.text.get(start..end).unwrap_or_default()
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Duration = Duration::from_millis(100);

    fn snapshot(text: &str, old: Option<&Snapshot>, now: Instant) -> Snapshot {
        Snapshot::new(text.into(), old, false, 1, now)
    }

    #[test]
    fn a_snapshot_serves_for_as_long_as_it_is_fresh() {
        let now = Instant::now();
        let mut it = snapshot("abc", None, now);
        assert_eq!(it.remains(FRESH, 1, false, now + FRESH / 4), Some(FRESH * 3 / 4));
        assert_eq!(it.remains(FRESH, 1, false, now + FRESH), None);
        assert_eq!(it.remains(FRESH, 1, true, now + FRESH), Some(SETTLE), "open");
        assert_eq!(it.remains(FRESH, 1, true, now + FRESH + GRACE), None);
        assert_eq!(it.remains(Duration::ZERO, 1, false, now), None);
        assert_eq!((it.size(), it.read(1, 1, 1, now), it.size()), (3, &b"b"[..], 3));
        assert_eq!(it.read(3, 9, 1, now), b"");
        assert_eq!(it.read(u64::MAX, u32::MAX, 1, now), b"");
        assert_eq!(it.read(0, u32::MAX, 1, now), b"abc");
    }

    #[test]
    fn the_mtime_changes_with_the_text_and_after_a_write() {
        let now = Instant::now();
        let one = snapshot("a", None, now);
        assert_eq!(snapshot("a", Some(&one), now).mtime, one.mtime);
        assert!(snapshot("b", Some(&one), now).mtime > one.mtime);
        assert!(Snapshot::new("a".into(), Some(&one), true, 1, now).mtime > one.mtime);
    }

    #[test]
    fn a_new_size_and_pages_for_another_thread_keep_apart() {
        let now = Instant::now();
        let mut one = snapshot("a", None, now);
        let after = now + FRESH;
        one.read(0, 1, 2, after);
        assert_eq!(one.remains(FRESH, 2, false, after), None, "its own");
        assert_eq!(one.remains(FRESH, 1, false, after), Some(SETTLE), "another's");
        assert_eq!(one.remains(FRESH, 1, false, after + SETTLE), None, "long ago");
        one.read(0, 1, 2, after + LONGEST_DELAY);
        assert_eq!(one.remains(FRESH, 1, false, after + LONGEST_DELAY), None, "not for ever");

        let two = snapshot("ab", Some(&one), after);
        assert_eq!(two.wait(1, after), Duration::ZERO);
        assert_eq!(two.wait(2, after), SETTLE);
        assert_eq!(two.wait(2, after + SETTLE), Duration::ZERO);
        let same = snapshot("ba", Some(&two), after + SETTLE);
        assert_eq!(same.wait(2, after + SETTLE), Duration::ZERO, "the size is no other");
    }
}
