//! The container's emulated files: a thread of the shim's own serves them for as long as one of them is mounted anywhere.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use fsemu::{Emulation, Facts};

use super::cgroup::Cgroup;

/// What the thread needs besides the standard library's own: the text of one file at a time is on the heap.
const STACK: usize = 128 << 10;

/// What is known of the container before its init exists.
pub(super) struct Served {
    /// Its id.
    pub(super) id: String,
    /// The host id of its root.
    pub(super) root: u32,
    /// Its cgroups.
    pub(super) cgroup: Cgroup,
    /// Where what is written is kept.
    pub(super) values: OwnedFd,
}

impl Served {
    /// Serves them over `device` until the last mount of them is gone, which is when the container's mount namespace ends.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn serve(self, device: OwnedFd, init: i32) -> io::Result<()> {
        let Self { id, root, cgroup, values } = self;
        let name = id.clone();
        let emulation = Arc::new(Emulation::new(Facts { root, id, init, cgroups: cgroup.directories(), values }));
        let serve = move || {
            if let Err(error) = fsemu::fuse::serve(device, emulation) {
                log::warn!(container = name.as_str(); "the emulated files are served no more: {error}");
            }
        };
        std::thread::Builder::new().name("eci-emulation".to_owned()).stack_size(STACK).spawn(serve).map(drop)
    }
}
