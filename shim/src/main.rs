//! `containerd-shim-eci-v2`.

mod container;
#[allow(dead_code)]
mod failpoint;
#[allow(dead_code)]
mod stage;
mod sys;

fn main() {}
