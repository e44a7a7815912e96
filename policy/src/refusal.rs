//! Why a request is not served.

/// A request that is refused, as one line for the engine's user: the field or path, the value where it helps, and the
/// reason. `Display` is the whole line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Refusal {
    /// The field of the runtime spec, as its documentation spells it (`linux.namespaces[2].path`), or the path at fault.
    pub field: String,
    /// The reason, in a few words, with the offending value in quotes.
    pub reason: String,
}

impl Refusal {
    /// A refusal of `field` because of `reason`. Line breaks in either (they may come from an image) become spaces.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        let one_line = |text: String| text.replace(['\n', '\r'], " ");
        Self { field: one_line(field.into()), reason: one_line(reason.into()) }
    }
}
