//! Limits of the controllers that have one for each device, size or adapter.

use std::fmt;

use serde::{Deserialize, Serialize};

/// `linux.resources.blockIO`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockIo {
    /// 10-1000.
    pub weight: Option<u16>,
    /// 10-1000 for one device each.
    pub weight_device: Vec<(BlockDevice, u16)>,
    /// Bytes in a second; 0 is no limit.
    pub throttle_read_bps_device: Vec<(BlockDevice, u64)>,
    /// Bytes in a second; 0 is no limit.
    pub throttle_write_bps_device: Vec<(BlockDevice, u64)>,
    /// Operations in a second; 0 is no limit.
    pub throttle_read_iops_device: Vec<(BlockDevice, u64)>,
    /// Operations in a second; 0 is no limit.
    pub throttle_write_iops_device: Vec<(BlockDevice, u64)>,
}

/// A block device, which prints as the kernel's files name it: `8:0`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockDevice {
    /// Its major number.
    pub major: u32,
    /// Its minor number.
    pub minor: u32,
}

/// The limit of one size of huge pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HugepageLimit {
    /// As the kernel's files name it: `2MB`.
    pub page_size: String,
    /// Bytes.
    pub limit: u64,
}

/// The limits of one RDMA device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RdmaLimit {
    /// Its name: `mlx4_0`.
    pub device: String,
    /// Handles of the adapter.
    pub hca_handles: Option<u32>,
    /// Objects of the adapter.
    pub hca_objects: Option<u32>,
}

impl fmt::Display for BlockDevice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.major, self.minor)
    }
}
