//! The container's emulated files: threads of the shim's own serve them for as long as one of them is mounted anywhere.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fsemu::table::Part;
use fsemu::{Emulation, Facts};

use super::ceilings::Ceilings;
use super::cgroup::Cgroup;
use crate::stage::emulation::PARTS;

/// What a thread needs besides the standard library's own: the text of one file at a time is on the heap.
const STACK: usize = 128 << 10;

/// What is known of the container before its init exists.
pub(super) struct Basis {
    /// Its id.
    pub(super) id: String,
    /// The host id of its root.
    pub(super) root: u32,
    /// Its cgroups.
    pub(super) cgroup: Cgroup,
    /// Where what is written is kept.
    pub(super) values: OwnedFd,
    /// How far its writes raise limits of the host's.
    pub(super) ceilings: Ceilings,
}

impl Basis {
    /// The values of the container, once it has an init.
    pub(super) fn emulation(self, init: i32) -> Arc<Emulation> {
        let Self { id, root, cgroup, values, ceilings } = self;
        let facts = Facts { root, id, init, cgroups: cgroup.directories(), values: Arc::new(values) };
        Arc::new(Emulation::new(facts).telling(Box::new(ceilings)))
    }
}

/// Serves each of [`PARTS`] over its device until the last mount of it is gone, which is when the container's mount
/// namespace ends.
///
/// # Errors
/// When there is no thread to be had. What is served already ends when whoever has mounted it gives it up.
pub(super) fn serve(emulation: &Arc<Emulation>, devices: Vec<OwnedFd>) -> io::Result<()> {
    for (part, device) in PARTS.into_iter().zip(devices) {
        let emulation = emulation.clone();
        let serve = move || {
            let id = emulation.facts.id.clone();
            if part == Part::Direct
                && let Err(error) = emulation.begin()
            {
                log::warn!(container = id.as_str(); "remembers the host's settings and sums when they are first read: {error}");
            }
            if let Err(error) = fsemu::fuse::serve(device, emulation, part) {
                log::warn!(container = id.as_str(); "emulated files are served no more: {error}");
            }
        };
        std::thread::Builder::new().name("eci-emulation".to_owned()).stack_size(STACK).spawn(serve)?;
    }
    Ok(())
}
