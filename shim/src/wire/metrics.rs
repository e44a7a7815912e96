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

    /// The fields of a message and all below it that say nothing.
    pub(super) fn unset(
        message: &dyn containerd_shim_protos::protobuf::MessageDyn,
        path: &str,
        found: &mut Vec<String>,
    ) {
        for field in message.descriptor_dyn().fields() {
            let path = format!("{path}{}", field.name());
            let below = |value: ReflectValueRef<'_>, found: &mut Vec<String>| {
                if let ReflectValueRef::Message(message) = value {
                    unset(&*message, &format!("{path}."), found);
                }
            };
            match field.get_reflect(message) {
                ReflectFieldRef::Optional(value) => match value.value() {
                    Some(value) if value.is_non_zero() => below(value, found),
                    _ => found.push(path),
                },
                ReflectFieldRef::Repeated(values) if values.is_empty() => found.push(path),
                ReflectFieldRef::Repeated(values) => values.into_iter().for_each(|value| below(value, found)),
                ReflectFieldRef::Map(_) => panic!("{path} is a map"),
            }
        }
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
    }
}
