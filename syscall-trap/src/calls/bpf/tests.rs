//! The decoder of bpf(2), and which programs pass.

use proptest::prelude::*;

use super::instruction::{are_a_constant, are_plain};
use super::*;
use crate::calls::tests::{NOWHERE, Pages, native};

/// Where a test's attributes, instructions and licence are.
const ATTRIBUTES: u64 = 0x1000;
const CODE: u64 = 0x2000;
const LICENCE_AT: u64 = 0x3ff0;
const LOG: u64 = 0x5000;

/// r0 = 1; exit
const ALLOW_ALL: [[u8; 8]; 2] = [[0xb4, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// `union bpf_attr` with these words.
fn attributes(words: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; 160];
    for &(at, word) in words {
        bytes[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// Those of a load of [`ALLOW_ALL`], with some words changed.
fn loading(words: &[(usize, u32)]) -> Vec<u8> {
    let plain = [(0, 15), (4, 2), (8, CODE as u32), (16, LICENCE_AT as u32), (48, u32::from_ne_bytes(*b"mine"))];
    attributes(&[&plain, words].concat())
}

fn asked(command: i32, attributes: &[u8], size: usize) -> Decision {
    let memory = Pages::default()
        .at(ATTRIBUTES, attributes)
        .at(CODE, ALLOW_ALL.as_flattened())
        .at(LICENCE_AT, b"Dual MIT/GPL\0");
    native("bpf", &[0x7777_0000_0000_0000 | command as u64, ATTRIBUTES, size as u64], &memory)
}

fn ask(command: i32, attributes: &[u8]) -> Decision {
    asked(command, attributes, attributes.len())
}

fn errno(errno: i32) -> Decision {
    Decision::Answer(Answer::Errno(errno))
}

fn served(call: Bpf) -> Decision {
    Decision::Bpf(Box::new(call))
}

#[test]
fn a_device_program_is_loaded_as_it_is() {
    let mut name = [0; 16];
    name[..4].copy_from_slice(b"mine");
    let program =
        Program { kind: 15, instructions: ALLOW_ALL.to_vec(), licence: c"Dual MIT/GPL".to_owned(), flags: 0, name };
    assert_eq!(ask(PROG_LOAD, &loading(&[])), served(Bpf::Load { program: program.clone(), log: None }));
    // What libraries add: the kind of attachment, a log, the kernel's version, the alignment.
    let more = [(68, 6), (24, 1), (28, 4096), (32, LOG as u32), (40, 0x60000), (44, 1)];
    let strict = Program { flags: 1, ..program.clone() };
    assert_eq!(ask(PROG_LOAD, &loading(&more)), served(Bpf::Load { program: strict, log: Some(LOG) }));
    assert_eq!(asked(PROG_LOAD, &loading(&[]), 52), served(Bpf::Load { program, log: None }), "an old program's size");
}

#[test]
fn every_other_load_is_refused() {
    let mut changes = vec![(0, 0), (0, 1), (0, 2), (0, 9), (0, 16), (0, 31), (68, 1), (64, 1)];
    changes.extend([2, 4, 8, 16, 32, 64, 1 << 31].map(|flag| (44, flag)));
    changes.extend((72..160).step_by(4).map(|at| (at, 1)));
    for change in changes {
        assert_eq!(ask(PROG_LOAD, &loading(&[change])), errno(libc::EPERM), "{change:?}");
    }
    for (change, error) in [
        ((4, 0), libc::E2BIG),
        ((4, 4097), libc::E2BIG),
        ((4, u32::MAX), libc::E2BIG),
        ((8, NOWHERE as u32), libc::EFAULT),
        ((16, NOWHERE as u32), libc::EFAULT),
        ((16, 0), libc::EFAULT),
    ] {
        assert_eq!(ask(PROG_LOAD, &loading(&[change])), errno(error), "{change:?}");
    }
    // Behind the two there are zeros, of which a program is not made.
    assert_eq!(ask(PROG_LOAD, &loading(&[(4, 3)])), errno(libc::EPERM));
}

#[test]
fn the_size_of_the_attributes_is_taken_as_the_kernel_takes_it() {
    let long = |last: u8| {
        let mut bytes = loading(&[]);
        bytes.resize(3999, 0);
        bytes.push(last);
        bytes
    };
    let outside = |bytes: &[u8], size: u64| {
        let memory = Pages::default().at(0x8000, bytes).at(CODE, ALLOW_ALL.as_flattened()).at(LICENCE_AT, b"MIT\0");
        native("bpf", &[PROG_LOAD as u64, 0x8000, size], &memory)
    };
    assert!(matches!(outside(&long(0), 4000), Decision::Bpf(_)));
    assert_eq!(outside(&long(1), 4000), errno(libc::E2BIG));
    assert_eq!(outside(&long(0), 4097), errno(libc::E2BIG));
    assert_eq!(outside(&long(0), 0), errno(libc::EPERM), "no program type");
    assert_eq!(native("bpf", &[5, NOWHERE, 64], &Pages::default()), errno(libc::EFAULT));
}

/// runc's library has these tried before it attaches anything.
#[test]
fn what_a_library_tries_is_answered() {
    let tried = |words: &[(usize, u32)]| match ask(PROG_LOAD, &loading(&[&[(0, 8)], words].concat())) {
        Decision::Bpf(call) => matches!(*call, Bpf::Load { program: Program { kind: 8, .. }, .. }),
        other => panic!("{other:?}"),
    };
    assert!(tried(&[]));
    for words in [[(0, 8), (68, 1)], [(0, 8), (4, 3)], [(0, 8), (4, 1)]] {
        assert_eq!(ask(PROG_LOAD, &loading(&words)), errno(libc::EPERM), "{words:?}");
    }
    // It does nothing, or it is not loaded.
    for other in [[[0xbf, 0x10, 0, 0, 0, 0, 0, 0], ALLOW_ALL[1]], [ALLOW_ALL[0]; 2], [ALLOW_ALL[1], ALLOW_ALL[0]]] {
        assert!(!are_a_constant(&other), "{other:?}");
    }
    let attach = |words: &[(usize, u32)]| ask(PROG_ATTACH, &attributes(&[&[(0, u32::MAX), (4, 8)], words].concat()));
    assert_eq!(attach(&[(8, 0), (12, 4)]), errno(libc::EBADF));
    assert_eq!(attach(&[(8, 6), (12, 32)]), errno(libc::EINVAL));
}

#[test]
fn attachments_are_of_devices_alone() {
    let words = [(0, 7), (4, 8), (8, 6), (12, 2)];
    let attach = |flags, replaced| served(Bpf::Attach { target: 7, program: 8, flags, replaced });
    assert_eq!(ask(PROG_ATTACH, &attributes(&words)), attach(2, None));
    assert_eq!(ask(PROG_ATTACH, &attributes(&[&words[..], &[(12, 6), (16, 9)]].concat())), attach(6, Some(9)));
    assert_eq!(ask(PROG_ATTACH, &attributes(&[&words[..], &[(12, 1)]].concat())), attach(1, None));
    for (change, error) in [
        ((8, 0), libc::EPERM),
        ((8, 7), libc::EPERM),
        ((20, 1), libc::EPERM),
        ((24, 1), libc::EPERM),
        ((12, 8), libc::EINVAL),
    ] {
        assert_eq!(ask(PROG_ATTACH, &attributes(&[&words[..], &[change]].concat())), errno(error), "{change:?}");
    }
    let words = [(0, 7), (4, 8), (8, 6)];
    assert_eq!(ask(PROG_DETACH, &attributes(&words)), served(Bpf::Detach { target: 7, program: 8 }));
    for change in [(8, 0), (16, 1), (20, 1)] {
        assert_eq!(ask(PROG_DETACH, &attributes(&[&words[..], &[change]].concat())), errno(libc::EPERM), "{change:?}");
    }
}

#[test]
fn what_is_asked_for_goes_to_the_callers_memory() {
    let words = [(0, 7), (4, 6), (16, LOG as u32), (24, 64)];
    let query = Bpf::Query { target: 7, ids: LOG, room: 64, attributes: ATTRIBUTES };
    assert_eq!(ask(PROG_QUERY, &attributes(&words)), served(query));
    // The programs of the groups above, another kind, links.
    for change in [(8, 1), (4, 0), (40, 1)] {
        assert_eq!(ask(PROG_QUERY, &attributes(&[&words[..], &[change]].concat())), errno(libc::EPERM), "{change:?}");
    }
    let info = Bpf::Info { program: 7, info: LOG, room: 200, attributes: ATTRIBUTES };
    assert_eq!(ask(OBJ_GET_INFO_BY_FD, &attributes(&[(0, 7), (4, 200), (8, LOG as u32)])), served(info));
    assert_eq!(ask(PROG_GET_FD_BY_ID, &attributes(&[(0, 77)])), served(Bpf::Open { id: 77 }));
    assert_eq!(ask(PROG_GET_FD_BY_ID, &attributes(&[(0, 77), (8, 1)])), errno(libc::EPERM));
}

#[test]
fn every_other_command_is_refused_whatever_it_says() {
    let commands = (-1..64).filter(|command| ![5, 8, 9, 13, 15, 16].contains(command));
    for command in commands {
        assert_eq!(ask(command, &loading(&[])), errno(libc::EPERM), "{command}");
        assert_eq!(native("bpf", &[command as u32 as u64, NOWHERE, u64::MAX], &Pages::default()), errno(libc::EPERM));
    }
}

/// Memory that we may not read, though the kernel may.
struct Closed;

impl Memory for Closed {
    fn read(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::from_raw_os_error(libc::EPERM))
    }
}

#[test]
fn it_is_never_left_to_the_kernel() {
    for command in [5, 8, 9, 13, 15, 16] {
        let registers = Registers([command, 0x1000, 64, 0, 0, 0]);
        assert_eq!(bpf(&registers, &Closed), Err(Answer::Errno(libc::EPERM)));
    }
}

#[test]
fn a_program_of_plain_instructions_passes() {
    let compiled = [
        [0x61, 0x12, 0, 0, 0, 0, 0, 0],    // r2 = *(u32 *)(r1 + 0)
        [0x54, 2, 0, 0, 0xff, 0xff, 0, 0], // w2 &= 0xffff
        [0x77, 3, 0, 0, 16, 0, 0, 0],      // r3 >>= 16
        [0x18, 4, 0, 0, 1, 0, 0, 0],       // r4 = 0x200000001
        [0, 0, 0, 0, 2, 0, 0, 0],
        [0x7b, 0x4a, 0xf8, 0xff, 0, 0, 0, 0], // *(u64 *)(r10 - 8) = r4
        [0x62, 0x0a, 0xf0, 0xff, 7, 0, 0, 0], // *(u32 *)(r10 - 16) = 7
        [0x55, 2, 3, 0, 2, 0, 0, 0],          // if r2 != 2 goto +3
        [0x56, 3, 2, 0, 1, 0, 0, 0],          // if w3 != 1 goto +2
        [0x05, 0, 0, 0, 0, 0, 0, 0],          // goto +0
        [0xd4, 3, 0, 0, 32, 0, 0, 0],         // r3 = le32 r3
        [0xb7, 0, 0, 0, 1, 0, 0, 0],          // r0 = 1
        [0x95, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert!(are_plain(&compiled) && are_plain(&ALLOW_ALL));
}

#[test]
fn no_other_instruction_passes() {
    let load = |source: u8| [[0x18, source << 4 | 1, 0, 0, 5, 0, 0, 0], [0; 8]];
    assert!(are_plain(&load(0)));
    for source in 1..16 {
        assert!(!are_plain(&load(source)), "a pseudo source: {source}");
    }
    assert!(!are_plain(&load(0)[..1]), "half a constant");
    assert!(!are_plain(&[load(0)[0], [0, 0x10, 0, 0, 0, 0, 0, 0]]), "with a register in its other half");
    assert!(!are_plain(&[[0; 8]]), "the other half alone");
    for (what, code, registers, offset) in [
        ("a helper", 0x85, 0x00, 0),
        ("a function of the program's", 0x85, 0x10, 0),
        ("a function of the kernel's", 0x85, 0x20, 0),
        ("an indirect call", 0x8d, 0, 0),
        ("a call of JMP32", 0x86, 0, 0),
        ("an exit of JMP32", 0x96, 0, 0),
        ("an exit by a register", 0x9d, 0, 0),
        ("a loop", 0x05, 0, -1),
        ("a conditional loop", 0x55, 2, -3),
        ("one of JMP32", 0x16, 2, -1),
        ("a far jump", 0x06, 0, 0),
        ("a jump by a register", 0x0d, 0, 0),
        ("may_goto", 0xe5, 0, 1),
        ("an unknown jump", 0xf5, 0, 1),
        ("atomic, 32 bits", 0xc3, 0x1a, 0),
        ("atomic, 64 bits", 0xdb, 0x1a, 0),
        ("a packet's byte", 0x30, 0, 0),
        ("a packet's byte by a register", 0x50, 0, 0),
        ("a load with its sign", 0x81, 0x12, 0),
        ("a move with its sign", 0xbf, 0x12, 8),
        ("a cast of an address", 0xbf, 0x12, 1),
        ("a division with its sign", 0x3f, 0x12, 1),
        ("unknown arithmetic", 0xe7, 1, 0),
        ("more of it", 0xf4, 1, 0),
    ] {
        let [low, high] = i16::to_le_bytes(offset);
        assert!(!are_plain(&[[code, registers, low, high, 0, 0, 0, 0], ALLOW_ALL[0], ALLOW_ALL[1]]), "{what}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is served is bounded, and has no call in it.
    #[test]
    fn any_attributes_are_decided(
        command in 0i32..40,
        size in prop_oneof![0usize..300, Just(4096usize), Just(4097usize)],
        words in prop::collection::vec((0usize..40, prop_oneof![0u32..20, Just(0x2000u32), any::<u32>()]), 0..12),
        code in prop::collection::vec(any::<[u8; 8]>(), 0..8),
    ) {
        let words: Vec<_> = words.into_iter().map(|(at, word)| (at * 4, word)).collect();
        let memory = Pages::default().at(ATTRIBUTES, &attributes(&words)).at(CODE, code.as_flattened());
        match native("bpf", &[command as u64, ATTRIBUTES, size as u64], &memory) {
            Decision::Bpf(call) => if let Bpf::Load { program, .. } = *call {
                prop_assert!((1..=4096).contains(&program.instructions.len()) && program.licence.count_bytes() <= 127);
                prop_assert!(program.instructions.iter().all(|one| one[0] & 0xf7 != 0x85));
            },
            Decision::Answer(answer) => prop_assert!(matches!(answer, Answer::Errno(_)), "{answer:?}"),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
