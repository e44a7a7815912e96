//! What a container uses, as the messages that containerd and its engines know: `Metrics` of containerd/cgroups, one for
//! each version of cgroups. Both are generated from containerd's own definitions, in containerd-shim-protos.
//!
//! Invariant: the messages are what containerd's own shim makes of the same files, but that numbers which it looks for in
//! a place that newer kernels have left are there as well.

mod v1;
mod v2;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;

use crate::container::cgroup::stats::Stats;
use crate::container::error::Error;

/// The name of v1's message: containerd's typeurl is the name alone.
const V1: &str = "io.containerd.cgroups.v1.Metrics";

/// The name of v2's message.
const V2: &str = "io.containerd.cgroups.v2.Metrics";

/// The message for what a container uses.
///
/// # Errors
/// When it cannot be encoded.
pub(super) fn message(stats: Stats) -> Result<Any, Error> {
    let (name, encoded) = match stats {
        Stats::V1(stats) => (V1, v1::metrics(stats).write_to_bytes()),
        Stats::V2(stats) => (V2, v2::metrics(stats).write_to_bytes()),
    };
    let value = encoded.map_err(|error| Error::Failed(format!("encode {name}: {error}")))?;
    Ok(Any { type_url: name.to_owned(), value, ..Default::default() })
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::protobuf::MessageFull;
    use containerd_shim_protos::protobuf::reflect::{ReflectFieldRef, ReflectValueRef};
    use containerd_shim_protos::{cgroups, cgroups_v2};

    use super::*;
    use crate::container::cgroup::stats::{self, Pids, samples};

    /// The fields of a message and all below it that say nothing.
    fn unset(message: &dyn containerd_shim_protos::protobuf::MessageDyn, path: &str, found: &mut Vec<String>) {
        for field in message.descriptor_dyn().fields() {
            let path = format!("{path}{}", field.name());
            let below = |value: ReflectValueRef<'_>, found: &mut Vec<String>| {
                if let ReflectValueRef::Message(message) = value {
                    unset(&*message, &format!("{path}."), found);
                }
            };
            match field.get_reflect(message) {
                ReflectFieldRef::Optional(value) => match value.value() {
                    Some(value) if field.has_field(message) => below(value, found),
                    _ => found.push(path),
                },
                ReflectFieldRef::Repeated(values) if values.is_empty() => found.push(path),
                ReflectFieldRef::Repeated(values) => values.into_iter().for_each(|value| below(value, found)),
                ReflectFieldRef::Map(_) => panic!("{path} is a map"),
            }
        }
    }

    /// All that is known of a container which has used everything, by version.
    fn decoded<T: MessageFull>(is_v2: bool) -> (T, Vec<String>) {
        let any = message(samples::read(is_v2)).unwrap();
        let message = T::parse_from_bytes(&any.value).unwrap();
        let mut found = Vec::new();
        unset(&message, "", &mut found);
        (message, found)
    }

    #[test]
    fn no_field_of_v1_is_left_out() {
        let (metrics, unset) = decoded::<cgroups::metrics::Metrics>(false);
        // Names are those of this machine's devices, and not every file tells operations apart.
        let unset: Vec<_> = unset.iter().filter(|it| !it.ends_with(".device") && !it.ends_with(".op")).collect();
        assert_eq!(unset, ["network", "cgroup_stats"]);
        let (cpu, memory) = (&metrics.cpu, &metrics.memory);
        assert_eq!((cpu.usage.total, cpu.usage.kernel, cpu.usage.user), (267_592_115, 50_000_000, 210_000_000));
        assert_eq!(
            (cpu.throttling.periods, cpu.throttling.throttled_periods, cpu.throttling.throttled_time),
            (12, 3, 4500)
        );
        assert_eq!(
            (memory.total_rss, memory.pg_maj_fault, memory.hierarchical_swap_limit),
            (1_216_513, 2, 134_217_728)
        );
        assert_eq!((memory.usage.limit, memory.swap.max, memory.kernel_tcp.failcnt), (67_108_864, 3_014_657, 7));
        assert_eq!((metrics.pids.current, metrics.pids.limit), (3, 17));
        assert_eq!(metrics.memory_oom_control.oom_kill, 3);
        assert_eq!((metrics.hugetlb[0].pagesize.as_str(), metrics.hugetlb[0].max), ("2MB", 4 << 20));
    }

    #[test]
    fn no_field_of_v2_is_left_out() {
        let (metrics, unset) = decoded::<cgroups_v2::metrics::Metrics>(true);
        assert_eq!(unset, ["network"]);
        let memory = &metrics.memory;
        assert_eq!((memory.workingset_refault, memory.workingset_activate), (1199, 98));
        assert_eq!((memory.usage_limit, memory.swap_limit, memory.max_usage), (67_108_864, u64::MAX, 3_014_656));
        assert_eq!((metrics.cpu.usage_usec, metrics.cpu.burst_usec), (267_592, 2));
        assert_eq!((metrics.io.usage[0].rbytes, metrics.io.usage[0].wios), (1_269_760, 2));
        assert_eq!((metrics.io.psi.some.avg10, metrics.cpu.psi.full.total), (1.53, 884));
        assert_eq!((metrics.pids.limit, metrics.memory_events.oom_kill), (u64::MAX, 5));
        assert_eq!((metrics.hugetlb[1].pagesize.as_str(), metrics.hugetlb[1].max), ("2MB", u64::MAX));
    }

    #[test]
    fn a_device_goes_by_its_number_and_by_its_name_where_it_has_one() {
        let transfer = |minor| stats::parse::Transfer {
            device: stats::parse::Device { major: 8, minor },
            operation: "Read".into(),
            value: 5,
        };
        let blkio = stats::v1::BlkIo {
            merged: vec![transfer(0), transfer(16)],
            names: [(transfer(16).device, "/dev/sdb".to_owned())].into(),
            ..Default::default()
        };
        let metrics = v1::metrics(stats::v1::Stats { blkio, ..Default::default() });
        let merged = &metrics.blkio.io_merged_recursive;
        let seen: Vec<_> = merged.iter().map(|it| (it.major, it.minor, it.device.as_str(), it.op.as_str())).collect();
        assert_eq!(seen, [(8, 0, "", "Read"), (8, 16, "/dev/sdb", "Read")]);
    }

    #[test]
    fn no_limit_of_processes_is_0_on_v1() {
        let unlimited = Pids { current: 1, limit: u64::MAX };
        let stats = stats::v1::Stats { pids: unlimited, ..Default::default() };
        assert_eq!((v1::metrics(stats).pids.current, v1::metrics(Default::default()).pids.limit), (1, 0));
    }

    #[test]
    fn messages_go_by_the_names_of_their_definitions() {
        assert_eq!(cgroups::metrics::Metrics::descriptor().full_name(), V1);
        assert_eq!(cgroups_v2::metrics::Metrics::descriptor().full_name(), V2);
        let any = message(Stats::V2(Default::default())).unwrap();
        assert_eq!(any.type_url, V2);
        assert!(cgroups_v2::metrics::Metrics::parse_from_bytes(&any.value).unwrap().memory.is_some());
        let any = message(Stats::V1(Default::default())).unwrap();
        assert_eq!(any.type_url, V1);
        // ctr looks into these without asking whether they are there.
        let metrics = cgroups::metrics::Metrics::parse_from_bytes(&any.value).unwrap();
        assert!(metrics.memory.usage.is_some() && metrics.cpu.usage.is_some());
        // A host without RDMA says nothing of it.
        assert!(metrics.rdma.is_none());
    }
}
