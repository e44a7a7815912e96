//! Why a request is not served.

use std::fmt::{self, Display, Formatter};

use serde::{Deserialize, Serialize};

/// A request that is refused, as one line for the engine's user: the field or path, the value where it helps, and the
/// reason. `Display` is the whole line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// The field of the runtime spec, as its documentation spells it (`linux.namespaces[2].path`), or the path at fault;
    /// empty where the reason is the whole line.
    pub field: String,
    /// The reason, in a few words, with the offending value in quotes.
    pub reason: String,
    /// The rule by which it is refused; none where the request is wrong, rather than forbidden.
    pub denial: Option<Denial>,
}

/// What is forbidden to a container because it would weaken its isolation: an event for the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// The rule.
    pub rule: Rule,
    /// What was asked for: a path, a device, a name, on one line.
    pub object: String,
}

/// What denials are about. `Display` is the name in the audit log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rule {
    /// Whose namespaces may be shared.
    Namespaces,
    /// What of the host may be mounted.
    Mounts,
    /// Which devices may be used.
    Devices,
}

impl Refusal {
    /// A refusal of `field` because of `reason`. Line breaks in either (they may come from an image) become spaces.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: one_line(field.into()), reason: one_line(reason.into()), denial: None }
    }

    /// The same as the denial of `object` by `rule`.
    #[must_use]
    pub fn by(self, rule: Rule, object: impl Into<String>) -> Self {
        Self { denial: Some(Denial { rule, object: one_line(object.into()) }), ..self }
    }
}

fn one_line(text: String) -> String {
    text.replace(['\n', '\r'], " ")
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.reason) } else { write!(f, "{}: {}", self.field, self.reason) }
    }
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "namespaces",
            Self::Mounts => "mounts",
            Self::Devices => "devices",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_with_its_field_where_it_has_one() {
        assert_eq!(Refusal::new("a\nb", "is\r\nbad").to_string(), "a b: is  bad");
        assert_eq!(Refusal::new("", "can't do that").to_string(), "can't do that");
    }

    #[test]
    fn a_denial_has_a_rule_and_an_object_and_the_line_does_not_change() {
        let refusal = Refusal::new("mounts[1].source", "is restricted");
        let denied = refusal.clone().by(Rule::Mounts, "/a\nlevel=info");
        assert_eq!(denied.to_string(), refusal.to_string());
        let object = "/a level=info".to_owned();
        assert_eq!((refusal.denial, denied.denial), (None, Some(Denial { rule: Rule::Mounts, object })));
        assert_eq!(Rule::Namespaces.to_string(), "namespaces");
    }
}
