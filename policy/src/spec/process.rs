//! `process`: the container's first one, and those of exec requests.

use oci_spec::runtime::{LinuxPersonalityDomain, PosixRlimitType, Process as SpecProcess, Spec};

use super::{capabilities, cpu_list, id_map, paths, scheduling, seccomp};
use crate::Refusal;
use crate::idmap::IdMap;
use crate::plan::{AppArmor, Process, Rlimit};

/// Profiles that engines put on every container without being asked. They forbid every mount.
const ENGINE_PROFILES: &[&str] =
    &["docker-default", "cri-containerd.apparmor.d", "containerd-default", "nerdctl-default", "crio-default"];

/// `PER_LINUX32` of personality(2).
const PER_LINUX32: u64 = 0x0008;

/// What an exec's process is held against, and what it takes over where it says nothing.
#[derive(Debug, Clone, Copy)]
pub struct Exec<'a> {
    /// The container's id map.
    pub map: IdMap,
    /// The container's first process.
    pub init: &'a Process,
    /// Whether the request gives the process a terminal.
    pub terminal: bool,
}

/// The first process, with what `linux` says of it.
pub(super) fn first(spec: &Spec, terminal: bool) -> Result<Process, Refusal> {
    let Some(process) = spec.process() else { return Err(Refusal::new("process", "is missing")) };
    let linux = spec.linux().as_ref();
    let mut plan = own(process, agreed(process.terminal().unwrap_or_default(), terminal)?)?;
    if let Some(personality) = linux.and_then(|linux| linux.personality().as_ref()) {
        plan.personality = Some(match personality.domain() {
            LinuxPersonalityDomain::PerLinux => 0,
            LinuxPersonalityDomain::PerLinux32 => PER_LINUX32,
        });
    }
    plan.seccomp = match linux.and_then(|linux| linux.seccomp().as_ref()) {
        Some(profile) => Some(seccomp::checked(profile)?),
        None => None,
    };
    Ok(plan)
}

/// The process of an exec request. What it leaves out it takes over from the container's first process: the confinement
/// (capabilities, no_new_privs, AppArmor, SELinux, limits, personality) and always the seccomp profile, so that leaving
/// something out never widens. Whether it has a terminal is the request's to say alone, as in containerd's own shim: clients
/// pass on a process that is the container's but for its arguments.
///
/// # Errors
/// A refusal that names the first property at fault; ids outside the map are among them.
pub fn plan_process(process: &SpecProcess, exec: &Exec<'_>) -> Result<Process, Refusal> {
    let init = exec.init;
    let mut plan = own(process, exec.terminal)?;
    if process.capabilities().is_none() {
        plan.capabilities = init.capabilities;
    }
    if process.no_new_privileges().is_none() {
        plan.no_new_privileges = init.no_new_privileges;
    }
    if process.apparmor_profile().as_deref().unwrap_or_default().is_empty() {
        plan.apparmor.clone_from(&init.apparmor);
    }
    if plan.rlimits.is_empty() {
        plan.rlimits.clone_from(&init.rlimits);
    }
    if process.exec_cpu_affinity().is_none() {
        plan.cpu_affinity_initial.clone_from(&init.cpu_affinity_initial);
        plan.cpu_affinity_final.clone_from(&init.cpu_affinity_final);
    }
    plan.umask = plan.umask.or(init.umask);
    plan.oom_score_adj = plan.oom_score_adj.or(init.oom_score_adj);
    plan.scheduler = plan.scheduler.or(init.scheduler);
    plan.io_priority = plan.io_priority.or(init.io_priority);
    plan.selinux_label = plan.selinux_label.or_else(|| init.selinux_label.clone());
    plan.personality = init.personality;
    plan.seccomp.clone_from(&init.seccomp);
    check_ids(&plan, exec.map)?;
    Ok(plan)
}

/// What the process says itself.
fn own(process: &SpecProcess, terminal: bool) -> Result<Process, Refusal> {
    let user = process.user();
    let affinity = process.exec_cpu_affinity().as_ref();
    Ok(Process {
        terminal,
        console_size: console_size(process),
        cwd: paths::container_path("process.cwd", &paths::text(process.cwd()))?,
        args: args(process)?,
        env: env(process)?,
        uid: user.uid(),
        gid: user.gid(),
        additional_gids: user.additional_gids().clone().unwrap_or_default(),
        umask: umask(user.umask())?,
        capabilities: capabilities::sets(process.capabilities().as_ref()),
        no_new_privileges: process.no_new_privileges().unwrap_or_default(),
        rlimits: rlimits(process)?,
        oom_score_adj: oom_score_adj(process.oom_score_adj())?,
        scheduler: process.scheduler().as_ref().map(scheduling::scheduler).transpose()?,
        io_priority: process.io_priority().as_ref().map(scheduling::io_priority).transpose()?,
        cpu_affinity_initial: cpus("initial", affinity.and_then(|affinity| affinity.initial().as_deref()))?,
        cpu_affinity_final: cpus("final", affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref()))?,
        personality: None,
        apparmor: apparmor(process.apparmor_profile().as_deref())?,
        selinux_label: match process.selinux_label() {
            Some(label) => paths::optional("process.selinuxLabel", label)?,
            None => None,
        },
        seccomp: None,
    })
}

/// Holds the ids of a process against the map.
pub(super) fn check_ids(process: &Process, map: IdMap) -> Result<(), Refusal> {
    id_map::covered("process.user.uid", process.uid, map)?;
    id_map::covered("process.user.gid", process.gid, map)?;
    for (index, gid) in process.additional_gids.iter().enumerate() {
        id_map::covered(format!("process.user.additionalGids[{index}]"), *gid, map)?;
    }
    Ok(())
}

/// The spec and the request must agree: a process that expects a terminal must not run without, nor the reverse.
fn agreed(spec: bool, request: bool) -> Result<bool, Refusal> {
    match (spec, request) {
        (true, false) => Err(Refusal::new("process.terminal", "is true, but the request gives no terminal")),
        (false, true) => Err(Refusal::new("process.terminal", "is false, but the request gives a terminal")),
        (both, _) => Ok(both),
    }
}

/// Columns and rows; a size of 0 is none.
fn console_size(process: &SpecProcess) -> Option<(u16, u16)> {
    let size = process.console_size()?;
    let clamp = |cells: u64| u16::try_from(cells).unwrap_or(u16::MAX);
    (size.width() > 0 && size.height() > 0).then(|| (clamp(size.width()), clamp(size.height())))
}

fn args(process: &SpecProcess) -> Result<Vec<String>, Refusal> {
    let args = process.args().clone().unwrap_or_default();
    match args.first() {
        None => return Err(Refusal::new("process.args", "is empty; it must name a program")),
        Some(program) if program.is_empty() => return Err(Refusal::new("process.args[0]", "is empty")),
        Some(_) => {}
    }
    for (index, arg) in args.iter().enumerate() {
        // execve(2): MAX_ARG_STRLEN is 32 pages.
        paths::clean(format!("process.args[{index}]"), arg, 131_071)?;
    }
    Ok(args)
}

/// As given; the process itself refuses an entry that is not of the form `NAME=value`.
fn env(process: &SpecProcess) -> Result<Vec<String>, Refusal> {
    let env = process.env().clone().unwrap_or_default();
    for (index, entry) in env.iter().enumerate() {
        if entry.contains('\0') {
            return Err(Refusal::new(format!("process.env[{index}]"), "has a NUL byte"));
        }
        paths::clean(format!("process.env[{index}]"), entry, 131_071)?;
    }
    Ok(env)
}

fn umask(umask: Option<u32>) -> Result<Option<u32>, Refusal> {
    match umask {
        Some(bits) if bits > 0o777 => {
            Err(Refusal::new("process.user.umask", format!("{bits} ({bits:#o}) is more than 0o777")))
        }
        umask => Ok(umask),
    }
}

fn oom_score_adj(score: Option<i32>) -> Result<Option<i32>, Refusal> {
    match score {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(Refusal::new("process.oomScoreAdj", format!("{score} is not from -1000 to 1000")))
        }
        score => Ok(score),
    }
}

fn rlimits(process: &SpecProcess) -> Result<Vec<Rlimit>, Refusal> {
    let mut limits: Vec<Rlimit> = Vec::new();
    for (index, limit) in process.rlimits().as_deref().unwrap_or_default().iter().enumerate() {
        let refuse = |reason: String| Err(Refusal::new(format!("process.rlimits[{index}]"), reason));
        let resource = resource(limit.typ());
        if limits.iter().any(|other| other.resource == resource) {
            return refuse(format!("{} is listed twice", limit.typ()));
        }
        if limit.soft() > limit.hard() {
            return refuse(format!(
                "the soft limit {} of {} is above its hard limit {}",
                limit.soft(),
                limit.typ(),
                limit.hard()
            ));
        }
        limits.push(Rlimit { resource, soft: limit.soft(), hard: limit.hard() });
    }
    Ok(limits)
}

/// `RLIMIT_*` numbers (asm-generic/resource.h; the architectures we build for use it).
fn resource(limit: PosixRlimitType) -> u32 {
    match limit {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}

fn cpus(name: &str, list: Option<&str>) -> Result<Option<String>, Refusal> {
    let Some(list) = list.filter(|list| !list.is_empty()) else { return Ok(None) };
    cpu_list::check(list).map_err(|reason| Refusal::new(format!("process.execCPUAffinity.{name}"), reason))?;
    Ok(Some(list.to_owned()))
}

fn apparmor(profile: Option<&str>) -> Result<Option<AppArmor>, Refusal> {
    let Some(profile) = paths::optional("process.apparmorProfile", profile.unwrap_or_default())? else {
        return Ok(None);
    };
    if profile == "unconfined" {
        return Ok(None);
    }
    let engine_default = ENGINE_PROFILES.contains(&profile.as_str());
    Ok(Some(AppArmor { profile, engine_default }))
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
