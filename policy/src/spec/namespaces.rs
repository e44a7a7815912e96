//! `linux.namespaces`, and the names that belong to the uts namespace.

use std::path::PathBuf;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};

use super::{joined, paths, sysctl};
use crate::Refusal;
use crate::plan::{NamespaceKind, NamespaceWish};

/// One wish for each kind, also for those that the spec leaves out: what that means is decided later
/// ([`crate::namespaces`]).
pub(super) fn wishes(namespaces: &[LinuxNamespace]) -> Result<Vec<NamespaceWish>, Refusal> {
    let mut wishes: Vec<_> = NamespaceKind::ALL.map(|kind| NamespaceWish { kind, path: None, named: false }).into();
    for (index, namespace) in namespaces.iter().enumerate() {
        let kind = kind(namespace.typ());
        let Some(wish) = wishes.iter_mut().find(|wish| wish.kind == kind) else { continue };
        if wish.named {
            let reason = format!("\"{kind}\" is listed twice");
            return Err(Refusal::new(format!("linux.namespaces[{index}].type"), reason));
        }
        wish.named = true;
        wish.path = match namespace.path() {
            Some(path) if !path.as_os_str().is_empty() => Some(joinable(index, kind, path.clone())?),
            _ => None,
        };
    }
    Ok(wishes)
}

fn joinable(index: usize, kind: NamespaceKind, path: PathBuf) -> Result<PathBuf, Refusal> {
    let field = || format!("linux.namespaces[{index}].path");
    let text = paths::text(&path);
    paths::clean(field(), &text, 4095)?;
    if !path.is_absolute() {
        return Err(Refusal::new(field(), format!("{} is not an absolute path", paths::quoted(&text))));
    }
    if kind == NamespaceKind::Mount {
        // The mounts are assembled for one container and locked when it enters them.
        return Err(Refusal::new(field(), "joining a mount namespace is not implemented"));
    }
    Ok(path)
}

fn kind(kind: LinuxNamespaceType) -> NamespaceKind {
    match kind {
        LinuxNamespaceType::Mount => NamespaceKind::Mount,
        LinuxNamespaceType::Cgroup => NamespaceKind::Cgroup,
        LinuxNamespaceType::Uts => NamespaceKind::Uts,
        LinuxNamespaceType::Ipc => NamespaceKind::Ipc,
        LinuxNamespaceType::User => NamespaceKind::User,
        LinuxNamespaceType::Pid => NamespaceKind::Pid,
        LinuxNamespaceType::Network => NamespaceKind::Network,
        LinuxNamespaceType::Time => NamespaceKind::Time,
    }
}

/// Host name and domain name. Those of a joined uts namespace are not this container's to change.
pub(super) fn names(spec: &Spec, wishes: &[NamespaceWish]) -> Result<(Option<String>, Option<String>), Refusal> {
    let hostname = name("hostname", spec.hostname().as_deref(), wishes)?;
    let domainname = name("domainname", spec.domainname().as_deref(), wishes)?;
    let sysctl = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    let domainname = match (domainname, sysctl::domainname(sysctl)) {
        (Some(_), Some((field, _))) => return Err(Refusal::new(field, "is given as domainname, too")),
        (None, Some((field, value))) => name(&field, Some(value), wishes)?,
        (domainname, None) => domainname,
    };
    Ok((hostname, domainname))
}

fn name(field: &str, name: Option<&str>, wishes: &[NamespaceWish]) -> Result<Option<String>, Refusal> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(None) };
    // sethostname(2), setdomainname(2): at most 64 bytes (__NEW_UTS_LEN).
    paths::clean(field, name, 64)?;
    if let Some(path) = joined(wishes, NamespaceKind::Uts) {
        let path = paths::quoted(&paths::text(path));
        let reason = format!("needs a uts namespace of the container's own, but the spec joins {path}");
        return Err(Refusal::new(field, reason));
    }
    Ok(Some(name.to_owned()))
}
