//! Paths inside a container.

use serde::{Deserialize, Serialize};

/// An absolute path inside the container, without `.` or `..`, without repeated or trailing slashes, and without NUL.
/// Only `userns::tree` turns one into a descriptor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ContainerPath(String);

impl ContainerPath {
    /// The root.
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Parses a path as the runtime spec gives it: absolute, normalised lexically.
    ///
    /// # Errors
    /// The reason, when the path is relative, empty, has a `..` component or a NUL byte, or is longer than 4095 bytes.
    pub fn parse(path: &str) -> Result<Self, &'static str> {
        if path.len() > 4095 {
            return Err("is longer than 4095 bytes");
        }
        if path.contains('\0') {
            return Err("has a NUL byte");
        }
        if !path.starts_with('/') {
            return Err("is not an absolute path");
        }
        let mut clean = String::with_capacity(path.len());
        for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
            if part == ".." {
                return Err("has a .. component");
            }
            clean.push('/');
            clean.push_str(part);
        }
        if clean.is_empty() {
            clean.push('/');
        }
        Ok(Self(clean))
    }

    /// The path as the container's processes spell it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components below the root, in order; none for the root itself.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }

    /// Whether `self` is `other` or lies below it.
    pub fn starts_with(&self, other: &ContainerPath) -> bool {
        other.0 == "/" || self.0 == other.0 || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }
}

impl std::fmt::Display for ContainerPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::ContainerPath;

    #[test]
    fn container_paths_are_absolute_and_normalised() {
        let parse = |path| ContainerPath::parse(path).map(|path| path.as_str().to_owned());
        assert_eq!(parse("/a//b/./c/"), Ok("/a/b/c".into()));
        assert_eq!(parse("/"), Ok("/".into()));
        assert!(parse("a").is_err() && parse("").is_err() && parse("/a/../b").is_err() && parse("/a\0").is_err());
    }

    #[test]
    fn starts_with_compares_whole_components() {
        let path = |text| ContainerPath::parse(text).expect("a path");
        assert!(path("/proc/sys").starts_with(&path("/proc")) && path("/a").starts_with(&path("/")));
        assert!(!path("/process").starts_with(&path("/proc")));
    }
}
