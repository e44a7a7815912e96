//! A procfs of another pid namespace.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

use super::{Context, Detached};
use crate::{Error, Result, child};

impl Detached {
    /// A procfs of this pid namespace, with these options (without a value: a flag). Called by a process with one thread.
    ///
    /// # Errors
    /// As [`Detached::filesystem`], and those of setns(2).
    pub fn procfs_of(pid_namespace: BorrowedFd<'_>, data: &[(String, Option<String>)]) -> Result<Self> {
        let context = Context::configured("proc", Some("proc"), data)?;
        match context.set_fd("pidns", pid_namespace) {
            // `pidns` came with Linux 6.17.
            Err(error) if error.errno() == Some(Errno::INVAL) => Self::procfs_from_inside(pid_namespace, data),
            set => set.and_then(|()| context.create(0)),
        }
    }

    /// The same made by a child that lives there: a new procfs shows its maker's.
    fn procfs_from_inside(pid_namespace: BorrowedFd<'_>, data: &[(String, Option<String>)]) -> Result<Self> {
        let make = || {
            let made = Self::filesystem("proc", Some("proc"), data, &[]);
            made.map(Self::into_fd).map_err(|error| error.errno().unwrap_or(Errno::IO))
        };
        let made = child::with_children_in(pid_namespace, || child::handed_over(make));
        let made = made.map_err(|errno| Error::failed("join", "the pid namespace", errno))?;
        Ok(Self::from_fd(made.map_err(|errno| Error::failed("mount", "proc", errno))?, "proc"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, read_link};
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::process::{Child, Command};
    use std::time::Duration;

    use rustix::fs::{Mode, OFlags};

    use super::*;

    /// A process 1 and its pid namespace.
    fn namespace() -> (Child, File) {
        let script = ["--pid", "--fork", "--kill-child", "sleep", "1000"];
        let child = Command::new("unshare").args(script).spawn().unwrap();
        let path = format!("/proc/{}/ns/pid_for_children", child.id());
        loop {
            // There is none until it has a process, and before unshare(2) it is this one's.
            let own = read_link("/proc/self/ns/pid").unwrap();
            match read_link(&path) {
                Ok(link) if link != own => return (child, File::open(&path).unwrap()),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }

    fn first_process(procfs: &Detached) -> String {
        let file = rustix::fs::openat(procfs.fd(), "1/cmdline", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mut text = String::new();
        File::from(file.unwrap()).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_procfs_shows_the_namespace_on_every_kernel() {
        let (mut child, namespace) = namespace();
        let option = |value: &str| [("hidepid".to_owned(), Some(value.to_owned()))];
        for make in [Detached::procfs_of, Detached::procfs_from_inside] {
            let made = make(namespace.as_fd(), &option("1")).unwrap();
            assert!(first_process(&made).contains("sleep"), "{}", first_process(&made));
            // This thread's next children live where it does.
            let link = |name| read_link(format!("/proc/thread-self/ns/{name}")).unwrap();
            assert_eq!(link("pid_for_children"), link("pid"));
            let wrong = make(namespace.as_fd(), &option("9")).unwrap_err();
            assert_eq!(wrong.errno(), Some(Errno::INVAL), "{wrong}");
        }
        let wrong = Detached::procfs_of(namespace.as_fd(), &option("9")).unwrap_err().to_string();
        assert!(wrong.starts_with("set option hidepid=9 of proc: Invalid argument"), "{wrong}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
