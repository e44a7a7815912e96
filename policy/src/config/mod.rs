//! The operator's config: `/etc/eci/config.toml`, and a file or a text of a runtime's own that changes what it names.
//!
//! One job: text in, a [`Config`] or a [`Refusal`] that names file, line and key out. Reading files is the caller's task; a
//! file that does not exist is the empty text, and the empty text is [`Config::default`], which is the safe one.
//!
//! * [`Config`]: what the operator decides, a struct for each table of the file.
//! * [`KEYS`]: every key with its bounds and its meaning, in one table, from which the parser, [`Config::show`] and
//!   docs/configuration.md follow.
//! * [`Config::apply`]: reads one text over what was there. The host's file comes first, then what the engine names for a
//!   runtime (`ConfigPath`, `ConfigBody`), so that one host can offer several runtimes.
//!
//! Invariant: nothing is guessed. An unknown table or key, a value of the wrong type and a value outside its bounds
//! are refused, because a typing error in the one file that may loosen policy must not pass for a default.

mod keys;
mod read;
mod setting;
mod sysctl;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use keys::{KEYS, Key};
use setting::words;
pub use sysctl::Sysctl;

use crate::Refusal;

/// Where the operator's file is.
pub const CONFIG_PATH: &str = "/etc/eci/config.toml";

/// What the operator decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[ranges]`
    pub ranges: Ranges,
    /// `[container]`
    pub container: Container,
    /// `[namespaces]`
    pub namespaces: Namespaces,
    /// `[mounts]`
    pub mounts: Mounts,
    /// `[devices]`
    pub devices: Devices,
    /// `[sysctl]`
    pub sysctl: Sysctl,
}

/// `[ranges]`: the pool of id ranges that containers lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ranges {
    /// `first`: the first host id of the pool, 65536 or more; none when the file does not say.
    pub first: Option<u32>,
    /// `count`: how many ranges of 65536 ids the pool has, 1 or more; none when the file does not say.
    pub count: Option<u32>,
}

impl Ranges {
    /// The pool's first id where nothing else decides it: where useradd(8) starts subordinate ids, too.
    pub const DEFAULT_FIRST: u32 = 100_000;
    /// How many ranges a pool has where nothing else decides it.
    pub const DEFAULT_COUNT: u32 = 4096;
}

/// `[container]`: what a container may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Container {
    /// `grants`: what a container gets that its spec does not give.
    pub grants: Grants,
    /// `io_uring`: whether io_uring_setup(2) is allowed. Its operations pass every seccomp filter by.
    pub io_uring: bool,
    /// `max_user_namespaces`: how many user namespaces a container may have at a time, whoever of its users makes them; none: as
    /// many as the kernel lets it.
    pub max_user_namespaces: Option<u32>,
}

/// `[namespaces]`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `missing`: what a spec means that leaves out a pid, ipc, uts or network namespace.
    pub missing: Missing,
}

/// `[mounts]`: what of the host may be bound into a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    /// `shared`: the only directories of the host that may be bound; none: all that is not restricted.
    pub shared: Option<Vec<PathBuf>>,
    /// `restricted`: what may not be bound besides what never may.
    pub restricted: Option<Vec<PathBuf>>,
    /// `ancestors`: what becomes of a bind whose source has something restricted below it.
    pub ancestors: Ancestors,
    /// `unmappable`: what becomes of a bind from a filesystem that takes no id map.
    pub unmappable: Unmappable,
}

/// `[devices]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Devices {
    /// `privileged`: devices of the host that a privileged container gets besides the harmless ones; none:
    /// [`Devices::DEFAULT_PRIVILEGED`].
    pub privileged: Option<Vec<PathBuf>>,
}

impl Devices {
    /// What inner engines and their networks need: both devices give power over what the opener makes himself only.
    pub const DEFAULT_PRIVILEGED: &[&str] = &["/dev/fuse", "/dev/net/tun"];
}

words! {
    /// What a plain container gets.
    pub enum Grants {
        /// What its spec says.
        Spec = "spec",
        /// What system software needs: root has every capability of its own user namespace, and /proc/sys, /sys and the
        /// cgroup tree are writable.
        System = "system",
    }
}

words! {
    /// What a spec means that does not name a namespace. runtime-spec: "the container MUST inherit the runtime namespace of
    /// that type".
    pub enum Missing {
        /// The host's is asked for, and refused.
        Refuse = "refuse",
        /// The container gets one of its own.
        Private = "private",
    }
}

words! {
    /// What becomes of a bind whose source has something restricted below it.
    pub enum Ancestors {
        /// It is refused.
        Refuse = "refuse",
        /// What is restricted is covered inside, by something empty that is locked.
        Mask = "mask",
    }
}

words! {
    /// What becomes of a bind from a filesystem that takes no id map, of which the owners lie outside the container's range.
    pub enum Unmappable {
        /// It is refused.
        Refuse = "refuse",
        /// It is bound as it is: owners outside the range show as 65534.
        Plain = "plain",
    }
}

/// Which text is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The host's own file: every key.
    Host,
    /// What the engine names for a runtime: every key but those of the whole host.
    Runtime,
}

impl Config {
    /// Parses the text of the host's file `name` (used in messages only).
    ///
    /// # Errors
    /// One line `file:line: key: reason` for the first thing that is not understood.
    pub fn parse(text: &str, name: &str) -> Result<Self, Refusal> {
        let mut config = Self::default();
        config.apply(text, name, Scope::Host)?;
        Ok(config)
    }

    /// Reads `text` over what is there: keys that it does not name stay as they are.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn apply(&mut self, text: &str, name: &str, scope: Scope) -> Result<(), Refusal> {
        read::text(self, text, name, scope)
    }

    /// The whole config as a file would say it; keys without a value are comments.
    pub fn show(&self) -> String {
        keys::show(self.clone())
    }
}
