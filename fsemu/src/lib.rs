//! `fsemu` shows: files of /proc and /sys that tell the container's truth where the kernel tells the host's.
//!
//! One container has two FUSE filesystems ([`fuse`]), served by the shim, a thread each. The root directory of either has an
//! entry for each of [`table::tops`] of its [`table::Part`], named [`table::Node::name`]; the shim binds each over the file of
//! the container's own procfs or sysfs that it stands for, and locks it there. Values come from the container's cgroup and
//! the host ([`render`]), or from a store of the container's own ([`store`]), no more often than their resolution.
//!
//! An inner container has limits of its own: what goes by groups shows it a view by its groups ([`views`]).
//!
//! Main types: [`table::Node`], [`Emulation`] (the values of one container), [`fuse::serve`].
//!
//! Invariant: no read and no write here ever changes a setting of the host, and none waits for anything but a file of
//! the kernel's. What is made of a write to one of a few limits is whose [`Raise`] is told of it.

mod check;
mod cpuset;
#[cfg(test)]
mod fixture;
pub mod fuse;
pub mod mirror;
pub mod render;
pub mod store;
pub mod table;
pub mod views;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

/// What the values of one container are made from.
#[derive(Debug)]
pub struct Emulation {
    /// What the shim says of the container.
    pub facts: Facts,
    /// What is shown: an entry of the root directory each, or of a directory there that is a node itself.
    pub nodes: Vec<&'static table::Node>,
    /// What is known of its tasks.
    pub(crate) tasks: Mutex<render::Tasks>,
    /// Its processors and its memory nodes.
    pub(crate) cpus: cpuset::Known,
    pub(crate) mems: cpuset::Known,
    /// How far the host had counted.
    pub(crate) sums: OnceLock<render::Sums>,
    /// What the host's values were when the first of the containers that share a store was made.
    seeds: OnceLock<store::Seeds>,
    /// The same for inner containers.
    views: views::Views,
    /// `/proc/sys/kernel/random/boot_id`: one for each life of a container.
    boot_id: OnceLock<Vec<u8>>,
    /// Who is told of a limit that is written.
    raise: Option<Box<dyn Raise>>,
}

/// Whoever is told when the container sets a limit that is the host's ([`table::Kept::may_raise`]).
pub trait Raise: std::fmt::Debug + Send + Sync {
    /// `node` was written and has this value now. The thread that serves the container's files waits for it.
    fn raise(&self, node: &table::Node, value: u64);
}

/// What the shim says of a container.
#[derive(Debug)]
pub struct Facts {
    /// The host id of the container's root: who owns every file.
    pub root: u32,
    /// The container's id (64 hexadecimal digits with Docker, any name with others).
    pub id: String,
    /// Its init, as the shim's pid namespace counts.
    pub init: i32,
    /// Its cgroups: one directory on the unified hierarchy, one for each v1 hierarchy; the controllers with each, none
    /// for cgroup v2.
    pub cgroups: Vec<(Vec<String>, PathBuf)>,
    /// The directory in which written values are kept: that of the lease, which containers of one network namespace
    /// share. Views have the same descriptor: the shim has so many for all of its containers.
    pub values: Arc<OwnedFd>,
}

impl Emulation {
    /// The values of a container, for every node of the table.
    pub fn new(facts: Facts) -> Self {
        Self::of(facts, table::nodes().collect())
    }

    /// The container is made now: remembers what the host has counted and, see [`Emulation::seed`], the host's settings. Is
    /// done at the first need, if not before.
    ///
    /// # Errors
    /// When the host's `/proc/stat` cannot be read, and those of the directory of values.
    pub fn begin(&self) -> io::Result<()> {
        let _first = self.sums.set(render::Sums::now()?);
        self.seed()
    }

    /// The same as [`Emulation::new`] for these nodes only.
    pub fn of(facts: Facts, nodes: Vec<&'static table::Node>) -> Self {
        Self {
            facts,
            nodes,
            tasks: Mutex::default(),
            cpus: cpuset::Known::default(),
            mems: cpuset::Known::default(),
            sums: OnceLock::new(),
            seeds: OnceLock::new(),
            views: views::Views::default(),
            boot_id: OnceLock::new(),
            raise: None,
        }
    }

    /// The same, with somebody who is told of limits that are written.
    #[must_use]
    pub fn telling(self, raise: Box<dyn Raise>) -> Self {
        Self { raise: Some(raise), ..self }
    }
}
