//! Entry points for a coverage-guided fuzzer (`make fuzz`, feature `fuzz`): what is read from others must neither panic
//! nor be taken for something that it is not.
//!
//! The environment's `FUZZ` names the target, since a program has one entry:
//! * `bootstrap`: the bytes on the standard input of `start`, and the runtime's options.
//! * `plan`: a config.json, an exec's process and an update's resources, up to the plan and its order.
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

use crate::stage::message::{BuildOrder, ExecOrder, Report, Served, Start};
use crate::wire::{bootstrap, flags::Flags, options};

fuzz_target!(|data: &[u8]| {
    static TARGET: OnceLock<String> = OnceLock::new();
    match TARGET.get_or_init(|| std::env::var("FUZZ").unwrap_or_default()).as_str() {
        "bootstrap" => bootstrap(data),
        "plan" => plan(data),
        "message" => message(data),
        other => panic!("FUZZ is bootstrap, plan or message, not {other:?}"),
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
    round_trip::<Served>(data);
    round_trip::<BuildOrder>(data);
    round_trip::<ExecOrder>(data);
}

/// What can be read can be written, and reads the same again.
fn round_trip<T: Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let first = serde_json::to_vec(&value).expect("a message");
    let again: T = serde_json::from_slice(&first).expect("what was written");
    assert_eq!(serde_json::to_vec(&again).expect("a message"), first);
}
