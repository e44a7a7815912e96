//! The base filter, on every ABI; what the kernel makes of it is asked through containers (tests/tests/task/base_filter.rs).

use super::super::abi::{Abi, X32_MARK};
use super::super::base::{Allowed, ROWS, base_for, unserved};
use super::interpreter::{Data, run};

const NOTHING: Allowed = Allowed { io_uring: false, programs: false };
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// What a call of a name is answered, with this first argument.
fn answer(abi: Abi, allowed: Allowed, name: &str, first: u64) -> Option<u32> {
    let native = Abi::family(abi)[0];
    let program = base_for(native, allowed).unwrap().instructions;
    let data = Data { nr: abi.number(name)?, arch: abi.audit_arch(), args: [first, 0, 0, 0, 0, 0] };
    Some(run(&program, &data).0)
}

const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X32, Abi::I386, Abi::Aarch64, Abi::Arm];

#[test]
fn every_row_holds_on_every_abi() {
    for abi in ABIS {
        for name in ["bpf", "perf_event_open", "open_by_handle_at", "io_uring_setup", "io_uring_enter", "syslog"] {
            assert_eq!(answer(abi, NOTHING, name, 0), Some(EPERM), "{abi:?} {name}");
        }
        let io_uring = Allowed { io_uring: true, ..NOTHING };
        for (name, allowed) in [("io_uring_setup", ALLOW), ("io_uring_register", ALLOW), ("bpf", EPERM)] {
            assert_eq!(answer(abi, io_uring, name, 0), Some(allowed), "{abi:?} {name}");
        }
        let programs = Allowed { programs: true, ..NOTHING };
        for (name, allowed) in [("io_uring_setup", EPERM), ("bpf", ALLOW), ("perf_event_open", EPERM)] {
            assert_eq!(answer(abi, programs, name, 5), Some(allowed), "{abi:?} {name}");
        }
        for name in ["read", "mount", "clone", "clone3", "socketpair", "connect", "setns", "ioctl", "init_module"] {
            assert_eq!(answer(abi, NOTHING, name, 40), Some(ALLOW), "{abi:?} {name}");
        }
    }
}

#[test]
fn a_socket_is_looked_at_by_the_bits_that_the_kernel_looks_at() {
    for abi in ABIS {
        let family = |value| answer(abi, NOTHING, "socket", value).unwrap();
        for denied in [40, 42, 0x1_0000_0028, 0xffff_ffff_0000_0028] {
            assert_eq!(family(denied), EPERM, "{abi:?} {denied:#x}");
        }
        for allowed in [1, 2, 10, 16, 17, 39, 41, 43, 0x28_0000_0002, 0x8000_0028] {
            assert_eq!(family(allowed), ALLOW, "{abi:?} {allowed:#x}");
        }
    }
    for sub_call in 0..22 {
        assert_eq!(answer(Abi::I386, NOTHING, "socketcall", sub_call), Some(ENOSYS));
    }
}

#[test]
fn an_abi_that_the_kernel_cannot_have_is_killed() {
    for (native, arches) in
        [(Abi::X86_64, [0xc000_00b7, 0x4000_0028, 0]), (Abi::Aarch64, [0xc000_003e, 0x4000_0003, 0])]
    {
        let program = base_for(native, Allowed { io_uring: true, programs: true }).unwrap().instructions;
        for arch in arches {
            assert_eq!(run(&program, &Data { nr: 0, arch, args: [0; 6] }).0, libc::SECCOMP_RET_KILL_THREAD);
        }
    }
}

#[test]
fn what_nobody_serves_is_refused_and_nothing_else() {
    let program = unserved().unwrap().instructions;
    let of = |name| {
        let data = Data { nr: Abi::HOST.number(name).unwrap(), arch: Abi::HOST.audit_arch(), args: [5; 6] };
        run(&program, &data).0
    };
    assert_eq!((of("bpf"), of("io_uring_setup"), of("mount"), of("sysinfo")), (EPERM, ALLOW, ALLOW, ALLOW));
}

#[test]
fn the_program_is_short() {
    let program = base_for(Abi::X86_64, NOTHING).unwrap().instructions;
    let numbers = (0..600).chain(X32_MARK..X32_MARK + 600);
    let steps = |nr, arch| run(&program, &Data { nr, arch, args: [0; 6] }).1;
    let most = numbers.filter(|nr| nr & !X32_MARK != 41).map(|nr| steps(nr, 0xc000_003e)).max().unwrap();
    assert!(most <= 12, "{most} instructions, whatever the call");
    assert!(program.len() < 120, "{} instructions", program.len());
}

#[test]
fn the_documentation_repeats_the_table() {
    let documentation = include_str!("../../../../docs/security-model.md");
    for row in ROWS {
        assert!(documentation.contains(&format!("{row}\n")), "docs/security-model.md must have the row\n{row}");
    }
    let rows = documentation.lines().filter(|line| line.contains("| EPERM") || line.contains("| ENOSYS"));
    assert_eq!(rows.count(), ROWS.len(), "and no other");
}
