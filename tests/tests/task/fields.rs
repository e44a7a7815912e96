//! Every property of the runtime specification is honoured or refused by its name: the walk over the built binary.
//!
//! A property that is honoured is looked at, so a value of the wrong type is refused by its path; what it does is proved
//! by the tests of its own module. One that is not implemented is refused whatever it asks for.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

/// Properties that are looked at, by their places (`[]`: in a list).
const HONOURED: &str = "process root hostname domainname mounts hooks annotations linux ociVersion \
    process.terminal process.consoleSize process.user process.args process.env process.cwd process.capabilities \
    process.rlimits process.noNewPrivileges process.apparmorProfile process.oomScoreAdj process.scheduler \
    process.selinuxLabel process.ioPriority process.execCPUAffinity process.consoleSize.height \
    process.consoleSize.width process.user.uid process.user.gid process.user.umask process.user.additionalGids \
    process.capabilities.bounding process.capabilities.effective process.capabilities.inheritable \
    process.capabilities.permitted process.capabilities.ambient process.rlimits[].type process.rlimits[].hard \
    process.rlimits[].soft process.scheduler.policy process.scheduler.nice process.scheduler.priority \
    process.scheduler.flags process.scheduler.runtime process.scheduler.deadline process.scheduler.period \
    process.ioPriority.class process.ioPriority.priority process.execCPUAffinity.initial \
    process.execCPUAffinity.final root.path root.readonly mounts[].destination mounts[].type mounts[].source \
    mounts[].options mounts[].uidMappings mounts[].gidMappings linux.uidMappings linux.gidMappings linux.sysctl \
    linux.resources linux.cgroupsPath linux.namespaces linux.devices linux.seccomp linux.rootfsPropagation \
    linux.maskedPaths linux.readonlyPaths linux.mountLabel linux.personality linux.uidMappings[].containerID \
    linux.uidMappings[].hostID linux.uidMappings[].size linux.namespaces[].type linux.namespaces[].path \
    linux.devices[].path linux.devices[].type linux.devices[].major linux.devices[].minor linux.devices[].fileMode \
    linux.devices[].uid linux.devices[].gid linux.personality.domain linux.resources.devices linux.resources.memory \
    linux.resources.cpu linux.resources.pids linux.resources.devices[].allow linux.resources.devices[].type \
    linux.resources.devices[].major linux.resources.devices[].minor linux.resources.devices[].access \
    linux.resources.memory.limit linux.resources.memory.reservation linux.resources.memory.swap \
    linux.resources.memory.swappiness linux.resources.memory.disableOOMKiller linux.resources.cpu.shares \
    linux.resources.cpu.quota linux.resources.cpu.burst linux.resources.cpu.period \
    linux.resources.cpu.realtimeRuntime linux.resources.cpu.realtimePeriod linux.resources.cpu.cpus \
    linux.resources.cpu.mems linux.resources.cpu.idle linux.resources.pids.limit linux.resources.blockIO \
    linux.resources.blockIO.weight linux.resources.blockIO.weightDevice \
    linux.resources.blockIO.weightDevice[].major linux.resources.blockIO.throttleReadBpsDevice \
    linux.resources.blockIO.throttleWriteBpsDevice linux.resources.blockIO.throttleReadIOPSDevice \
    linux.resources.blockIO.throttleWriteIOPSDevice linux.resources.blockIO.throttleReadBpsDevice[].rate \
    linux.resources.hugepageLimits linux.resources.hugepageLimits[].pageSize \
    linux.resources.hugepageLimits[].limit linux.resources.network linux.resources.network.classID \
    linux.resources.network.priorities linux.resources.network.priorities[].name \
    linux.resources.network.priorities[].priority linux.resources.rdma linux.resources.unified \
    linux.resources.memory.checkBeforeUpdate linux.seccomp.defaultAction \
    linux.seccomp.defaultErrnoRet linux.seccomp.architectures linux.seccomp.flags linux.seccomp.syscalls \
    linux.seccomp.syscalls[].names linux.seccomp.syscalls[].action linux.seccomp.syscalls[].errnoRet \
    linux.seccomp.syscalls[].args hooks.prestart hooks.createRuntime hooks.createContainer hooks.startContainer \
    hooks.poststart hooks.poststop hooks.prestart[].path hooks.createRuntime[].args hooks.startContainer[].env \
    hooks.poststop[].timeout";

/// Properties that are not implemented: a value that asks for something is refused.
const REFUSED: &str = "solaris windows vm zos freebsd linux.netDevices linux.intelRdt linux.memoryPolicy \
    linux.timeOffsets linux.personality.flags linux.resources.blockIO.leafWeight linux.resources.memory.kernel \
    linux.resources.memory.kernelTCP linux.seccomp.listenerPath linux.seccomp.listenerMetadata";

/// The default document with `value` at `path`, alone in what lies around it.
fn with(path: &str, value: Value) -> Bundle {
    let mut bundle = Bundle::new();
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let nested = |rest: &str, value: Value| {
        rest.rsplit('.').filter(|part| !part.is_empty()).fold(value, |inner, part| match part.strip_suffix("[]") {
            Some(name) => Value::Object(Map::from_iter([(name.to_owned(), json!([inner]))])),
            None => Value::Object(Map::from_iter([(part.to_owned(), inner)])),
        })
    };
    match first.strip_suffix("[]") {
        Some(name) => bundle.spec[name] = json!([nested(rest, value)]),
        None if rest.is_empty() => bundle.spec[first] = value,
        None => {
            let Value::Object(inner) = nested(rest, value) else { unreachable!() };
            if bundle.spec[first].is_null() {
                bundle.spec[first] = json!({});
            }
            inner.into_iter().for_each(|(name, value)| bundle.spec[first][name] = value);
        }
    }
    bundle
}

async fn refusal(shim: &Arc<Shim>, bundle: Bundle) -> String {
    let dir = bundle.dir.clone();
    let failure = match Container::create_in(shim, bundle.clone(), Pipes::none()).await {
        Ok(_) => panic!("it was created:\n{:#}", bundle.spec),
        Err(failure) => failure,
    };
    assert!(!dir.join("eci.json").exists(), "something is left in the bundle");
    assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
    failure.message
}

async fn finish(shim: &Arc<Shim>) {
    let next = Container::create_in(shim, Bundle::new(), Pipes::none()).await.expect("the next create works");
    next.start().await.unwrap();
    assert_eq!(next.wait().await, 0);
    next.delete().await.unwrap();
    shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn every_property_that_is_honoured_is_looked_at() {
    let shim = Shim::start(&Bundle::new()).await;
    for path in HONOURED.split_whitespace() {
        // Neither a string nor a number nor a list: for what is an object, a list.
        for wrong in [json!({ "x": [] }), json!([[]])] {
            let is_object = serde_json::to_string(&wrong).unwrap().starts_with('{');
            let bundle = with(path, wrong);
            let name = path.replace("[]", "[0]");
            match Container::create_in(&shim, bundle, Pipes::none()).await {
                Err(failure) if failure.message.contains(&format!("spec: {name}")) => break,
                Err(failure) => assert!(is_object, "{path}: {failure:?}"),
                Ok(created) => {
                    assert!(is_object, "{path} is not looked at");
                    created.kill("", 9, true).await.unwrap();
                    created.wait().await;
                    created.delete().await.unwrap();
                }
            }
        }
    }
    finish(&shim).await;
}

#[tokio::test]
async fn every_property_that_is_not_implemented_is_refused_by_its_name() {
    let shim = Shim::start(&Bundle::new()).await;
    for path in REFUSED.split_whitespace() {
        for value in [json!({ "x": 1 }), json!([{ "path": "/x", "limit": 1 }]), json!("x"), json!(1)] {
            let message = refusal(&shim, with(path, value)).await;
            let start = format!("OCI runtime create failed: error in the container spec: {path}: ");
            assert!(message.starts_with(&start), "{message}");
        }
    }
    finish(&shim).await;
}

#[tokio::test]
async fn what_asks_for_nothing_and_what_nobody_knows_is_accepted() {
    let bundle = Bundle::new()
        .set("/linux/resources/blockIO", json!({ "weight": 0 }))
        .set("/linux/resources/hugepageLimits", json!([{ "pageSize": "2MB", "limit": 0 }]))
        .set("/linux/resources/unified", json!({}))
        .set("/hooks", json!({ "prestart": [] }))
        .set("/vm", json!({}))
        .set("/linux/frobnicate", json!({ "x": 1 }))
        .set("/process/madeUp", json!(true));
    let container = Container::started(bundle).await;
    assert_eq!(container.wait().await, 0);
    container.shim.logged("linux.frobnicate").await;
    container.shim.logged("process.madeUp").await;
    container.end().await;
}
