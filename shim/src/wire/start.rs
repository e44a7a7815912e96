//! `start`: makes sure that the container's shim runs, and says where it listens.
//!
//! containerd reads standard output and standard error of this process as one, so where `start` succeeds nothing but the
//! answer is written. The socket is bound here and handed to the shim as its standard input: when containerd reads
//! the address, it can already be connected to.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use super::bootstrap::{self, Asked};
use super::flags::Flags;
use super::logger;
use super::socket::{self, Claim, Socket};
use crate::files;

/// What the shim is called in a list of processes.
const NAME: &str = "containerd-shim-eci-v2";

/// The environment variable with containerd's event socket.
pub(crate) const TTRPC_ADDRESS: &str = "TTRPC_ADDRESS";

/// Answers `start` on `output`; `input` is the whole of standard input.
///
/// # Errors
/// One line: a flag that is missing, a bundle that cannot be read, a socket that cannot be made.
pub(crate) fn run(flags: &Flags, input: &[u8], mut output: impl Write) -> Result<(), String> {
    if flags.id.is_empty() || flags.namespace.is_empty() {
        return Err("start needs -namespace and -id".to_owned());
    }
    let asked = bootstrap::decide(input, flags);
    let bundle = flags.bundle();
    let annotations = annotations(&bundle)?;
    let group = socket::group(&annotations, &flags.id);
    let socket_dir = match &asked {
        Asked::ByMessage { socket_dir, .. } => socket_dir.as_deref(),
        Asked::ByFlags => None,
    };
    let socket = Socket::new(socket_dir, &flags.address, &flags.namespace, group)?;
    if let Claim::Ours(listener) = socket.claim()?
        && let Err(error) = spawn(flags, &asked, group, &bundle, listener.into())
    {
        // Nobody will serve it; a socket that is left behind is replaced by the next start anyway.
        let _ = socket.remove();
        return Err(error);
    }
    // containerd 1.6 and 1.7 read the file when they restart; `delete` reads it to find the socket.
    let address = bundle.join("address");
    files::replace(&address, socket.address().as_bytes())
        .map_err(|error| format!("write {}: {error}", address.display()))?;
    let answer = bootstrap::answer(&asked, &socket.address())?;
    output.write_all(&answer).and_then(|()| output.flush()).map_err(|error| format!("write the answer: {error}"))
}

/// The annotations of the bundle's config.json; none where there is no config.json (a start by hand).
fn annotations(bundle: &Path) -> Result<HashMap<String, String>, String> {
    #[derive(serde::Deserialize)]
    struct Annotated {
        #[serde(default)]
        annotations: Option<HashMap<String, String>>,
    }
    let path = bundle.join("config.json");
    match fs::read(&path) {
        Ok(bytes) => {
            let spec: Annotated =
                serde_json::from_slice(&bytes).map_err(|error| format!("read {}: {error}", path.display()))?;
            Ok(spec.annotations.unwrap_or_default())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(format!("read {}: {error}", path.display())),
    }
}

/// Spawns the shim itself: our own binary, with the socket as its standard input and the log as its standard error.
/// Nothing of containerd's environment goes with it but the address for events.
fn spawn(flags: &Flags, asked: &Asked, group: &str, bundle: &Path, listener: OwnedFd) -> Result<(), String> {
    let (address, debug) = match asked {
        Asked::ByMessage { ttrpc_address, debug, .. } => (Some(ttrpc_address.into()), *debug || flags.debug),
        Asked::ByFlags => (None, flags.debug),
    };
    let address = address.filter(|address: &std::ffi::OsString| !address.is_empty());
    outlive_containerd();
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0(NAME)
        .args(["-namespace", &flags.namespace, "-id", group, "-address", &flags.address])
        .args(debug.then_some("-debug"))
        .arg("serve")
        .env_clear()
        .envs(crate::failpoint::environment())
        .envs(address.or_else(|| std::env::var_os(TTRPC_ADDRESS)).map(|address| (TTRPC_ADDRESS, address)))
        .stdin(listener)
        .stdout(Stdio::null())
        .stderr(logger::open(&bundle.join("log")).map_or_else(Stdio::null, Stdio::from));
    command.spawn().map(drop).map_err(|error| format!("start the shim: {error}"))
}

/// The kernel takes a shim before it takes containerd when memory runs out (its score is one higher), as containerd's
/// own shims do: best effort. The shim inherits it from this process, and a container whose spec is silent from the shim.
#[expect(clippy::disallowed_methods, reason = "the bundle, which is containerd's and ours, and our own process")]
fn outlive_containerd() {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let score = fs::read_to_string(format!("/proc/{parent}/oom_score_adj"));
    if let Some(score) = score.ok().and_then(|text| text.trim().parse::<i32>().ok()) {
        let _ = fs::write("/proc/self/oom_score_adj", score.saturating_add(1).min(1000).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_without_its_flags_is_refused() {
        let error = run(&Flags::default(), &[], Vec::new()).unwrap_err();
        assert_eq!(error, "start needs -namespace and -id");
    }

    #[test]
    fn annotations_are_read_from_the_bundle_and_a_broken_spec_is_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(annotations(dir.path()).unwrap().is_empty());
        fs::write(dir.path().join("config.json"), r#"{"annotations": {"a": "b"}}"#).unwrap();
        assert_eq!(annotations(dir.path()).unwrap()["a"], "b");
        fs::write(dir.path().join("config.json"), "{").unwrap();
        assert!(annotations(dir.path()).unwrap_err().contains("config.json: EOF"));
    }
}
