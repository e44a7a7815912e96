//! The text of a file as its readers know it.

use std::time::{Duration, Instant, SystemTime};

/// For how long a text that is no longer fresh still serves files that are open: whoever reads in pieces, the last of
/// which is the end of the file, is to see one text.
pub(super) const GRACE: Duration = Duration::from_millis(40);

/// A text, and when it was made.
#[derive(Debug)]
pub(super) struct Snapshot {
    text: Vec<u8>,
    /// Since the epoch. Grows with every other text: by it the kernel knows that its pages are old.
    pub(super) mtime: Duration,
    made: Instant,
}

impl Snapshot {
    /// A new one in place of `old`. The mtime stays when the text does.
    pub(super) fn new(text: Vec<u8>, old: Option<&Self>, now: Instant) -> Self {
        let mtime = match old {
            Some(old) if old.text == text => old.mtime,
            Some(old) => since_epoch().max(old.mtime + Duration::from_nanos(1)),
            None => since_epoch(),
        };
        Self { text, mtime, made: now }
    }

    /// For how long it is still fresh; zero when it is not, None when it is not even within `grace`.
    pub(super) fn remains(&self, fresh: Duration, grace: Duration, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.made);
        (age < fresh.saturating_add(grace)).then(|| fresh.saturating_sub(age))
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        self.text.len().try_into().unwrap_or(u64::MAX)
    }

    /// A part of the text, empty beyond its end.
    pub(super) fn read(&self, offset: u64, size: u32) -> &[u8] {
        let length = self.text.len();
        let start = usize::try_from(offset).unwrap_or(length).min(length);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(length)).min(length);
        self.text.get(start..end).unwrap_or_default()
    }
}

/// Now, as times of files count.
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_text_end_where_it_ends() {
        let it = Snapshot::new(b"abc".into(), None, Instant::now());
        assert_eq!((it.size(), it.read(1, 1)), (3, &b"b"[..]));
        assert_eq!(
            (it.read(3, 9), it.read(u64::MAX, u32::MAX), it.read(0, u32::MAX)),
            (&b""[..], &b""[..], &b"abc"[..])
        );
    }

    #[test]
    fn the_mtime_changes_with_the_text() {
        let now = Instant::now();
        let one = Snapshot::new(b"a".into(), None, now);
        assert_eq!(Snapshot::new(b"a".into(), Some(&one), now).mtime, one.mtime);
        assert!(Snapshot::new(b"b".into(), Some(&one), now).mtime > one.mtime);
    }

    #[test]
    fn a_text_serves_for_as_long_as_it_is_fresh_and_open_files_a_little_longer() {
        let (now, fresh) = (Instant::now(), Duration::from_millis(100));
        let it = Snapshot::new(b"abc".into(), None, now);
        assert_eq!(it.remains(fresh, Duration::ZERO, now + fresh / 4), Some(fresh * 3 / 4));
        assert_eq!(it.remains(fresh, Duration::ZERO, now + fresh), None);
        assert_eq!(it.remains(fresh, GRACE, now + fresh), Some(Duration::ZERO));
        assert_eq!(it.remains(fresh, GRACE, now + fresh + GRACE), None);
        assert_eq!(it.remains(Duration::ZERO, Duration::ZERO, now), None);
    }
}
