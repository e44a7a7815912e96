//! Reading a text over a config.

use toml::Spanned;
use toml::de::DeTable;

use super::keys::{self, KEYS};
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
    for (name, value) in root.get_ref() {
        let table = name.get_ref().as_ref();
        if !keys::tables().any(|known| known == table) {
            return Err(source.unknown(name, table, keys::tables()));
        }
        let at = value.span().start;
        let entries = value.get_ref().as_table().ok_or_else(|| source.refuse(at, table, "must be a table"))?;
        source.table(config, table, entries)?;
        if table == "ranges" {
            check_ranges(&config.ranges).map_err(|reason| source.refuse(at, "ranges.count", reason))?;
        }
    }
    Ok(())
}

/// The text that is read, for messages.
struct Source<'a> {
    text: &'a str,
    name: &'a str,
    scope: Scope,
}

impl Source<'_> {
    fn table(&self, config: &mut Config, table: &str, entries: &DeTable<'_>) -> Result<(), Refusal> {
        for (name, value) in entries {
            let path = format!("{table}.{}", name.get_ref());
            let Some(key) = KEYS.iter().find(|key| key.path == path) else {
                let known = KEYS.iter().filter(|key| key.table() == table).map(|key| key.path);
                return Err(self.unknown(name, &path, known));
            };
            if key.host_only && self.scope == Scope::Runtime {
                let reason = format!("is about the whole host, and belongs in {}", super::CONFIG_PATH);
                return Err(self.refuse(name.span().start, &path, reason));
            }
            let read = (key.field)(config).read(value.get_ref(), key);
            read.map_err(|reason| self.refuse(value.span().start, &path, reason))?;
        }
        Ok(())
    }

    fn place(&self, offset: usize) -> String {
        let line = self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.name)
    }

    fn refuse(&self, offset: usize, key: &str, reason: impl std::fmt::Display) -> Refusal {
        Refusal::new(self.place(offset), format!("{key}: {reason}"))
    }

    /// `path` is none of the names that are `known` at its place.
    fn unknown(&self, key: &Spanned<impl Sized>, path: &str, known: impl Iterator<Item = &'static str>) -> Refusal {
        let nearest = known.min_by_key(|name| strsim::damerau_levenshtein(name, path)).unwrap_or_default();
        self.refuse(key.span().start, path, format!("there is no such key, the nearest is {nearest}"))
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
