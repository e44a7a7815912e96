//! Reading a text over a config.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::keys::{self, KEYS, Key};
use super::{Config, Ranges, Scope};
use crate::Refusal;
use crate::idmap::RANGE_SIZE;

/// The ids that the kernel can map end before this one: `(uid_t) -1` is no id.
const ID_LIMIT: u64 = u32::MAX as u64;

/// Reads `text`, of the file `name`, over `config`.
pub(super) fn text(config: &mut Config, text: &str, name: &str, scope: Scope) -> Result<(), Refusal> {
    let source = Source { text, name, scope };
    let root = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        Refusal::new(source.place(offset), error.message())
    })?;
    source.table(config, "", root.get_ref())
}

/// The text that is read, for messages.
struct Source<'a> {
    text: &'a str,
    name: &'a str,
    scope: Scope,
}

impl Source<'_> {
    /// Reads the entries of the table `path`; that of the whole file has no name.
    fn table(&self, config: &mut Config, path: &str, entries: &DeTable<'_>) -> Result<(), Refusal> {
        let known = keys::below(path);
        for (name, value) in entries {
            let path = if path.is_empty() { name.get_ref().to_string() } else { format!("{path}.{}", name.get_ref()) };
            let at = value.span().start;
            if !known.contains(&path.as_str()) {
                return Err(self.unknown(name, &path, &known));
            }
            match KEYS.iter().find(|key| key.path == path) {
                Some(key) => self.key(config, key, name.span().start, value)?,
                None => {
                    let entries = value.get_ref().as_table();
                    let entries = entries.ok_or_else(|| self.refuse(at, &path, must_be_table(&path)))?;
                    self.table(config, &path, entries)?;
                }
            }
            if path == "ranges" {
                check_ranges(&config.ranges).map_err(|reason| self.refuse(at, "ranges.count", reason))?;
            }
        }
        Ok(())
    }

    fn key(&self, config: &mut Config, key: &Key, at: usize, value: &Spanned<DeValue<'_>>) -> Result<(), Refusal> {
        if key.host_only && self.scope == Scope::Runtime {
            let reason = format!("is about the whole host, and belongs in {}", super::CONFIG_PATH);
            return Err(self.refuse(at, key.path, reason));
        }
        let read = (key.field)(config).read(value.get_ref(), key);
        read.map_err(|reason| self.refuse(value.span().start, key.path, reason))
    }

    fn place(&self, offset: usize) -> String {
        let line = self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.name)
    }

    fn refuse(&self, offset: usize, key: &str, reason: impl std::fmt::Display) -> Refusal {
        Refusal::new(self.place(offset), format!("{key}: {reason}"))
    }

    /// `path` is none of the names that are `known` at its place.
    fn unknown(&self, key: &Spanned<impl Sized>, path: &str, known: &[&str]) -> Refusal {
        let nearest = known.iter().min_by_key(|name| strsim::damerau_levenshtein(name, path)).unwrap_or(&"");
        self.refuse(key.span().start, path, format!("there is no such key, the nearest is {nearest}"))
    }
}

/// A table in a table is written in one line, as a rule.
fn must_be_table(path: &str) -> String {
    match keys::below(path).first().and_then(|key| key.rsplit_once('.')) {
        Some((table, name)) if table.contains('.') => format!("must be a table, {{ {name} = ... }}"),
        _ => "must be a table".to_owned(),
    }
}

/// The pool must end before the last id.
fn check_ranges(ranges: &Ranges) -> Result<(), String> {
    let first = u64::from(ranges.first.unwrap_or(Ranges::DEFAULT_FIRST));
    let count = u64::from(ranges.count.unwrap_or(Ranges::DEFAULT_COUNT));
    let room = ID_LIMIT.saturating_sub(first) / u64::from(RANGE_SIZE);
    if count > room {
        return Err(format!("{count} ranges from id {first} on end beyond the last id; there is room for {room}"));
    }
    Ok(())
}
