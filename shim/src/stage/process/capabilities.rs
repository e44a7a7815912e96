//! The five sets of capabilities(7).
//!
//! They are the spec's, less what cannot be had; nothing of the shim's own goes through. For a program that runs as
//! root, execve(2) itself then computes permitted and effective from bounding and inheritable, with every runtime.

use policy::plan::Capabilities;
use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set, clear_ambient_capability_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
};

use super::error::StageError;

/// The bit of `CAP_SYS_ADMIN`.
pub(super) const SYS_ADMIN: u64 = CapabilitySet::SYS_ADMIN.bits();

/// What the calling process has before it gives anything up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    /// `CapBnd`
    pub(super) bounding: u64,
    /// `CapPrm`
    pub(super) permitted: u64,
}

fn failed(object: &'static str) -> impl Fn(Errno) -> StageError {
    move |errno| StageError::step("setting", object, errno)
}

fn bits(set: u64) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS).map(|number| 1 << number).filter(move |bit| set & bit != 0).map(CapabilitySet::from_bits_retain)
}

/// The caller's own sets.
pub(super) fn held() -> Result<Held, StageError> {
    let permitted = capabilities(None).map_err(failed("capget"))?.permitted.bits();
    // A number above the kernel's last capability is EINVAL.
    let in_bounding = |bit: &CapabilitySet| capability_is_in_bounding_set(*bit).unwrap_or(false);
    let bounding = bits(u64::MAX).filter(in_bounding).fold(0, |set, bit| set | bit.bits());
    Ok(Held { bounding, permitted })
}

/// What can be had of the sets that the spec wants, with a note for every set that is smaller than wanted: because the
/// kernel or the host has no such capability, or because the sets contradict one another.
pub(super) fn attainable(wanted: Capabilities, held: Held) -> (Capabilities, Vec<String>) {
    let bounding = wanted.bounding & held.bounding;
    let permitted = wanted.permitted & held.permitted;
    // capset(2): nothing new becomes inheritable that the bounding set lacks.
    let inheritable = wanted.inheritable & bounding;
    let effective = wanted.effective & permitted;
    let ambient = wanted.ambient & permitted & inheritable;
    let notes = [
        ("bounding", wanted.bounding, bounding, "not available here"),
        ("permitted", wanted.permitted, permitted, "not available here"),
        ("inheritable", wanted.inheritable, inheritable, "not in bounding"),
        ("effective", wanted.effective, effective, "not in permitted"),
        ("ambient", wanted.ambient, ambient, "not both permitted and inheritable"),
    ];
    let notes = notes
        .into_iter()
        .filter(|(_, wanted, got, _)| wanted != got)
        .map(|(set, wanted, got, why)| {
            format!("process.capabilities.{set} has no {}: {why}", names(wanted & !got).join(", "))
        })
        .collect();
    (Capabilities { bounding, effective, permitted, inheritable, ambient }, notes)
}

fn names(set: u64) -> Vec<String> {
    bits(set)
        .map(|bit| match bit.iter_names().next() {
            Some((name, _)) => format!("CAP_{name}"),
            None => format!("capability {}", bit.bits().trailing_zeros()),
        })
        .collect()
}

/// Drops from the bounding set what `keep` lacks. Needs `CAP_SETPCAP`.
pub(super) fn limit_bounding(keep: u64, held: Held) -> Result<(), StageError> {
    bits(held.bounding & !keep)
        .try_for_each(remove_capability_from_bounding_set)
        .map_err(failed("process.capabilities.bounding"))
}

/// Sets effective, permitted and inheritable.
pub(super) fn set(effective: u64, permitted: u64, inheritable: u64) -> Result<(), StageError> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    set_capabilities(None, sets).map_err(failed("process.capabilities"))
}

/// Makes `ambient` the ambient set. Each must be permitted and inheritable already.
pub(super) fn set_ambient(ambient: u64) -> Result<(), StageError> {
    let failed = failed("process.capabilities.ambient");
    clear_ambient_capability_set().map_err(&failed)?;
    bits(ambient).try_for_each(|bit| configure_capability_in_ambient_set(bit, true)).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Held = Held { bounding: 0x1ff_ffff_ffff, permitted: 0x1ff_ffff_ffff };

    #[test]
    fn what_can_be_had_is_exactly_what_is_wanted() {
        let wanted = Capabilities { bounding: 0xff, effective: 3, permitted: 7, inheritable: 6, ambient: 6 };
        assert_eq!(attainable(wanted, ALL), (wanted, vec![]));
        assert_eq!(attainable(Capabilities::default(), ALL), (Capabilities::default(), vec![]));
    }

    #[test]
    fn what_the_host_lacks_is_named() {
        let wanted = Capabilities { bounding: 1 << 24 | 1, permitted: 1 << 45, ..Default::default() };
        let (got, notes) = attainable(wanted, Held { bounding: 0x1ff_feff_ffff, permitted: 1 });
        assert_eq!(got, Capabilities { bounding: 1, ..Default::default() });
        assert_eq!(
            notes,
            [
                "process.capabilities.bounding has no CAP_SYS_RESOURCE: not available here",
                "process.capabilities.permitted has no capability 45: not available here"
            ]
        );
    }

    #[test]
    fn sets_that_contradict_one_another_only_get_smaller() {
        let wanted = Capabilities { bounding: 1, effective: 2, permitted: 1, inheritable: 2, ambient: 1 };
        let (got, notes) = attainable(wanted, ALL);
        assert_eq!(got, Capabilities { bounding: 1, permitted: 1, ..Default::default() });
        assert_eq!(notes.len(), 3);
        assert_eq!(notes[2], "process.capabilities.ambient has no CAP_CHOWN: not both permitted and inheritable");
    }
}
