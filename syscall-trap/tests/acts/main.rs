//! Acts on behalf, done for processes of a container.
//!
//! Every check runs in a process of its own (this binary again, with the check's name), because it becomes the helper. Needs
//! root.

// clippy takes a test without the harness for a program.
#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod binds;
mod container;
mod fresh;
mod remount;

use std::process::Command;
use std::time::Duration;

use container::{Container, Fuse, Waiting};
use syscall_trap::act::{Act, Cover, Kernel, Outcome, Setup, Shows, World};

/// A container and its helper.
pub(crate) struct Bench {
    pub(crate) container: Container,
    world: World,
}

impl Bench {
    fn new(fuse: Option<Fuse>) -> Self {
        let mut container = Container::new(fuse);
        let cover = |of, path: &str, shows, read_only| Cover {
            of,
            path: path.into(),
            shows,
            read_only,
            own_only: path == "keys",
        };
        let emulated = |name: &str| Shows::Emulated { filesystem: 0, name: name.to_owned(), by_groups: false };
        let covers = vec![
            cover(Kernel::Proc, "uptime", emulated("proc.uptime"), false),
            cover(Kernel::Proc, "keys", emulated("proc.keys"), false),
            // What a namespace has itself, and what is of another kind.
            cover(Kernel::Proc, "sys/kernel/shmmax", emulated("proc.uptime"), false),
            cover(Kernel::Proc, "bus", emulated("proc.uptime"), false),
            cover(Kernel::Proc, "no-such-file", emulated("proc.uptime"), false),
            cover(Kernel::Proc, "kallsyms", Shows::Nothing, false),
            cover(Kernel::Proc, "fs", Shows::Nothing, true),
            cover(Kernel::Proc, "irq", Shows::Itself, true),
            cover(Kernel::Sysfs, "kernel/notes", emulated("sys.notes"), false),
        ];
        let setup = Setup {
            user: container.user(),
            net: container.net(),
            covers,
            emulated: container.emulated.take().into_iter().collect(),
            devices: vec![(1, 3), (1, 5)],
            limit: Duration::from_secs(5),
        };
        Self { world: World::new(setup).expect("a world"), container }
    }

    /// Has something done for a process.
    pub(crate) fn act(&mut self, caller: &Waiting, act: &Act) -> Outcome {
        self.world.perform(self.container.dir(caller.pid), act, || true).expect("an answer")
    }

    /// Whether no act is under way.
    pub(crate) fn idle(&mut self) -> bool {
        let (ready, _end) = rustix::pipe::pipe().expect("a pipe");
        drop(_end);
        self.world.wait(std::os::fd::AsFd::as_fd(&ready)).expect("poll");
        self.world.is_idle()
    }

    /// The same for one that has run `script`, which ends then.
    pub(crate) fn once(&mut self, script: &str, act: &Act) -> Outcome {
        let caller = self.container.waiting(script);
        self.act(&caller, act)
    }
}

/// The checks whose container has a filesystem that does not answer.
const FUSES: [(&str, Fuse); 2] =
    [("a_filesystem_that_does_not_answer", Fuse::Silent), ("a_filesystem_of_somebody_else", Fuse::Foreign)];

type Check = (&'static str, fn(&mut Bench));

const CHECKS: &[Check] = &[
    ("proc_has_its_covers", fresh::proc_has_its_covers),
    ("sysfs_has_its_covers", fresh::sysfs_has_its_covers),
    ("targets", fresh::targets),
    ("flags_and_options", fresh::flags_and_options),
    ("who_may_not", fresh::who_may_not),
    ("inner_masks", fresh::inner_masks),
    ("where_the_own_is_read_only", fresh::where_the_own_is_read_only),
    ("a_caller_that_dies", fresh::a_caller_that_dies),
    ("a_caller_that_has_left_its_call", fresh::a_caller_that_has_left_its_call),
    ("what_a_subset_hides_is_covered", fresh::what_a_subset_hides_is_covered),
    ("a_bind_takes_locked_mounts_along", binds::a_bind_takes_locked_mounts_along),
    ("a_bind_has_no_other_mounts_below", binds::a_bind_has_no_other_mounts_below),
    ("covers_follow_a_remount", remount::covers_follow_a_remount),
    ("covers_follow_the_flags_of_a_mount", remount::covers_follow_the_flags_of_a_mount),
    ("a_cover_can_be_remounted", remount::a_cover_can_be_remounted),
    ("owners_that_util_linux_feeds_back_are_left_out", remount::owners_that_util_linux_feeds_back_are_left_out),
    ("a_remount_that_is_served_is_led_to_mount_2", remount::a_remount_that_is_served_is_led_to_mount_2),
    ("devices_can_be_opened_wherever_they_are_made", remount::devices_can_be_opened_wherever_they_are_made),
    ("other_devices_are_not_made", remount::other_devices_are_not_made),
    ("a_filesystem_that_does_not_answer", remount::a_filesystem_that_does_not_answer),
    ("a_filesystem_of_somebody_else", remount::a_filesystem_of_somebody_else),
    ("only_what_is_locked_is_unmounted_along", binds::only_what_is_locked_is_unmounted_along),
    ("the_containers_own_are_busy", binds::the_containers_own_are_busy),
    ("flags_of_an_umount", binds::flags_of_an_umount),
    ("what_is_in_use_goes_with_its_last_user", binds::what_is_in_use_goes_with_its_last_user),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    if let Some(name) = first.as_deref().and_then(|arg| arg.strip_prefix("check=")) {
        let (_, check) = CHECKS.iter().find(|(known, _)| *known == name).expect("a check");
        let fuse = FUSES.iter().find(|(check, _)| *check == name).map(|(_, fuse)| *fuse);
        return check(&mut Bench::new(fuse));
    }
    if !std::fs::read_to_string("/proc/self/status").expect("procfs").contains("\nUid:\t0\t") {
        return println!("acts: skipped, needs root");
    }
    let filter = first.filter(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut failed = false;
    for (name, _) in CHECKS.iter().filter(|(name, _)| name.contains(&filter)) {
        let exe = std::env::current_exe().expect("this binary");
        let status = Command::new(exe).arg(format!("check={name}")).status().expect("a process");
        println!("{name}: {status}");
        failed |= !status.success();
    }
    let _none = std::fs::remove_dir_all(container::LAYERS);
    assert!(!failed, "a check failed");
}
