//! Paths and other text of a spec, checked for what no later step should meet.

use std::path::{Path, PathBuf};

use crate::Refusal;
use crate::plan::ContainerPath;

/// A value as it stands in a message: quoted, control characters escaped, cut short.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= 120 {
        return format!("{text:?}");
    }
    format!("{:?}…", text.chars().take(120).collect::<String>())
}

/// A path inside the container.
pub(super) fn container_path(field: impl Into<String>, path: &str) -> Result<ContainerPath, Refusal> {
    ContainerPath::parse(path).map_err(|reason| Refusal::new(field, format!("{} {reason}", quoted(path))))
}

/// The text of a path that JSON gave, which is UTF-8 by nature.
pub(super) fn text(path: &Path) -> std::borrow::Cow<'_, str> {
    path.to_string_lossy()
}

/// Text for the kernel: without NUL, and no longer than `most` bytes.
pub(super) fn clean(field: impl Into<String>, text: &str, most: usize) -> Result<(), Refusal> {
    if text.contains('\0') {
        return Err(Refusal::new(field, format!("{} has a NUL byte", quoted(text))));
    }
    if text.len() > most {
        return Err(Refusal::new(field, format!("{} is longer than {most} bytes", quoted(text))));
    }
    Ok(())
}

/// A label or name that may be empty, which means none.
pub(super) fn optional(field: &str, text: &str) -> Result<Option<String>, Refusal> {
    clean(field, text, 4095)?;
    if text.contains('\n') {
        return Err(Refusal::new(field, format!("{} has a line break", quoted(text))));
    }
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// A path on the host: absolute, or relative to the bundle.
pub(super) fn host_path(field: impl Into<String>, path: &Path, bundle: &Path) -> Result<PathBuf, Refusal> {
    let field = field.into();
    let text = text(path);
    if text.is_empty() {
        return Err(Refusal::new(field, "is empty"));
    }
    clean(field, &text, 4095)?;
    Ok(bundle.join(path))
}
