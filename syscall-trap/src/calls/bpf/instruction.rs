//! Which instructions a program may have. What they do together is the verifier's to judge; here is what it need not even see.
//!
//! The format is that of the kernel's Documentation/bpf/standardization/instruction-set.rst.

/// Classes: the lower three bits of an opcode.
const LD: u8 = 0;
const LDX: u8 = 1;
const ST: u8 = 2;
const STX: u8 = 3;
const ALU: u8 = 4;
const JMP: u8 = 5;
const JMP32: u8 = 6;
const ALU64: u8 = 7;

/// `BPF_LD | BPF_IMM | BPF_DW`, which takes two instructions.
const LOAD_CONSTANT: u8 = 0x18;

/// The mode of loads and stores: the upper three bits. `BPF_ATOMIC` is another.
const MODE: u8 = 0xe0;
const MEM: u8 = 0x60;

/// The operation of the rest: the upper four bits.
const OPERATION: u8 = 0xf0;
const JA: u8 = 0x00;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x95;
/// `BPF_ALU | BPF_MOV | BPF_K`, and of 64 bits.
const MOVE: u8 = 0xb4;
const MOVE64: u8 = 0xb7;
/// `BPF_END`, and `BPF_JSLE`: the last ones.
const LAST: u8 = 0xd0;

/// Whether all of them are plain: arithmetic, loads and stores, jumps forward, constants, exit. No map, no variable of the
/// kernel's, no helper, no function, no atomic operation, no loop.
pub(super) fn are_plain(instructions: &[[u8; 8]]) -> bool {
    let mut rest = instructions.iter();
    while let Some(instruction) = rest.next() {
        let second = if instruction[0] == LOAD_CONSTANT { rest.next() } else { None };
        if !is_plain(instruction, second) {
            return false;
        }
    }
    true
}

/// Whether they are `r0 = CONSTANT; exit`, which does nothing wherever it is run.
pub(super) fn are_a_constant(instructions: &[[u8; 8]]) -> bool {
    matches!(instructions, [[MOVE | MOVE64, 0, 0, 0, ..], [EXIT, 0, ..]])
}

/// Whether one is. `second` is its other half.
fn is_plain(&[code, registers, low, high, ..]: &[u8; 8], second: Option<&[u8; 8]>) -> bool {
    let offset = i16::from_le_bytes([low, high]);
    let operation = code & OPERATION;
    match code & 7 {
        // Any other source register means a descriptor, an address of the kernel's, a function.
        LD => code == LOAD_CONSTANT && registers >> 4 == 0 && offset == 0 && matches!(second, Some([0, 0, 0, 0, ..])),
        LDX | ST | STX => code & MODE == MEM,
        // An offset makes it a signed division, a sign extension, a cast of an address.
        ALU | ALU64 => operation <= LAST && offset == 0,
        JMP if operation == JA => code == JMP && offset >= 0,
        JMP if operation == EXIT & OPERATION => code == EXIT,
        JMP => operation <= LAST && operation != CALL && offset >= 0,
        JMP32 => operation <= LAST && ![JA, CALL, EXIT & OPERATION].contains(&operation) && offset >= 0,
        _ => false,
    }
}
