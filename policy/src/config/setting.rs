//! The types of values: how each is read from TOML, shown as TOML, and spoken of.

use std::path::{Component, Path, PathBuf};

use toml::de::DeValue;

use super::Key;

/// A value of the config, behind a key.
pub(super) trait Setting {
    /// Takes a value over.
    ///
    /// # Errors
    /// What the value must be.
    fn read(&mut self, value: &DeValue<'_>, key: &Key) -> Result<(), String>;

    /// The value as TOML; none where there is none.
    fn show(&self) -> Option<String>;

    /// What values there are, for the documentation.
    fn kind(&self, key: &Key) -> String;
}

fn wrong(kind: &str, value: &DeValue<'_>) -> String {
    format!("must be {kind}, and is {} {}", article(value.type_str()), value.type_str())
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

impl Setting for bool {
    fn read(&mut self, value: &DeValue<'_>, _: &Key) -> Result<(), String> {
        *self = value.as_bool().ok_or_else(|| wrong("true or false", value))?;
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn kind(&self, _: &Key) -> String {
        "true or false".to_owned()
    }
}

impl Setting for Option<u32> {
    fn read(&mut self, value: &DeValue<'_>, key: &Key) -> Result<(), String> {
        let number = value.as_integer().ok_or_else(|| wrong("an integer", value))?;
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let number = number.filter(|number| key.bounds.contains(number));
        *self = Some(number.ok_or_else(|| format!("must be from {} to {}", key.bounds.start(), key.bounds.end()))?);
        Ok(())
    }

    fn show(&self) -> Option<String> {
        self.map(|number| number.to_string())
    }

    fn kind(&self, key: &Key) -> String {
        format!("{} to {}", key.bounds.start(), key.bounds.end())
    }
}

impl Setting for Option<Vec<PathBuf>> {
    fn read(&mut self, value: &DeValue<'_>, _: &Key) -> Result<(), String> {
        let array = value.as_array().ok_or_else(|| wrong("a list of paths", value))?;
        let path = |value: &toml::Spanned<DeValue<'_>>| {
            let text = value.get_ref().as_str().ok_or_else(|| wrong("a list of paths", value.get_ref()))?;
            host_path(text).ok_or_else(|| format!("{text:?} is not an absolute path without \"..\""))
        };
        *self = Some(array.iter().map(path).collect::<Result<_, _>>()?);
        Ok(())
    }

    fn show(&self) -> Option<String> {
        // The escapes of JSON are escapes of TOML, too.
        let quoted = |path: &PathBuf| serde_json::Value::from(path.to_string_lossy()).to_string();
        self.as_ref().map(|paths| format!("[{}]", paths.iter().map(quoted).collect::<Vec<_>>().join(", ")))
    }

    fn kind(&self, _: &Key) -> String {
        "a list of absolute paths".to_owned()
    }
}

fn host_path(text: &str) -> Option<PathBuf> {
    let path = Path::new(text);
    let clean = path.is_absolute()
        && !text.contains('\0')
        && path.components().all(|component| !matches!(component, Component::ParentDir));
    clean.then(|| path.components().collect())
}

/// A type with a few values, each of which is a word; the first is the default.
pub(super) trait Words: Sized + Copy + 'static {
    /// Every value with its word.
    const ALL: &'static [(&'static str, Self)];
    /// The word.
    fn word(self) -> &'static str;
}

impl<T: Words> Setting for T {
    fn read(&mut self, value: &DeValue<'_>, key: &Key) -> Result<(), String> {
        let must = format!("must be {}", self.kind(key));
        let word = value.as_str().ok_or_else(|| wrong(&self.kind(key), value))?;
        let found = Self::ALL.iter().find(|(name, _)| *name == word);
        *self = found.ok_or_else(|| format!("{must}, not {word:?}"))?.1;
        Ok(())
    }

    fn show(&self) -> Option<String> {
        Some(format!("{:?}", self.word()))
    }

    fn kind(&self, _: &Key) -> String {
        Self::ALL.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(" or ")
    }
}

/// Declares an enum whose values are words of the config file; the first one is the default.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident {
        $(#[$first_doc:meta])* $first:ident = $first_word:literal,
        $($(#[$value_doc:meta])* $value:ident = $word:literal,)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub enum $name {
            $(#[$first_doc])* #[default] $first,
            $($(#[$value_doc])* $value,)*
        }

        impl $crate::config::setting::Words for $name {
            const ALL: &'static [(&'static str, Self)] =
                &[($first_word, Self::$first), $(($word, Self::$value),)*];

            fn word(self) -> &'static str {
                match self {
                    Self::$first => $first_word,
                    $(Self::$value => $word,)*
                }
            }
        }
    };
}
pub(super) use words;
