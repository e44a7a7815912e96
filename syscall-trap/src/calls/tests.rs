//! The decoder, with memory of our own making.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use proptest::prelude::*;

use super::sysinfo::{Layout, Sysinfo};
use super::{Decision, decode_for};
use crate::act::Act;
use crate::filter::abi::Abi;
use crate::filter::trap::{MS_MAGIC, TRAPS};
use crate::notify::memory::Memory;
use crate::notify::{Answer, Call};

/// Pages of a caller, by their addresses.
#[derive(Default)]
pub(super) struct Pages {
    pages: BTreeMap<u64, Vec<u8>>,
    read: RefCell<Vec<u64>>,
}

impl Pages {
    /// Bytes at any address; the rest of their pages is zero.
    pub(super) fn at(mut self, address: u64, bytes: &[u8]) -> Self {
        for (at, &byte) in (address..).zip(bytes) {
            let page = self.pages.entry(at / 4096 * 4096).or_insert_with(|| vec![0; 4096]);
            page[(at % 4096) as usize] = byte;
        }
        self
    }
}

impl Memory for Pages {
    fn read(&self, address: u64, into: &mut [u8]) -> io::Result<usize> {
        self.read.borrow_mut().push(address);
        let page = self.pages.get(&(address / 4096 * 4096)).ok_or(io::Error::from_raw_os_error(libc::EFAULT))?;
        let from = (address % 4096) as usize;
        assert!(from + into.len() <= 4096, "a read crosses a page at {address:#x}");
        into.copy_from_slice(&page[from..from + into.len()]);
        Ok(into.len())
    }
}

const TYPE: u64 = 0x1000;
const SOURCE: u64 = 0x2000;
const TARGET: u64 = 0x3000;
const DATA: u64 = 0x4000;
pub(super) const NOWHERE: u64 = 0x7000_0000;

fn call(abi: Abi, name: &str, args: &[u64], memory: &Pages) -> Decision {
    let mut registers = [0; 6];
    registers[..args.len()].copy_from_slice(args);
    let call = Call { nr: abi.number(name).unwrap(), arch: abi.audit_arch(), args: registers };
    decode_for(Abi::family(abi)[0], &call, memory)
}

pub(super) fn native(name: &str, args: &[u64], memory: &Pages) -> Decision {
    call(Abi::X86_64, name, args, memory)
}

fn errno(errno: i32) -> Decision {
    Decision::Answer(Answer::Errno(errno))
}

const CONTINUE: Decision = Decision::Answer(Answer::Continue);

fn strings(kind: &[u8]) -> Pages {
    Pages::default().at(TYPE, kind).at(SOURCE, b"none\0").at(TARGET, b"/mnt\0").at(DATA, b"hidepid=2\0x")
}

fn mount(flags: u64, memory: &Pages) -> Decision {
    native("mount", &[SOURCE, TARGET, TYPE, flags, DATA], memory)
}

#[test]
fn a_new_proc_or_sysfs_is_an_act_and_every_other_type_the_kernels() {
    let (target, data) = (b"/mnt".to_vec(), b"hidepid=2".to_vec());
    let flags = libc::MS_NOSUID;
    let proc = Decision::Act(Act::Proc { target: target.clone(), flags, data: data.clone() });
    assert_eq!(mount(flags, &strings(b"proc\0")), proc);
    assert_eq!(mount(u64::from(MS_MAGIC) | flags, &strings(b"proc\0")), proc);
    let sysfs = Decision::Act(Act::Sysfs { target: target.clone(), flags, data: data.clone() });
    assert_eq!(mount(flags, &strings(b"sysfs\0")), sysfs);
    for kind in [&b"tmpfs\0"[..], b"\0", b"procfs\0", b"proc.x\0", b"sysfs2\0", b"overlay\0"] {
        assert_eq!(mount(flags, &strings(kind)), CONTINUE);
    }
    assert_eq!(native("mount", &[0, TARGET, 0, 0, 0], &strings(b"")), CONTINUE, "no type");
    let bare = Decision::Act(Act::Proc { target, flags: 0, data: Vec::new() });
    assert_eq!(native("mount", &[0, TARGET, TYPE, 0, 0], &strings(b"proc\0")), bare);
}

#[test]
fn remounts_and_plain_binds_are_acts_and_what_the_filter_passes_is_the_kernels() {
    let (target, data) = (b"/mnt".to_vec(), b"hidepid=2".to_vec());
    let memory = strings(b"tmpfs\0");
    let flags = libc::MS_REMOUNT | libc::MS_RDONLY;
    assert_eq!(mount(flags, &memory), Decision::Act(Act::Remount { target: target.clone(), flags, data }));
    let bind = Act::Bind { source: b"none".to_vec(), target, flags: libc::MS_BIND };
    assert_eq!(mount(libc::MS_BIND, &memory), Decision::Act(bind));
    assert_eq!(native("mount", &[0, TARGET, 0, libc::MS_BIND, 0], &memory), CONTINUE, "EINVAL is the kernel's");
    let single = libc::MS_REMOUNT | libc::MS_BIND;
    assert!(matches!(mount(single, &memory), Decision::Act(Act::Remount { flags, .. }) if flags == single));
    for flags in [libc::MS_BIND | libc::MS_REC, libc::MS_MOVE, libc::MS_PRIVATE, libc::MS_SHARED | libc::MS_REC] {
        assert_eq!(mount(flags, &memory), CONTINUE, "{flags:#x}");
    }
}

#[test]
fn what_is_not_mapped_or_has_no_end_gets_the_kernels_errno() {
    let memory = strings(b"proc\0").at(0x10_0000, &[b'x'; 8192]).at(0x20_0000, &[b'x'; 4095]);
    let end_of_memory = 0x20_0ff0;
    let memory = memory.at(end_of_memory, &[b'x'; 16]);
    let mount = |source, target, kind, data| native("mount", &[source, target, kind, 0, data], &memory);
    assert_eq!(mount(SOURCE, TARGET, NOWHERE, 0), errno(libc::EFAULT));
    assert_eq!(mount(NOWHERE, TARGET, TYPE, 0), errno(libc::EFAULT));
    assert_eq!(mount(SOURCE, NOWHERE, TYPE, 0), errno(libc::EFAULT));
    assert_eq!(mount(SOURCE, 0, TYPE, 0), errno(libc::EFAULT));
    assert_eq!(mount(SOURCE, TARGET, TYPE, NOWHERE), errno(libc::EFAULT));
    assert_eq!(mount(SOURCE, u64::MAX, TYPE, 0), errno(libc::EFAULT));
    assert_eq!(mount(SOURCE, end_of_memory, TYPE, 0), errno(libc::EFAULT), "it runs off the end");
    assert_eq!(mount(SOURCE, TARGET, 0x10_0000, 0), errno(libc::EINVAL));
    assert_eq!(mount(SOURCE, 0x10_0000, TYPE, 0), errno(libc::ENAMETOOLONG));
    // Data needs no end: a page counts, or what there is of it.
    for (data, len) in [(0x10_0000, 4095), (0x10_0800, 4095), (end_of_memory, 16)] {
        let Decision::Act(Act::Proc { data, .. }) = mount(SOURCE, TARGET, TYPE, data) else { panic!("no act") };
        assert_eq!(data.len(), len);
    }
    let longest = strings(b"proc\0").at(0x30_0001, &[b'y'; 4095]).at(0x30_1000, b"\0");
    let umount = |target| native("umount2", &[target, 0], &longest);
    assert!(matches!(umount(0x30_0001), Decision::Act(Act::Umount { target, .. }) if target.len() == 4095));
    let longer = Pages::default().at(0x30_0000, &[b'y'; 4096]).at(0x30_1000, b"\0");
    assert_eq!(native("umount2", &[0x30_0000, 0], &longer), errno(libc::ENAMETOOLONG));
}

#[test]
fn a_memory_that_may_not_be_read_leaves_the_call_to_the_kernel() {
    struct Closed;
    impl Memory for Closed {
        fn read(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(libc::EPERM))
        }
    }
    for name in ["mount", "umount2", "fsopen"] {
        let call =
            Call { nr: Abi::X86_64.number(name).unwrap(), arch: Abi::X86_64.audit_arch(), args: [1, 1, 0, 0, 0, 0] };
        let mounts = Call { args: [1, 1, 1, 0, 1, 0], ..call };
        let call = if name == "mount" { mounts } else { call };
        assert_eq!(decode_for(Abi::X86_64, &call, &Closed), CONTINUE, "{name}");
    }
}

#[test]
fn umounts() {
    let memory = strings(b"");
    let act = |flags| Decision::Act(Act::Umount { target: b"/mnt".to_vec(), flags });
    assert_eq!(native("umount2", &[TARGET, 0], &memory), act(0));
    assert_eq!(native("umount2", &[TARGET, 9], &memory), act(9));
    for flags in [2, 4, 6, 16, 0x8000_0000] {
        assert_eq!(native("umount2", &[TARGET, flags], &memory), CONTINUE, "{flags:#x}");
    }
    // A lazy one is looked at where it may be of the container's own.
    for (path, is_looked_at) in [
        ("/proc", true),
        ("sys/./", true),
        ("/x/proc", true),
        ("/proc/fs", false),
        ("/myproc", false),
        ("/", false),
        ("", false),
    ] {
        let memory = Pages::default().at(TARGET, format!("{path}\0").as_bytes());
        let act = Decision::Act(Act::Umount { target: path.into(), flags: 10 });
        assert_eq!(native("umount2", &[TARGET, 10], &memory), if is_looked_at { act } else { CONTINUE }, "{path}");
    }
    assert_eq!(call(Abi::I386, "umount", &[TARGET, 77], &memory), act(0));
}

#[test]
fn the_new_calls() {
    let memory = strings(b"proc\0").at(0x5000, b"sysfs\0").at(0x6000, b"tmpfs\0");
    for (name, answer) in [(TYPE, errno(libc::ENOSYS)), (0x5000, errno(libc::ENOSYS)), (0x6000, CONTINUE)] {
        assert_eq!(native("fsopen", &[name, 1], &memory), answer);
    }
    assert_eq!(native("fsopen", &[0, 1], &memory), CONTINUE);
    assert_eq!(native("fsopen", &[NOWHERE, 1], &memory), errno(libc::EFAULT));
    let path = b"/mnt".to_vec();
    for name in ["open_tree", "open_tree_attr"] {
        let tree = Act::OpenTree { dirfd: 5, path: path.clone(), flags: 0x8_0001 };
        assert_eq!(native(name, &[5, TARGET, 0x8_0001, 0, 0], &memory), Decision::Act(tree));
        assert_eq!(native(name, &[5, TARGET, 0x8001], &memory), CONTINUE);
        let look = Act::OpenTree { dirfd: 5, path: path.clone(), flags: 0 };
        assert_eq!(native(name, &[5, TARGET, 0], &memory), Decision::Act(look));
    }
}

#[test]
fn the_flags_of_one_mount() {
    let attr = |fields: [u64; 4]| strings(b"").at(0x5000, &fields.map(u64::to_ne_bytes).concat());
    let of = |fields, flags, size| native("mount_setattr", &[5, TARGET, flags, 0x5000, size], &attr(fields));
    let (readonly, nosuid, idmap) = (1, 2, 0x10_0000);
    for (set, clear) in [(readonly, 0), (0, readonly), (readonly | nosuid, 0), (nosuid, readonly), (readonly, readonly)]
    {
        let act = Act::Setattr { dirfd: 5, path: b"/mnt".to_vec(), flags: 0x1000, set, clear };
        assert_eq!(of([set, clear, 0, 7], 0x1000, 32), Decision::Act(act));
        assert_eq!(of([set, clear, 0, 7], 0x9000, 32), CONTINUE, "recursive");
        assert_eq!(of([set, clear, 1 << 18, 7], 0x1000, 32), CONTINUE, "with a propagation");
        for size in [0, 24, 40, 1 << 40] {
            assert_eq!(of([set, clear, 0, 7], 0x1000, size), CONTINUE, "{size}");
        }
    }
    for set in [0, nosuid, readonly | idmap] {
        assert_eq!(of([set, 0, 0, 7], 0x1000, 32), CONTINUE, "{set:#x}");
    }
    assert_eq!(native("mount_setattr", &[5, TARGET, 0, NOWHERE, 32], &attr([1, 0, 0, 0])), CONTINUE);
}

#[test]
fn nodes() {
    let memory = strings(b"");
    let mode = u64::from(libc::S_IFCHR | 0o640);
    for (major, minor) in [(1, 3), (5, 1), (136, 0x1234), (0xfff, 0xf_ffff)] {
        let device = libc::makedev(major, minor);
        let node = |dirfd| Act::Mknod { dirfd, path: b"/mnt".to_vec(), mode: mode as u32, device };
        for abi in [Abi::X86_64, Abi::I386, Abi::X32] {
            assert_eq!(call(abi, "mknod", &[TARGET, mode, device], &memory), Decision::Act(node(libc::AT_FDCWD)));
            let garbage = 0xdead_0000 | mode;
            let dirfd = u64::from((-7i32).cast_unsigned());
            assert_eq!(call(abi, "mknodat", &[dirfd, TARGET, garbage, device], &memory), Decision::Act(node(-7)));
        }
    }
    assert_eq!(native("mknod", &[TARGET, mode, 0], &memory), CONTINUE, "a whiteout");
    assert_eq!(native("mknod", &[TARGET, u64::from(libc::S_IFBLK), 0x103], &memory), CONTINUE);
}

#[test]
fn arguments_have_the_width_of_their_abi() {
    let memory = strings(b"proc\0");
    let high = 0x5555_0000_0000_0000;
    let args = [SOURCE | high, TARGET | high, TYPE | high, high, DATA | high];
    for (abi, narrow) in [(Abi::I386, true), (Abi::Arm, true), (Abi::X86_64, false), (Abi::X32, false)] {
        let decided = call(abi, "mount", &args, &memory);
        assert_eq!(matches!(decided, Decision::Act(Act::Proc { .. })), narrow, "{abi:?}");
        let expected = if narrow {
            Decision::Sysinfo { address: TARGET, layout: Layout::Narrow }
        } else {
            Decision::Sysinfo { address: TARGET | high, layout: Layout::Wide }
        };
        assert_eq!(call(abi, "sysinfo", &[TARGET | high], &memory), expected);
    }
}

#[test]
fn no_more_is_read_than_the_kernel_reads() {
    let memory = strings(b"tmpfs\0");
    assert_eq!(mount(0, &memory), CONTINUE);
    assert_eq!(*memory.read.borrow(), [TYPE], "the type decides alone");
    let memory = strings(b"\0");
    assert_eq!(mount(libc::MS_BIND | libc::MS_REC, &memory), CONTINUE);
    assert!(memory.read.borrow().len() <= 1);
}

/// What the C library of this host reads from the struct.
#[test]
fn sysinfo_is_laid_out_as_the_kernel_lays_it_out() {
    let told = Sysinfo {
        uptime: 77,
        loads: [1, 2, 3],
        total_ram: 5 << 30,
        free_ram: 4096 * 5,
        shared_ram: 4096 * 6,
        buffer_ram: 4096 * 7,
        total_swap: 4096 * 8,
        free_swap: 4096 * 9,
        processes: 70_000,
    };
    let wide = told.to_bytes(Layout::Wide);
    assert_eq!(wide.len(), size_of::<libc::sysinfo>());
    let long = |at: usize| u64::from_ne_bytes(wide[8 * at..8 * at + 8].try_into().unwrap());
    let longs: Vec<u64> = (0..10).map(long).collect();
    assert_eq!(longs, [77, 1, 2, 3, 5 << 30, 20480, 24576, 28672, 32768, 36864]);
    assert_eq!(wide[80..82], u16::MAX.to_ne_bytes());
    assert_eq!(std::mem::offset_of!(libc::sysinfo, mem_unit), 104);
    assert_eq!((long(11), long(12), &wide[104..112]), (0, 0, &[1, 0, 0, 0, 0, 0, 0, 0][..]));

    let words = |told: &Sysinfo| {
        let bytes = told.to_bytes(Layout::Narrow);
        assert_eq!(bytes.len(), 64);
        bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(words(&told), [77, 1, 2, 3, 5 << 18, 5, 6, 7, 8, 9, 0xffff, 0, 0, 4096, 0, 0]);
    let small = Sysinfo { total_ram: 1 << 30, ..told };
    assert_eq!(words(&small)[4..10], [1 << 30, 20480, 24576, 28672, 32768, 36864]);
    assert_eq!(words(&small)[13], 1);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the registers and the memory hold: an act has a path that fits the kernel's buffers.
    #[test]
    fn any_call_is_decided(
        trap in 0..TRAPS.len(),
        abi in prop::sample::select(vec![Abi::X86_64, Abi::X32, Abi::I386, Abi::Aarch64, Abi::Arm]),
        nr: Option<u32>,
        args in prop::array::uniform6(prop_oneof![0u64..0x5000, any::<u64>(), Just(u64::MAX), Just(0x2fff)]),
        bytes in prop::collection::vec(any::<u8>(), 0..0x4000),
    ) {
        let memory = Pages::default().at(0x1000, &bytes);
        let number = TRAPS[trap].calls.iter().find_map(|name| abi.number(name));
        let call = Call { nr: nr.or(number).unwrap_or(0), arch: abi.audit_arch(), args };
        match decode_for(Abi::family(abi)[0], &call, &memory) {
            Decision::Act(
                Act::Proc { target: path, data, .. } | Act::Sysfs { target: path, data, .. } | Act::Remount { target: path, data, .. }
            ) => prop_assert!(path.len() < 4096 && data.len() < 4096),
            Decision::Act(Act::Bind { source, target, .. }) => prop_assert!(source.len() < 4096 && target.len() < 4096),
            Decision::Act(
                Act::Umount { target: path, .. } | Act::OpenTree { path, .. } | Act::Setattr { path, .. } | Act::Mknod { path, .. }
            ) => prop_assert!(path.len() < 4096 && !path.contains(&0)),
            Decision::Answer(Answer::Value(_)) => prop_assert!(false, "nothing is done yet"),
            Decision::Answer(_) | Decision::Sysinfo { .. } | Decision::Bpf(_) => {}
        }
    }
}
