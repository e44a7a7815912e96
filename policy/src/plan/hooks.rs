//! `hooks`: the operator's programs at the turns of a container's life, and what each is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Every hook of a container, each list in the order in which it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hooks {
    /// In the host's namespaces, once the container's environment stands.
    pub prestart: Vec<Hook>,
    /// The same, after those.
    pub create_runtime: Vec<Hook>,
    /// A program of the host in the container's namespaces, before its tree becomes its root.
    pub create_container: Vec<Hook>,
    /// A program of the container, before the user's.
    pub start_container: Vec<Hook>,
    /// In the host's namespaces, once the user's program runs.
    pub poststart: Vec<Hook>,
    /// In the host's namespaces, once nothing of the container is left.
    pub poststop: Vec<Hook>,
    /// The bundle's directory, for the state that a hook reads.
    pub bundle: PathBuf,
    /// `annotations` of the spec, likewise.
    pub annotations: BTreeMap<String, String>,
}

impl Hooks {
    /// Whether the build stage has to wait for hooks of the host's namespaces.
    pub fn wait_for_runtime(&self) -> bool {
        !self.prestart.is_empty() || !self.create_runtime.is_empty()
    }
}

/// One program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    /// Where it stands in the spec (`hooks.createRuntime[1]`), for messages.
    pub field: String,
    /// Absolute.
    pub path: String,
    /// Its arguments, the first of which is its name. Never empty.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: Vec<String>,
    /// Seconds after which it is killed.
    pub timeout: Option<u64>,
}
