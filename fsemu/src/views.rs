//! Views: the same files for processes in groups below the container's own, which an inner container runtime has made.
//!
//! A view has a number, by which its directory in either filesystem of [`crate::fuse`] is called, and an [`Emulation`] of its
//! own: the container's, but for the groups. It has the nodes that go by groups ([`crate::table::Node::goes_by_groups`]); all others are
//! those of the container, whoever reads.
//!
//! Invariant: no view shows more than the container has: its groups lie below the container's own, whose limits and
//! those above count too. When a group is gone, the nearest one above it that is there is gone by, at last the container's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{Emulation, Facts, render};

/// So many views a container may have at once.
pub const MOST: usize = 256;

/// Of the controllers that v1 knows, those of which an emulated file tells.
const TOLD: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "blkio", "pids"];

/// Groups, one directory in each hierarchy, as [`Facts::cgroups`] has them.
pub type Groups = Vec<(Vec<String>, PathBuf)>;

/// The views of one container.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    views: BTreeMap<u64, Arc<Emulation>>,
    last: u64,
}

/// Whom a process in some groups sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The container.
    Own,
    /// The view of this number.
    View(u64),
    /// The container, since there are [`MOST`] views already.
    TooMany,
}

impl Emulation {
    /// What a process in `groups` is to see: a new view or one that is there, when they lie below the container's own and an emulated
    /// file tells of one of them.
    pub fn seen_from(&self, groups: &Groups) -> Seen {
        let lower = lower(&self.facts.cgroups, groups);
        if lower.is_empty() {
            return Seen::Own;
        }
        let mut state = self.views.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cgroups: Groups = lower.into_iter().chain(self.facts.cgroups.iter().cloned()).collect();
        if let Some((number, _)) = state.views.iter().find(|(_, view)| view.facts.cgroups == cgroups) {
            return Seen::View(*number);
        }
        if state.views.len() >= MOST {
            state.views.retain(|_, view| is_there(&view.facts, &self.facts));
        }
        if state.views.len() >= MOST {
            return Seen::TooMany;
        }
        let view = self.with(cgroups);
        state.last += 1;
        let number = state.last;
        state.views.insert(number, Arc::new(view));
        Seen::View(number)
    }

    /// A view by its number; None for one that has never been, or is no more.
    pub fn view(&self, number: u64) -> Option<Arc<Self>> {
        self.views.0.lock().unwrap_or_else(PoisonError::into_inner).views.get(&number).cloned()
    }

    /// The same container, by these groups.
    fn with(&self, cgroups: Groups) -> Self {
        let Facts { root, ref id, init, ref values, .. } = self.facts;
        let facts = Facts { root, id: id.clone(), init, cgroups, values: values.clone() };
        let view = Self { tasks: Mutex::new(render::Tasks::from_now()), ..Self::of(facts, self.nodes.clone()) };
        if let Some(sums) = self.sums.get() {
            let _first = view.sums.set(sums.clone());
        }
        view
    }
}

/// Each of `groups` that lies below the container's `own`. [`render::groups`] goes by the first one from there upwards that is there.
/// Those between are not kept: a container makes them as deep as paths are long.
fn lower(own: &Groups, groups: &Groups) -> Groups {
    let mut lower = Groups::new();
    for (controllers, top) in own.iter().filter(|(controllers, _)| is_told(controllers)) {
        let Some((_, group)) = groups.iter().find(|(others, _)| others == controllers) else { continue };
        if !group.starts_with(top) || group.components().any(|part| part.as_os_str() == "..") {
            continue;
        }
        if group != top {
            lower.push((controllers.clone(), group.clone()));
        }
    }
    lower
}

fn is_told(controllers: &[String]) -> bool {
    controllers.is_empty() || controllers.iter().any(|name| TOLD.contains(&name.as_str()))
}

/// Whether one of a view's own groups is still there: those before the container's.
fn is_there(view: &Facts, own: &Facts) -> bool {
    let lower = view.cgroups.len().saturating_sub(own.cgroups.len());
    view.cgroups.iter().take(lower).any(|(_, dir)| render::groups::is_group(dir))
}

#[cfg(test)]
mod tests;
