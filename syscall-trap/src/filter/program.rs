//! A compiled program: plain data that travels from the shim to the stage that installs it.
//!
//! Invariant: a [`Program`] has at least one instruction and never more than the kernel takes.

/// The most instructions that the kernel takes in one program (`BPF_MAXINSNS`, bpf_common.h).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One instruction of classic BPF, with the fields of the kernel's `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation, a combination of the `BPF_*` constants of linux/filter.h.
    pub code: u16,
    /// Instructions to skip when a comparison is true.
    pub jt: u8,
    /// Instructions to skip when a comparison is false.
    pub jf: u8,
    /// Operand: an offset, a value to compare with, an action, or the length of an unconditional jump.
    pub k: u32,
}

/// A seccomp program and the flags of seccomp(2) to install it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The code, 1 to [`MAX_INSTRUCTIONS`] instructions.
    pub instructions: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits that the profile asks for.
    pub flags: u64,
}

/// Bytes that are no program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("seccomp program: {0} bytes are no flags and 1 to {MAX_INSTRUCTIONS} instructions")]
pub struct Malformed(pub usize);

impl Program {
    /// The program as bytes: the flags and then each instruction in eight, all in the host's byte order. The reader is a
    /// process of the same binary on the same host.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * (self.instructions.len() + 1));
        bytes.extend(self.flags.to_ne_bytes());
        for instruction in &self.instructions {
            bytes.extend(instruction.code.to_ne_bytes());
            bytes.extend([instruction.jt, instruction.jf]);
            bytes.extend(instruction.k.to_ne_bytes());
        }
        bytes
    }

    /// Whether it leaves a call to a tracer (`SCMP_ACT_TRACE`), the one answer that is weaker than a trap: without a tracer it is
    /// ENOSYS.
    pub fn traces(&self) -> bool {
        let is_return = |code: u16| u32::from(code) == libc::BPF_RET | libc::BPF_K;
        let action = |value: u32| value & libc::SECCOMP_RET_ACTION_FULL;
        self.instructions.iter().any(|line| is_return(line.code) && action(line.k) == libc::SECCOMP_RET_TRACE)
    }

    /// The program that [`Program::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] when the length is not that of flags and 1 to [`MAX_INSTRUCTIONS`] instructions. Whether the
    /// instructions make sense is checked by the kernel.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        let malformed = Malformed(bytes.len());
        let (words, rest) = bytes.as_chunks::<8>();
        let (flags, code) = words.split_first().ok_or(malformed)?;
        if !rest.is_empty() || code.is_empty() || code.len() > MAX_INSTRUCTIONS {
            return Err(malformed);
        }
        let instructions = code
            .iter()
            .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
                code: u16::from_ne_bytes([c0, c1]),
                jt,
                jf,
                k: u32::from_ne_bytes([k0, k1, k2, k3]),
            })
            .collect();
        Ok(Self { instructions, flags: u64::from_ne_bytes(*flags) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(len: usize) -> Program {
        let instruction = |n: usize| Instruction { code: 0x15, jt: 1, jf: n as u8, k: 0x8000_0000 | n as u32 };
        Program { instructions: (0..len).map(instruction).collect(), flags: 6 }
    }

    #[test]
    fn bytes_carry_a_program_of_any_legal_length() {
        for len in [1, 2, MAX_INSTRUCTIONS] {
            assert_eq!(Program::from_bytes(&program(len).to_bytes()), Ok(program(len)));
        }
    }

    #[test]
    fn a_tracer_is_asked_by_its_return_alone() {
        let of =
            |code: u32, k| Program { instructions: vec![Instruction { code: code as u16, jt: 0, jf: 0, k }], flags: 0 };
        let ret = libc::BPF_RET | libc::BPF_K;
        assert!(of(ret, libc::SECCOMP_RET_TRACE | 5).traces());
        assert!(!of(ret, libc::SECCOMP_RET_ERRNO | 5).traces());
        assert!(!of(libc::BPF_LD, libc::SECCOMP_RET_TRACE).traces());
    }

    #[test]
    fn other_lengths_are_refused() {
        let long = program(MAX_INSTRUCTIONS + 1).to_bytes();
        for bytes in [&[][..], &[0; 7], &[0; 8], &[0; 17], &long] {
            let error = Program::from_bytes(bytes).unwrap_err();
            assert_eq!(error, Malformed(bytes.len()));
        }
        let line = Malformed(7).to_string();
        assert_eq!(line, "seccomp program: 7 bytes are no flags and 1 to 4096 instructions");
    }
}
