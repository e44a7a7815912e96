//! What the shim and its stages say to each other.
//!
//! Every message is one datagram of a SOCK_SEQPACKET pair (so its boundaries and its descriptors stay together): a JSON
//! value, with descriptors beside it by SCM_RIGHTS. An order can be larger than a datagram, so it travels in a memfd
//! whose descriptor is the first of its message.

use policy::binds::Rules;
use policy::idmap::IdMap;
use policy::namespaces::Joins;
use policy::plan::{Plan, Process, RootMount};
use policy::{Denial, Refusal};
use serde::{Deserialize, Serialize};
use syscall_trap::filter::Instruction;

#[cfg(doc)]
use super::emulation::PARTS;
use super::process::StageError;

/// The longest line of a failure, in bytes and but for a few: as JSON, which takes six bytes for some of one, it is still
/// a message.
const LONGEST_LINE: usize = 8 * 1024;

/// The shim asks the build stage for a container.
///
/// Its descriptors, in this order: stdin, stdout, stderr (unless `terminal`), init's end of its control socket, those of
/// [`Groups`], one for each joined namespace in the order of `joins.joined`, and the lease, whose lock init shares until
/// it executes the user's program: a shim that is killed meanwhile does not give the range away under it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BuildOrder {
    /// The container's id, for the keyring's name and messages.
    pub(crate) id: String,
    /// What to make.
    pub(crate) plan: Plan,
    /// The container's ids.
    pub(crate) id_map: IdMap,
    /// Whether we run in a user namespace of somebody else's, as in a container.
    pub(crate) nested: bool,
    /// Which namespaces are made and which are joined.
    pub(crate) joins: Joins,
    /// The root filesystem's mounts; empty where the engine has mounted it already.
    pub(crate) rootfs: Vec<RootMount>,
    /// Its seccomp programs, in the order in which they are installed: base filter, trap filter, the spec's profile.
    pub(crate) filters: Vec<Program>,
    /// How many user namespaces it may make; none: what the kernel lets it.
    pub(crate) max_user_namespaces: Option<u32>,
    /// Whether the shim is to have the tree's root mount, alone ([`Report::Root`]).
    pub(crate) hand_over_root: bool,
    /// `noNewKeyring` of the engine's options.
    pub(crate) no_new_keyring: bool,
    /// How its cgroups are joined.
    pub(crate) groups: Groups,
    /// What may be bound.
    pub(crate) binds: Rules,
}

/// The shim asks the exec stage for one more process in a running container.
///
/// Its descriptors: stdin, stdout, stderr (unless `terminal`), those of [`Groups`], the pidfd of the container's init.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExecOrder {
    /// The container's id.
    pub(crate) id: String,
    /// What to run.
    pub(crate) process: Process,
    /// The container's ids.
    pub(crate) id_map: IdMap,
    /// Its seccomp programs, in the order in which they are installed: base filter, trap filter, the spec's profile.
    pub(crate) filters: Vec<Program>,
    /// `noNewKeyring` of the engine's options.
    pub(crate) no_new_keyring: bool,
    /// How its cgroups are joined.
    pub(crate) groups: Groups,
}

/// How many descriptors an order carries for cgroups: one for each `tasks` file to write, one for the directory that
/// clone3(2) takes (`CLONE_INTO_CGROUP`), and one for the container's own group where that directory is a leaf below.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Groups {
    /// `tasks` files of cgroup v1 hierarchies.
    pub(crate) tasks: usize,
    /// Whether a cgroup v2 directory follows.
    pub(crate) directory: bool,
    /// Whether that is a leaf, and the container's own group follows.
    pub(crate) leaf: bool,
    /// The hierarchies that a cgroup mount inside shows, as `/proc/self/cgroup` names their controllers (`cpu,cpuacct`,
    /// `name=systemd`, and an empty one for the unified hierarchy of a hybrid host). Empty: cgroup2 alone.
    pub(crate) hierarchies: Vec<String>,
}

/// A compiled seccomp program.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Program {
    /// `struct sock_filter` each: code, jt, jf, k.
    pub(crate) instructions: Vec<(u16, u8, u8, u32)>,
    /// `SECCOMP_FILTER_FLAG_*`
    pub(crate) flags: u64,
}

/// A stage, or init, answers the shim.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process exists: its pidfd is beside the message.
    Cloned,
    /// A helper process of the stage exists and will exit by itself: its pidfd is beside the message, the shim reaps it.
    Helper,
    /// The process's terminal: the master side is beside the message.
    Terminal,
    /// The emulated files are mounted: the devices over which they are served, one for each of [`PARTS`], are beside the
    /// message. The build stage waits for
    /// [`EmulationServed`] before it looks at them.
    Emulation,
    /// Clones of those mounts are beside the message, detached, in the same order.
    Emulated {
        /// The rows that this kernel keeps for the container itself, by path ([`fsemu::table::native`]).
        native: Vec<String>,
    },
    /// The root mount of the tree, without what is mounted below: a clone of it is beside the message.
    Root,
    /// The tree stands at `root.path`: hooks of the host's namespaces may run, the build stage waits for [`Proceed`]. It is
    /// not said where there are none.
    Built,
    /// Init stands in the locked tree and waits for Start; or every hook of an order has succeeded.
    Ready,
    /// The listener of its traps is beside the message; it waits for [`TrapsServed`].
    Listener,
    /// Something is weaker than the spec asks; the text is for the log.
    Note(String),
    /// The work failed; nothing is left of it but the process, which exits.
    Failed(Failure),
}

/// What went wrong in a stage, as the engine's user reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// The whole line: step, object and cause.
    pub(crate) line: String,
    /// Whether it is the user's program that cannot be run (`exec: "x": executable file not found in $PATH`).
    pub(crate) program: bool,
    /// The rule by which the spec is refused, if it is.
    pub(crate) denial: Option<Denial>,
}

/// The shim tells the build stage whether the emulated files are served.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EmulationServed(pub(crate) bool);

/// The shim tells the build stage that the hooks have run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Proceed;

/// The shim tells a process that its traps are served.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TrapsServed;

/// The shim tells init to go on.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start;

impl Failure {
    /// A step that failed, as `map_err` takes it: `{step} {object}: {cause}`.
    pub(crate) fn at<E: std::fmt::Display>(
        step: &'static str,
        object: impl std::fmt::Display,
    ) -> impl FnOnce(E) -> Self {
        move |cause| Self::line(format!("{step} {object}: {cause}"))
    }

    /// A failure with a line of its own. Line breaks in it (names may come from an image) become spaces, and of one that is
    /// longer than [`LONGEST_LINE`] the middle is left out: a program's name alone may have 128 KiB (execve(2)).
    pub(crate) fn line(line: impl Into<String>) -> Self {
        Self { line: shortened(line.into()).replace(['\n', '\r'], " "), program: false, denial: None }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self { denial: refusal.denial.clone(), ..Self::line(refusal.to_string()) }
    }
}

/// The beginning, which names step and object, and the end, which is the cause.
fn shortened(line: String) -> String {
    if line.len() <= LONGEST_LINE {
        return line;
    }
    let boundary = |mut at: usize| {
        while !line.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let (end, start) = (boundary(LONGEST_LINE / 2), boundary(line.len() - LONGEST_LINE / 2));
    format!("{}…{}", &line[..end], &line[start..])
}

impl From<userns::Error> for Failure {
    fn from(error: userns::Error) -> Self {
        Self::line(error.to_string())
    }
}

impl From<StageError> for Failure {
    fn from(error: StageError) -> Self {
        let program = matches!(error, StageError::Program(_));
        Self { program, ..Self::line(error.to_string()) }
    }
}

impl From<&syscall_trap::filter::Program> for Program {
    fn from(program: &syscall_trap::filter::Program) -> Self {
        let instructions = program.instructions.iter().map(|line| (line.code, line.jt, line.jf, line.k)).collect();
        Self { instructions, flags: program.flags }
    }
}

impl From<&Program> for syscall_trap::filter::Program {
    fn from(program: &Program) -> Self {
        let instructions =
            program.instructions.iter().map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }).collect();
        Self { instructions, flags: program.flags }
    }
}

#[cfg(test)]
mod tests {
    use super::super::channel::Channel;
    use super::*;

    #[test]
    fn a_line_that_no_message_could_carry_keeps_its_beginning_and_its_cause() {
        for letter in ["x", "\u{1}", "ü", "\u{10ffff}"] {
            let long = letter.repeat(100_000);
            let failure = Failure::at("execute", long)("no such file");
            assert!(failure.line.len() <= LONGEST_LINE + 8, "{}", failure.line.len());
            assert!(failure.line.starts_with(&format!("execute {letter}")), "{letter:?}");
            assert!(failure.line.ends_with(&format!("{letter}: no such file")), "{letter:?}");
            let (one, other) = Channel::pair().unwrap();
            one.send(&Report::Failed(failure), &[]).unwrap();
            assert!(matches!(other.receive::<Report>().unwrap(), Some((Report::Failed(_), _))));
        }
        let line = "x".repeat(LONGEST_LINE);
        assert_eq!(Failure::line(line.clone()).line, line);
    }
}
