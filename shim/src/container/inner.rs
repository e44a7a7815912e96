//! Of which groups the emulated files, and sysinfo(2), are to tell a process: the container's own, or those of an inner container,
//! which its runtime has made below.
//!
//! Who mounts a procfs or a sysfs gets the files of the groups that it is in then: runtimes mount it from within the new container,
//! once it has its groups. sysinfo(2) tells of the caller's groups at each call, but for those who share init's mounts, and
//! so read the container's own files: a tool that prints both is to print one truth.
//!
//! Main type: [`Inner`].

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use fsemu::Emulation;
use fsemu::views::{Groups, MOST, Seen};

use super::cgroup::{LEAF, Layout};
use super::lock;

/// What is known of a container's inner ones.
pub(super) struct Inner {
    own: Arc<Emulation>,
    /// What the emulation has said of groups, by the text of `/proc/PID/cgroup`.
    seen: Mutex<HashMap<String, Seen>>,
    /// Whether it has been said that there are too many.
    told: AtomicBool,
}

impl Inner {
    /// None is known.
    pub(super) fn of(own: Arc<Emulation>) -> Self {
        Self { own, seen: Mutex::default(), told: AtomicBool::new(false) }
    }

    /// The view for a thread's groups; none where it is to see the container's own files.
    pub(super) fn view(&self, tid: u32) -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/{tid}/cgroup")).ok()?;
        let known = lock(&self.seen).get(&text).copied();
        match known {
            Some(Seen::Own) => None,
            Some(Seen::View(number)) if self.own.view(number).is_some() => Some(number),
            _ => self.ask(tid, text),
        }
    }

    /// What sysinfo(2) is to tell a thread of.
    pub(super) fn emulation(&self, tid: u32) -> Arc<Emulation> {
        // Init's is another one once it has been built, and the number of the first is used again.
        let mounts = |id: String| fs::read_link(format!("/proc/{id}/ns/mnt")).ok();
        let shares_inits = mounts(tid.to_string()) == mounts(self.own.facts.init.to_string());
        let view = if shares_inits { None } else { self.view(tid) };
        view.and_then(|number| self.own.view(number)).unwrap_or_else(|| self.own.clone())
    }

    fn ask(&self, tid: u32, text: String) -> Option<u64> {
        // A thread that is gone asks nothing.
        let layout = Layout::of_thread(tid).ok()?;
        let seen = self.own.seen_from(&self.groups(&layout));
        let mut known = lock(&self.seen);
        if known.len() >= 2 * MOST {
            known.clear();
        }
        known.insert(text, seen);
        drop(known);
        match seen {
            Seen::View(number) => Some(number),
            Seen::Own => None,
            Seen::TooMany => {
                if !self.told.swap(true, Ordering::Relaxed) {
                    let id = self.own.facts.id.as_str();
                    log::warn!(container = id; "more than {MOST} groups below have a procfs: further ones see the container's limits");
                }
                None
            }
        }
    }

    /// A thread's groups. Where init lives in a leaf, that is the container's own group.
    fn groups(&self, layout: &Layout) -> Groups {
        let own_of = |dir: &PathBuf| {
            let above = dir.parent().filter(|_| layout.is_unified() && dir.ends_with(LEAF));
            let is_own = |above: &&std::path::Path| self.own.facts.cgroups.iter().any(|(_, own)| own == above);
            above.filter(is_own).map_or_else(|| dir.clone(), std::path::Path::to_owned)
        };
        let hierarchies = layout.hierarchies.iter();
        hierarchies.map(|it| (it.kind.controllers().to_vec(), own_of(&it.own))).collect()
    }
}

#[cfg(test)]
mod tests {
    use fsemu::Facts;

    use super::super::cgroup::{Hierarchy, Kind};
    use super::*;

    fn inner(own: &str, init: i32) -> Inner {
        let values = Arc::new(fs::File::open("/").unwrap().into());
        let facts = Facts { root: 0, id: "c".to_owned(), init, cgroups: vec![(vec![], own.into())], values };
        Inner::of(Arc::new(Emulation::new(facts)))
    }

    #[test]
    fn the_leaf_of_init_is_the_containers_own_group() {
        let inner = inner("/sys/fs/cgroup/c", 1);
        let groups = |own: &str, kinds: &[Kind]| {
            let of =
                |kind: &Kind| Hierarchy { kind: kind.clone(), mount_point: "/sys/fs/cgroup".into(), own: own.into() };
            let layout = Layout { hierarchies: kinds.iter().map(of).collect(), in_user_namespace: false };
            inner.groups(&layout)[0].1.to_str().unwrap().to_owned()
        };
        let two = [Kind::V2];
        assert_eq!(groups("/sys/fs/cgroup/c/init.scope", &two), "/sys/fs/cgroup/c");
        for dir in ["/sys/fs/cgroup/c/a", "/sys/fs/cgroup/c/a/init.scope", "/sys/fs/cgroup/c/init.scope/a"] {
            assert_eq!(groups(dir, &two), dir);
        }
        let hybrid = [Kind::V2, Kind::V1(vec!["cpu".to_owned()])];
        assert_eq!(groups("/sys/fs/cgroup/c/init.scope", &hybrid), "/sys/fs/cgroup/c/init.scope");
    }

    #[test]
    fn who_is_in_no_group_below_sees_the_container() {
        let tid = std::process::id();
        let inner = inner("/sys/fs/cgroup/no-such-group", tid.cast_signed());
        assert_eq!((inner.view(tid), inner.view(u32::MAX)), (None, None));
        assert!(Arc::ptr_eq(&inner.emulation(tid), &inner.own));
        assert_eq!(lock(&inner.seen).len(), 1);
    }
}
