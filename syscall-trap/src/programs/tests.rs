//! With the machine's own hierarchy of cgroup v2, wherever it is mounted.
#![allow(clippy::disallowed_methods, reason = "groups of the test's own")]

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;

use super::place::below;
use super::*;

/// A group with some below, which goes with this.
struct Groups(PathBuf);

impl Groups {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
        let root = root.into_iter().find(|root| root.join("cgroup.controllers").exists()).expect("cgroup v2");
        let name = format!("eci-trap-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let groups = Self(root.join(name));
        for group in ["own/below/deep", "beside"] {
            fs::create_dir_all(groups.0.join(group)).unwrap();
        }
        groups
    }

    fn open(&self, name: &str) -> OwnedFd {
        File::open(self.0.join(name)).unwrap().into()
    }

    fn id(&self, name: &str) -> u64 {
        std::os::unix::fs::MetadataExt::ino(&fs::metadata(self.0.join(name)).unwrap())
    }

    /// What is found for a descriptor: a group by its id.
    fn found(&self, fd: OwnedFd) -> Result<u64> {
        below(self.open("own").as_fd(), fd).map(|group| rustix::fs::fstat(group).unwrap().st_ino)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for name in ["own/below/deep", "own/below", "own", "beside", ""] {
            let _gone = fs::remove_dir(self.0.join(name));
        }
    }
}

/// r0 = 1; exit
fn allowing() -> Program {
    Program::plain(vec![[0xb4, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]])
}

#[test]
fn a_group_counts_by_where_it_lies_and_not_by_how_it_was_opened() {
    let groups = Groups::new();
    for name in ["own/below", "own/below/deep"] {
        assert_eq!(groups.found(groups.open(name)), Ok(groups.id(name)), "{name}");
        let alone = rustix::mount::open_tree(CWD, groups.0.join(name), OpenTreeFlags::OPEN_TREE_CLONE).unwrap();
        assert_eq!(groups.found(alone), Ok(groups.id(name)), "{name}, as the root of a mount of its own");
    }
    for name in ["own", "beside", "", ".."] {
        assert_eq!(groups.found(groups.open(name)), Err(Errno::PERM), "{name}");
        let alone = rustix::mount::open_tree(CWD, groups.0.join(name), OpenTreeFlags::OPEN_TREE_CLONE).unwrap();
        assert_eq!(groups.found(alone), Err(Errno::PERM), "{name}, as the root of a mount of its own");
    }
    assert_eq!(groups.found(groups.open("own/below/cgroup.procs")), Err(Errno::BADF), "a file");
    assert_eq!(groups.found(File::open("/").unwrap().into()), Err(Errno::BADF), "another filesystem");
    let gone = groups.open("own/below/deep");
    fs::remove_dir(groups.0.join("own/below/deep")).unwrap();
    assert!(groups.found(gone).is_err(), "a group that is gone");
}

#[test]
fn nothing_is_attached_that_would_override_what_holds_above() {
    let groups = Groups::new();
    let program = bpf::load(&allowing()).unwrap();
    for name in ["own", ""] {
        let group = groups.open(name);
        bpf::attach(group.as_fd(), program.as_fd(), bpf::ALLOW_OVERRIDE, None).unwrap();
        assert_eq!(groups.found(groups.open("own/below")), Err(Errno::PERM), "{name:?}");
        bpf::detach(group.as_fd(), None).unwrap();
        bpf::attach_beside(group.as_fd(), program.as_fd()).unwrap();
        assert!(groups.found(groups.open("own/below")).is_ok(), "{name:?}");
    }
}

#[test]
fn a_program_is_loaded_with_few_capabilities_and_they_come_back() {
    let before = rustix::thread::capabilities(None).unwrap();
    // r0 = a pointer; exit: whoever has CAP_PERFMON may leak it.
    let mut leak = allowing();
    leak.instructions[0] = [0xbf, 0xa0, 0, 0, 0, 0, 0, 0];
    assert_eq!(bpf::load(&leak).unwrap_err().raw_os_error(), Some(libc::EACCES));
    bpf::load(&allowing()).unwrap();
    assert_eq!(rustix::thread::capabilities(None).unwrap(), before);
}

#[test]
fn what_is_loaded_is_bounded_and_what_is_gone_counts_no_more() {
    let (user, group) = (File::open("/proc/self/ns/user").unwrap(), File::open("/").unwrap());
    let own = Programs::new(user.into(), group.into());
    let mut long = allowing();
    long.instructions = std::iter::repeat_n(long.instructions[0], 4095).chain([long.instructions[1]]).collect();
    let held: Vec<_> = (0..MOST_INSTRUCTIONS / 4096).map(|_| own.load(&long).unwrap()).collect();
    assert_eq!(own.load(&allowing()).unwrap_err(), Errno::NOMEM);
    let id = bpf::id_of(&bpf::info(held[0].as_fd()).unwrap());
    assert!(own.open(id).is_ok());
    drop(held);
    assert!(own.load(&allowing()).is_ok());
    // Others are not known here, whoever asks.
    let other = bpf::load(&allowing()).unwrap();
    let id = bpf::id_of(&bpf::info(other.as_fd()).unwrap());
    assert_eq!(own.open(id).unwrap_err(), Errno::PERM);
}

#[test]
fn what_the_host_has_attached_stays() {
    let groups = Groups::new();
    let user = File::open("/proc/self/ns/user").unwrap();
    let own = Programs::new(user.into(), groups.open("own"));
    let group = groups.open("own/below");
    let mine = own.load(&allowing()).unwrap();
    bpf::attach(group.as_fd(), mine.as_fd(), bpf::ALLOW_OVERRIDE, None).unwrap();
    assert_eq!(own.refuse_others(group.as_fd()), Ok(()));
    let other = bpf::load(&allowing()).unwrap();
    bpf::attach(group.as_fd(), other.as_fd(), bpf::ALLOW_OVERRIDE, None).unwrap();
    assert_eq!(own.refuse_others(group.as_fd()), Err(Errno::PERM));
}

#[test]
fn an_info_tells_nothing_of_the_host() {
    let mut info = [7; bpf::INFO];
    info[64..80].copy_from_slice(b"name\0\0\0\0\0\0\0\0\0\0\0\0");
    let told = told(&info);
    assert_eq!(&told[..16], [7; 16], "type, id, tag");
    assert_eq!(&told[16..64], [0; 48], "lengths, code, when and by whom it was loaded, maps");
    assert_eq!(&told[64..68], b"name");
    assert_eq!(told[80..84], [0; 4]);
}
