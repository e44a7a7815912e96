//! The audit log: one event in the shim's log for each denial, that is to say for each thing that a container is refused
//! because it would weaken its isolation.
//!
//! * [`Subject`]: who is denied something.
//! * [`Subject::refused`]: logs an error, if it is a denial. What becomes an error of Create is logged there, once, for
//!   whatever rule; no other code need call it.
//! * [`Subject::denied`]: logs a denial that is no error, because the container runs without what it asked for.
//!
//! A line of logfmt: `level=warning msg=denied … audit=true container=ID image=NAME rule=RULE object=OBJECT`. There is an
//! image only where the engine says which (CRI's annotation). The object comes last: lines that are too long are cut.

use log::{Level, Record};
use oci_spec::runtime::Spec;
use policy::Denial;

use super::error::Error;

/// Where CRI says which image a container is of (containerd's pkg/cri/annotations).
const IMAGE: &str = "io.kubernetes.cri.image-name";

/// A reference's name, tag and digest (distribution: 255, 128, and 71 for sha256), so that no image pushes the rest of the
/// event out of its line.
const LONGEST_IMAGE: usize = 512;

/// Who is denied something.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    container: String,
    image: Option<String>,
}

impl Subject {
    /// The container of this id and spec.
    pub(crate) fn new(container: &str, spec: &Spec) -> Self {
        let image = spec.annotations().as_ref().and_then(|annotations| annotations.get(IMAGE));
        let image =
            image.map(|image| image.chars().take(LONGEST_IMAGE).collect()).filter(|image: &String| !image.is_empty());
        Self { container: container.to_owned(), image }
    }

    /// Logs an error, if it is a denial.
    pub(crate) fn refused(&self, error: &Error) {
        if let Error::Refused(refusal) = error {
            refusal.denial.iter().for_each(|denial| self.denied(denial));
        }
    }

    /// Logs a denial.
    pub(crate) fn denied(&self, denial: &Denial) {
        let rule = denial.rule.to_string();
        let pairs = self.pairs(&rule, &denial.object);
        let record = Record::builder()
            .level(Level::Warn)
            .target(module_path!())
            .args(format_args!("denied"))
            .key_values(&pairs)
            .build();
        log::logger().log(&record);
    }

    fn pairs<'a>(&'a self, rule: &'a str, object: &'a str) -> Vec<(&'static str, &'a str)> {
        let mut pairs = vec![("audit", "true"), ("container", self.container.as_str())];
        pairs.extend(self.image.as_deref().map(|image| ("image", image)));
        pairs.extend([("rule", rule), ("object", object)]);
        pairs
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(annotations: serde_json::Value) -> Subject {
        let spec = json!({ "ociVersion": "1.1.0", "annotations": annotations });
        Subject::new("c1", &serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn an_event_says_who_was_denied_what() {
        let none = [("audit", "true"), ("container", "c1"), ("rule", "mounts"), ("object", "/x")];
        assert_eq!(subject(json!({ "other": "y" })).pairs("mounts", "/x"), none);
        assert_eq!(subject(json!({ IMAGE: "" })).pairs("mounts", "/x"), none);
        let of_image = subject(json!({ IMAGE: "docker.io/library/busybox:latest" }));
        let image = ("image", "docker.io/library/busybox:latest");
        assert_eq!(of_image.pairs("mounts", "/x"), [none[0], none[1], image, none[2], none[3]]);
        let pairs = subject(json!({ IMAGE: "x".repeat(5000) }));
        assert_eq!(pairs.pairs("mounts", "/x")[2].1.len(), LONGEST_IMAGE);
    }
}
