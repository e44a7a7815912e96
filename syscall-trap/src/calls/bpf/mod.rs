//! bpf(2) of cgroup device programs; every other use of it is EPERM.
//!
//! Main type: [`Bpf`]. What is read is `union bpf_attr`, as bpf_check_uarg_tail_zero() of kernel/bpf/syscall.c takes it.
//!
//! Invariant: no answer here is [`Answer::Continue`]: where `kernel.unprivileged_bpf_disabled` is 0 the kernel serves more than a
//! container may have.

mod instruction;
#[cfg(test)]
mod tests;

use std::ffi::CString;

use super::{Decided, Decision, Registers};
use crate::notify::Answer;
use crate::notify::memory::{self, Memory};
use crate::sys::bpf::{
    ALLOW_MULTI, ALLOW_OVERRIDE, CGROUP_DEVICE, OBJ_GET_INFO_BY_FD, PROG_ATTACH, PROG_DETACH, PROG_GET_FD_BY_ID,
    PROG_LOAD, PROG_QUERY, Program, REPLACE, TYPE_CGROUP_DEVICE, TYPE_CGROUP_SKB,
};

/// A call that may be served. Descriptors are the caller's, addresses of its memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bpf {
    /// `BPF_PROG_LOAD`
    Load {
        /// What to load: it is known to be harmless as far as instructions tell one by one.
        program: Program,
        /// Where the verifier's words are wanted.
        log: Option<u64>,
    },
    /// `BPF_PROG_ATTACH`
    Attach {
        /// The group.
        target: u32,
        /// The program.
        program: u32,
        /// `BPF_F_*`
        flags: u32,
        /// The program in whose place it comes.
        replaced: Option<u32>,
    },
    /// `BPF_PROG_DETACH`
    Detach {
        /// The group.
        target: u32,
        /// The program, if it is one.
        program: u32,
    },
    /// `BPF_PROG_QUERY`
    Query {
        /// The group.
        target: u32,
        /// Where the ids go, if anywhere.
        ids: u64,
        /// How many there is room for.
        room: u32,
        /// Where the attributes are, into which the rest goes.
        attributes: u64,
    },
    /// `BPF_PROG_GET_FD_BY_ID`
    Open {
        /// The program's id.
        id: u32,
    },
    /// `BPF_OBJ_GET_INFO_BY_FD`
    Info {
        /// The program.
        program: u32,
        /// Where the info goes.
        info: u64,
        /// How much of it there is room for.
        room: u32,
        /// Where the attributes are, into which the length goes.
        attributes: u64,
    },
}

/// How many instructions a program may have: as many as an unprivileged one (`BPF_MAXINSNS`).
const MOST_INSTRUCTIONS: u32 = 4096;

/// `BPF_F_STRICT_ALIGNMENT`
const STRICT_ALIGNMENT: u32 = 1;

/// What may be said of an attachment.
const FLAGS: u32 = ALLOW_OVERRIDE | ALLOW_MULTI | REPLACE;

/// How much of a licence the kernel takes.
const LICENCE: usize = 127;

/// How much of `union bpf_attr` is looked at; no kernel has more. And how much there may be, as long as the rest is zero.
const KNOWN: usize = 256;
const MOST: u32 = 4096;

const REFUSED: Answer = Answer::Errno(libc::EPERM);
const INVALID: Answer = Answer::Errno(libc::EINVAL);
const TOO_BIG: Answer = Answer::Errno(libc::E2BIG);

/// `bpf(cmd, attr, size)`
pub(super) fn bpf(registers: &Registers, memory: &impl Memory) -> Decided {
    let decided = decode(registers, memory);
    decided.map(|call| Decision::Bpf(Box::new(call))).map_err(|answer| match answer {
        // Its memory cannot be read, for a reason of ours.
        Answer::Continue => REFUSED,
        answer => answer,
    })
}

fn decode(registers: &Registers, memory: &impl Memory) -> Result<Bpf, Answer> {
    let (command, address) = (registers.int(0), registers.long(1));
    if ![PROG_LOAD, PROG_ATTACH, PROG_DETACH, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY].contains(&command) {
        return Err(REFUSED);
    }
    let attributes = Attributes::read(memory, address, registers.word(2))?;
    match command {
        PROG_LOAD => load(&attributes, memory),
        PROG_ATTACH => attach(&attributes),
        PROG_DETACH => detach(&attributes),
        PROG_QUERY => query(&attributes, address),
        PROG_GET_FD_BY_ID => open(&attributes),
        OBJ_GET_INFO_BY_FD => info(&attributes, address),
        _ => Err(REFUSED),
    }
}

fn load(attributes: &Attributes, memory: &impl Memory) -> Result<Bpf, Answer> {
    let (kind, count, flags) = (attributes.word(0), attributes.word(4), attributes.word(44));
    let is_served = match (kind, attributes.word(68)) {
        // `expected_attach_type` may be left out.
        (TYPE_CGROUP_DEVICE, 0 | CGROUP_DEVICE) => true,
        // By this the library of runc (cilium/ebpf) finds out whether programs can be attached at all.
        (TYPE_CGROUP_SKB, 0) => count == 2,
        _ => false,
    };
    // What is no part of a plain program (types, other programs, network devices) may not be there.
    let plain = attributes.word(64) == 0 && attributes.is_zero_from(72);
    if !is_served || !plain || flags & !STRICT_ALIGNMENT != 0 {
        return Err(REFUSED);
    }
    if count == 0 || count > MOST_INSTRUCTIONS {
        return Err(TOO_BIG);
    }
    let bytes = memory::bytes(memory, attributes.long(8), count as usize * 8)?;
    let (instructions, _) = bytes.as_chunks::<8>();
    if !instruction::are_plain(instructions)
        || (kind != TYPE_CGROUP_DEVICE && !instruction::are_a_constant(instructions))
    {
        return Err(REFUSED);
    }
    let mut licence = memory::name(memory, attributes.long(16))?.ok_or(Answer::Errno(libc::EFAULT))?;
    licence.truncate(LICENCE);
    let program = Program {
        kind,
        instructions: instructions.to_vec(),
        licence: CString::new(licence).map_err(|_| INVALID)?,
        flags,
        name: attributes.name(),
    };
    let wants_log = attributes.word(24) != 0 && attributes.word(28) != 0;
    Ok(Bpf::Load { program, log: Some(attributes.long(32)).filter(|&log| wants_log && log != 0) })
}

fn attach(attributes: &Attributes) -> Result<Bpf, Answer> {
    let flags = attributes.word(12);
    // That library asks, too, whether flags are known, of no group at all.
    if attributes.word(0) == u32::MAX && flags & !FLAGS == 0 {
        return Err(Answer::Errno(libc::EBADF));
    }
    if attributes.word(8) != CGROUP_DEVICE || !attributes.is_zero_from(20) {
        return Err(REFUSED);
    }
    if flags & !FLAGS != 0 {
        return Err(INVALID);
    }
    // Without the other flag the kernel looks at neither.
    let replaces = flags & (ALLOW_MULTI | REPLACE) == ALLOW_MULTI | REPLACE;
    let replaced = replaces.then(|| attributes.word(16));
    Ok(Bpf::Attach { target: attributes.word(0), program: attributes.word(4), flags, replaced })
}

fn detach(attributes: &Attributes) -> Result<Bpf, Answer> {
    if attributes.word(8) != CGROUP_DEVICE || !attributes.is_zero_from(16) {
        return Err(REFUSED);
    }
    // The kernel looks at no flags here (Linux 6.6 wants none).
    Ok(Bpf::Detach { target: attributes.word(0), program: attributes.word(4) })
}

fn query(attributes: &Attributes, address: u64) -> Result<Bpf, Answer> {
    // Its flag asks for the programs of the groups above.
    if attributes.word(4) != CGROUP_DEVICE || attributes.word(8) != 0 || !attributes.is_zero_from(28) {
        return Err(REFUSED);
    }
    let (ids, room) = (attributes.long(16), attributes.word(24));
    Ok(Bpf::Query { target: attributes.word(0), ids, room, attributes: address })
}

fn open(attributes: &Attributes) -> Result<Bpf, Answer> {
    if !attributes.is_zero_from(4) {
        return Err(REFUSED);
    }
    Ok(Bpf::Open { id: attributes.word(0) })
}

fn info(attributes: &Attributes, address: u64) -> Result<Bpf, Answer> {
    if !attributes.is_zero_from(16) {
        return Err(INVALID);
    }
    let (room, info) = (attributes.word(4), attributes.long(8));
    Ok(Bpf::Info { program: attributes.word(0), info, room, attributes: address })
}

/// `union bpf_attr` of a caller, with zeros where it has nothing.
struct Attributes([u8; KNOWN]);

impl Attributes {
    fn read(memory: &impl Memory, address: u64, size: u32) -> Result<Self, Answer> {
        if size > MOST {
            return Err(TOO_BIG);
        }
        let bytes = memory::bytes(memory, address, size as usize)?;
        if bytes.iter().skip(KNOWN).any(|&byte| byte != 0) {
            return Err(TOO_BIG);
        }
        let mut known = [0; KNOWN];
        known.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        Ok(Self(known))
    }

    /// The bytes at an offset, zeros behind the end.
    fn array<const SIZE: usize>(&self, at: usize) -> [u8; SIZE] {
        let mut array = [0; SIZE];
        array.iter_mut().zip(self.0.iter().skip(at)).for_each(|(to, from)| *to = *from);
        array
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.array(at))
    }

    fn long(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.array(at))
    }

    /// `prog_name`
    fn name(&self) -> [u8; 16] {
        self.array(48)
    }

    fn is_zero_from(&self, at: usize) -> bool {
        self.0.iter().skip(at).all(|&byte| byte == 0)
    }
}
