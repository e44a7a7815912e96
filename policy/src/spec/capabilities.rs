//! `process.capabilities`: the five sets, exactly as they are given.
//!
//! Nothing is added and nothing moves from one set to another: an inheritable set that is not asked for stays empty
//! (CVE-2022-29162), and an ambient capability without its permitted and inheritable ones is the kernel's to refuse.

use oci_spec::runtime::{Capabilities as SpecSet, Capability, LinuxCapabilities};

use crate::plan::Capabilities;

/// The sets as bits. Without the property all of them are empty.
pub(super) fn sets(sets: Option<&LinuxCapabilities>) -> Capabilities {
    let Some(sets) = sets else { return Capabilities::default() };
    Capabilities {
        bounding: bits(sets.bounding().as_ref()),
        effective: bits(sets.effective().as_ref()),
        permitted: bits(sets.permitted().as_ref()),
        inheritable: bits(sets.inheritable().as_ref()),
        ambient: bits(sets.ambient().as_ref()),
    }
}

fn bits(set: Option<&SpecSet>) -> u64 {
    set.into_iter().flatten().fold(0, |bits, capability| bits | 1 << number(*capability))
}

/// capabilities(7), linux/capability.h
fn number(capability: Capability) -> u32 {
    match capability {
        Capability::Chown => 0,
        Capability::DacOverride => 1,
        Capability::DacReadSearch => 2,
        Capability::Fowner => 3,
        Capability::Fsetid => 4,
        Capability::Kill => 5,
        Capability::Setgid => 6,
        Capability::Setuid => 7,
        Capability::Setpcap => 8,
        Capability::LinuxImmutable => 9,
        Capability::NetBindService => 10,
        Capability::NetBroadcast => 11,
        Capability::NetAdmin => 12,
        Capability::NetRaw => 13,
        Capability::IpcLock => 14,
        Capability::IpcOwner => 15,
        Capability::SysModule => 16,
        Capability::SysRawio => 17,
        Capability::SysChroot => 18,
        Capability::SysPtrace => 19,
        Capability::SysPacct => 20,
        Capability::SysAdmin => 21,
        Capability::SysBoot => 22,
        Capability::SysNice => 23,
        Capability::SysResource => 24,
        Capability::SysTime => 25,
        Capability::SysTtyConfig => 26,
        Capability::Mknod => 27,
        Capability::Lease => 28,
        Capability::AuditWrite => 29,
        Capability::AuditControl => 30,
        Capability::Setfcap => 31,
        Capability::MacOverride => 32,
        Capability::MacAdmin => 33,
        Capability::Syslog => 34,
        Capability::WakeAlarm => 35,
        Capability::BlockSuspend => 36,
        Capability::AuditRead => 37,
        Capability::Perfmon => 38,
        Capability::Bpf => 39,
        Capability::CheckpointRestore => 40,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::common::CAPABILITY_NAMES;

    #[test]
    fn every_name_of_the_table_is_its_number() {
        for (expected, name) in CAPABILITY_NAMES.iter().enumerate() {
            let capability: Capability = serde_json::from_value((*name).into()).expect(name);
            assert_eq!(number(capability) as usize, expected, "{name}");
        }
    }

    #[test]
    fn each_set_is_as_given() {
        let json = r#"{"bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "permitted": [], "ambient": ["CAP_BPF"]}"#;
        let spec = serde_json::from_str(json).expect("capabilities");
        let expected =
            Capabilities { bounding: 0b10_0001, effective: 0b10_0000, permitted: 0, inheritable: 0, ambient: 1 << 39 };
        assert_eq!(sets(Some(&spec)), expected);
        assert_eq!(sets(None), Capabilities::default());
    }
}
