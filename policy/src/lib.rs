//! `policy` decides: an OCI runtime spec, the engine's request and facts about the host go in, a [`plan::Plan`] or a
//! [`Refusal`] comes out.
//!
//! The crate is pure. It makes no system call, opens no file and knows neither containerd nor tokio, so that every
//! decision can be tested as a table. What must be looked up on the host (who owns a namespace, whose account uses an
//! id) is probed by the caller and handed in as a *fact*.
//!
//! It is also the vocabulary of the project: the plain types of a plan ([`plan`]), of an id map ([`idmap`]) and of a
//! refusal ([`refusal`]) are shared by every other crate.
//!
//! How a container is decided upon:
//! 1. [`spec::load`] reads `config.json`. The table of [`fields`] has a row for every property of runtime-spec 1.3, and
//!    each is carried, refused by its name or harmless; what the specification does not know is reported for the log.
//! 2. [`spec::plan`] makes the [`plan::Plan`], with every value held against its range and every path normalised.
//! 3. What the operator's config says joins it: [`privileged`] limits the devices of a plan that wants them all, [`grants`]
//!    gives a plain container what system software needs.
//! 4. The caller probes the namespaces whose paths the plan names; [`namespaces::decide`] says which of them are joined,
//!    whose user namespace the container lives in, and whether those that the spec leaves out are the host's.
//! 5. Once the id map is known, [`spec::check_ids`] holds the ids of the plan against it.
//!
//! 5. The caller looks at the source of each bind mount on its descriptor; [`binds::Rules`] decides whether it may be bound, and
//!    what below it is covered.
//!
//! The process of an exec request goes through [`spec::load_process`] and [`spec::plan_process`].
//!
//! Main types:
//! * [`plan::Plan`]: everything that is done to make one container, in the order in which it is done.
//! * [`config::Config`]: what the operator decides; [`subid::Pool`]: which id ranges are ours to give.
//! * [`idmap::IdMap`]: which host ids the container's ids are.
//! * [`namespaces::Joins`]: which namespaces are joined, and whose user namespace it is.
//! * [`Refusal`]: why a request is not served, as one line that names the field, the value and the reason; with a
//!   [`Denial`] where it is isolation that forbids it.
//!
//! Invariant: nothing that is not understood gets through. A field of the runtime spec is either carried into the plan
//! or refused by its name; input from an image, a label or an annotation may only tighten what the operator allows.

#![forbid(unsafe_code)]

pub mod binds;
pub mod config;
pub mod fields;
pub mod grants;
pub mod idmap;
pub mod mapped;
pub mod namespaces;
pub mod plan;
pub mod privileged;
pub mod refusal;
pub mod spec;
pub mod subid;

pub use refusal::{Denial, Refusal, Rule};
