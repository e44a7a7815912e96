//! The filesystem ids under which a container's tree is assembled.
//!
//! A file is created with the filesystem uid and gid of the task. Through an id-mapped mount the kernel must find these
//! in the map (`EOVERFLOW` otherwise), so host root works with the host ids of the container's root; on disk the file
//! is then owned by 0. An overlay keeps the credentials of the task that mounts it and makes its work directory with
//! them: without these ids it silently becomes read-only.
//!
//! Invariant: capabilities are kept while the guard lives (`SECBIT_NO_SETUID_FIXUP`), and ids and securebits are put
//! back when it goes.

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use policy::idmap::IdMap;
use rustix::io::Errno;
use rustix::thread::{CapabilitiesSecureBits, capabilities_secure_bits, set_capabilities_secure_bits};

use crate::{Error, Result};

/// The calling thread's filesystem ids are those of a container's root for as long as this lives. Credentials belong to
/// a thread: the guard stays on the thread that made it.
#[derive(Debug)]
pub struct FsIds {
    before: CapabilitiesSecureBits,
    map: IdMap,
    uid: Uid,
    gid: Gid,
    /// Not `Send`.
    _thread: std::marker::PhantomData<*const ()>,
}

impl FsIds {
    /// Takes the host ids of the container's root (`map.host`) as filesystem uid and gid.
    ///
    /// # Errors
    /// When the caller lacks `CAP_SETPCAP`, `CAP_SETUID` or `CAP_SETGID`.
    pub fn enter(map: IdMap) -> Result<Self> {
        let fail = |errno: Errno| Error::failed("take the filesystem ids", map.host, errno);
        let before = capabilities_secure_bits().map_err(fail)?;
        let (uid, gid) = (filesystem_uid(), filesystem_gid());
        let guard = Self { before, map, uid, gid, _thread: std::marker::PhantomData };
        take(map.host, map.host).map_err(fail)?;
        Ok(guard)
    }

    /// The container's map.
    pub fn map(&self) -> IdMap {
        self.map
    }
}

/// Takes these filesystem ids, and keeps every capability, for as long as the calling thread lives.
///
/// # Errors
/// When the caller lacks `CAP_SETPCAP`, `CAP_SETUID` or `CAP_SETGID`.
pub fn take(uid: u32, gid: u32) -> rustix::io::Result<()> {
    set_capabilities_secure_bits(capabilities_secure_bits()? | CapabilitiesSecureBits::NO_SETUID_FIXUP)?;
    // setfsgid(2), setfsuid(2): they answer the former id and no error.
    setfsgid(Gid::from_raw(gid));
    setfsuid(Uid::from_raw(uid));
    if (filesystem_gid().as_raw(), filesystem_uid().as_raw()) == (gid, uid) { Ok(()) } else { Err(Errno::PERM) }
}

/// The thread's: an id that is none changes nothing.
fn filesystem_uid() -> Uid {
    setfsuid(Uid::from_raw(u32::MAX))
}

fn filesystem_gid() -> Gid {
    setfsgid(Gid::from_raw(u32::MAX))
}

impl Drop for FsIds {
    fn drop(&mut self) {
        setfsuid(self.uid);
        setfsgid(self.gid);
        // It succeeded in `enter` with the same capabilities, which this guard kept.
        let _ = set_capabilities_secure_bits(self.before);
    }
}
