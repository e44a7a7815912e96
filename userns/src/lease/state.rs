//! The content of a lease file: what a shim knows of the container that has the range.
//!
//! Each line is one JSON object with everything; the last complete line counts. Fields may be added within a version
//! (unknown ones are ignored, missing ones have defaults); a change that an older shim would misread takes a new
//! version, and older shims treat such a lease as living.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::allocate::Request;
use super::layer::LayerId;

/// The version that this code writes, and the highest that it reads.
const VERSION: u32 = 1;

/// Who chose a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// eci, from the pool.
    Pool,
    /// The container's spec.
    Map,
}

/// A process that cannot be confused with a later one of the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its pid as the host sees it.
    pub pid: u32,
    /// Its start time in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start: u64,
}

/// A user namespace, as fstat(2) of its `/proc/PID/ns/user` shows it. The number is reused once the namespace is gone:
/// it means something only while a holder or a process keeps the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsernsId {
    /// `st_dev`
    pub dev: u64,
    /// `st_ino`
    pub ino: u64,
}

/// A container, as messages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its id.
    pub container: String,
    /// The engine's namespace.
    pub namespace: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "container {:?} (namespace {:?})", self.container, self.namespace)
    }
}

/// One line of a lease file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub(super) kind: Kind,
    pub(super) container: String,
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) layer: Option<LayerId>,
    /// When the lease was taken, milliseconds since the epoch.
    pub(super) since: u64,
    /// When it was released with its layer still there.
    #[serde(default)]
    pub(super) stopped: Option<u64>,
    #[serde(default)]
    pub(super) init: Option<ProcessId>,
    #[serde(default)]
    pub(super) cgroups: Vec<PathBuf>,
    #[serde(default)]
    pub(super) userns: Option<UsernsId>,
    /// The directory of values that the members of its user namespace share.
    #[serde(default)]
    pub(super) values: Option<String>,
}

impl State {
    pub(super) fn new(request: &Request, kind: Kind, now: u64) -> Self {
        Self {
            version: VERSION,
            kind,
            container: request.container.clone(),
            namespace: request.namespace.clone(),
            layer: request.layer.clone(),
            since: now,
            stopped: None,
            init: None,
            cgroups: request.cgroups.clone(),
            userns: None,
            values: None,
        }
    }

    /// The line that is written.
    pub(super) fn line(&self) -> serde_json::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }

    /// What a file says: its last complete line.
    ///
    /// # Errors
    /// Why it cannot be read, in a few words.
    pub(super) fn parse(content: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let complete = content.iter().rposition(|byte| *byte == b'\n').map_or(&[][..], |end| &content[..end]);
        let line = complete.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let unreadable = |error: serde_json::Error| format!("unreadable: {error}");
        let Versioned { version } = serde_json::from_slice(line).map_err(unreadable)?;
        if version > VERSION {
            return Err(format!("written by a newer eci (version {version})"));
        }
        serde_json::from_slice(line).map_err(unreadable)
    }

    /// Whether this is a lease of the container that asks.
    pub(super) fn is_of(&self, request: &Request) -> bool {
        self.container == request.container && self.namespace == request.namespace && self.layer == request.layer
    }

    /// When the container was last known to run, milliseconds since the epoch.
    pub(super) fn last_seen(&self) -> u64 {
        self.stopped.unwrap_or(self.since)
    }

    pub(super) fn holder(&self) -> Holder {
        Holder { container: self.container.clone(), namespace: self.namespace.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kind, State};
    use crate::lease::Request;

    fn state(id: &str) -> State {
        let request = Request { container: id.into(), namespace: "default".into(), ..Request::default() };
        State::new(&request, Kind::Pool, 7)
    }

    #[test]
    fn a_newer_version_is_not_read() {
        let text = "{\"version\":2,\"kind\":\"pool\",\"container\":\"c\",\"namespace\":\"d\",\"since\":1}\n";
        assert_eq!(State::parse(text.as_bytes()), Err("written by a newer eci (version 2)".into()));
        let known = text.replace(":2", ":1").replace("}", ",\"later\":{\"x\":1}}");
        assert_eq!(State::parse(known.as_bytes()).map(|state| state.container), Ok("c".into()));
    }

    #[test]
    fn nothing_is_no_state() {
        for content in ["", "\n", "{}", "{}\n", "junk\n", "{\"version\":1}\n"] {
            assert!(State::parse(content.as_bytes()).is_err_and(|reason| !reason.contains('\n')), "{content:?}");
        }
    }

    proptest! {
        #[test]
        fn a_torn_write_leaves_the_former_line(first in "\\PC{0,20}", second in "\\PC{0,20}", cut in 0.0..1.0_f64) {
            let (first, second) = (state(&first), state(&second));
            let mut content = first.line().expect("json");
            let whole = second.line().expect("json");
            content.extend(&whole[..((whole.len() - 1) as f64 * cut) as usize]);
            prop_assert_eq!(State::parse(&content), Ok(first.clone()));
            let complete = [first.line().expect("json"), whole].concat();
            prop_assert_eq!(State::parse(&complete), Ok(second));
        }
    }
}
