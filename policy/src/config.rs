//! The operator's config file, `/etc/eci/config.toml`.
//!
//! One job: text in, a [`Config`] or a [`Refusal`] that names file, line and key out. Reading the file is the caller's
//! task; a file that does not exist is the empty text, and the empty text is [`Config::default`].
//!
//! ```toml
//! [ranges]
//! first = 100000   # the first host id of the pool of id ranges
//! count = 4096     # how many ranges of 65536 ids it has
//! ```
//!
//! Invariant: nothing is guessed. An unknown table or key, a value of the wrong type and a value outside its bounds
//! are refused, because a typing error in the one file that may loosen policy must not pass for a default.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::Refusal;
use crate::idmap::RANGE_SIZE;

/// Where the operator's file is.
pub const CONFIG_PATH: &str = "/etc/eci/config.toml";

/// What the operator decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[ranges]`
    pub ranges: Ranges,
}

/// `[ranges]`: the pool of id ranges that containers lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ranges {
    /// `first`: the first host id of the pool, 65536 or more; none when the file does not say.
    pub first: Option<u32>,
    /// `count`: how many ranges of 65536 ids the pool has, 1 or more; none when the file does not say.
    pub count: Option<u32>,
}

impl Ranges {
    /// The pool's first id where nothing else decides it: where useradd(8) starts subordinate ids, too.
    pub const DEFAULT_FIRST: u32 = 100_000;
    /// How many ranges a pool has where nothing else decides it.
    pub const DEFAULT_COUNT: u32 = 4096;
}

/// The ids that the kernel can map end before this one: `(uid_t) -1` is no id.
const ID_LIMIT: u64 = u32::MAX as u64;

impl Config {
    /// Parses the text of the file `name` (used in messages only).
    ///
    /// # Errors
    /// One line `file:line: key: reason` for the first thing that is not understood.
    pub fn parse(text: &str, name: &str) -> Result<Self, Refusal> {
        let source = Source { text, name };
        let root = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            Refusal::new(source.place(offset), error.message())
        })?;
        let mut config = Self::default();
        for (key, value) in root.get_ref() {
            match key.get_ref().as_ref() {
                "ranges" => config.ranges = source.ranges(value)?,
                other => return Err(source.unknown(key, other)),
            }
        }
        Ok(config)
    }
}

/// The file that is parsed, for messages.
struct Source<'a> {
    text: &'a str,
    name: &'a str,
}

type Value<'a> = Spanned<DeValue<'a>>;

impl Source<'_> {
    fn place(&self, offset: usize) -> String {
        let line = self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}", self.name)
    }

    fn refuse(&self, offset: usize, key: &str, reason: impl std::fmt::Display) -> Refusal {
        Refusal::new(self.place(offset), format!("{key}: {reason}"))
    }

    fn unknown(&self, key: &Spanned<impl Sized>, path: &str) -> Refusal {
        self.refuse(key.span().start, path, "there is no such key")
    }

    fn ranges(&self, value: &Value<'_>) -> Result<Ranges, Refusal> {
        let at = value.span().start;
        let table = value.get_ref().as_table().ok_or_else(|| self.refuse(at, "ranges", "must be a table"))?;
        let mut ranges = Ranges::default();
        for (key, value) in table {
            match key.get_ref().as_ref() {
                "first" => ranges.first = Some(self.integer("ranges.first", value, RANGE_SIZE)?),
                "count" => ranges.count = Some(self.integer("ranges.count", value, 1)?),
                other => return Err(self.unknown(key, &format!("ranges.{other}"))),
            }
        }
        let first = u64::from(ranges.first.unwrap_or(Ranges::DEFAULT_FIRST));
        let count = u64::from(ranges.count.unwrap_or(Ranges::DEFAULT_COUNT));
        let room = (ID_LIMIT - first) / u64::from(RANGE_SIZE);
        if count > room {
            let reason = format!("{count} ranges from id {first} on end beyond the last id; there is room for {room}");
            return Err(self.refuse(at, "ranges.count", reason));
        }
        Ok(ranges)
    }

    fn integer(&self, key: &str, value: &Value<'_>, least: u32) -> Result<u32, Refusal> {
        let at = value.span().start;
        let Some(number) = value.get_ref().as_integer() else {
            let kind = value.get_ref().type_str();
            return Err(self.refuse(at, key, format!("must be an integer, and is a {kind}")));
        };
        u32::from_str_radix(number.as_str(), number.radix())
            .ok()
            .filter(|number| *number >= least)
            .ok_or_else(|| self.refuse(at, key, format!("must be from {least} to {}", u32::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Ranges};

    fn refused(text: &str) -> String {
        Config::parse(text, "config.toml").expect_err("must be refused").to_string()
    }

    fn ranges(first: Option<u32>, count: Option<u32>) -> Config {
        Config { ranges: Ranges { first, count } }
    }

    #[test]
    fn an_empty_file_is_the_default() {
        assert_eq!(Config::parse("", "config.toml"), Ok(Config::default()));
        assert_eq!(Config::parse("# nothing\n[ranges]\n", "config.toml"), Ok(Config::default()));
    }

    #[test]
    fn the_pool_is_configurable() {
        let parse = |text| Config::parse(text, "config.toml").map_err(|refusal| refusal.to_string());
        let both = ranges(Some(1_000_000), Some(3));
        assert_eq!(parse("[ranges]\nfirst = 1_000_000\ncount = 3\n"), Ok(both.clone()));
        assert_eq!(parse("ranges = { count = 3, first = 1000000 }"), Ok(both));
        assert_eq!(parse("[ranges]\nfirst = 0x10000"), Ok(ranges(Some(65536), None)));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line_and_key() {
        let cases = [
            ("\n[range]\n", "config.toml:2: range: there is no such key"),
            ("[ranges]\n\nfrist = 1\n", "config.toml:3: ranges.frist: there is no such key"),
            ("ranges = 3", "config.toml:1: ranges: must be a table"),
            ("[ranges]\nfirst = \"100000\"", "config.toml:2: ranges.first: must be an integer, and is a string"),
            ("[ranges]\nfirst = 65535", "config.toml:2: ranges.first: must be from 65536 to 4294967295"),
            ("[ranges]\ncount = 0", "config.toml:2: ranges.count: must be from 1 to 4294967295"),
            ("[ranges]\ncount = -1", "config.toml:2: ranges.count: must be from 1 to 4294967295"),
            ("[ranges]\nfirst = 4294967296", "config.toml:2: ranges.first: must be from 65536 to 4294967295"),
        ];
        for (text, message) in cases {
            assert_eq!(refused(text), message, "{text:?}");
        }
        assert!(
            refused("[ranges]\nfirst = = 1").starts_with("config.toml:2: "),
            "{}",
            refused("[ranges]\nfirst = = 1")
        );
    }

    #[test]
    fn the_pool_ends_before_the_last_id() {
        let reason = "65535 ranges from id 100000 on end beyond the last id; there is room for 65534";
        let text = "[ranges]\ncount = 65535";
        assert_eq!(refused(text), format!("config.toml:1: ranges.count: {reason}"));
        let near = "[ranges]\ncount = 65534";
        assert_eq!(Config::parse(near, "config.toml"), Ok(ranges(None, Some(65534))));
    }

    #[test]
    fn a_message_is_one_line() {
        for text in ["[ranges\nfirst", "x = \"\"\"\n", "\u{0}", "[ranges]\n\"a\\nb\" = 1"] {
            assert!(!refused(text).contains('\n'), "{text:?}");
        }
    }
}
