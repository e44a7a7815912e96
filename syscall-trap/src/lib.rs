//! `syscall-trap` answers for a container's system calls: it compiles every seccomp program that a container runs under, and
//! serves the calls that one of them traps.
//!
//! Main types and functions:
//! * [`filter::compile`]: the runtime spec's seccomp profile to a classic BPF [`filter::Program`].
//! * [`filter::base()`]: the filter beneath every profile, whatever the spec says.
//! * [`filter::trap()`]: the filter that traps, by the table [`filter::trap::TRAPS`].
//! * [`sys::install`], [`sys::listen`]: a program to the calling thread.
//! * [`supervisor::Supervisor`]: serves a container's trapped calls: [`notify`] receives and answers, [`calls`] decides, [`act`] is
//!   what is done on behalf.
//! * [`programs::Programs`]: the device programs of a container's own engines.
//!
//! Invariant: a program does what its profile says on every ABI that the host's kernel serves, and what it cannot
//! express is refused by its name; nothing is dropped without a word. A trapped call gets one answer, and never one that the
//! container could not have had anyway.

pub mod act;
pub mod calls;
pub mod filter;
pub mod notify;
pub mod programs;
pub mod supervisor;
pub mod sys;
