//! Runs classic BPF as seccomp does, for tests. It knows more than our own programs use: libseccomp's run here too.
//!
//! Invariant: what the kernel's checker would refuse (a jump or a load out of bounds, an unknown operation) panics.

use super::super::Instruction;

/// What a program sees of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) nr: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

impl Data {
    /// The 32-bit word at `offset` of `struct seccomp_data`.
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.nr,
            4 => self.arch,
            // The instruction pointer, which no profile compares.
            8 | 12 => 0,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) { arg as u32 } else { (arg >> 32) as u32 }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// The action of `program` for `data`, and how many instructions it took.
pub(super) fn run(program: &[Instruction], data: &Data) -> (u32, usize) {
    let (mut at, mut acc, mut index, mut steps) = (0, 0u32, 0u32, 0);
    let mut memory = [0u32; 16];
    loop {
        let Instruction { code, jt, jf, k } = program[at];
        steps += 1;
        at += 1;
        let mut skip = |truth: bool| at += usize::from(if truth { jt } else { jf });
        match code {
            0x20 => acc = data.word(k),
            0x00 => acc = k,
            0x60 => acc = memory[k as usize],
            0x02 => memory[k as usize] = acc,
            0x07 => index = acc,
            0x87 => acc = index,
            0x54 => acc &= k,
            0x44 => acc |= k,
            0x05 => at += k as usize,
            0x15 => skip(acc == k),
            0x25 => skip(acc > k),
            0x35 => skip(acc >= k),
            0x45 => skip(acc & k != 0),
            0x06 => return (k, steps),
            _ => panic!("operation {code:#x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_where_the_kernel_has_them() {
        let data = Data { nr: 1, arch: 2, args: [0x4_0000_0003, 0, 0, 0, 0, 0x6_0000_0005] };
        assert_eq!([0, 4, 16, 20, 56, 60].map(|offset| data.word(offset)), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn jumps_skip_what_they_say() {
        let op = |code, jt, jf, k| Instruction { code, jt, jf, k };
        let program = [
            op(0x20, 0, 0, 0),
            op(0x15, 1, 0, 7),
            op(0x06, 0, 0, 1),
            op(0x05, 0, 0, 1),
            op(0x06, 0, 0, 2),
            op(0x06, 0, 0, 3),
        ];
        let call = |nr| run(&program, &Data { nr, arch: 0, args: [0; 6] });
        assert_eq!(call(7), (3, 4));
        assert_eq!(call(8), (1, 3));
    }
}
