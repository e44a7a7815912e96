//! Who the program runs as: uid, gid, supplementary groups.

use policy::idmap::IdMap;
use policy::plan::Process;
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{
    CapabilitiesSecureBits, set_capabilities_secure_bits, set_keep_capabilities, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};

use super::capabilities;
use super::error::StageError;

/// Refuses ids that the map does not cover. The kernel would refuse them too, save -1, which setresuid(2) takes for
/// "unchanged": the caller's root (CVE-2024-40635).
pub(super) fn check(process: &Process, map: IdMap) -> Result<(), StageError> {
    let ids = [("process.user.uid", process.uid), ("process.user.gid", process.gid)];
    let groups = process.additional_gids.iter().map(|gid| ("process.user.additionalGids", *gid));
    for (field, id) in ids.into_iter().chain(groups) {
        if map.to_host(id).is_none_or(|host| host == u32::MAX) {
            let reason = format!("{id} is outside of the container's ids 0-{}", u64::from(map.size).saturating_sub(1));
            return Err(StageError::step("setting", field, reason));
        }
    }
    Ok(())
}

/// Becomes the container's root without giving up a capability; what is made from here on is its. A process that has
/// just entered the user namespace still has the host's ids, which are none inside.
pub(crate) fn become_root() -> Result<(), StageError> {
    become_ids(0, 0, &[])
}

/// Becomes the program's user, with permitted capabilities kept (the effective ones go, unless it is root) and the
/// secure bits left as a program expects them: none.
pub(super) fn become_user(process: &Process) -> Result<(), StageError> {
    let failed = |errno: Errno| StageError::step("setting", "the secure bits", errno);
    set_capabilities_secure_bits(CapabilitiesSecureBits::empty()).map_err(failed)?;
    set_keep_capabilities(true).map_err(failed)?;
    become_ids(process.uid, process.gid, &process.additional_gids)?;
    set_keep_capabilities(false).map_err(failed)
}

/// Becomes the owner of a container's tree, `id` on the host, with every capability that the caller has in the host's user
/// namespace, also after execve(2): the ambient set.
pub(crate) fn become_owner(id: u32) -> Result<(), StageError> {
    let permitted = capabilities::held()?.permitted;
    let failed = |errno: Errno| StageError::step("setting", "the secure bits", errno);
    set_capabilities_secure_bits(CapabilitiesSecureBits::NO_SETUID_FIXUP).map_err(failed)?;
    become_ids(id, id, &[])?;
    set_capabilities_secure_bits(CapabilitiesSecureBits::empty()).map_err(failed)?;
    capabilities::set(permitted, permitted, permitted)?;
    capabilities::set_ambient(permitted)
}

/// Groups go first: setting them takes capabilities that a change of uid takes away.
fn become_ids(uid: u32, gid: u32, groups: &[u32]) -> Result<(), StageError> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    let failed = |field: &'static str| move |errno: Errno| StageError::step("setting", field, errno);
    set_thread_groups(&groups).map_err(failed("process.user.additionalGids"))?;
    let gid = Gid::from_raw(gid);
    set_thread_res_gid(gid, gid, gid).map_err(failed("process.user.gid"))?;
    let uid = Uid::from_raw(uid);
    set_thread_res_uid(uid, uid, uid).map_err(failed("process.user.uid"))
}
