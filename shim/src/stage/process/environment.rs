//! The program's environment.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use policy::plan::ContainerPath;
use rustix::fs::FileType;
use userns::tree::Tree;

use super::error::{StageError, quote};
use super::procfs;

/// How much of the container's `/etc/passwd` is read, in bytes: an image decides what is in it.
const PASSWD_LIMIT: u64 = 1 << 20;

/// Variables in the order of their first occurrence, each with its last value, as runc's users know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment(Vec<(String, Vec<u8>)>);

impl Environment {
    /// Reads `process.env` of the spec.
    ///
    /// # Errors
    /// An entry without a name or without `=`.
    pub(super) fn parse(entries: &[String]) -> Result<Self, StageError> {
        let mut environment = Self(Vec::with_capacity(entries.len() + 1));
        for (index, entry) in entries.iter().enumerate() {
            match entry.split_once('=') {
                Some((name, value)) if !name.is_empty() => environment.set(name, value.as_bytes()),
                _ => {
                    let object = format!("process.env[{index}] {}", quote(entry));
                    return Err(StageError::step("reading", object, "is not of the form NAME=value"));
                }
            }
        }
        Ok(environment)
    }

    /// A variable's value.
    pub(super) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_slice())
    }

    fn set(&mut self, name: &str, value: &[u8]) {
        match self.0.iter_mut().find(|(other, _)| other == name) {
            Some((_, old)) => *old = value.to_vec(),
            None => self.0.push((name.into(), value.to_vec())),
        }
    }

    /// Sets `HOME`, unless it has a value, to what the container's `/etc/passwd` says of `uid`, or to `/`.
    pub(super) fn default_home(&mut self, tree: &Tree, procfs: BorrowedFd<'_>, uid: u32) {
        if self.get("HOME").is_none_or(<[u8]>::is_empty) {
            let home = read_passwd(tree, procfs).ok().and_then(|passwd| home(&passwd, uid));
            self.set("HOME", home.as_deref().unwrap_or(b"/"));
        }
    }

    /// As execve(2) takes it.
    pub(super) fn into_strings(self) -> Result<Vec<CString>, StageError> {
        let entry = |(name, value): (String, Vec<u8>)| {
            CString::new([name.as_bytes(), b"=", &value].concat())
                .map_err(|_| StageError::step("reading", format!("process.env {}", quote(&name)), "has a NUL byte"))
        };
        self.0.into_iter().map(entry).collect()
    }
}

/// The beginning of the container's `/etc/passwd`. It is looked at before it is opened: a fifo would hold us up, and
/// devices do things when they are opened.
fn read_passwd(tree: &Tree, procfs: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let path = ContainerPath::parse("/etc/passwd").map_err(io::Error::other)?;
    let file = tree.open(&path).map_err(io::Error::other)?;
    if file.file_type().map_err(io::Error::other)? != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut passwd = Vec::new();
    File::from(procfs::reopen(procfs, file.fd())?).take(PASSWD_LIMIT).read_to_end(&mut passwd)?;
    Ok(passwd)
}

/// The home directory of the first entry of `uid` in a passwd(5) file.
fn home(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b':').collect();
        let number = fields.get(2).and_then(|field| std::str::from_utf8(field).ok()?.trim().parse::<u32>().ok());
        let home = fields.get(5).filter(|home| home.starts_with(b"/") && !home.contains(&0))?;
        (number == Some(uid)).then(|| home.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn parse(entries: &[&str]) -> Result<Environment, StageError> {
        Environment::parse(&entries.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_value_counts_at_the_first_place() {
        let environment = parse(&["A=1", "B=", "A=x=y"]).unwrap();
        assert_eq!(environment.into_strings().unwrap(), [c"A=x=y".to_owned(), c"B=".to_owned()]);
    }

    #[test]
    fn an_entry_without_a_name_or_a_value_is_refused() {
        let error = parse(&["A=1", "B\n"]).unwrap_err();
        assert_eq!(error.to_string(), r#"reading process.env[1] "B\n": is not of the form NAME=value"#);
        assert!(parse(&["=x"]).is_err());
        let error = parse(&["A=\0"]).unwrap().into_strings().unwrap_err();
        assert_eq!(error.to_string(), r#"reading process.env "A": has a NUL byte"#);
    }

    #[test]
    fn home_is_that_of_the_first_entry_of_the_uid() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\n\nbroken\nuser:x:1000:5::/home/user:\nother:x:1000:5::/other:\n";
        assert_eq!(home(passwd, 0).as_deref(), Some(&b"/root"[..]));
        assert_eq!(home(passwd, 1000).as_deref(), Some(&b"/home/user"[..]));
        assert_eq!(home(passwd, 1), None);
        assert_eq!(home(b"x:x:1:1::relative:", 1), None);
    }

    /// A tree with this `/etc/passwd`, and what `HOME` becomes in it for uid 5.
    fn home_in(set: &str, passwd: impl FnOnce(&std::path::Path)) -> String {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("etc")).unwrap();
        passwd(&directory.path().join("etc/passwd"));
        let tree = Tree::new(File::open(directory.path()).unwrap().into());
        let mut environment = parse(&[set]).unwrap();
        environment.default_home(&tree, File::open("/proc").unwrap().as_fd(), 5);
        String::from_utf8(environment.get("HOME").unwrap().to_vec()).unwrap()
    }

    fn entry(path: &std::path::Path) {
        std::fs::write(path, "five:x:5:5::/five:/bin/sh").unwrap();
    }

    #[test]
    fn home_is_looked_up_when_it_has_no_value() {
        assert_eq!(home_in("HOME=/x", entry), "/x");
        assert_eq!(home_in("HOME=", entry), "/five");
        assert_eq!(home_in("A=1", entry), "/five");
        assert_eq!(home_in("A=1", |path| std::fs::write(path, "").unwrap()), "/");
        assert_eq!(home_in("A=1", |_| {}), "/");
    }

    /// S24: neither a file without end nor one that never opens holds the process up.
    #[test]
    fn a_passwd_file_that_is_none_is_not_read() {
        assert_eq!(home_in("A=1", |path| std::os::unix::fs::symlink("/dev/zero", path).unwrap()), "/");
        let fifo = |path: &std::path::Path| {
            rustix::fs::mknodat(rustix::fs::CWD, path, FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        };
        assert_eq!(home_in("A=1", fifo), "/");
        let huge = |path: &std::path::Path| {
            std::fs::write(path, "x".repeat(PASSWD_LIMIT as usize) + "\nfive:x:5:5::/five:/bin/sh").unwrap();
        };
        assert_eq!(home_in("A=1", huge), "/");
    }

    #[test]
    fn a_passwd_file_may_be_a_link_inside_the_tree() {
        let link = |path: &std::path::Path| {
            entry(&path.with_file_name("other"));
            std::os::unix::fs::symlink("/etc/other", path).unwrap();
        };
        assert_eq!(home_in("A=1", link), "/five");
    }
}
