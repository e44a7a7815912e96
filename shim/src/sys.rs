//! The one module of this crate with `unsafe`: system calls that neither rustix nor nix offers.
//!
//! Each function is small, depends on no other, and is safe to call: it takes references and values whose validity the
//! compiler checks, and returns the kernel's answer as an [`std::io::Error`].

pub(crate) mod bpf;
pub(crate) mod process;
