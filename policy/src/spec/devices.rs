//! `linux.devices`: nodes besides the default ones.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceType};

use super::paths;
use crate::Refusal;
use crate::plan::{DeviceKind, DeviceNode, DeviceOwner, DeviceRule};

/// Nodes that every container gets, by path, major and minor number; a spec that lists them asks for nothing more.
const DEFAULT: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
    (CONSOLE, 5, 1),
    ("/dev/ptmx", 5, 2),
];

/// Where the container's own terminal is bound.
const CONSOLE: &str = "/dev/console";

/// Character devices that give a container nothing of the host beside the default ones: fuse and net/tun act on the
/// namespaces of the process that opens them.
const HARMLESS: &[(u32, u32)] = &[(10, 229), (10, 200)];

/// The kernel's device numbers have 12 and 20 bits (linux/kdev_t.h).
const MAJORS: i64 = 1 << 12;
const MINORS: i64 = 1 << 20;

/// The nodes to make, each path once.
pub(super) fn devices(devices: &[LinuxDevice]) -> Result<Vec<DeviceNode>, Refusal> {
    let mut nodes: Vec<DeviceNode> = Vec::new();
    for (index, device) in devices.iter().enumerate() {
        let node = node(index, device)?;
        let same = |kind, major, minor| node.kind == kind && node.major == major && node.minor == minor;
        if let Some((_, major, minor)) = DEFAULT.iter().find(|(path, ..)| *path == node.path.as_str()) {
            if same(DeviceKind::Char, *major, *minor) {
                continue;
            }
            let reason = format!("\"{}\" is the place of the container's own device {major}:{minor}", node.path);
            return Err(Refusal::new(format!("linux.devices[{index}].path"), reason));
        }
        match nodes.iter().find(|other| other.path == node.path) {
            Some(other) if same(other.kind, other.major, other.minor) => {}
            Some(_) => {
                let reason = format!("\"{}\" is listed twice with different devices", node.path);
                return Err(Refusal::new(format!("linux.devices[{index}].path"), reason));
            }
            None => nodes.push(node),
        }
    }
    Ok(nodes)
}

fn node(index: usize, device: &LinuxDevice) -> Result<DeviceNode, Refusal> {
    let field = |name: &str| format!("linux.devices[{index}].{name}");
    let path = paths::container_path(field("path"), &paths::text(device.path()))?;
    if path.components().next().is_none() {
        return Err(Refusal::new(field("path"), "\"/\" is not the place of a device"));
    }
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Char,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => return Err(Refusal::new(field("type"), "\"a\" is not the type of a node")),
    };
    let (major, minor) = match kind {
        DeviceKind::Fifo => (0, 0),
        _ => (
            number(device.major(), MAJORS).map_err(|reason| Refusal::new(field("major"), reason))?,
            number(device.minor(), MINORS).map_err(|reason| Refusal::new(field("minor"), reason))?,
        ),
    };
    // Go's os.FileMode may carry type bits above the permissions; mknod(2) is given the type apart.
    let mode = device.file_mode().unwrap_or(0o666) & 0o7777;
    let owner = owner(kind, major, minor, device);
    Ok(DeviceNode { path, kind, major, minor, mode, owner })
}

/// A device number below `end`.
fn number(number: i64, end: i64) -> Result<u32, String> {
    u32::try_from(number).ok().filter(|_| number < end).ok_or_else(|| format!("{number} is not from 0 to {}", end - 1))
}

/// Whether a node is one of those that every container has, or a named pipe, which is no device. The console is not: at
/// another path than its own it is the host's.
pub(crate) fn is_default(kind: DeviceKind, major: u32, minor: u32) -> bool {
    let mut numbers = DEFAULT.iter().filter(|(path, ..)| *path != CONSOLE).map(|(_, a, b)| (*a, *b));
    kind == DeviceKind::Fifo || (kind == DeviceKind::Char && numbers.any(|number| number == (major, minor)))
}

/// Takes the host's console out of what rules allow, unless a node was asked for. Engines allow its number to every
/// container for the sake of `/dev/console`, which is a terminal inside and has another; but an image may bring a node of it.
pub(super) fn keep_the_console(nodes: &[DeviceNode], rules: &mut [DeviceRule]) {
    let Some((_, major, minor)) = DEFAULT.iter().find(|(path, ..)| *path == CONSOLE) else { return };
    if nodes.iter().any(|node| (node.kind, node.major, node.minor) == (DeviceKind::Char, *major, *minor)) {
        return;
    }
    for rule in rules {
        if rule.allow && (rule.kind, rule.major, rule.minor) == (Some(DeviceKind::Char), Some(*major), Some(*minor)) {
            // A node alone does nothing.
            *rule = DeviceRule { read: false, write: false, mknod: true, ..*rule };
        }
    }
}

/// A new named pipe is the container's as much as a harmless device is.
fn owner(kind: DeviceKind, major: u32, minor: u32, device: &LinuxDevice) -> DeviceOwner {
    if is_default(kind, major, minor) || (kind == DeviceKind::Char && HARMLESS.contains(&(major, minor))) {
        return DeviceOwner::Container { uid: 0, gid: 0 };
    }
    DeviceOwner::Host { uid: device.uid().unwrap_or_default(), gid: device.gid().unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(json: &str) -> Result<Vec<DeviceNode>, String> {
        let spec: Vec<LinuxDevice> = serde_json::from_str(json).expect("devices");
        devices(&spec).map_err(|refusal| refusal.to_string())
    }

    fn owner_of(json: &str) -> DeviceOwner {
        plan(json).expect("a device")[0].owner
    }

    #[test]
    fn harmless_devices_are_the_containers_and_others_the_hosts() {
        let container = DeviceOwner::Container { uid: 0, gid: 0 };
        assert_eq!(owner_of(r#"[{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "uid": 7}]"#), container);
        assert_eq!(owner_of(r#"[{"path": "/dev/net/tun", "type": "c", "major": 10, "minor": 200}]"#), container);
        assert_eq!(owner_of(r#"[{"path": "/x/null", "type": "u", "major": 1, "minor": 3}]"#), container);
        assert_eq!(owner_of(r#"[{"path": "/dev/pipe", "type": "p"}]"#), container);
        let host = DeviceOwner::Host { uid: 0, gid: 6 };
        assert_eq!(owner_of(r#"[{"path": "/dev/console2", "type": "c", "major": 5, "minor": 1, "gid": 6}]"#), host);
        assert_eq!(owner_of(r#"[{"path": "/dev/sda", "type": "b", "major": 8, "minor": 0, "gid": 6}]"#), host);
        // The numbers of fuse as a block device are another device.
        let block = r#"[{"path": "/dev/fuse", "type": "b", "major": 10, "minor": 229}]"#;
        assert_eq!(owner_of(block), DeviceOwner::Host { uid: 0, gid: 0 });
    }

    #[test]
    fn rules_allow_the_hosts_console_only_with_a_node() {
        let rule = |minor| DeviceRule {
            allow: true,
            kind: Some(DeviceKind::Char),
            major: Some(5),
            minor: Some(minor),
            read: true,
            write: true,
            mknod: true,
        };
        let node = plan(r#"[{"path": "/dev/console2", "type": "c", "major": 5, "minor": 1}]"#).expect("devices");
        let own = plan(r#"[{"path": "/dev/console", "type": "c", "major": 5, "minor": 1}]"#).expect("devices");
        for (nodes, is_open) in [(&node, true), (&own, false)] {
            let mut rules = [rule(0), rule(1), rule(2)];
            keep_the_console(nodes, &mut rules);
            let open = rules.map(|rule| (rule.read && rule.write, rule.mknod));
            assert_eq!(open, [(true, true), (is_open, true), (true, true)]);
        }
    }

    #[test]
    fn default_nodes_and_repetitions_are_dropped() {
        let null = r#"{"path": "/dev/null", "type": "c", "major": 1, "minor": 3}"#;
        let kvm = r#"{"path": "/dev/kvm", "type": "c", "major": 10, "minor": 232, "fileMode": 8624}"#;
        let nodes = plan(&format!("[{null}, {kvm}, {kvm}]")).expect("devices");
        assert_eq!(nodes.len(), 1);
        assert_eq!((nodes[0].path.as_str(), nodes[0].mode), ("/dev/kvm", 0o660));
    }

    #[test]
    fn devices_in_anothers_place_are_refused() {
        let disk = r#"[{"path": "/dev//null", "type": "b", "major": 8, "minor": 0}]"#;
        let message = "linux.devices[0].path: \"/dev/null\" is the place of the container's own device 1:3";
        assert_eq!(plan(disk), Err(message.into()));
        let twice = r#"[{"path": "/dev/a", "type": "b", "major": 8, "minor": 0}, {"path": "/dev/a", "type": "c", "major": 8, "minor": 0}]"#;
        assert_eq!(plan(twice), Err("linux.devices[1].path: \"/dev/a\" is listed twice with different devices".into()));
        for (json, message) in [
            (
                r#"[{"path": "/dev/a", "type": "b", "major": 4096}]"#,
                "linux.devices[0].major: 4096 is not from 0 to 4095",
            ),
            (
                r#"[{"path": "/dev/a", "type": "c", "minor": -1}]"#,
                "linux.devices[0].minor: -1 is not from 0 to 1048575",
            ),
            (r#"[{"path": "/dev/../x", "type": "c"}]"#, "linux.devices[0].path: \"/dev/../x\" has a .. component"),
            (r#"[{"path": "/", "type": "c"}]"#, "linux.devices[0].path: \"/\" is not the place of a device"),
        ] {
            assert_eq!(plan(json), Err(message.into()));
        }
    }
}
