//! What libseccomp cannot be asked about: where the program is ours by choice, and its form.

use serde_json::{Value, json};

use super::{
    super::{
        Instruction, MAX_INSTRUCTIONS,
        abi::{Abi, X32_MARK},
        compile_for,
    },
    interpreter::{Data, run},
    oracle::parse,
};

fn program(syscalls: Value) -> Vec<Instruction> {
    let json = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": syscalls,
        "architectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]});
    compile_for(Abi::X86_64, &parse(json)).unwrap().program.instructions
}

fn decide(program: &[Instruction], abi: Abi, nr: u32, args: [u64; 6]) -> u32 {
    run(program, &Data { nr, arch: abi.audit_arch(), args }).0
}

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

#[test]
fn calls_newer_than_libseccomp_have_numbers() {
    let program = program(json!([{"names": ["file_setattr"], "action": "SCMP_ACT_ALLOW"}]));
    for (abi, mark) in [(Abi::X86_64, 0), (Abi::I386, 0), (Abi::X32, X32_MARK)] {
        let answers = [467, 469, 470].map(|nr| decide(&program, abi, nr | mark, [0; 6]));
        assert_eq!(answers, [EPERM, ALLOW, ENOSYS]);
    }
}

#[test]
fn a_carried_call_is_no_newer_than_the_profile() {
    let program = program(json!([{"names": ["read", "socket"], "action": "SCMP_ACT_ALLOW"}]));
    let i386 = |nr, first| decide(&program, Abi::I386, nr, [first, 0, 0, 0, 0, 0]);
    assert_eq!(
        [i386(3, 0), i386(4, 0), i386(102, 1), i386(102, 2), i386(359, 0)],
        [ALLOW, ENOSYS, ALLOW, EPERM, ALLOW]
    );
}

#[test]
fn rules_that_differ_in_a_hidden_argument_are_joined_to_the_stricter() {
    let rule = |action, family: u64| json!({"names": ["socket"], "action": action, "args": [{"index": 0, "value": family, "op": "SCMP_CMP_EQ"}]});
    for rules in
        [[rule("SCMP_ACT_ALLOW", 1), rule("SCMP_ACT_TRAP", 2)], [rule("SCMP_ACT_TRAP", 2), rule("SCMP_ACT_ALLOW", 1)]]
    {
        let program = program(json!(rules));
        let first = |nr, first| decide(&program, Abi::I386, nr, [first, 0, 0, 0, 0, 0]);
        assert_eq!([first(359, 1), first(359, 2), first(359, 3)], [ALLOW, libc::SECCOMP_RET_TRAP, EPERM]);
        assert_eq!(first(102, 1), libc::SECCOMP_RET_TRAP);
    }
}

#[test]
fn a_program_of_the_largest_size_jumps_everywhere() {
    let names: Vec<_> =
        Abi::X86_64.table().iter().map(|&(name, _)| name).filter(|name| Abi::X32.number(name).is_some()).collect();
    let names = &names[..310];
    let rules: Vec<_> = names.iter().flat_map(|name| (0..2u64).map(move |value| {
        json!({"names": [name], "action": "SCMP_ACT_ALLOW", "args": [{"index": 3, "value": value, "op": "SCMP_CMP_EQ"}]})
    })).collect();
    let json = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
    let program = compile_for(Abi::X86_64, &parse(json)).unwrap().program.instructions;
    assert!((3500..=MAX_INSTRUCTIONS).contains(&program.len()), "{}", program.len());
    for (name, nr) in names.iter().map(|name| (name, Abi::X86_64.number(name).unwrap())) {
        let third = |value| decide(&program, Abi::X86_64, nr, [0, 0, 0, value, 0, 0]);
        assert_eq!([third(0), third(1), third(2)], [ALLOW, ALLOW, EPERM], "{name}");
    }
}
