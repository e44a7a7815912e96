//! Where things are, as `tests/run` says, and the words of a test that cannot run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

fn variable(name: &str) -> PathBuf {
    std::env::var_os(name).map(PathBuf::from).unwrap_or_else(|| panic!("{name} is not set: use tests/run"))
}

/// The directory of the shim under test.
pub fn shim_dir() -> PathBuf {
    variable("ECI_SHIM_DIR")
}

/// The shim under test.
pub fn shim() -> PathBuf {
    shim_dir().join("containerd-shim-eci-v2")
}

/// The same shim with failpoints compiled in.
pub fn shim_with_failpoints() -> PathBuf {
    variable("ECI_SHIM_FAILPOINTS_DIR").join("containerd-shim-eci-v2")
}

/// Chroots and images.
pub fn hosts() -> PathBuf {
    variable("ECI_HOSTS")
}

/// The unpacked busybox image: a root filesystem to build on, never to change.
pub fn busybox() -> PathBuf {
    hosts().join("images/busybox")
}

/// The static helper that runs inside containers (`tests/inside.c`).
pub fn inside() -> PathBuf {
    variable("ECI_INSIDE")
}

/// The project's `tests` directory.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program that asks a shim for an update (`examples/update.rs`).
pub fn update() -> PathBuf {
    variable("ECI_UPDATE")
}

/// A new directory on the sandbox's disk (not a tmpfs, not an overlay); it goes with the sandbox.
pub fn new_dir(name: &str) -> PathBuf {
    let dir = variable("ECI_SANDBOX").join("dirs").join(unique(name));
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// `name` with a number that nobody else in this program has.
pub fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Runs a shell script in the sandbox, outside every container.
pub fn sh(script: &str) -> crate::Output {
    std::process::Command::new("bash").args(["-euc", script]).output().expect("bash").into()
}

/// Says that a test cannot run here, and why. `.ci/skips` lists the tests that may.
pub fn skip(test: &str, reason: &str) {
    println!("SKIP {test}: {reason}");
    let list = std::env::var_os("ECI_SKIPS").expect("ECI_SKIPS");
    let mut list = std::fs::OpenOptions::new().append(true).create(true).open(list).expect("the list of skips");
    writeln!(list, "SKIP {test}: {reason}").expect("a line in the list of skips");
}

/// Writes a program that an interpreter runs.
pub fn script(path: &Path, text: &str) {
    // By a process of its own, as in [`copy_of`].
    let mut command = std::process::Command::new("sh");
    command.args(["-euc", "cat > \"$0\"; chmod 755 \"$0\""]).arg(path).stdin(std::process::Stdio::piped());
    let mut child = command.spawn().expect("sh");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the text");
    assert!(child.wait().expect("sh").success(), "{}", path.display());
}

/// A copy of a binary, with an inode of its own: the processes that run it are those of one test.
pub fn copy_of(binary: &Path) -> PathBuf {
    let copy = new_dir("binary").join(binary.file_name().expect("a file name"));
    // By a process of its own: a program that another thread forks meanwhile would hold the file open for writing, and nobody
    // could execute it (ETXTBSY).
    let status = std::process::Command::new("cp").args([binary, &copy]).status().expect("cp");
    assert!(status.success(), "a copy of {}", binary.display());
    copy
}
