//! Files that are open: each reads one text from its start to its end, as with seq_file(9).

use std::collections::HashMap;
use std::sync::Arc;

use super::snapshot::Snapshot;

/// More files are not open at once: each may keep a text of its own.
const MOST: usize = 4096;

/// The files that are open, by the number that the kernel was told.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: HashMap<u64, Handle>,
    last: u64,
}

#[derive(Debug)]
struct Handle {
    inode: u64,
    /// None when it has to be made anew.
    snapshot: Option<Arc<Snapshot>>,
}

impl Handles {
    /// A new one; None when there are too many.
    pub(super) fn open(&mut self, inode: u64, snapshot: Option<Arc<Snapshot>>) -> Option<u64> {
        if self.open.len() >= MOST {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, Handle { inode, snapshot });
        Some(self.last)
    }

    /// What the file reads. None when there is nothing yet, or it is not open.
    pub(super) fn snapshot(&self, handle: u64) -> Option<&Arc<Snapshot>> {
        self.open.get(&handle)?.snapshot.as_ref()
    }

    /// What it reads from now on. Says whether it is open.
    pub(super) fn renew(&mut self, handle: u64, snapshot: Arc<Snapshot>) -> bool {
        self.open.get_mut(&handle).map(|it| it.snapshot = Some(snapshot)).is_some()
    }

    /// A write to the file has changed what all read.
    pub(super) fn outdate(&mut self, inode: u64) {
        self.open.values_mut().filter(|it| it.inode == inode).for_each(|it| it.snapshot = None);
    }

    pub(super) fn close(&mut self, handle: u64) {
        self.open.remove(&handle);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_file_keeps_its_text_until_it_is_written_or_closed() {
        let text = || Some(Arc::new(Snapshot::new(b"a".into(), None, Instant::now())));
        let mut handles = Handles::default();
        let (one, two) = (handles.open(1, text()).unwrap(), handles.open(2, text()).unwrap());
        handles.outdate(1);
        assert!(handles.snapshot(one).is_none() && handles.snapshot(two).is_some());
        assert!(handles.renew(one, text().unwrap()) && handles.snapshot(one).is_some());
        handles.close(one);
        assert!(!handles.renew(one, text().unwrap()) && handles.snapshot(one).is_none());
        assert!((2..=MOST).all(|_| handles.open(1, None).is_some()));
        assert_eq!(handles.open(1, None), None);
    }
}
