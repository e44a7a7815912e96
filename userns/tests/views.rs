//! The engine's overlay and the container's over one upper directory: what one does, the other sees after a settle, whatever it
//! had looked at before.

#![allow(clippy::disallowed_methods, clippy::expect_used, clippy::panic, reason = "a test's helpers fail the test")]

mod kernel;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use kernel::{MAP, disk, owner, private, user_namespace};
use rustix::fs::XattrFlags;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use userns::creds::FsIds;
use userns::mount::Detached;
use userns::rootfs::{LayerRoute, Request, assemble};
use userns::views::{Settled, Views};

/// Both mounts, and the directory on the disk.
struct Both {
    /// First, so that nobody looks out any more when the directory is removed.
    views: Views,
    _ours: Detached,
    dir: tempfile::TempDir,
}

impl Both {
    /// A lower layer with `held/low`, `held/in` and `file`; the engine's mount at `engine`, the container's at `ours`.
    fn new() -> Self {
        let dir = disk();
        let at = |name: &str| dir.path().join(name);
        for name in ["lower/held/in", "upper", "work", "engine", "ours"] {
            fs::create_dir_all(at(name)).expect("mkdir");
        }
        fs::write(at("lower/file"), "lower").expect("write");
        fs::write(at("lower/held/low"), "lower").expect("write");
        let root = dir.path().display();
        let options = format!("lowerdir={root}/lower,upperdir={root}/upper,workdir={root}/work");
        let options = std::ffi::CString::new(options).expect("no NUL");
        rustix::mount::mount("overlay", at("engine"), "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .expect("the engine's overlay");
        let (views, note) = Views::of(&at("engine")).expect("views").expect("an overlay that can be written to");
        assert_eq!(note, None);
        let userns = user_namespace();
        let ids = FsIds::enter(MAP).expect("filesystem ids");
        let request = Request { mounts: &[], path: &at("engine"), userns: userns.as_fd(), route: LayerRoute::Auto };
        let ours = assemble(&request, &ids).expect("the container's overlay");
        drop(ids);
        ours.attach_at(File::open(at("ours")).expect("ours")).expect("attach");
        views.hold(Detached::clone_of(ours.fd(), false, "ours").expect("a clone").into_fd()).expect("held");
        let this = Self { dir, views, _ours: ours };
        this.settle();
        this
    }

    fn engine(&self, name: &str) -> PathBuf {
        self.dir.path().join("engine").join(name)
    }

    fn ours(&self, name: &str) -> PathBuf {
        self.dir.path().join("ours").join(name)
    }

    fn disk(&self, name: &str) -> PathBuf {
        self.dir.path().join("upper").join(name)
    }

    /// Settles until there is nothing more to do.
    fn settle(&self) {
        while self.views.settle().expect("settled") != Settled::Quiet {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Runs `act` as the container's root.
    fn inside<T>(act: impl FnOnce() -> T) -> T {
        let _ids = FsIds::enter(MAP).expect("filesystem ids");
        act()
    }

    /// Runs `act` in a thread with a mount namespace of its own, as dockerd does for `docker cp`, answering meanwhile.
    fn engine_does<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let root = self.engine("");
        let answer = std::thread::scope(|scope| {
            let (done, ended) = mpsc::channel();
            scope.spawn(move || {
                // SAFETY: the thread has just started; descriptors stay shared.
                unsafe { unshare_unsafe(UnshareFlags::NEWNS | UnshareFlags::FS) }.expect("a mount namespace");
                drop(File::open(root).expect("the root directory"));
                done.send(act()).expect("a listener");
            });
            loop {
                match ended.recv_timeout(Duration::from_millis(1)) {
                    Ok(answer) => break answer,
                    Err(mpsc::RecvTimeoutError::Timeout) => self.views.admit().expect("admitted"),
                    Err(error) => panic!("the engine's thread: {error}"),
                }
            }
        });
        assert!(self.views.is_due());
        answer
    }

    /// What the engine reads.
    fn engine_text(&self, name: &str) -> Option<String> {
        self.engine_does(|| text(&self.engine(name)))
    }
}

fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[test]
fn names_that_were_looked_for_are_found_once_the_other_side_has_made_them() {
    private(|| {
        let both = Both::new();
        assert_eq!(both.engine_text("late"), None);
        both.settle();
        assert_eq!(text(&both.ours("new")), None);
        both.engine_does(|| fs::write(both.engine("new"), "engine")).expect("write");
        Both::inside(|| fs::write(both.ours("late"), "inside")).expect("write");
        // What this is about: neither would see it by itself.
        assert_eq!(text(&both.ours("new")), None);
        both.settle();
        assert_eq!(text(&both.ours("new")).as_deref(), Some("engine"));
        assert_eq!(both.engine_text("late").as_deref(), Some("inside"));
        assert_eq!((owner(both.disk("new")), owner(both.disk("late"))), ((0, 0), (0, 0)));
        assert_eq!((owner(both.ours("new")), owner(both.engine("late"))), ((MAP.host, MAP.host), (0, 0)));
    });
}

#[test]
fn a_name_that_a_settle_could_not_have_forgotten_is_found_with_the_next() {
    private(|| {
        let both = Both::new();
        both.engine_does(|| fs::write(both.engine("first"), "x")).expect("write");
        both.settle();
        // What a process looked for meanwhile is remembered, as one is that it held through the settle.
        assert_eq!(text(&both.ours("late")), None);
        fs::write(both.disk("late"), "there").expect("write");
        assert_eq!(text(&both.ours("late")), None);
        assert!(both.views.is_due());
        both.settle();
        assert_eq!(text(&both.ours("late")).as_deref(), Some("there"));
    });
}

#[test]
fn what_one_side_changes_and_removes_is_changed_and_gone_on_the_other() {
    private(|| {
        let both = Both::new();
        assert_eq!(
            (text(&both.ours("file")), both.engine_text("held/low")),
            (Some("lower".into()), Some("lower".into()))
        );
        both.settle();
        both.engine_does(|| fs::write(both.engine("file"), "engine")).expect("write");
        Both::inside(|| fs::write(both.ours("held/low"), "inside")).expect("write");
        both.settle();
        assert_eq!(text(&both.ours("file")).as_deref(), Some("engine"));
        assert_eq!(both.engine_text("held/low").as_deref(), Some("inside"));
        both.settle();
        Both::inside(|| fs::remove_file(both.ours("file"))).expect("remove");
        assert_eq!(both.engine_text("file"), None);
    });
}

#[test]
fn a_directory_that_a_process_holds_gets_what_the_engine_puts_there() {
    private(|| {
        let both = Both::new();
        let held = File::open(both.ours("held")).expect("a directory");
        both.engine_does(|| {
            // No more than a directory, and attributes: no event tells of them.
            fs::create_dir(both.engine("held/made")).expect("mkdir");
            fs::set_permissions(both.engine("held"), fs::Permissions::from_mode(0o2710)).expect("chmod");
            std::os::unix::fs::chown(both.engine("held"), Some(5), Some(6)).expect("chown");
            rustix::fs::setxattr(both.engine("held"), "user.a", b"b", XattrFlags::empty()).expect("an attribute");
        });
        assert!(!both.ours("held/made").exists());
        let error =
            Both::inside(|| fs::write(both.ours("held/own"), "")).expect_err("its copy-up finds the name taken");
        assert_eq!(error.kind(), std::io::ErrorKind::DirectoryNotEmpty);
        both.settle();
        assert!(both.ours("held/made").is_dir());
        Both::inside(|| fs::write(both.ours("held/own"), "own")).expect("write");
        assert_eq!(text(&both.ours("held/low")).as_deref(), Some("lower"));
        assert_eq!(both.engine_text("held/own").as_deref(), Some("own"));
        // By the descriptor that was open all the time.
        let made = rustix::fs::statat(&held, "made", rustix::fs::AtFlags::empty());
        assert!(made.is_ok());
        let (disk, ours) =
            (fs::metadata(both.disk("held")).expect("stat"), fs::metadata(both.ours("held")).expect("stat"));
        assert_eq!((disk.uid(), disk.gid(), disk.mode() & 0o7777), (5, 6, 0o2710));
        assert_eq!((ours.uid(), ours.gid(), ours.mode() & 0o7777), (MAP.host + 5, MAP.host + 6, 0o2710));
        let mut value = [0; 8];
        assert_eq!(rustix::fs::getxattr(both.ours("held"), "user.a", &mut value), Ok(1));
        assert_eq!(fs::read_dir(both.dir.path().join("work-eci")).expect("a work directory").count(), 1);
    });
}

#[test]
fn a_process_goes_on_in_its_directory_when_those_above_are_taken_over() {
    private(|| {
        let both = Both::new();
        let held = File::open(both.ours("held/in")).expect("a directory");
        both.engine_does(|| fs::write(both.engine("held/in/new"), "engine").expect("write"));
        both.settle();
        let file = rustix::fs::openat(&held, "new", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        let mut text = String::new();
        File::from(file.expect("the file")).read_to_string(&mut text).expect("read");
        assert_eq!(text, "engine");
    });
}

#[test]
fn nothing_is_taken_over_while_the_engine_holds_names() {
    private(|| {
        let both = Both::new();
        let _held = File::open(both.ours("held")).expect("a directory");
        both.engine_does(|| {
            fs::write(both.engine("held/one"), "1").expect("write");
            let held = File::open(both.engine("held")).expect("a directory");
            assert_eq!(both.views.settle().expect("settled"), Settled::InUse);
            // In the directory that it has, which is still the one.
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            rustix::fs::openat(&held, "two", flags, rustix::fs::Mode::RUSR).expect("created");
        });
        both.settle();
        assert_eq!(text(&both.ours("held/one")).as_deref(), Some("1"));
        assert!(both.ours("held/two").exists());
    });
}

#[test]
fn the_engine_can_unmount_and_what_a_crash_left_aside_is_put_back() {
    private(|| {
        let both = Both::new();
        fs::create_dir_all(both.disk("held")).expect("mkdir");
        let work = both.dir.path().join("work-eci");
        for (from, in_place) in [("held", true), ("held/in", false)] {
            fs::create_dir(work.join("aside")).expect("mkdir");
            fs::write(work.join("aside/file"), from).expect("write");
            std::os::unix::fs::symlink(from, work.join("aside-from")).expect("symlink");
            assert_eq!(both.disk(from).exists(), in_place);
            Views::of(&both.engine("")).expect("views");
            assert_eq!(text(&both.disk(from).join("file")).as_deref(), Some(from));
            assert_eq!(fs::read_dir(&work).expect("a work directory").count(), 1);
        }
        rustix::mount::unmount(both.engine(""), UnmountFlags::empty()).expect("not busy");
    });
}

#[test]
fn a_root_filesystem_that_is_no_overlay_or_cannot_be_written_has_one_view() {
    private(|| {
        let dir = disk();
        assert!(Views::of(dir.path()).expect("a directory").is_none());
        for name in ["a", "b", "m"] {
            fs::create_dir(dir.path().join(name)).expect("mkdir");
        }
        let root = dir.path().display();
        let options = std::ffi::CString::new(format!("lowerdir={root}/a:{root}/b")).expect("no NUL");
        let target = dir.path().join("m");
        rustix::mount::mount("overlay", &target, "overlay", MountFlags::empty(), Some(options.as_c_str()))
            .expect("mount");
        assert!(Views::of(&target).expect("an overlay").is_none());
        assert!(Views::of(&dir.path().join("missing")).is_err());
    });
}
