//! Names of lease files: `FIRST-SIZE.TAG`.

use std::fmt;

use policy::idmap::IdMap;

use super::allocate::Request;

/// A lease file's name. It is a contract between all versions of eci: the range must be readable from the name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LeaseName {
    pub(super) host: u32,
    pub(super) size: u32,
    pub(super) tag: u64,
}

impl LeaseName {
    pub(super) fn new(map: IdMap, tag: u64) -> Self {
        Self { host: map.host, size: map.size, tag }
    }

    /// The range.
    pub(super) fn map(self) -> IdMap {
        IdMap { host: self.host, size: self.size }
    }

    /// The name that a file has, or none when it is no lease.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (range, tag) = name.split_once('.')?;
        let (host, size) = range.split_once('-')?;
        let parsed =
            Self { host: host.parse().ok()?, size: size.parse().ok()?, tag: u64::from_str_radix(tag, 16).ok()? };
        // One spelling each: two names of one lease would be two leases.
        (parsed.to_string() == name && parsed.size > 0).then_some(parsed)
    }
}

impl fmt::Display for LeaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{:016x}", self.host, self.size, self.tag)
    }
}

/// The tag of a container's leases: FNV-1a of engine namespace, id and layer path, which every version computes alike.
/// It only narrows the search; whose lease it is, is told by its content.
pub(super) fn tag_of(request: &Request) -> u64 {
    let layer = request.layer.as_ref().map(|layer| layer.path.as_os_str().as_encoded_bytes()).unwrap_or_default();
    let parts = [request.namespace.as_bytes(), &[0], request.container.as_bytes(), &[0], layer];
    parts
        .concat()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LeaseName, tag_of};
    use crate::lease::Request;

    #[test]
    fn only_the_one_spelling_is_a_lease() {
        let name = LeaseName { host: 100_000, size: 65536, tag: 0xab };
        assert_eq!(name.to_string(), "100000-65536.00000000000000ab");
        let others =
            ["", "new", "lock", "1-2", "100000-65536.ab", "0100000-65536.00000000000000ab", "1-0.0000000000000000"];
        for other in others {
            assert_eq!(LeaseName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn tags_are_the_same_in_every_version() {
        let request = Request { container: "c1".into(), namespace: "default".into(), ..Request::default() };
        assert_eq!(tag_of(&request), 0x4a80_4a80_2dcf_7dba);
        let other = Request { container: "1".into(), namespace: "defaultc".into(), ..Request::default() };
        assert_ne!(tag_of(&request), tag_of(&other));
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_it_is_written(host: u32, size in 1..u32::MAX, tag: u64) {
            let name = LeaseName { host, size, tag };
            prop_assert_eq!(LeaseName::parse(&name.to_string()), Some(name));
        }

        #[test]
        fn no_file_name_confuses_the_parser(text in "[0-9a-fx.+-]{0,40}") {
            if let Some(name) = LeaseName::parse(&text) {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
