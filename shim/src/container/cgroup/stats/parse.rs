//! The formats of the kernel's files (its cgroup-v2.rst, cgroup-v1/ and accounting/psi.rst), each as a function of the
//! text.

use std::collections::HashMap;

/// A flat keyed file: `key value` lines, by the kernel's keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Flat(HashMap<String, u64>);

impl Flat {
    /// Reads the lines that are a key and a number.
    pub(crate) fn parse(text: &str) -> Self {
        let pair = |line: &str| {
            let (key, value) = line.split_once(' ')?;
            Some((key.to_owned(), number(value)?))
        };
        Self(text.lines().filter_map(pair).collect())
    }

    /// The value of a key, 0 where this kernel does not have it.
    pub(crate) fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }

    /// The value of a key that later kernels have split into `parts`.
    pub(crate) fn get_or_sum(&self, key: &str, parts: [&str; 2]) -> u64 {
        self.0.get(key).copied().unwrap_or_else(|| parts.iter().map(|part| self.get(part)).sum())
    }

    /// Whether there was nothing to read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A single number; `max` is the greatest.
pub(super) fn number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        digits => digits.parse().ok(),
    }
}

/// Numbers between blanks.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().filter_map(number).collect()
}

/// Pressure stall information of one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pressure {
    /// Some processes waited.
    pub(crate) some: Option<Stall>,
    /// All processes waited. The processor has it since Linux 5.13.
    pub(crate) full: Option<Stall>,
}

/// For how much of the time processes waited.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Stall {
    /// Of the last 10 s, in percent.
    pub(crate) avg10: f64,
    /// Of the last minute.
    pub(crate) avg60: f64,
    /// Of the last five minutes.
    pub(crate) avg300: f64,
    /// In all, in microseconds.
    pub(crate) total: u64,
}

/// Reads `some avg10=0.00 avg60=0.00 avg300=0.00 total=0` and the same with `full`.
pub(super) fn pressure(text: &str) -> Option<Pressure> {
    let of = |kind: &str| {
        let mut stall = Stall::default();
        for (key, value) in pairs(text.lines().find_map(|line| line.strip_prefix(kind))?) {
            let share = || value.parse().unwrap_or(0.0);
            match key {
                "avg10" => stall.avg10 = share(),
                "avg60" => stall.avg60 = share(),
                "avg300" => stall.avg300 = share(),
                "total" => stall.total = number(value).unwrap_or(0),
                _ => {}
            }
        }
        Some(stall)
    };
    let pressure = Pressure { some: of("some "), full: of("full ") };
    (pressure != Pressure::default()).then_some(pressure)
}

fn pairs(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split_whitespace().filter_map(|pair| pair.split_once('='))
}

/// A block device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Device {
    /// Its driver's number.
    pub(crate) major: u64,
    /// Its own.
    pub(crate) minor: u64,
}

impl Device {
    /// Reads `8:16`.
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once(':')?;
        Some(Self { major: major.parse().ok()?, minor: minor.parse().ok()? })
    }
}

/// What went to and from a device (v2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Io {
    /// Which.
    pub(crate) device: Device,
    /// Bytes read and written.
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
    /// Reads and writes.
    pub(crate) reads: u64,
    pub(crate) writes: u64,
}

/// Reads `io.stat`: `8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6` lines. A device that was not used since may have
/// no pair.
pub(super) fn io(text: &str) -> Vec<Io> {
    let of = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let mut io = Io { device: Device::parse(device)?, ..Io::default() };
        pairs(rest).next()?;
        for (key, value) in pairs(rest) {
            let field = match key {
                "rbytes" => &mut io.read_bytes,
                "wbytes" => &mut io.written_bytes,
                "rios" => &mut io.reads,
                "wios" => &mut io.writes,
                _ => continue,
            };
            *field = number(value).unwrap_or(0);
        }
        Some(io)
    };
    text.lines().filter_map(of).collect()
}

/// One number of a block device (v1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Transfer {
    /// Which device.
    pub(crate) device: Device,
    /// Of which operation (`Read`), empty where the file does not tell them apart.
    pub(crate) operation: String,
    /// How many, in the file's unit.
    pub(crate) value: u64,
}

/// Reads `8:16 Read 1` or `8:16 1` lines. The last one, `Total 1`, is the sum over devices.
pub(super) fn transfers(text: &str) -> Vec<Transfer> {
    let of = |line: &str| {
        let mut fields = line.split_whitespace();
        let device = Device::parse(fields.next()?)?;
        let (operation, value) = match (fields.next()?, fields.next()) {
            (operation, Some(value)) => (operation, value),
            (value, None) => ("", value),
        };
        Some(Transfer { device, operation: operation.to_owned(), value: number(value)? })
    };
    text.lines().filter_map(of).collect()
}

/// Reads `/proc/partitions`: the names in `/dev`; the first where there are two.
pub(super) fn partitions(text: &str) -> HashMap<Device, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [major, minor, _blocks, name] = fields[..] else { continue };
        let (Ok(major), Ok(minor)) = (major.parse(), minor.parse()) else { continue };
        names.entry(Device { major, minor }).or_insert_with(|| format!("/dev/{name}"));
    }
    names
}

/// RDMA of one device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rdma {
    /// Its name.
    pub(crate) device: String,
    /// Handles of the adapter.
    pub(crate) handles: u32,
    /// Objects of the adapter.
    pub(crate) objects: u32,
}

/// Reads `mlx4_0 hca_handle=2 hca_object=max` lines.
pub(super) fn rdma(text: &str) -> Vec<Rdma> {
    let of = |line: &str| {
        let (device, rest) = line.split_once(' ')?;
        let value = |wanted| pairs(rest).find(|(key, _)| *key == wanted).and_then(|(_, value)| number(value));
        let (handles, objects) = (value("hca_handle")?, value("hca_object")?);
        let fit = |value| u32::try_from(value).unwrap_or(u32::MAX);
        Some(Rdma { device: device.to_owned(), handles: fit(handles), objects: fit(objects) })
    };
    text.lines().filter_map(of).collect()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
