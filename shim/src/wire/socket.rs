//! Where a shim listens, and which containers share one shim.
//!
//! The socket's name is a digest of what makes the shim unique (containerd's address, the namespace, the group), so that
//! every `start` of a pod's containers finds the shim of its first one, and the path stays below the 108 bytes that
//! unix(7) allows.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Where sockets are when containerd does not say: its own well-known place.
const DEFAULT_DIR: &str = "/run/containerd/s";

/// The longest path that containerd takes on every platform (unix(7): 108 with its NUL).
const MAX_PATH: usize = 104;

/// Annotations that name the group of a container, strongest first: the one of containerd's own shim, and CRI's pod.
const GROUP_ANNOTATIONS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// A shim's socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket(PathBuf);

/// What `start` found at the socket's place.
pub(crate) enum Claim {
    /// Nobody listened: now we do.
    Ours(UnixListener),
    /// The group's shim listens already.
    Taken,
}

impl Socket {
    /// The socket of a group's shim.
    ///
    /// # Errors
    /// One line, when `dir` makes the path too long.
    pub(crate) fn new(dir: Option<&str>, address: &str, namespace: &str, group: &str) -> Result<Self, String> {
        let digest = Sha256::digest(format!("{address}/{namespace}/{group}"));
        let name: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = Path::new(dir.unwrap_or(DEFAULT_DIR)).join(name);
        if path.as_os_str().len() > MAX_PATH {
            return Err(format!("socket path {} is longer than {MAX_PATH} bytes", path.display()));
        }
        Ok(Self(path))
    }

    /// The socket that an address (`unix://PATH`) names.
    pub(crate) fn at(address: &str) -> Option<Self> {
        address.trim().strip_prefix("unix://").map(|path| Self(PathBuf::from(path)))
    }

    /// The address that containerd connects to.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.0.display())
    }

    /// Listens at the socket, unless a living shim does. What a dead one left is replaced. An exclusive lock on the
    /// directory makes this one step: two `start` of one pod cannot both find nobody.
    ///
    /// # Errors
    /// One line, with the path and the cause.
    pub(crate) fn claim(&self) -> Result<Claim, String> {
        self.try_claim().map_err(|error| format!("listen at {}: {error}", self.0.display()))
    }

    #[expect(clippy::disallowed_methods, reason = "our own socket's directory")]
    fn try_claim(&self) -> io::Result<Claim> {
        let dir = self.0.parent().unwrap_or(Path::new("/"));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let lock = fs::File::open(dir)?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
        if self.is_served() {
            return Ok(Claim::Taken);
        }
        self.remove()?;
        let listener = UnixListener::bind(&self.0)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o600))?;
        Ok(Claim::Ours(listener))
    }

    /// Whether a process listens at the socket.
    pub(crate) fn is_served(&self) -> bool {
        UnixStream::connect(&self.0).is_ok()
    }

    /// Removes the socket's file, if it is there.
    #[expect(clippy::disallowed_methods, reason = "our own socket's directory")]
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The group of a container: what its annotations name, or the container alone.
pub(crate) fn group<'a>(annotations: &'a HashMap<String, String>, id: &'a str) -> &'a str {
    let named = GROUP_ANNOTATIONS.iter().find_map(|name| annotations.get(*name));
    named.map(String::as_str).filter(|group| !group.is_empty()).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_pod_is_the_group_and_the_explicit_one_is_stronger() {
        let cri = ("io.kubernetes.cri.sandbox-id", "pod");
        let own = ("io.containerd.runc.v2.group", "mine");
        assert_eq!(group(&annotations(&[]), "c1"), "c1");
        assert_eq!(group(&annotations(&[cri]), "c1"), "pod");
        assert_eq!(group(&annotations(&[cri, own]), "c1"), "mine");
        assert_eq!(group(&annotations(&[("io.kubernetes.cri.sandbox-id", "")]), "c1"), "c1");
    }

    #[test]
    fn a_socket_is_named_by_all_that_makes_a_shim_unique() {
        let socket = |address, namespace, group| Socket::new(None, address, namespace, group).unwrap();
        let one = socket("/run/c.sock", "moby", "c1");
        assert_eq!(one, socket("/run/c.sock", "moby", "c1"));
        assert_ne!(one, socket("/run/c.sock", "moby", "c2"));
        assert_ne!(one, socket("/run/c.sock", "default", "c1"));
        assert_ne!(one, socket("/run/d.sock", "moby", "c1"));
        assert!(one.address().starts_with("unix:///run/containerd/s/") && one.0.as_os_str().len() <= MAX_PATH);
        assert_eq!(Socket::at(&one.address()), Some(one));
    }

    #[test]
    fn a_directory_that_makes_the_path_too_long_is_refused() {
        let dir = format!("/{}", "d".repeat(MAX_PATH - 66));
        assert!(Socket::new(Some(&dir), "a", "n", "g").is_ok());
        let error = Socket::new(Some(&format!("{dir}d")), "a", "n", "g").unwrap_err();
        assert!(error.contains("longer than 104 bytes"), "{error}");
    }

    #[test]
    fn a_dead_shims_socket_is_replaced_and_a_living_ones_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::new(Some(dir.path().to_str().unwrap()), "a", "n", "g").unwrap();
        let Ok(Claim::Ours(listener)) = socket.claim() else { panic!("nobody else listens") };
        assert!(matches!(socket.claim(), Ok(Claim::Taken)));
        drop(listener);
        // A process that another test is starting just now has it until it executes.
        let deadline = Instant::now() + Duration::from_secs(60);
        while socket.is_served() {
            assert!(Instant::now() < deadline, "somebody listens");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(matches!(socket.claim(), Ok(Claim::Ours(_))));
    }

    #[test]
    fn the_directory_is_for_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("run/s");
        let socket = Socket::new(Some(made.to_str().unwrap()), "a", "n", "g").unwrap();
        let _listener = socket.claim().unwrap();
        assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
