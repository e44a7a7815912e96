//! Where written values are kept: in [`crate::Facts::values`], a file for each node that was written, named
//! [`Node::name`].

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use crate::Emulation;
use crate::table::{Check, Kept, Kind, Node, Seed};

/// Longest value, in bytes: that of a procfs file that is read at once.
const LONGEST: u64 = 4096;

impl Emulation {
    /// The text of a kept value.
    ///
    /// # Errors
    /// What the kernel says of its file, or of the host's where it is the seed.
    pub(crate) fn read_kept(&self, node: &Node) -> io::Result<Vec<u8>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat(&self.facts.values, node.name(), flags, Mode::empty()) {
            Ok(file) => read(file.into()),
            Err(Errno::NOENT) => match kept(node)?.seed {
                Seed::Host => read(File::open(node.path)?),
                Seed::Text(text) => Ok(text.into()),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes what is written, all at once.
    ///
    /// # Errors
    /// What the kernel would answer, or says of the value's file.
    pub(crate) fn write_kept(&self, node: &Node, bytes: &[u8]) -> io::Result<()> {
        let text = kept(node)?.check.taken(bytes)?;
        let (name, temporary) = (node.name(), format!("{}~{}", node.name(), std::process::id()));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let mode = Mode::from_raw_mode(0o600);
        File::from(openat(&self.facts.values, &temporary, flags, mode)?).write_all(text.as_bytes())?;
        #[expect(clippy::disallowed_methods, reason = "single names in the lease's directory")]
        rustix::fs::renameat(&self.facts.values, &temporary, &self.facts.values, &name)?;
        Ok(())
    }
}

fn kept(node: &Node) -> io::Result<Kept> {
    if let Kind::Kept(kept) = node.kind { Ok(kept) } else { Err(Errno::ACCESS.into()) }
}

fn read(file: File) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(LONGEST).read_to_end(&mut text)?;
    Ok(text)
}

impl Check {
    /// What of these bytes is kept, as the kernel would show it.
    fn taken(self, bytes: &[u8]) -> io::Result<String> {
        let text = std::str::from_utf8(bytes).map_err(|_| Errno::INVAL)?;
        let integer = |word: &str, least, greatest| match word.parse::<i64>() {
            Ok(number) if (least..=greatest).contains(&number) => Ok(number),
            _ => Err(io::Error::from(Errno::INVAL)),
        };
        match self {
            Self::Nothing => Err(Errno::ACCESS.into()),
            Self::Integer(least, greatest) => Ok(format!("{}\n", integer(text.trim(), least, greatest)?)),
            Self::Integers(count, least, greatest) => {
                let numbers = text.split_whitespace().map(|word| Ok(integer(word, least, greatest)?.to_string()));
                let numbers = numbers.collect::<io::Result<Vec<_>>>()?;
                if numbers.len() == count { Ok(numbers.join("\t") + "\n") } else { Err(Errno::INVAL.into()) }
            }
            Self::Word(words) => match words.iter().find(|word| **word == text.trim()) {
                Some(word) => Ok(format!("{word}\n")),
                None => Err(Errno::INVAL.into()),
            },
        }
    }
}
