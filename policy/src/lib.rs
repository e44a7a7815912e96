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
//! Main types:
//! * [`plan::Plan`]: everything that is done to make one container, in the order in which it is done.
//! * [`config::Config`]: what the operator decides; [`subid::Pool`]: which id ranges are ours to give.
//! * [`idmap::IdMap`]: which host ids the container's ids are.
//! * [`Refusal`]: why a request is not served, as one line that names the field, the value and the reason.
//!
//! Invariant: nothing that is not understood gets through. A field of the runtime spec is either carried into the plan
//! or refused by its name; input from an image, a label or an annotation may only tighten what the operator allows.

#![forbid(unsafe_code)]

pub mod config;
pub mod idmap;
pub mod plan;
pub mod refusal;
pub mod subid;

pub use refusal::Refusal;
