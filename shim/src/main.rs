//! `containerd-shim-eci-v2`.

#[allow(dead_code)]
mod stage;
mod sys;

fn main() {}
