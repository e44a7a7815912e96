use std::fs::{read, read_dir, read_to_string};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::Raise;
use crate::fixture::{emulation, write};

fn store() -> (TempDir, Emulation) {
    let directory = tempfile::tempdir().expect("a directory");
    let emulation = emulation(directory.path(), directory.path());
    (directory, emulation)
}

fn node(path: &str) -> &'static Node {
    table::nodes().find(|node| node.path == path).expect(path)
}

fn value(emulation: &Emulation, path: &str) -> String {
    String::from_utf8(emulation.read_kept(node(path)).expect(path)).expect(path)
}

fn set(emulation: &Emulation, path: &str, text: &str) -> Result<(), Errno> {
    emulation.write_kept(node(path), text.as_bytes())
}

const PANIC: &str = "/proc/sys/kernel/panic";

#[test]
fn what_was_never_written_is_the_hosts() {
    let (_directory, emulation) = store();
    for path in [PANIC, "/proc/sys/kernel/printk", "/proc/sys/fs/file-max"] {
        assert_eq!(value(&emulation, path), read_to_string(path).expect(path));
    }
}

#[test]
fn what_is_written_stays_in_the_container() {
    let (_directory, emulation) = store();
    let host = read_to_string(PANIC).expect(PANIC);
    assert_eq!(set(&emulation, PANIC, "-4711\n"), Ok(()));
    assert_eq!(value(&emulation, PANIC), "-4711\n");
    assert_eq!(read_to_string(PANIC).expect(PANIC), host);
    assert_eq!(set(&emulation, PANIC, "x"), Err(Errno::INVAL));
    assert_eq!(set(&emulation, PANIC, ""), Ok(()));
    assert_eq!(value(&emulation, PANIC), "-4711\n");
}

#[test]
fn the_first_of_a_pod_remembers_for_all() {
    let (directory, first) = store();
    first.seed().expect("seeds");
    let seeds = String::from_utf8(read(directory.path().join(SEEDS)).expect(SEEDS)).expect(SEEDS);
    assert!(seeds.lines().any(|line| line.starts_with("proc.sys.kernel.panic=")), "{seeds}");
    write(directory.path(), SEEDS, "proc.sys.kernel.panic=4711\nproc.sys.kernel.printk=1\t2\t3\t4\n");
    let second = emulation(directory.path(), directory.path());
    assert_eq!(value(&second, PANIC), "4711\n");
    assert_eq!(value(&second, "/proc/sys/kernel/printk"), "1\t2\t3\t4\n");
    // What came later is read of the host.
    assert_eq!(
        value(&second, "/proc/sys/vm/swappiness"),
        read_to_string("/proc/sys/vm/swappiness").expect("swappiness")
    );
}

#[test]
fn containers_of_a_pod_share_values_and_others_do_not() {
    let (directory, first) = store();
    let (_other, other) = store();
    let second = emulation(directory.path(), directory.path());
    assert_eq!(set(&first, PANIC, "4711"), Ok(()));
    assert_eq!(value(&second, PANIC), "4711\n");
    assert_eq!(value(&other, PANIC), read_to_string(PANIC).expect(PANIC));
}

#[test]
fn values_that_hang_together_change_together() {
    let (_directory, emulation) = store();
    let (ratio, bytes) = ("/proc/sys/vm/dirty_ratio", "/proc/sys/vm/dirty_bytes");
    assert_eq!(set(&emulation, bytes, "65536"), Ok(()));
    assert_eq!((value(&emulation, ratio), value(&emulation, bytes)), ("0\n".into(), "65536\n".into()));
    assert_eq!(set(&emulation, ratio, "0"), Ok(()), "no change");
    assert_eq!(value(&emulation, bytes), "65536\n");
    assert_eq!(set(&emulation, ratio, "101"), Err(Errno::INVAL));
    assert_eq!(value(&emulation, bytes), "65536\n");
    assert_eq!(set(&emulation, ratio, "30"), Ok(()));
    assert_eq!((value(&emulation, ratio), value(&emulation, bytes)), ("30\n".into(), "0\n".into()));
    assert_eq!(set(&emulation, bytes, "0"), Err(Errno::INVAL), "shown, but not taken");

    let (ratio, kbytes) = ("/proc/sys/vm/overcommit_ratio", "/proc/sys/vm/overcommit_kbytes");
    assert_eq!(set(&emulation, kbytes, "1024"), Ok(()));
    assert_eq!(value(&emulation, ratio), "0\n");
    assert_eq!(set(&emulation, ratio, "0"), Ok(()), "no change, but a write");
    assert_eq!(value(&emulation, kbytes), "0\n");
}

#[test]
fn one_value_has_two_names() {
    let (directory, emulation) = store();
    let (sysctl, parameter) =
        ("/proc/sys/net/netfilter/nf_conntrack_buckets", "/sys/module/nf_conntrack/parameters/hashsize");
    write(
        directory.path(),
        SEEDS,
        "proc.sys.net.netfilter.nf_conntrack_buckets=262144\nsys.module.nf_conntrack.parameters.hashsize=262144\n",
    );
    assert_eq!(value(&emulation, parameter), "262144\n");
    assert_eq!(set(&emulation, parameter, "1000\n"), Ok(()));
    assert_eq!((value(&emulation, sysctl), value(&emulation, parameter)), ("1024\n".into(), "1024\n".into()));
    assert_eq!(set(&emulation, sysctl, " 4096"), Ok(()));
    assert_eq!(value(&emulation, parameter), "4096\n");
}

#[test]
fn the_time_of_a_value_is_that_of_its_last_write() {
    let (_directory, emulation) = store();
    let node = node(PANIC);
    let seeded = emulation.kept_changed(node).expect("a time");
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(set(&emulation, PANIC, "1"), Ok(()));
    let written = emulation.kept_changed(node).expect("a time");
    assert!(written > seeded, "{written:?} {seeded:?}");
    assert_eq!(emulation.kept_changed(node).expect("a time"), written);
}

#[test]
fn only_values_are_kept() {
    let (_directory, emulation) = store();
    let boot_id = node("/proc/sys/kernel/random/boot_id");
    assert!(emulation.read_kept(boot_id).is_err());
    assert_eq!(emulation.write_kept(boot_id, b"1"), Err(Errno::ACCESS));
}

#[test]
fn no_symbolic_link_is_followed() {
    let (directory, emulation) = store();
    let outside = tempfile::tempdir().expect("a directory");
    write(outside.path(), "secret", "4711\n");
    let link = directory.path().join("proc.sys.kernel.panic");
    #[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
    std::os::unix::fs::symlink(outside.path().join("secret"), link).expect("a link");
    let node = node(PANIC);
    let error = emulation.read_kept(node).expect_err("a link");
    assert_eq!(errno(&error), Errno::LOOP);
    assert_eq!(set(&emulation, PANIC, "1"), Err(Errno::LOOP));
    assert_eq!(read_to_string(outside.path().join("secret")).expect("the file"), "4711\n");
}

#[test]
fn no_value_tears_and_nothing_is_left() {
    let (directory, first) = store();
    let long = format!("{}\t{0}\t{0}\t{0}\n", i32::MIN);
    let path = "/proc/sys/kernel/printk";
    assert_eq!(set(&first, path, "1 1 1 1"), Ok(()));
    std::thread::scope(|scope| {
        for text in ["1 1 1 1", &long] {
            let directory = directory.path();
            scope.spawn(move || {
                let own = emulation(directory, directory);
                (0..300).for_each(|_| assert_eq!(set(&own, path, text), Ok(())));
            });
        }
        for _ in 0..1000 {
            let read = value(&first, path);
            assert!(read == "1\t1\t1\t1\n" || read == long, "{read:?}");
        }
    });
    let names = |path: &Path| read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names(directory.path()).collect();
    names.sort();
    assert_eq!(names, ["proc.sys.kernel.printk", SEEDS]);
}

#[test]
fn the_rest_of_a_killed_shim_is_in_nobodys_way() {
    let (directory, emulation) = store();
    for count in 0..64 {
        write(directory.path(), &format!(".{}.{count}", process::id()), "");
    }
    assert_eq!(set(&emulation, PANIC, "4711"), Ok(()));
    assert_eq!(value(&emulation, PANIC), "4711\n");
}

/// What somebody was told.
#[derive(Debug, Clone, Default)]
struct Told(Arc<Mutex<Vec<(&'static str, u64)>>>);

impl Raise for Told {
    fn raise(&self, of: &Node, value: u64) {
        self.0.lock().expect("no panic").push((node(of.path).path, value));
    }
}

#[test]
fn a_limit_that_is_taken_is_told_and_nothing_else() {
    const LIMIT: &str = "/proc/sys/fs/aio-max-nr";
    let (_directory, emulation) = store();
    let told = Told::default();
    let emulation = emulation.telling(Box::new(told.clone()));
    assert_eq!(set(&emulation, LIMIT, "0x10000\n"), Ok(()));
    assert_eq!(set(&emulation, LIMIT, "-1"), Err(Errno::INVAL));
    assert_eq!(set(&emulation, LIMIT, ""), Ok(()));
    assert_eq!(set(&emulation, PANIC, "5"), Ok(()));
    assert_eq!(set(&emulation, "/proc/sys/fs/file-max", "5"), Ok(()));
    value(&emulation, LIMIT);
    // Again, as the host's may be lower by now.
    assert_eq!(set(&emulation, LIMIT, "65536"), Ok(()));
    assert_eq!(*told.0.lock().expect("no panic"), [(LIMIT, 65536), (LIMIT, 65536)]);
}
