//! Tests of the compiler, by running programs in an [`interpreter`]; the kernel is asked in the crate's `tests`.

mod agreement;
mod base;
mod interpreter;
mod linking;
mod oracle;
mod random;
mod refusals;
mod trap;
