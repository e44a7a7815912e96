//! Values that are written, as the kernel and its users see them. These tests need root.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test's helpers fail the test"
)]

mod kernel;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use fsemu::table::{Check, Kept, Kind, Live, Node, Part, Seed, Tie};
use kernel::{errno, node, served, shell};
use rustix::io::Errno;

static KEPT: Node = {
    let check = Check::Integer(0, 100);
    node("/proc/sys/kept", 0o644, Kind::Kept(Kept { seed: Seed::Text("1\n"), check, tie: Tie::None, may_raise: false }))
};
static FIXED: Node = {
    let live = Live { render: |_| Ok(b"fixed\n".into()), fresh: Duration::from_secs(60), steady: true };
    node("/proc/fixed", 0o444, Kind::Live(live))
};

#[test]
fn a_written_value_shows_at_once_as_the_kernel_would_show_it() {
    served(Part::Direct, vec![&KEPT], |root| {
        let path = root.join("proc.sys.kept");
        let read = || fs::read_to_string(&path).unwrap();
        assert_eq!(read(), "1\n");
        assert_eq!(shell(root, "echo 22 >proc.sys.kept && cat proc.sys.kept"), "22\n");
        assert_eq!(shell(root, "echo 7 >>proc.sys.kept && cat proc.sys.kept"), "7\n");
        assert_eq!(shell(root, "printf ' 8 ' >proc.sys.kept && cat proc.sys.kept"), "8\n");
        assert_eq!(shell(root, "printf ' 8 ' >proc.sys.kept && cat proc.sys.kept"), "8\n");
        let write = |text: &str| OpenOptions::new().write(true).open(&path)?.write_all(text.as_bytes());
        for bad in ["101", "-1", "x", "1x"] {
            assert_eq!(errno(write(bad)), Some(Errno::INVAL), "{bad}");
            assert_eq!(read(), "8\n", "after {bad}");
        }
        // Elsewhere than at the start a write is ignored, whatever it is.
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert_eq!(file.write_at(b"99", 1).unwrap(), 2);
        assert_eq!(read(), "8\n");
        assert_eq!(file.write_at(b"100\n", 0).unwrap(), 4);
        assert_eq!(read(), "100\n");
        // Truncated to whatever length, it stays.
        file.set_len(0).unwrap();
        assert_eq!(read(), "100\n");
        file.set_len(1000).unwrap();
        assert_eq!((read(), fs::metadata(&path).unwrap().len()), ("100\n".into(), 4));
        assert_eq!(shell(root, "truncate -s 0 proc.sys.kept; cat proc.sys.kept"), "100\n");
        // A page and more.
        assert!(write(&"9".repeat(10_000)).is_err());
        assert_eq!(read(), "100\n");
    });
}

/// Whoever reads, and however, while others write.
#[test]
fn a_value_is_read_as_it_was_written_whatever_the_page_cache_has() {
    served(Part::Direct, vec![&KEPT], |root| {
        let path = root.join("proc.sys.kept");
        let write = |text: &str| OpenOptions::new().write(true).open(&path).unwrap().write(text.as_bytes());
        let held = File::open(&path).unwrap();
        let again = || {
            let mut text = [0; 16];
            let length = held.read_at(&mut text, 0).unwrap();
            String::from_utf8(text[..length].to_vec()).unwrap()
        };
        for value in ["1", "100", "007", "22", "0x10"] {
            write(value).unwrap();
            let shown = again();
            assert_eq!(shown, fs::read_to_string(&path).unwrap(), "{value}");
            assert_eq!(shell(root, "busybox cat proc.sys.kept; cat proc.sys.kept"), shown.repeat(2), "{value}");
            assert_eq!(errno(write("101")), Some(Errno::INVAL));
            assert_eq!(again(), shown);
        }
        assert_eq!(again(), "16\n");
    });
}

#[test]
fn readers_see_one_of_the_values_whole_while_others_write() {
    served(Part::Direct, vec![&KEPT], |root| {
        let path = root.join("proc.sys.kept");
        let write = |text: &str| OpenOptions::new().write(true).open(&path).unwrap().write(text.as_bytes());
        let end = Instant::now() + Duration::from_secs(2);
        let values = ["1\n", "100\n", "22\n"];
        let writer = |tried: &'static str| {
            while Instant::now() < end {
                // The last one is refused: nobody is ever to see it.
                for text in values.iter().chain(&[tried]) {
                    let _ = write(text);
                }
            }
        };
        let reader = || {
            let mut count = 0;
            while count <= 100 || Instant::now() < end {
                let text = fs::read_to_string(&path).unwrap();
                assert!(values.contains(&text.as_str()), "{text:?}");
                count += 1;
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| writer("101000\n"));
            (0..3).for_each(|_| drop(scope.spawn(reader)));
        });
    });
}

#[test]
fn writers_at_once_leave_one_of_their_values() {
    served(Part::Direct, vec![&KEPT], |root| {
        let path = root.join("proc.sys.kept");
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let path = &path;
                scope.spawn(move || {
                    for turn in 0..100 {
                        fs::write(path, format!("{}\n", writer * 10 + turn % 10)).unwrap();
                        let value: i32 = fs::read_to_string(path).unwrap().trim().parse().unwrap();
                        assert!((0..40).contains(&value));
                    }
                });
            }
        });
    });
}

#[test]
fn what_procfs_refuses_of_a_value_is_refused_alike() {
    served(Part::Direct, vec![&KEPT, &FIXED], |root| {
        let kept = root.join("proc.sys.kept");
        let perm = Some(Errno::PERM);
        assert_eq!(fs::read_dir(root).unwrap().count(), 1, "of its part only");
        assert_eq!(errno(fs::set_permissions(&kept, std::os::unix::fs::PermissionsExt::from_mode(0o600))), perm);
        assert_eq!(errno(std::os::unix::fs::chown(&kept, Some(0), None)), perm);
        assert_eq!(errno(fs::rename(&kept, root.join("other"))), perm);
        assert_eq!(errno(fs::remove_file(&kept)), perm);
        assert_eq!(errno(fs::hard_link(&kept, root.join("new"))), perm);
        let attribute = rustix::fs::setxattr(&kept, "user.x", b"", rustix::fs::XattrFlags::empty());
        assert_eq!(attribute, Err(Errno::OPNOTSUPP));
        assert_eq!(fs::read_to_string(&kept).unwrap(), "1\n");
    });
}
