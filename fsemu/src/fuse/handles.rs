//! Files that are open: each reads one text from its start to its end, as with seq_file(9).

use std::collections::HashMap;
use std::sync::Arc;

use super::snapshot::Snapshot;

/// More files are not open at once: each may keep a text of its own.
const MOST: usize = 4096;

/// The files that are open, by the number that the kernel was told.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: HashMap<u64, File>,
    last: u64,
}

#[derive(Debug)]
struct File {
    /// None for what has to be made anew.
    text: Option<Arc<Snapshot>>,
    /// Whether another file has changed it: whoever reads from the start again is to see that, who is on the way is not.
    is_old: bool,
}

impl Handles {
    /// A new one; None when there are too many.
    pub(super) fn open(&mut self, snapshot: Arc<Snapshot>) -> Option<u64> {
        if self.open.len() >= MOST {
            return None;
        }
        self.last += 1;
        self.open.insert(self.last, File { text: Some(snapshot), is_old: false });
        Some(self.last)
    }

    /// What the file reads at this place. None when that has to be made, or it is not open.
    pub(super) fn snapshot(&self, handle: u64, offset: u64) -> Option<&Arc<Snapshot>> {
        let file = self.open.get(&handle)?;
        file.text.as_ref().filter(|_| !file.is_old || offset > 0)
    }

    /// What it reads from now on. Says whether it is open.
    pub(super) fn renew(&mut self, handle: u64, snapshot: Arc<Snapshot>) -> bool {
        self.open.get_mut(&handle).map(|it| *it = File { text: Some(snapshot), is_old: false }).is_some()
    }

    /// A write to the file `handle` has changed what is read.
    pub(super) fn outdate(&mut self, handle: u64) {
        self.open.values_mut().for_each(|it| it.is_old = true);
        if let Some(written) = self.open.get_mut(&handle) {
            written.text = None;
        }
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
        let text = || Arc::new(Snapshot::new(b"a".into(), None, Instant::now()));
        let mut handles = Handles::default();
        let one = handles.open(text()).unwrap();
        assert!(handles.snapshot(one, 0).is_some());
        handles.outdate(one + 1);
        assert!(handles.snapshot(one, 0).is_none() && handles.snapshot(one, 1).is_some());
        assert!(handles.renew(one, text()) && handles.snapshot(one, 0).is_some());
        handles.outdate(one);
        assert!(handles.snapshot(one, 0).is_none() && handles.snapshot(one, 1).is_none());
        handles.close(one);
        assert!(!handles.renew(one, text()) && handles.snapshot(one, 0).is_none());
        assert!((0..MOST).all(|_| handles.open(text()).is_some()));
        assert_eq!(handles.open(text()), None);
    }
}
