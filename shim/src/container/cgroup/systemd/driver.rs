//! What the rest of the module asks of the driver: which one it is, and the steps of a group's life that differ with it.

use std::os::fd::AsFd;

use policy::Refusal;
use policy::plan::{CgroupPath, Resources};

use super::super::error::{Error as CgroupError, step};
use super::super::limits::Version;
use super::super::{Cgroup, LEAF, tree};
use super::Error;

/// The prefix of the scope of a container whose spec has no path.
const PREFIX: &str = "eci";

/// The path that a spec asks for, where the engine's configuration says `SystemdCgroup`; without a path it is a scope of the
/// container's own in `system.slice`.
///
/// # Errors
/// When the spec has a path of the other form, as in runc.
pub(crate) fn choose(path: Option<CgroupPath>, namespace: &str, id: &str) -> Result<CgroupPath, Refusal> {
    match path {
        Some(CgroupPath::Cgroupfs(path)) => {
            let reason = "is not slice:prefix:name, which the runtime option SystemdCgroup asks for";
            Err(Refusal::new("linux.cgroupsPath", format!("{path:?} {reason}")))
        }
        Some(path) => Ok(path),
        // Ids are unique in their namespace.
        None => {
            Ok(CgroupPath::Systemd { slice: String::new(), prefix: PREFIX.into(), name: format!("{namespace}-{id}") })
        }
    }
}

impl Cgroup {
    /// Init is in the group, and the scope is its own from now on. To be called once.
    ///
    /// # Errors
    /// When the limit of processes, which had room for who stood in for init, cannot be set.
    pub(crate) fn has_init(&self) -> Result<(), CgroupError> {
        let Some(unit) = &self.unit else { return Ok(()) };
        unit.has_init();
        match (unit.pids_limit, self.groups.first().filter(|_| self.is_unified())) {
            (Some(limit), Some(group)) => {
                let limit = limit.max(1).to_string();
                let written = tree::open(&group.dir).and_then(|it| tree::write(it.as_fd(), "pids.max", &limit));
                written.map_err(step("limit the processes of", &group.dir))
            }
            _ => Ok(()),
        }
    }

    /// Where init lives in a leaf, so does who stands in for it: the group above hands its controllers down.
    pub(in super::super) fn move_holder_to_leaf(&self) -> Result<(), CgroupError> {
        let Some(pid) = self.unit.as_ref().and_then(|unit| unit.holder()) else { return Ok(()) };
        for group in self.groups.iter().filter(|_| self.is_unified()) {
            let leaf = group.dir.join(LEAF);
            let moved = tree::open(&leaf).and_then(|it| tree::write(it.as_fd(), "cgroup.procs", &pid.to_string()));
            moved.map_err(step("move into", &leaf))?;
        }
        Ok(())
    }

    /// Where init is cloned into a leaf, whoever clones it is there as well: the stage sets a limit of one process once init
    /// is alone ([`crate::stage`]). So is who stands in for it in a scope.
    pub(in super::super) fn with_room_for_init(&self, resources: &Resources) -> Resources {
        let mut resources = resources.clone();
        match resources.pids_limit {
            _ if !self.is_unified() => {}
            Some(0..=2) if self.unit.is_some() => resources.pids_limit = Some(3),
            Some(0 | 1) => resources.pids_limit = Some(2),
            _ => {}
        }
        resources
    }

    /// Changes the scope's properties, so that systemd keeps what the group's files say. `resources` are those that
    /// change; quota and period are one property, so the group tells what is not given.
    ///
    /// # Errors
    /// When systemd says no.
    pub(crate) fn update_unit(&self, resources: &Resources) -> Result<(), CgroupError> {
        let Some(unit) = &self.unit else { return Ok(()) };
        let mut resources = resources.clone();
        if resources.cpu_quota.is_some() || resources.cpu_period.is_some() {
            (resources.cpu_quota, resources.cpu_period) = self.bandwidth()?;
        }
        unit.update(&resources, self.is_unified()).map_err(of_systemd)
    }

    /// Quota and period as the group has them.
    fn bandwidth(&self) -> Result<(Option<i64>, Option<u64>), CgroupError> {
        let (Some(group), version) = self.home("cpu")? else { return Ok((None, None)) };
        let read = |file| tree::read(group.as_fd(), file).unwrap_or_default();
        let text = match version {
            Version::V1 => read("cpu.cfs_quota_us") + " " + &read("cpu.cfs_period_us"),
            Version::V2 => read("cpu.max"),
        };
        let mut words = text.split_whitespace();
        let quota = words.next().map(|word| word.parse().unwrap_or(-1));
        Ok((quota, words.next().and_then(|word| word.parse().ok())))
    }
}

/// systemd's refusals are those of the path.
pub(in super::super) fn of_systemd(error: Error) -> CgroupError {
    match error {
        Error::Refused(refusal) => CgroupError::Refused(refusal),
        error @ (Error::NotBooted | Error::Exists(_)) => Refusal::new("linux.cgroupsPath", error.to_string()).into(),
        Error::Step { .. } => CgroupError::Systemd(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_takes_the_systemd_form_alone() {
        let chosen = choose(None, "k8s.io", "c1").expect("a scope");
        let expected = CgroupPath::Systemd { slice: String::new(), prefix: "eci".into(), name: "k8s.io-c1".into() };
        assert_eq!(chosen, expected);
        assert_eq!(choose(Some(expected.clone()), "n", "i"), Ok(expected));
        let refusal = choose(Some(CgroupPath::Cgroupfs("/a/b".into())), "n", "i").expect_err("a refusal").to_string();
        let text =
            "linux.cgroupsPath: \"/a/b\" is not slice:prefix:name, which the runtime option SystemdCgroup asks for";
        assert_eq!(refusal, text);
    }

    #[test]
    fn systemds_refusals_name_the_path() {
        let absent = of_systemd(Error::NotBooted).to_string();
        assert!(absent.starts_with("linux.cgroupsPath: needs systemd"), "{absent}");
        let failed = Error::Step { step: "start", object: "a.scope".into(), reason: "no".into() };
        assert_eq!(of_systemd(failed).to_string(), "cgroup: systemd: start a.scope: no");
    }
}
