//! The properties of the runtime specification's `config.json`, and the walker that judges a document by them.
//!
//! One table (its parts: [`common`], [`linux`], [`seccomp`]) has a row ([`Field`]) for every property of runtime-spec
//! 1.3, with a [`Verdict`] and a [`Shape`]. The walker [`check`] goes over the raw JSON once:
//! * a property that is *carried* must have its shape, so that a wrong type or an unknown name is refused by the path of
//!   the property and not by the position in the file;
//! * a property that is *refused* may be there as long as it asks for nothing (engines send empty objects and zeroes);
//! * a property that is *harmless* is accepted, and reported when it asks for something;
//! * a property that is in no row is left out and reported: the specification says that a runtime must not fail on it.
//!
//! Invariant: what the walker leaves in the document is carried into the plan, or harmless.

pub mod common;
pub mod linux;
pub mod seccomp;

use serde_json::Value;

use crate::Refusal;
use crate::spec::cpu_list;

/// How long the lists of a [`Report`] get, and how long a name in them.
const REPORTED: usize = 64;

/// One property of an object.
#[derive(Debug)]
pub struct Field {
    /// Its name in the document.
    pub name: &'static str,
    /// What becomes of it.
    pub verdict: Verdict,
    /// What its value must look like.
    pub shape: &'static Shape,
}

/// What becomes of a property.
#[derive(Debug, Clone, Copy)]
pub enum Verdict {
    /// It goes into the plan.
    Carried {
        /// Whether it must be there.
        required: bool,
    },
    /// It is accepted, though nothing is done for it.
    Harmless {
        /// Why that is right; none where the property asks for nothing by nature, and is not worth a line in the log.
        why: Option<&'static str>,
    },
    /// It is refused when it asks for something.
    Refused {
        /// The reason in the message.
        why: &'static str,
        /// Whether a value asks for nothing.
        asks_nothing: fn(&Value) -> bool,
    },
}

/// What the value of a property must look like.
#[derive(Debug)]
pub enum Shape {
    /// Anything: the value is not looked at.
    Any,
    /// A string.
    Text,
    /// A list of CPUs as `0-3,7`, or an empty string.
    CpuList,
    /// A boolean.
    Flag,
    /// A whole number from the first to the second.
    Whole(i128, i128),
    /// One of these names.
    Name(&'static [&'static str]),
    /// One of these names; an empty string is as good as absent (Go writes it for a name that was not set).
    NameOrEmpty(&'static [&'static str]),
    /// One of these names; another one is left out and reported (capabilities of a newer kernel).
    KnownName(&'static [&'static str]),
    /// A name of the specification, and how the `oci-spec` crate spells it.
    Renamed(&'static [(&'static str, &'static str)]),
    /// A list of these.
    List(&'static Shape),
    /// An object with free keys.
    Map(&'static Shape),
    /// An object with these properties.
    Object(&'static [Field]),
}

impl Shape {
    /// `u16`
    pub const U16: Shape = Shape::Whole(0, u16::MAX as i128);
    /// `u32`
    pub const U32: Shape = Shape::Whole(0, u32::MAX as i128);
    /// `u64`
    pub const U64: Shape = Shape::Whole(0, u64::MAX as i128);
    /// `i32`
    pub const I32: Shape = Shape::Whole(i32::MIN as i128, i32::MAX as i128);
    /// `i64`
    pub const I64: Shape = Shape::Whole(i64::MIN as i128, i64::MAX as i128);
}

/// A row that is carried.
const fn carried(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, verdict: Verdict::Carried { required: false }, shape }
}

/// A row that is carried, and without which the object around it has no meaning.
const fn required(name: &'static str, shape: &'static Shape) -> Field {
    Field { name, verdict: Verdict::Carried { required: true }, shape }
}

/// A row that is harmless; `why` goes to the log when the property asks for something.
const fn harmless(name: &'static str, shape: &'static Shape, why: Option<&'static str>) -> Field {
    Field { name, verdict: Verdict::Harmless { why }, shape }
}

/// A row that is refused unless `asks_nothing`.
const fn refused(name: &'static str, why: &'static str, asks_nothing: fn(&Value) -> bool) -> Field {
    Field { name, verdict: Verdict::Refused { why, asks_nothing }, shape: &Shape::Any }
}

/// What the log should say about a document that was accepted. Each list is bounded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Properties that the specification does not know, by path, and names that this version does not know.
    pub unknown: Vec<String>,
    /// Properties that ask for something that is not done, each with the reason why that is right.
    pub ignored: Vec<String>,
}

impl Report {
    fn unknown(&mut self, path: &str) {
        if self.unknown.len() < REPORTED {
            self.unknown.push(path.chars().take(200).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect());
        }
    }

    fn ignored(&mut self, path: &str, why: &str) {
        if self.ignored.len() < REPORTED {
            self.ignored.push(format!("{path}: {why}"));
        }
    }
}

/// Judges `document`, an object with the properties `fields`. Afterwards the document holds only what was accepted and
/// is known: nulls, unknown properties and refused ones that ask for nothing are gone.
///
/// # Errors
/// A refusal that names the first property at fault.
pub fn check(document: &mut Value, fields: &'static [Field], path: &str) -> Result<Report, Refusal> {
    let mut walker = Walker { path: path.to_owned(), report: Report::default() };
    walker.object(document, fields)?;
    Ok(walker.report)
}

struct Walker {
    path: String,
    report: Report,
}

/// Whether a value stays in the document.
#[derive(PartialEq, Eq)]
enum Keep {
    Yes,
    No,
}

impl Walker {
    fn refuse<T>(&self, why: impl Into<String>) -> Result<T, Refusal> {
        let document = if self.path.is_empty() { "config.json" } else { &self.path };
        Err(Refusal::new(document, why))
    }

    /// Runs `step` with `suffix` at the end of the path.
    fn below<T>(&mut self, suffix: &str, step: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        self.path.push_str(suffix);
        let result = step(self);
        self.path.truncate(length);
        result
    }

    fn object(&mut self, value: &mut Value, fields: &'static [Field]) -> Result<(), Refusal> {
        let Value::Object(members) = value else { return self.refuse("is not an object") };
        let mut kept = serde_json::Map::new();
        for (name, mut member) in std::mem::take(members) {
            let dotted = if self.path.is_empty() { name.clone() } else { format!(".{name}") };
            let keep = self.below(&dotted, |walker| match fields.iter().find(|field| field.name == name) {
                Some(field) => walker.member(&mut member, field),
                None => {
                    walker.report.unknown(&walker.path);
                    Ok(Keep::No)
                }
            })?;
            if keep == Keep::Yes {
                kept.insert(name, member);
            }
        }
        *members = kept;
        let missing = |field: &&Field| {
            matches!(field.verdict, Verdict::Carried { required: true }) && !members.contains_key(field.name)
        };
        match fields.iter().find(missing) {
            Some(field) => self.below(&format!(".{}", field.name), |walker| walker.refuse("is missing")),
            None => Ok(()),
        }
    }

    fn member(&mut self, value: &mut Value, field: &'static Field) -> Result<Keep, Refusal> {
        if value.is_null() {
            return Ok(Keep::No);
        }
        match field.verdict {
            Verdict::Carried { .. } => self.value(value, field.shape),
            Verdict::Harmless { why } => {
                if let Some(why) = why.filter(|_| !is_zero(value)) {
                    self.report.ignored(&self.path, why);
                }
                self.value(value, field.shape)
            }
            Verdict::Refused { asks_nothing, .. } if asks_nothing(value) => {
                if !is_zero(value) {
                    self.report.ignored(&self.path, "is accepted, though nothing is done for it");
                }
                Ok(Keep::No)
            }
            Verdict::Refused { why, .. } => self.refuse(why),
        }
    }

    fn value(&mut self, value: &mut Value, shape: &'static Shape) -> Result<Keep, Refusal> {
        match (shape, &mut *value) {
            (Shape::Any, _) | (Shape::Text, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => Ok(Keep::Yes),
            (Shape::CpuList, Value::String(list)) if list.is_empty() => Ok(Keep::Yes),
            (Shape::CpuList, Value::String(list)) => match cpu_list::check(list) {
                Ok(()) => Ok(Keep::Yes),
                Err(reason) => self.refuse(reason),
            },
            (Shape::Text | Shape::CpuList, _) => self.refuse("is not a string"),
            (Shape::Flag, _) => self.refuse("is not true or false"),
            (Shape::Whole(least, most), number) => {
                let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
                match whole {
                    Some(whole) if (*least..=*most).contains(&whole) => Ok(Keep::Yes),
                    _ => self.refuse(format!("{} is not a whole number from {least} to {most}", brief(number))),
                }
            }
            (Shape::NameOrEmpty(_), Value::String(name)) if name.is_empty() => Ok(Keep::No),
            (Shape::Name(names) | Shape::NameOrEmpty(names), Value::String(name)) if names.contains(&name.as_str()) => {
                Ok(Keep::Yes)
            }
            (Shape::KnownName(names), Value::String(name)) => {
                if names.contains(&name.as_str()) {
                    return Ok(Keep::Yes);
                }
                let entry = format!("{} {}", self.path, brief(value));
                self.report.unknown(&entry);
                Ok(Keep::No)
            }
            (Shape::Renamed(names), Value::String(name)) => match names.iter().find(|(theirs, _)| theirs == name) {
                Some((_, ours)) => {
                    *value = Value::from(*ours);
                    Ok(Keep::Yes)
                }
                None => self.refuse(format!("{} is not known", brief(value))),
            },
            (Shape::Name(_) | Shape::NameOrEmpty(_) | Shape::KnownName(_) | Shape::Renamed(_), other) => {
                let other = brief(other);
                self.refuse(format!("{other} is not known"))
            }
            (Shape::List(shape), Value::Array(items)) => self.list(items, shape),
            (Shape::List(_), _) => self.refuse("is not a list"),
            (Shape::Map(shape), Value::Object(members)) => self.map(members, shape),
            (Shape::Map(_), _) => self.refuse("is not an object"),
            (Shape::Object(fields), value) => self.object(value, fields).map(|()| Keep::Yes),
        }
    }

    fn list(&mut self, items: &mut Vec<Value>, shape: &'static Shape) -> Result<Keep, Refusal> {
        let mut kept = Vec::with_capacity(items.len());
        for (index, mut item) in std::mem::take(items).into_iter().enumerate() {
            if self.below(&format!("[{index}]"), |walker| walker.value(&mut item, shape))? == Keep::Yes {
                kept.push(item);
            }
        }
        *items = kept;
        Ok(Keep::Yes)
    }

    fn map(&mut self, members: &mut serde_json::Map<String, Value>, shape: &'static Shape) -> Result<Keep, Refusal> {
        for (name, member) in members.iter_mut() {
            self.below(&format!("[{name:?}]"), |walker| walker.value(member, shape))?;
        }
        Ok(Keep::Yes)
    }
}

/// A value as it stands in a message: its JSON, cut short.
fn brief(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= 80 { text } else { text.chars().take(80).chain("…".chars()).collect() }
}

/// Null, false, 0, the empty string, and lists and objects of nothing but these.
pub fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.iter().all(is_zero),
        Value::Object(members) => members.values().all(is_zero),
    }
}

/// An empty list or object: where a key alone already asks for something (a device to move, a controller's file).
pub fn has_no_entries(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        other => is_zero(other),
    }
}

/// Null, 0 or below: how the specification writes a limit that is not set.
pub fn is_no_limit(value: &Value) -> bool {
    is_zero(value) || value.as_i64().is_some_and(|limit| limit < 0)
}

#[cfg(test)]
mod tests;
