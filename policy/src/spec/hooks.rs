//! `hooks`: checked for what execve(2) could not take.

use std::path::Path;

use oci_spec::runtime::{Hook as SpecHook, Spec};

use super::paths;
use crate::Refusal;
use crate::plan::{Hook, Hooks};

/// execve(2): `MAX_ARG_STRLEN` is 32 pages.
const MAX_STRING: usize = 131_071;

/// The hooks of a spec.
pub(super) fn hooks(spec: &Spec, bundle: &Path) -> Result<Hooks, Refusal> {
    let Some(hooks) = spec.hooks() else { return Ok(Hooks::default()) };
    let prestart = hooks.prestart().as_deref();
    let hooks = Hooks {
        prestart: list("prestart", prestart)?,
        create_runtime: list("createRuntime", hooks.create_runtime().as_deref())?,
        create_container: list("createContainer", hooks.create_container().as_deref())?,
        start_container: list("startContainer", hooks.start_container().as_deref())?,
        poststart: list("poststart", hooks.poststart().as_deref())?,
        poststop: list("poststop", hooks.poststop().as_deref())?,
        ..Hooks::default()
    };
    if hooks == Hooks::default() {
        return Ok(hooks);
    }
    let annotations = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    Ok(Hooks { bundle: bundle.to_owned(), annotations, ..hooks })
}

fn list(kind: &str, hooks: Option<&[SpecHook]>) -> Result<Vec<Hook>, Refusal> {
    let numbered = hooks.unwrap_or_default().iter().enumerate();
    numbered.map(|(index, hook)| one(format!("hooks.{kind}[{index}]"), hook)).collect()
}

fn one(field: String, hook: &SpecHook) -> Result<Hook, Refusal> {
    let path = paths::text(hook.path()).into_owned();
    let at = |name: &str| format!("{field}.{name}");
    paths::clean(at("path"), &path, 4095)?;
    if !path.starts_with('/') {
        return Err(Refusal::new(at("path"), format!("{} is not an absolute path", paths::quoted(&path))));
    }
    let args = hook.args().clone().unwrap_or_default();
    let env = hook.env().clone().unwrap_or_default();
    for (name, strings) in [("args", &args), ("env", &env)] {
        for (index, string) in strings.iter().enumerate() {
            paths::clean(at(&format!("{name}[{index}]")), string, MAX_STRING)?;
        }
    }
    if let Some(index) = env.iter().position(|entry| !entry.contains('=')) {
        let reason = format!("{} is not of the form NAME=value", paths::quoted(&env[index]));
        return Err(Refusal::new(at(&format!("env[{index}]")), reason));
    }
    let timeout = match hook.timeout() {
        None => None,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(seconds) if seconds > 0 => Some(seconds),
            _ => return Err(Refusal::new(at("timeout"), format!("{seconds} is not a positive number of seconds"))),
        },
    };
    let args = if args.is_empty() { vec![path.clone()] } else { args };
    Ok(Hook { field, path, args, env, timeout })
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;
