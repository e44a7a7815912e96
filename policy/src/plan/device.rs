//! Device nodes, and the rules of the device cgroup.

use serde::{Deserialize, Serialize};

use super::ContainerPath;

/// `c`, `b` or `p` of mknod(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A character device.
    Char,
    /// A block device.
    Block,
    /// A named pipe.
    Fifo,
}

/// A device node of the spec (`linux.devices`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceNode {
    /// Where it appears.
    pub path: ContainerPath,
    /// Its kind.
    pub kind: DeviceKind,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Who owns it.
    pub owner: DeviceOwner,
}

/// Who owns a device node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceOwner {
    /// The container's ids: nodes that are harmless (null, zero, full, random, urandom, tty, ptmx, console, fuse,
    /// net/tun), and those of devices that the host does not have.
    Container {
        /// uid inside.
        uid: u32,
        /// gid inside.
        gid: u32,
    },
    /// The host's owner and mode, as the spec gives them: the container's processes pass only as "other", unless the
    /// engine's user opened the node on the host.
    Host {
        /// uid on the host.
        uid: u32,
        /// gid on the host.
        gid: u32,
    },
}

/// One rule of the device cgroup (`linux.resources.devices`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// Whether it allows or denies.
    pub allow: bool,
    /// Kind; none means all.
    pub kind: Option<DeviceKind>,
    /// Major number; none means all.
    pub major: Option<u32>,
    /// Minor number; none means all.
    pub minor: Option<u32>,
    /// `r`
    pub read: bool,
    /// `w`
    pub write: bool,
    /// `m`
    pub mknod: bool,
}
