//! What the engine's configuration asks of every container of a runtime.

/// Options of a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// The container's processes keep the keyring of whoever starts them, instead of a fresh session keyring.
    pub(crate) no_new_keyring: bool,
    /// systemd makes the container's cgroup.
    pub(crate) systemd_cgroup: bool,
    /// The group that the shim is to be in; empty: where it was started.
    pub(crate) shim_cgroup: String,
    /// A file with the config of this runtime; empty: none.
    pub(crate) config_path: String,
    /// The config of this runtime itself; empty: none.
    pub(crate) config_body: String,
    /// Who owns the pipes of standard input and output: uid and gid on the host. Without it, the process's own user.
    pub(crate) stdio_owner: Option<(u32, u32)>,
}
