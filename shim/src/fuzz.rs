//! Entry points for a coverage-guided fuzzer (`make fuzz`, feature `fuzz`): what is read from others must neither panic
//! nor be taken for something that it is not.
//!
//! The environment's `FUZZ` names the target, since a program has one entry:
//! * `bootstrap`: the bytes on the standard input of `start`, and the runtime's options.
//! * `plan`: a config.json, an exec's process and an update's resources, up to the plan and its order.
//! * `trap`: a trapped call and its caller's memory.
//! * `message`: what a stage and the shim say to each other, and what is written down in a bundle.

use std::path::Path;
use std::sync::OnceLock;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use libfuzzer_sys::fuzz_target;
use policy::idmap::IdMap;
use policy::plan::Plan;
use policy::spec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use syscall_trap::act::Act;
use syscall_trap::calls::bpf::Bpf;
use syscall_trap::calls::{Decision, decode};
use syscall_trap::notify::Call;
use syscall_trap::notify::memory::Memory;

use crate::stage::message::{BuildOrder, ExecOrder, Report, Start, TrapsServed};
use crate::wire::{bootstrap, flags::Flags, options};

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<String> = OnceLock::new();
    match TARGET.get_or_init(|| std::env::var("FUZZ").unwrap_or_default()).as_str() {
        "bootstrap" => bootstrap(data),
        "plan" => plan(data),
        "message" => message(data),
        "trap" => trap(data),
        other => panic!("FUZZ is bootstrap, plan, message or trap, not {other:?}"),
    }
});

fn bootstrap(data: &[u8]) {
    let flags = Flags { id: "c1".to_owned(), namespace: "default".to_owned(), ..Flags::default() };
    let asked = bootstrap::decide(data, &flags);
    let answer = bootstrap::answer(&asked, "unix:///run/eci/s/x").expect("an answer");
    assert_eq!(answer == b"unix:///run/eci/s/x", asked == bootstrap::Asked::ByFlags);
    let _ = Any::parse_from_bytes(data).map(|any| options::decode(Some(&any)));
}

fn plan(data: &[u8]) {
    let request = spec::Request { id: "c1", bundle: Path::new("/bundle"), terminal: false };
    let planned = spec::load(data).and_then(|loaded| spec::plan(&loaded.value, &request));
    if let Ok(plan) = planned {
        let inside =
            plan.mounts.iter().map(|mount| &mount.destination).chain(&plan.masked_paths).chain(&plan.readonly_paths);
        for path in inside {
            let path = path.as_str();
            assert!(path.starts_with('/') && path.split('/').all(|part| part != ".."), "{path}");
        }
        if let Some(profile) = &plan.process.seccomp {
            let _ = syscall_trap::filter::compile(profile);
        }
        let map = IdMap { host: 100_000, size: 65536 };
        let _ = spec::check_ids(&plan, map);
        if let Ok(process) = spec::load_process(data) {
            let exec = spec::Exec { map, init: &plan.process, terminal: true };
            let _ = spec::plan_process(&process.value, &exec);
        }
        round_trip::<Plan>(&serde_json::to_vec(&plan).expect("a plan"));
    }
    let _ = spec::load_resources(data).and_then(|loaded| spec::plan_update(&loaded.value));
}

fn message(data: &[u8]) {
    round_trip::<Report>(data);
    round_trip::<Start>(data);
    round_trip::<TrapsServed>(data);
    round_trip::<BuildOrder>(data);
    round_trip::<ExecOrder>(data);
}

/// A caller's memory, from its second page on.
struct Pages<'a>(&'a [u8]);

impl Memory for Pages<'_> {
    fn read(&self, address: u64, into: &mut [u8]) -> std::io::Result<usize> {
        let there = address.checked_sub(4096).and_then(|at| self.0.get(usize::try_from(at).ok()?..));
        let there = there.filter(|there| !there.is_empty());
        let there = there.ok_or_else(|| std::io::Error::from_raw_os_error(libc::EFAULT))?;
        let read = there.len().min(into.len());
        into[..read].copy_from_slice(&there[..read]);
        Ok(read)
    }
}

/// The number, the ABI, six registers of two bytes, of which one that is all ones stays so; the memory.
fn trap(data: &[u8]) {
    let Some((&[nr, more, abi], data)) = data.split_first_chunk() else { return };
    let Some((registers, memory)) = data.split_first_chunk::<12>() else { return };
    let word = |at: usize| u64::from(u16::from_ne_bytes([registers[at], registers[at + 1]]));
    let args = std::array::from_fn(|at| if word(2 * at) == 0xffff { u64::MAX } else { word(2 * at) });
    let arch = [0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028][usize::from(abi % 4)];
    let call = Call { nr: u32::from(u16::from_ne_bytes([nr, more])), arch, args };
    let act = match decode(&call, &Pages(memory)) {
        Decision::Act(act) => act,
        Decision::Bpf(call) => return device_program(&call),
        _ => return,
    };
    let path = match &act {
        Act::Proc { target, data, .. } | Act::Sysfs { target, data, .. } | Act::Remount { target, data, .. } => {
            assert!(data.len() < 4096);
            target
        }
        Act::Bind { source, target, .. } => {
            assert!(source.len() < 4096);
            target
        }
        Act::Umount { target, .. } => target,
        Act::OpenTree { path, .. } | Act::Setattr { path, .. } | Act::Mknod { path, .. } => path,
    };
    assert!(path.len() < 4096 && !path.contains(&0));
}

/// What is loaded is bounded, and calls nothing. (The other half of a constant has no opcode.)
fn device_program(call: &Bpf) {
    if let Bpf::Load { program, .. } = call {
        assert!((1..=4096).contains(&program.instructions.len()) && program.licence.count_bytes() <= 127);
        assert!(program.instructions.iter().all(|[code, ..]| code & 0xf7 != 0x85));
    }
}

/// What can be read can be written, and reads the same again.
fn round_trip<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let first = serde_json::to_vec(&value).expect("a message");
    let again: T = serde_json::from_slice(&first).expect("what was written");
    assert_eq!(serde_json::to_vec(&again).expect("a message"), first);
}
