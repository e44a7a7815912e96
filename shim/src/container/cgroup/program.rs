//! The eBPF program of cgroup v2 that answers for device rules.
//!
//! The kernel calls it for every open and mknod of a device with the kind, the numbers and what is wanted (read, write,
//! mknod), and allows when it returns 1. It goes through the rules from the last to the first: an allowing rule settles
//! its part of what is wanted, a denying one ends it, and what no rule settles is denied. So the last rule that speaks of
//! a device decides, for each of the three by itself. The instruction format is that of the kernel's
//! `Documentation/bpf/standardization/instruction-set.rst`.

use policy::plan::DeviceKind;

use super::devices::{Rule, access};

/// `struct bpf_insn` of a little-endian machine (x86-64 and arm64 are).
pub(super) type Instruction = [u8; 8];

/// Registers: the verdict, the context, and what is read from it.
const R0: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
const WANTED: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// Opcodes; all of 32 bits, because majors and minors are.
const LOAD: u8 = 0x61; // BPF_LDX | BPF_MEM | BPF_W
const MOVE: u8 = 0xb4; // BPF_ALU | BPF_MOV | BPF_K
const MOVE_REGISTER: u8 = 0xbc; // BPF_ALU | BPF_MOV | BPF_X
const AND: u8 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const SHIFT_RIGHT: u8 = 0x74; // BPF_ALU | BPF_RSH | BPF_K
const JUMP_NOT_EQUAL: u8 = 0x56; // BPF_JMP32 | BPF_JNE | BPF_K
const JUMP_EQUAL: u8 = 0x16; // BPF_JMP32 | BPF_JEQ | BPF_K
const EXIT: u8 = 0x95; // BPF_JMP | BPF_EXIT

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
const BLOCK: u32 = 1;
const CHAR: u32 = 2;

fn instruction(code: u8, destination: u8, source: u8, offset: u8, immediate: u32) -> Instruction {
    let [a, b, c, d] = immediate.to_le_bytes();
    [code, source << 4 | destination, offset, 0, a, b, c, d]
}

/// Compiles the rules. None of them may be of a named pipe.
pub(super) fn compile(rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx { u32 access_type (wanted << 16 | kind); u32 major; u32 minor; }
    let mut program = vec![
        instruction(LOAD, KIND, CONTEXT, 0, 0),
        instruction(MOVE_REGISTER, WANTED, KIND, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, WANTED, 0, 0, 16),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
    ];
    rules.iter().rev().for_each(|rule| program.extend(block(rule)));
    program.extend(verdict(0));
    program
}

fn verdict(allowed: u32) -> [Instruction; 2] {
    [instruction(MOVE, R0, 0, 0, allowed), instruction(EXIT, 0, 0, 0, 0)]
}

/// One rule: jumps behind itself when it is not about this device, otherwise settles its part.
fn block(rule: &Rule) -> Vec<Instruction> {
    let bits = u32::from(access(&rule.rule));
    let kind = rule.rule.kind.map(|kind| if kind == DeviceKind::Block { BLOCK } else { CHAR });
    let conditions = [(KIND, kind), (MAJOR, rule.rule.major), (MINOR, rule.rule.minor)];
    let conditions: Vec<(u8, u32)> =
        conditions.iter().filter_map(|&(register, value)| Some((register, value?))).collect();
    let mut body = if rule.rule.allow {
        vec![instruction(AND, WANTED, 0, 0, !bits), instruction(JUMP_NOT_EQUAL, WANTED, 0, 2, 0)]
    } else {
        vec![
            instruction(MOVE_REGISTER, R0, WANTED, 0, 0),
            instruction(AND, R0, 0, 0, bits),
            instruction(JUMP_EQUAL, R0, 0, 2, 0),
        ]
    };
    body.extend(verdict(u32::from(rule.rule.allow)));
    // At most two more conditions and five of the body: an offset never exceeds a byte.
    let distance = |position: usize| (conditions.len() - position - 1 + body.len()) as u8;
    let jumps = conditions.iter().enumerate();
    let mut block: Vec<Instruction> = jumps
        .map(|(position, &(register, value))| instruction(JUMP_NOT_EQUAL, register, 0, distance(position), value))
        .collect();
    block.append(&mut body);
    block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::devices::tests::{Request, decide, some_request, some_rules};
    use super::super::devices::{self, MKNOD, READ, WRITE};
    use super::*;

    /// Runs a program as the kernel would; None where it would not end by itself or do what it must not.
    fn run(program: &[Instruction], request: Request) -> Option<u32> {
        let context =
            [u32::from(request.wanted) << 16 | if request.block { BLOCK } else { CHAR }, request.major, request.minor];
        let mut registers = [None; 11];
        let mut at = 0;
        loop {
            let &[code, pair, low, high, a, b, c, d] = program.get(at)?;
            let (destination, source) = (usize::from(pair & 15), usize::from(pair >> 4));
            let (offset, immediate) = (usize::from(u16::from_le_bytes([low, high])), u32::from_le_bytes([a, b, c, d]));
            at += 1;
            match code {
                LOAD if source == usize::from(CONTEXT) => registers[destination] = Some(*context.get(offset / 4)?),
                MOVE => registers[destination] = Some(immediate),
                MOVE_REGISTER => registers[destination] = Some(registers[source]?),
                AND => registers[destination] = Some(registers[destination]? & immediate),
                SHIFT_RIGHT => registers[destination] = Some(registers[destination]? >> immediate),
                JUMP_NOT_EQUAL => at += if registers[destination]? != immediate { offset } else { 0 },
                JUMP_EQUAL => at += if registers[destination]? == immediate { offset } else { 0 },
                EXIT => return registers[0],
                _ => return None,
            }
        }
    }

    #[test]
    fn a_program_gives_what_engines_send() {
        let program = compile(&devices::rules(&[]).expect("rules"));
        let ask = |block, major, minor, wanted| run(&program, Request { block, major, minor, wanted });
        assert_eq!(ask(false, 1, 3, READ | WRITE), Some(1), "null");
        assert_eq!(ask(false, 136, 77, READ | WRITE), Some(1), "a terminal");
        assert_eq!(ask(false, 1, 11, READ), Some(0), "kmsg");
        assert_eq!(ask(false, 5, 1, WRITE), Some(0), "the host's console");
        assert_eq!(ask(true, 8, 0, MKNOD), Some(1), "a node of a disk");
        assert_eq!(ask(true, 8, 0, MKNOD | READ), Some(0), "the disk");
    }

    proptest! {
        #[test]
        fn a_program_decides_as_the_rules_do(rules in some_rules(), request in some_request()) {
            let rules = devices::rules(&rules).expect("rules");
            prop_assert_eq!(run(&compile(&rules), request), Some(u32::from(decide(&rules, request))));
        }
    }
}
