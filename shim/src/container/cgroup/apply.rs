//! Settings, written to the group in which their controller works.
//!
//! What the kernel refuses while another value is still the former one (a quota against a period, memory against memory
//! and swap) is tried again after the others, so that no order has to be known.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use policy::Refusal;
use policy::plan::Resources;
use rustix::io::Errno;

use super::error::{self, Error, step};
use super::journal::Journal;
use super::limits::{self, Setting, Version};
use super::{Cgroup, controllers, cpuset, tree};

/// What one controller is told, and the group that is told it; none where the controller is not there.
struct Batch {
    controller: String,
    group: Option<OwnedFd>,
    version: Version,
    settings: Vec<Setting>,
}

impl Cgroup {
    /// Writes every limit. What was there before goes into the journal, if there is one.
    pub(super) fn apply(&self, resources: &Resources, mut journal: Option<&mut Journal>) -> Result<(), Error> {
        // All are looked at before any is written.
        let batches = self.batches(resources)?;
        batches.iter().try_for_each(Batch::check)?;
        batches.iter().try_for_each(|batch| batch.write(journal.as_deref_mut()))
    }

    fn batches(&self, resources: &Resources) -> Result<Vec<Batch>, Error> {
        let mut batches = Vec::new();
        for (controller, settings) in limits::CONTROLLERS {
            let (group, version) = self.home(controller)?;
            let settings = settings(resources, version)?;
            batches.push(Batch { controller: controller.to_owned(), group, version, settings });
        }
        for (file, value) in &resources.unified {
            let of = |controller: &str| self.home(controller).map_or(Version::V2, |(_, version)| version);
            let (controller, settings) = controllers::unified(file, value, of)?;
            let (group, version) = self.home(controller)?;
            batches.push(Batch { controller: controller.to_owned(), group, version, settings });
        }
        batches.retain(|batch| !batch.settings.is_empty());
        Ok(batches)
    }

    /// The group in which a controller (by its name on v2) works, and whose files it has. Where there is none, the
    /// version is that of the host.
    pub(super) fn home(&self, controller: &str) -> Result<(Option<OwnedFd>, Version), Error> {
        let v1 = if controller == "io" { "blkio" } else { controller };
        if let Some(group) = self.groups.iter().find(|it| it.hierarchy.has_v1(v1)) {
            return Ok((Some(tree::open(&group.dir).map_err(step("open", &group.dir))?), Version::V1));
        }
        let host = if self.is_unified() { Version::V2 } else { Version::V1 };
        let Some(group) = self.groups.iter().find(|it| it.hierarchy.is_v2()) else { return Ok((None, host)) };
        let directory = tree::open(&group.dir).map_err(step("open", &group.dir))?;
        // The files of the core, by which a group limits its children, are no controller's.
        if controller == "cgroup" && self.is_unified() {
            return Ok((Some(directory), Version::V2));
        }
        let controllers = tree::read(directory.as_fd(), "cgroup.controllers").map_err(step("read", &group.dir))?;
        let is_there = controllers.split_whitespace().any(|it| it == controller);
        Ok(if is_there { (Some(directory), Version::V2) } else { (None, host) })
    }

    /// Whether it is in cgroup v2 alone.
    pub(super) fn is_unified(&self) -> bool {
        self.groups.iter().all(|it| it.hierarchy.is_v2())
    }
}

impl Batch {
    fn check(&self) -> Result<(), Error> {
        for setting in &self.settings {
            match &self.group {
                Some(group) => cpuset::check(group.as_fd(), setting, self.version)?,
                None if setting.optional => {}
                None => {
                    let reason = format!("the {} controller is not available here", self.controller);
                    return Err(refuse(setting, reason));
                }
            }
        }
        Ok(())
    }

    fn write(&self, mut journal: Option<&mut Journal>) -> Result<(), Error> {
        let Some(group) = &self.group else { return Ok(()) };
        let mut waiting: Vec<&Setting> = self.settings.iter().collect();
        loop {
            let (mut refused, mut first) = (Vec::new(), None);
            for &setting in &waiting {
                match self.set(group.as_fd(), setting, journal.as_deref_mut()) {
                    Ok(()) => {}
                    Err(Errno::INVAL) => {
                        first.get_or_insert(Errno::INVAL);
                        refused.push(setting);
                    }
                    Err(errno) => return Err(self.explain(group.as_fd(), setting, errno)),
                }
            }
            match (refused.first(), first) {
                (Some(setting), Some(errno)) if refused.len() == waiting.len() => {
                    return Err(self.explain(group.as_fd(), setting, errno));
                }
                (None, _) => return Ok(()),
                _ => waiting = refused,
            }
        }
    }

    fn set(&self, group: BorrowedFd<'_>, setting: &Setting, journal: Option<&mut Journal>) -> rustix::io::Result<()> {
        let mut journal = journal;
        let mut write = |file: &str, content: &str| {
            let former = journal.as_ref().and_then(|_| Journal::look(group, file, content));
            tree::write(group, file, content)?;
            if let (Some(journal), Some(former)) = (journal.as_deref_mut(), former) {
                journal.keep(group, file, former);
            }
            Ok(())
        };
        match (write(&setting.file, &setting.content), &setting.instead) {
            (Err(Errno::NOENT), Some((file, content))) => write(file, content),
            (Err(Errno::NOENT), None) if setting.optional => Ok(()),
            (result, _) => result,
        }
    }

    /// The kernel's refusal in words.
    fn explain(&self, group: BorrowedFd<'_>, setting: &Setting, errno: Errno) -> Error {
        let read = |file| tree::read(group, file).unwrap_or_default().trim().to_owned();
        let reason = match (errno, &*setting.file) {
            (Errno::NOENT, file) => format!("the {} controller of this kernel has no {file}", self.controller),
            (Errno::BUSY, "memory.limit_in_bytes") => below_use(&read("memory.usage_in_bytes")),
            (Errno::BUSY, "memory.memsw.limit_in_bytes") => below_use(&read("memory.memsw.usage_in_bytes")),
            (Errno::BUSY, _) if self.controller == "hugetlb" => "is below what the container uses".to_owned(),
            (Errno::INVAL, "memory.limit_in_bytes") => {
                format!(
                    "does not go with the limit of memory and swap together, {}",
                    read("memory.memsw.limit_in_bytes")
                )
            }
            (Errno::INVAL, "memory.memsw.limit_in_bytes") => {
                format!("does not go with the limit of memory, {}", read("memory.limit_in_bytes"))
            }
            (errno, _) => error::reason(errno),
        };
        refuse(setting, reason)
    }
}

/// The reason why a limit of memory is not set.
pub(super) fn below_use(bytes: &str) -> String {
    format!("is below what the container uses, {bytes} bytes")
}

fn refuse(setting: &Setting, reason: String) -> Error {
    Refusal::new(setting.field.clone(), format!("{}: {reason}", setting.value)).into()
}
