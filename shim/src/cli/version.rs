//! `--version` and `-v`.

/// The text that `--version` prints: the binary's name and version.
pub(crate) fn text() -> String {
    format!("containerd-shim-eci-v2 {}\n", env!("CARGO_PKG_VERSION"))
}

/// The text that containerd's `-v` expects of a shim: three indented fields below the program's name.
pub(crate) fn for_containerd() -> String {
    format!("containerd-shim-eci-v2:\n  Version:  {}\n  Revision: {}\n", env!("CARGO_PKG_VERSION"), "")
}
