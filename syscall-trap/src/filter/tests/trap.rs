//! The trap filter, on every ABI; what the kernel makes of it is asked in tests/listen.rs and through containers.

use proptest::prelude::*;

use super::super::abi::{Abi, X32_MARK};
use super::super::trap::{MS_MAGIC, TRAPS, Trapped, trap_for, trapped_for};
use super::interpreter::{Data, run};

const ABIS: [Abi; 5] = [Abi::X86_64, Abi::X32, Abi::I386, Abi::Aarch64, Abi::Arm];

/// Whether a call of a name is trapped; none where the ABI has no such call.
fn is_trapped(abi: Abi, name: &str, args: [u64; 6]) -> Option<bool> {
    let program = trap_for(Abi::family(abi)[0]).unwrap().instructions;
    let data = Data { nr: abi.number(name)?, arch: abi.audit_arch(), args };
    match run(&program, &data).0 {
        libc::SECCOMP_RET_USER_NOTIF => Some(true),
        libc::SECCOMP_RET_ALLOW => Some(false),
        other => panic!("{abi:?} {name}: {other:#x}"),
    }
}

/// Garbage above what the kernel looks at changes nothing.
fn with(index: usize, value: u32) -> [[u64; 6]; 2] {
    let args = |high: u64| {
        let mut args = [7; 6];
        args[index] = high << 32 | u64::from(value);
        args
    };
    [args(0), args(0xffff_ffff)]
}

#[test]
fn a_mount_is_trapped_by_what_the_kernel_takes_it_for() {
    const REMOUNT: u64 = libc::MS_REMOUNT;
    const BIND: u64 = libc::MS_BIND;
    let magic = u64::from(MS_MAGIC);
    for (flags, trapped) in [
        (0, true),
        (libc::MS_NOSUID | libc::MS_NODEV | libc::MS_RDONLY | libc::MS_RELATIME, true),
        (libc::MS_REC, true),
        (REMOUNT, true),
        (REMOUNT | libc::MS_RDONLY | libc::MS_PRIVATE | libc::MS_MOVE, true),
        (REMOUNT | BIND, true),
        (REMOUNT | BIND | libc::MS_REC, true),
        (BIND, true),
        (BIND | libc::MS_PRIVATE, true),
        (BIND | libc::MS_REC, false),
        (libc::MS_MOVE, false),
        (libc::MS_PRIVATE | libc::MS_REC, false),
        (libc::MS_SHARED, false),
        (libc::MS_SLAVE, false),
        (libc::MS_UNBINDABLE, false),
        // Old programs: the magic is no flags, though it has the bits of two propagations.
        (magic, true),
        (magic | libc::MS_NODEV, true),
        (magic | libc::MS_MOVE, false),
        (magic | BIND, true),
        (magic | BIND | libc::MS_REC, false),
        (magic | REMOUNT, true),
    ] {
        for abi in ABIS {
            for args in with(3, flags as u32) {
                assert_eq!(is_trapped(abi, "mount", args), Some(trapped), "{abi:?} {flags:#x}");
            }
        }
    }
}

#[test]
fn every_other_row_holds_on_every_abi_that_has_the_call() {
    for abi in ABIS {
        let is = |name, index, value| with(index, value).map(|args| is_trapped(abi, name, args));
        assert_eq!(is("umount2", 1, 0), [Some(true); 2]);
        assert_eq!(is("umount2", 1, 9), [Some(true); 2]);
        assert_eq!(is("umount2", 1, 2), [Some(true); 2]);
        for name in ["open_tree", "open_tree_attr"] {
            assert_eq!(is(name, 2, 0x8_0001), [Some(true); 2]);
            assert_eq!(is(name, 2, 0x8_8001), [Some(false); 2], "recursive");
            assert_eq!(is(name, 2, 0x1000), [Some(true); 2], "no clone");
            assert_eq!(is(name, 2, 0x8000), [Some(true); 2], "recursive, but no clone");
        }
        assert_eq!(is("mount_setattr", 2, 0x1000), [Some(true); 2]);
        assert_eq!(is("mount_setattr", 2, 0x9000), [Some(false); 2], "recursive");
        for (name, index) in [("mknod", 1), ("mknodat", 2)] {
            let has = abi.number(name).is_some();
            assert_eq!(is(name, index, libc::S_IFCHR | 0o666), [has.then_some(true); 2]);
            for kind in [libc::S_IFBLK, libc::S_IFREG, libc::S_IFIFO, libc::S_IFSOCK, 0, libc::S_IFDIR] {
                assert_eq!(is(name, index, kind | 0o666), [has.then_some(false); 2], "{kind:#o}");
            }
        }
        for name in ["sysinfo", "fsopen", "bpf"] {
            assert_eq!(is(name, 0, 0), [Some(true); 2]);
        }
        assert_eq!(is("umount", 0, 0), [(abi == Abi::I386).then_some(true); 2]);
        for name in ["read", "openat", "newfstatat", "move_mount", "fsmount", "fsconfig", "clone", "socket", "mkdirat"]
        {
            assert_ne!(is(name, 3, 0), [Some(true); 2], "{abi:?} {name}");
        }
    }
}

#[test]
fn a_number_is_the_name_that_the_filter_trapped() {
    for abi in ABIS {
        let native = Abi::family(abi)[0];
        let found = |name| trapped_for(native, abi.audit_arch(), abi.number(name)?);
        for name in TRAPS.iter().flat_map(|trap| trap.calls).copied().filter(|name| abi.number(name).is_some()) {
            let wide = !matches!(abi, Abi::I386 | Abi::Arm);
            assert_eq!(found(name), Some(Trapped { name, wide }), "{abi:?}");
        }
        assert_eq!(found("read"), None);
        // The same number through an ABI of another kernel.
        assert_eq!(trapped_for(native, 0, abi.number("sysinfo").unwrap()), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What the filter traps, the decoder knows.
    #[test]
    fn nothing_is_trapped_that_has_no_name(nr in 0u32..600, x32: bool, i386: bool, args: [u64; 6]) {
        let program = trap_for(Abi::X86_64).unwrap().instructions;
        let nr = if x32 && !i386 { nr | X32_MARK } else { nr };
        let arch = if i386 { Abi::I386 } else { Abi::X86_64 }.audit_arch();
        if run(&program, &Data { nr, arch, args }).0 == libc::SECCOMP_RET_USER_NOTIF {
            prop_assert!(trapped_for(Abi::X86_64, arch, nr).is_some());
        }
    }
}

#[test]
fn the_program_is_short() {
    let program = trap_for(Abi::X86_64).unwrap();
    let flags = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER | libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    assert_eq!(program.flags, flags);
    let steps = |nr, arch| run(&program.instructions, &Data { nr, arch, args: [0; 6] }).1;
    let most = (0..600).map(|nr| steps(nr, 0xc000_003e)).max().unwrap();
    assert!(most <= 40, "{most} instructions, whatever the call");
    assert!(program.instructions.len() < 320, "{} instructions", program.instructions.len());
}

#[test]
fn the_documentation_repeats_the_table() {
    let documentation = include_str!("../../../../docs/syscalls.md");
    let rows: Vec<String> = TRAPS.iter().map(ToString::to_string).collect();
    let found: Vec<&str> = documentation.lines().filter(|line| line.starts_with("| `")).collect();
    assert_eq!(found, rows, "docs/syscalls.md must have the rows\n{}", rows.join("\n"));
}
