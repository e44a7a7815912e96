//! `syscall-trap` answers for a container's system calls: it compiles every seccomp program that a container runs under.
//!
//! Main types and functions:
//! * [`filter::compile`]: the runtime spec's seccomp profile to a classic BPF [`filter::Program`].
//! * [`filter::base()`]: the filter beneath every profile, whatever the spec says.
//! * [`sys::install`]: a program to the calling thread.
//!
//! Invariant: a program does what its profile says on every ABI that the host's kernel serves, and what it cannot
//! express is refused by its name; nothing is dropped without a word.

pub mod act;
pub mod filter;
pub mod sys;
