//! `/proc/pressure/*`: the pressure of the container's own group on the unified hierarchy, which has it on hybrid hosts
//! too. Without one, as a kernel that counts none: EOPNOTSUPP. A trigger cannot be set: the files are not writable.

use std::io;

use rustix::io::Errno;

use super::groups::Groups;
use crate::Emulation;

pub(crate) fn cpu_pressure(emulation: &Emulation) -> io::Result<Vec<u8>> {
    pressure(emulation, "cpu.pressure")
}

pub(crate) fn io_pressure(emulation: &Emulation) -> io::Result<Vec<u8>> {
    pressure(emulation, "io.pressure")
}

pub(crate) fn memory_pressure(emulation: &Emulation) -> io::Result<Vec<u8>> {
    pressure(emulation, "memory.pressure")
}

fn pressure(emulation: &Emulation, file: &str) -> io::Result<Vec<u8>> {
    let groups = Groups::unified(&emulation.facts);
    let own = groups.own().ok_or(Errno::OPNOTSUPP)?;
    match std::fs::read(own.join(file)) {
        // A kernel without it, or with `cgroup.pressure` 0.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Errno::OPNOTSUPP.into()),
        result => result,
    }
}
