//! Reading the documents that an engine writes.

use oci_spec::runtime::{LinuxResources, Process, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Refusal;
use crate::fields::{self, Field, Report, common, linux};

/// The largest document that is read, in bytes: far above any engine's, and small enough to hold several times.
pub const MAX_BYTES: usize = 16 << 20;

/// A document that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded<T> {
    /// What it says, with nothing in it that is not known.
    pub value: T,
    /// What the specification, or this version, does not know; for the log.
    pub unknown: Vec<String>,
    /// What asks for something that is not done, with the reason; for the log.
    pub ignored: Vec<String>,
}

impl<T> Loaded<T> {
    /// All that the log is to have of it.
    pub fn notes(&self) -> impl Iterator<Item = &String> {
        self.unknown.iter().chain(&self.ignored)
    }
}

/// Reads a `config.json`.
///
/// # Errors
/// When the document is larger than [`MAX_BYTES`], is not JSON (with line and column), or has a property that is
/// refused, of the wrong type or missing (by its path).
pub fn load(bytes: &[u8]) -> Result<Loaded<Spec>, Refusal> {
    read(bytes, "config.json", common::CONFIG, "")
}

/// Reads the process of an exec request, as JSON.
///
/// # Errors
/// As [`load`].
pub fn load_process(bytes: &[u8]) -> Result<Loaded<Process>, Refusal> {
    read(bytes, "process", common::PROCESS, "process")
}

/// Reads the limits of an update, as JSON.
///
/// # Errors
/// As [`load`].
pub fn load_resources(bytes: &[u8]) -> Result<Loaded<LinuxResources>, Refusal> {
    read(bytes, "resources", linux::RESOURCES, "linux.resources")
}

fn read<T: DeserializeOwned>(
    bytes: &[u8],
    name: &str,
    fields: &'static [Field],
    path: &str,
) -> Result<Loaded<T>, Refusal> {
    if bytes.len() > MAX_BYTES {
        return Err(Refusal::new(name, format!("is larger than {MAX_BYTES} bytes")));
    }
    let mut document: Value =
        serde_json::from_slice(bytes).map_err(|error| Refusal::new(name, format!("is not valid JSON: {error}")))?;
    let Report { unknown, ignored } = fields::check(&mut document, fields, path)?;
    complete(&mut document);
    let value = serde_json::from_value(document)
        .map_err(|error| Refusal::new(name, format!("is not what the specification asks for: {error}")))?;
    Ok(Loaded { value, unknown, ignored })
}

/// Makes explicit what the specification allows to leave out and the `oci-spec` crate does not, and the reverse: a user
/// that is left out is 0:0, an empty list of CPUs is none, and `pids` without a limit is none (not a limit of 0).
fn complete(document: &mut Value) {
    let without_limit = |name: &str, value: &Value| name == "pids" && value.get("limit").is_none();
    if let Some(Value::Object(resources)) = document.pointer_mut("/linux/resources") {
        resources.retain(|name, value| !without_limit(name, value));
    }
    if let Value::Object(resources) = &mut *document {
        resources.retain(|name, value| !without_limit(name, value));
    }
    let process = match document.get("process") {
        Some(_) => document.get_mut("process"),
        None => Some(document).filter(|document| document.get("cwd").is_some()),
    };
    let Some(Value::Object(process)) = process else { return };
    process.entry("user").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        affinity.retain(|_, list| list.as_str() != Some(""));
    }
}
