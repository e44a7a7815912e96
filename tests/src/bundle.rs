//! A bundle: a config.json and a root filesystem, as an engine would prepare them.

use std::path::{Path, PathBuf};

use containerd_shim_protos::types::mount::Mount;
use serde_json::{Value, json};

use crate::place;

/// A bundle of a container that runs on the busybox image with a writable layer of its own.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The container's id.
    pub id: String,
    /// The bundle's directory.
    pub dir: PathBuf,
    /// config.json; written when the container is created.
    pub spec: Value,
    /// The root filesystem's mounts of the Create request.
    pub rootfs: Vec<Mount>,
}

/// The fourteen capabilities that engines give by default.
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

impl Bundle {
    /// A bundle with a spec like `ctr run`'s; its program is `true`.
    pub fn new() -> Self {
        let id = place::unique("c");
        let dir = place::new_dir(&format!("bundle-{id}"));
        std::fs::create_dir(dir.join("rootfs")).expect("rootfs");
        let spec = default_spec(&id);
        let rootfs = vec![overlay(&dir, &[place::busybox()])];
        Self { id, dir, spec, rootfs }
    }

    /// Runs a shell script.
    #[must_use]
    pub fn sh(self, script: &str) -> Self {
        self.args(&["/bin/sh", "-c", script])
    }

    /// Runs a program.
    #[must_use]
    pub fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// Sets one field, by a JSON pointer whose parents are made where they are missing.
    #[must_use]
    pub fn set(mut self, pointer: &str, value: Value) -> Self {
        *at(&mut self.spec, pointer) = value;
        self
    }

    /// Appends to a list.
    #[must_use]
    pub fn push(mut self, pointer: &str, value: Value) -> Self {
        let list = at(&mut self.spec, pointer);
        if list.is_null() {
            *list = json!([]);
        }
        list.as_array_mut().expect("a list").push(value);
        self
    }

    /// Removes a field.
    #[must_use]
    pub fn remove(mut self, pointer: &str) -> Self {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        if let Some(Value::Object(parent)) = self.spec.pointer_mut(parent) {
            parent.remove(name);
        }
        self
    }

    /// Appends a mount.
    #[must_use]
    pub fn mount(self, kind: &str, source: &str, destination: &str, options: &[&str]) -> Self {
        self.push("/mounts", json!({ "type": kind, "source": source, "destination": destination, "options": options }))
    }

    /// Appends a bind mount (`rbind` and `options`).
    #[must_use]
    pub fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Self {
        let options: Vec<&str> = ["rbind"].iter().chain(options).copied().collect();
        self.mount("bind", source.to_str().expect("a path"), destination, &options)
    }

    /// The container of an inner engine: it sees its groups, and may do with them what the kernel lets it.
    pub fn inner_engine() -> Self {
        let options = ["nosuid", "noexec", "nodev", "rw"];
        let bundle = Self::new().all_capabilities().set("/process/noNewPrivileges", json!(false));
        bundle.mount("cgroup", "cgroup", "/sys/fs/cgroup", &options)
    }

    /// Binds the static helper of `tests/inside.c` to `/inside`.
    #[must_use]
    pub fn with_inside(self) -> Self {
        self.bind(&place::inside(), "/inside", &["ro"])
    }

    /// Appends a hook that runs a shell script: the host's shell, or the container's for startContainer.
    #[must_use]
    pub fn hook(self, kind: &str, script: &str) -> Self {
        let env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        self.push(&format!("/hooks/{kind}"), json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": env }))
    }

    /// All capabilities, in every set in which an engine's `--privileged` has them.
    #[must_use]
    pub fn all_capabilities(self) -> Self {
        let all = all_capabilities();
        self.capabilities(&all.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// These capabilities, bounding, effective and permitted.
    #[must_use]
    pub fn capabilities(self, names: &[&str]) -> Self {
        self.set("/process/capabilities", json!({ "bounding": names, "effective": names, "permitted": names }))
    }

    /// Another path for the pid namespace and so on: replaces the entry of a kind, or adds it.
    #[must_use]
    pub fn namespace(mut self, kind: &str, path: Option<&str>) -> Self {
        let list = at(&mut self.spec, "/linux/namespaces").as_array_mut().expect("namespaces");
        list.retain(|entry| entry["type"] != kind);
        list.push(match path {
            Some(path) => json!({ "type": kind, "path": path }),
            None => json!({ "type": kind }),
        });
        self
    }

    /// Leaves a namespace out of the spec.
    #[must_use]
    pub fn without_namespace(mut self, kind: &str) -> Self {
        let list = at(&mut self.spec, "/linux/namespaces").as_array_mut().expect("namespaces");
        list.retain(|entry| entry["type"] != kind);
        self
    }

    /// A root filesystem that is this image directory below the usual writable layer.
    #[must_use]
    pub fn image(mut self, image: &Path) -> Self {
        self.rootfs = vec![overlay(&self.dir, &[image.to_owned()])];
        self
    }

    /// An image of its own: a copy of busybox in which `change` may do what it likes.
    #[must_use]
    pub fn image_with(self, change: impl FnOnce(&Path)) -> Self {
        let image = self.dir.join("image");
        copy_tree(&place::busybox(), &image);
        change(&image);
        self.image(&image)
    }

    /// The directory of the writable layer.
    pub fn upper(&self) -> PathBuf {
        self.dir.join("upper")
    }

    /// Writes config.json.
    pub fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).expect("JSON");
        std::fs::write(self.dir.join("config.json"), text).expect("config.json");
    }

    /// Creates and starts it in a shim of its own, waits for its end, deletes it, ends the shim.
    ///
    /// # Panics
    /// When it cannot be created or started.
    pub async fn run(self) -> crate::Output {
        crate::Container::run(self).await
    }

    /// The error of a Create that must fail. Nothing may be left, and the next create in the same shim must work.
    ///
    /// # Panics
    /// When it is created.
    pub async fn refused(self) -> String {
        crate::Container::refused(self).await
    }

    /// The error of a Start that must fail after a Create that succeeds.
    ///
    /// # Panics
    /// When it starts.
    pub async fn start_refused(self) -> String {
        crate::Container::start_refused(self).await
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

/// An overlay over `lowers` (the first is on top) with its writable layer in `dir`.
pub fn overlay(dir: &Path, lowers: &[PathBuf]) -> Mount {
    for name in ["upper", "work"] {
        std::fs::create_dir_all(dir.join(name)).expect("a layer");
    }
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    Mount {
        type_: "overlay".into(),
        source: "overlay".into(),
        options: vec![
            format!("workdir={}", dir.join("work").display()),
            format!("upperdir={}", dir.join("upper").display()),
            format!("lowerdir={}", lowers.join(":")),
        ],
        ..Default::default()
    }
}

/// A bind of a directory as the whole root filesystem.
pub fn bind_rootfs(dir: &Path) -> Mount {
    Mount {
        type_: "bind".into(),
        source: dir.display().to_string(),
        options: vec!["rbind".into(), "rw".into()],
        ..Default::default()
    }
}

/// Copies a tree with owners, modes and symlinks.
pub fn copy_tree(from: &Path, to: &Path) {
    let status = std::process::Command::new("cp").args(["-a", "--"]).arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

/// Every capability of this kernel that this machine has in its bounding set.
pub fn all_capabilities() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").expect("status");
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("CapBnd");
    let bounding = u64::from_str_radix(bounding.trim(), 16).expect("hexadecimal");
    let named = CAPABILITIES.iter().enumerate().filter(|(bit, _)| bounding & (1 << bit) != 0);
    named.map(|(_, name)| format!("CAP_{name}")).collect()
}

/// capabilities(7), by bit.
const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

fn default_spec(id: &str) -> Value {
    let capabilities = DEFAULT_CAPABILITIES;
    json!({
        "ociVersion": "1.1.0",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["/bin/true"],
            "env": ["PATH=/bin:/usr/bin:/sbin", "HOME=/root"],
            "cwd": "/",
            "noNewPrivileges": true,
            "capabilities": { "bounding": capabilities, "effective": capabilities, "permitted": capabilities },
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
            { "destination": "/run", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        ],
        "linux": {
            "cgroupsPath": format!("/eci-tests/{id}"),
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" }, { "type": "network" },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// The place of a JSON pointer; missing objects on the way are made.
fn at<'a>(value: &'a mut Value, pointer: &str) -> &'a mut Value {
    pointer.split('/').skip(1).fold(value, |here, name| {
        if here.is_null() {
            *here = json!({});
        }
        match here {
            Value::Array(list) => &mut list[name.parse::<usize>().expect("an index")],
            here => &mut here[name],
        }
    })
}
