//! The hooks that a container owes once it lives and once it is gone: poststart and poststop.
//!
//! (Those of its making are the launcher's, with the build stage and init.)
//!
//! What is left of the poststop hooks is written down in the bundle ([`State`]) as long as it is owed: each is struck out when
//! it has ended, so that whoever takes the container away (the shim, a create that failed, `delete` after a shim that was
//! killed) runs each once; only one that died with its runner is run again.

use std::path::Path;

use policy::plan::{Hook, Hooks};

use super::error::Error;
use super::state::State;
use crate::stage::hook;
use crate::stage::hooks::{self, HookOrder, Status};
use crate::stage::launch::Launcher;

/// Runs the poststart hooks of a container whose init is `pid`.
///
/// # Errors
/// The first that fails: since runtime-spec 1.2.1 the container is to be stopped then (runtime.md, "Lifecycle", step 9), as
/// runc does.
pub(super) async fn poststart(launcher: &Launcher, id: &str, pid: u32, hooks: &Hooks) -> Result<(), Error> {
    if hooks.poststart.is_empty() {
        return Ok(());
    }
    let state = hooks::state(id, Status::Running, i32::try_from(pid).ok(), &hooks.bundle, &hooks.annotations);
    let order = HookOrder {
        hooks: hooks.poststart.clone(),
        state: state.map_err(Error::Failed)?,
        directory: hooks.bundle.clone(),
    };
    Ok(launcher.run_hooks(&order).await?)
}

/// Runs the poststop hooks that a bundle still owes. One that fails is a warning, and the others run all the same.
pub(super) async fn poststop(launcher: &Launcher, bundle: &Path, id: &str) {
    let warn = |line: &str| log::warn!(container = id; "{line}");
    let Some(mut owed) = Owed::read(bundle, &warn) else { return };
    while let Some(hook) = owed.next() {
        let order = HookOrder { hooks: vec![hook], state: owed.told.clone(), directory: bundle.to_owned() };
        owed.ended(launcher.run_hooks(&order).await.map_err(|error| error.to_string()), &warn);
    }
}

/// The same for `delete`, which has one thread and nobody to serve.
pub(super) fn poststop_alone(bundle: &Path, warn: &dyn Fn(&str)) {
    let Some(mut owed) = Owed::read(bundle, warn) else { return };
    while let Some(hook) = owed.next() {
        let run = hook::Run { hook: &hook, state: &owed.told, directory: bundle, client: None };
        owed.ended(hook::run(&run, hook::nothing, hook::nothing), warn);
    }
}

/// What a bundle owes.
struct Owed<'a> {
    bundle: &'a Path,
    state: State,
    /// What its hooks read.
    told: String,
}

impl<'a> Owed<'a> {
    fn read(bundle: &'a Path, warn: &dyn Fn(&str)) -> Option<Self> {
        let state = State::read(bundle).map_err(|error| warn(&error)).ok()??;
        if state.poststop.is_empty() {
            return None;
        }
        let told = hooks::state(&state.id, Status::Stopped, None, bundle, &state.annotations);
        Some(Self { bundle, told: told.map_err(|error| warn(&error)).ok()?, state })
    }

    fn next(&self) -> Option<Hook> {
        self.state.poststop.first().cloned()
    }

    fn ended(&mut self, outcome: Result<(), String>, warn: &dyn Fn(&str)) {
        self.state.poststop.remove(0);
        for outcome in [outcome, self.state.write(self.bundle)] {
            if let Err(error) = outcome {
                warn(&error);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn hook(index: usize, script: &str) -> Hook {
        Hook {
            field: format!("hooks.poststop[{index}]"),
            path: "/bin/sh".into(),
            args: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec!["PATH=/bin:/usr/bin".into()],
            timeout: Some(60),
        }
    }

    #[test]
    fn each_poststop_hook_runs_once_and_is_struck_out_whatever_becomes_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let hooks = Hooks {
            poststop: vec![hook(0, "cat eci.json >> seen; exit 1"), hook(1, "echo >> seen; cat >> seen")],
            ..Hooks::default()
        };
        let mut state = State::made("c", "n", vec![], &hooks, None);
        state.write(dir.path()).unwrap();
        let warned = std::cell::RefCell::new(Vec::new());
        poststop_alone(dir.path(), &|line| warned.borrow_mut().push(line.to_owned()));
        assert_eq!(warned.into_inner(), ["hooks.poststop[0] /bin/sh: exit status 1"]);
        let seen = fs::read_to_string(dir.path().join("seen")).unwrap();
        let (first, second) = seen.split_once('\n').unwrap();
        assert!(first.contains("hooks.poststop[0]") && first.contains("hooks.poststop[1]"), "{first}");
        assert!(second.starts_with(r#"{"ociVersion":"1.3.0","id":"c","status":"stopped","bundle":"#), "{second}");
        state.poststop.clear();
        assert_eq!(State::read(dir.path()).unwrap(), Some(state));
        poststop_alone(dir.path(), &|line| panic!("{line}"));
        assert_eq!(fs::read_to_string(dir.path().join("seen")).unwrap(), seen, "none is run again");
    }

    #[test]
    fn a_bundle_that_owes_nothing_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        poststop_alone(dir.path(), &|line| panic!("{line}"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
