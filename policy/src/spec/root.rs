//! `root`, `linux.rootfsPropagation`, and the paths inside it that are masked or read-only.

use std::path::Path;

use oci_spec::runtime::Spec;

use super::paths;
use crate::Refusal;
use crate::plan::{ContainerPath, Propagation, Root};

/// The root filesystem.
pub(super) fn root(spec: &Spec, bundle: &Path) -> Result<Root, Refusal> {
    let Some(root) = spec.root() else { return Err(Refusal::new("root", "is missing")) };
    let propagation = spec.linux().as_ref().and_then(|linux| linux.rootfs_propagation().as_deref());
    Ok(Root {
        path: paths::host_path("root.path", root.path(), bundle)?,
        readonly: root.readonly().unwrap_or_default(),
        propagation: propagation.filter(|text| !text.is_empty()).map(self::propagation).transpose()?,
    })
}

/// It is applied inside the container's own mount namespace, whose mounts are slaves of the host's at most: even
/// `shared` shares with nothing but what the container makes itself. The recursive forms mean the same, one mount alone
/// being the root.
fn propagation(text: &str) -> Result<Propagation, Refusal> {
    match text {
        "private" | "rprivate" => Ok(Propagation::Private),
        "slave" | "rslave" => Ok(Propagation::Slave),
        "shared" | "rshared" => Ok(Propagation::Shared),
        "unbindable" | "runbindable" => Ok(Propagation::Unbindable),
        other => Err(Refusal::new("linux.rootfsPropagation", format!("{} is not known", paths::quoted(other)))),
    }
}

/// `linux.maskedPaths` or `linux.readonlyPaths`, each path once, in the order of the spec.
pub(super) fn paths(field: &str, texts: Option<&[String]>) -> Result<Vec<ContainerPath>, Refusal> {
    let mut unique = Vec::new();
    for (index, text) in texts.unwrap_or_default().iter().enumerate() {
        let field = format!("{field}[{index}]");
        let path = paths::container_path(field.as_str(), text)?;
        if path == ContainerPath::root() {
            return Err(Refusal::new(field, "\"/\" is the whole container; root.readonly makes it read-only"));
        }
        if !unique.contains(&path) {
            unique.push(path);
        }
    }
    Ok(unique)
}
