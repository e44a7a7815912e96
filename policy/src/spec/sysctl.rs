//! `linux.sysctl`: only what a namespace of the container's own keeps apart from the host.

use std::collections::HashMap;

use super::{joined, paths};
use crate::Refusal;
use crate::plan::{NamespaceKind, NamespaceWish};

/// Sysctls of the ipc namespace (ipc_namespaces(7)).
const IPC: &[&str] = &[
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

/// What containerd's CRI sets for every pod, whose network namespace CNI has made: it lowers no guard of the host.
const POD_NETWORK: &[&str] = &["net.ipv4.ip_unprivileged_port_start", "net.ipv4.ping_group_range"];

/// How Docker spells `domainname` of the spec, which runc long had no notion of. It is the uts namespace's, and is not written
/// as a sysctl but set by setdomainname(2).
const DOMAINNAME: &str = "kernel.domainname";

/// The domain name among the sysctls, and the field that has it.
pub(super) fn domainname(sysctl: Option<&HashMap<String, String>>) -> Option<(String, &str)> {
    let entry = sysctl?.iter().find(|(name, _)| dotted(name).is_ok_and(|name| name == DOMAINNAME));
    entry.map(|(name, value)| (format!("linux.sysctl[{}]", paths::quoted(name)), value.as_str()))
}

/// Names with dots and values, sorted by name, without [`domainname`]. In a name with dots, a dot inside a part stands as `/`
/// (`net.ipv4.conf.eth0/100.forwarding`), as sysctl(8) writes it.
pub(super) fn sysctl(
    sysctl: &HashMap<String, String>,
    wishes: &[NamespaceWish],
) -> Result<Vec<(String, String)>, Refusal> {
    let mut all = Vec::with_capacity(sysctl.len());
    for (name, value) in sysctl {
        let field = || format!("linux.sysctl[{}]", paths::quoted(name));
        let dotted = dotted(name).map_err(|reason| Refusal::new(field(), reason))?;
        allowed(&dotted, wishes).map_err(|reason| Refusal::new(field(), reason))?;
        paths::clean(field(), value, 4095)?;
        all.push((dotted, value.clone()));
    }
    all.sort_unstable();
    if let Some(pair) = all.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(Refusal::new(
            format!("linux.sysctl[\"{}\"]", pair[0].0),
            "is listed twice, with dots and with slashes",
        ));
    }
    all.retain(|(name, _)| name != DOMAINNAME);
    Ok(all)
}

/// The name with dots. As for sysctl(8), the first separator says which spelling it is.
fn dotted(name: &str) -> Result<String, &'static str> {
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let name: String = match name.find(['.', '/']) {
        Some(first) if name[first..].starts_with('/') => name.chars().map(swap).collect(),
        _ => name.to_owned(),
    };
    if name.len() > 255 || name.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err("is not the name of a sysctl");
    }
    // A part becomes the name of a file or directory again.
    let part = |part: &str| !part.is_empty() && !matches!(part, "/" | "//") && !part.contains('\0');
    if name.split('.').all(part) { Ok(name) } else { Err("has an empty part, or one that is . or ..") }
}

fn allowed(name: &str, wishes: &[NamespaceWish]) -> Result<(), String> {
    let own = |kind: NamespaceKind| match joined(wishes, kind) {
        None => Ok(()),
        Some(path) => {
            let path = paths::quoted(&paths::text(path));
            Err(format!("needs a {kind} namespace of the container's own, but the spec joins {path}"))
        }
    };
    match name {
        "kernel.hostname" => Err("is what hostname of the spec is for".to_owned()),
        DOMAINNAME => own(NamespaceKind::Uts),
        _ if POD_NETWORK.contains(&name) => Ok(()),
        _ if name.starts_with("net.") => own(NamespaceKind::Network),
        _ if IPC.contains(&name) || name.starts_with("fs.mqueue.") => own(NamespaceKind::Ipc),
        _ => Err("is the host's; no namespace keeps it apart".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes(joined: Option<NamespaceKind>) -> Vec<NamespaceWish> {
        [NamespaceKind::Network, NamespaceKind::Ipc]
            .map(|kind| NamespaceWish {
                kind,
                path: (joined == Some(kind)).then(|| "/run/netns/x".into()),
                named: true,
            })
            .into()
    }

    #[test]
    fn the_domain_name_is_not_written_as_a_sysctl() {
        for name in ["kernel.domainname", "kernel/domainname"] {
            let sysctls = HashMap::from([(name.to_owned(), "example.test".to_owned())]);
            assert_eq!(sysctl(&sysctls, &wishes(None)), Ok(vec![]));
            let field = format!("linux.sysctl[\"{name}\"]");
            assert_eq!(domainname(Some(&sysctls)), Some((field.clone(), "example.test")));
            let uts = NamespaceWish { kind: NamespaceKind::Uts, path: Some("/run/uts".into()), named: true };
            let refusal = sysctl(&sysctls, &[uts]).expect_err("refused").to_string();
            let reason = "needs a uts namespace of the container's own, but the spec joins \"/run/uts\"";
            assert_eq!(refusal, format!("{field}: {reason}"));
        }
    }

    fn one(name: &str, joined: Option<NamespaceKind>) -> Result<String, String> {
        let sysctls = HashMap::from([(name.to_owned(), "1".to_owned())]);
        sysctl(&sysctls, &wishes(joined)).map(|all| all[0].0.clone()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn both_spellings_are_one_name() {
        assert_eq!(one("net.ipv4.ip_forward", None), Ok("net.ipv4.ip_forward".into()));
        assert_eq!(one("net/ipv4/ip_forward", None), Ok("net.ipv4.ip_forward".into()));
        let vlan = "net.ipv4.conf.eth0/100.forwarding";
        assert_eq!(one("net/ipv4/conf/eth0.100/forwarding", None), Ok(vlan.into()));
        assert_eq!(one(vlan, None), Ok(vlan.into()));
        let both =
            HashMap::from([("net/ipv4/tcp_sack", "1"), ("net.ipv4.tcp_sack", "0")].map(|(k, v)| (k.into(), v.into())));
        let refusal = sysctl(&both, &wishes(None)).expect_err("refused").to_string();
        assert_eq!(refusal, "linux.sysctl[\"net.ipv4.tcp_sack\"]: is listed twice, with dots and with slashes");
    }

    #[test]
    fn only_sysctls_of_the_containers_namespaces_pass() {
        for name in IPC.iter().copied().chain(["fs.mqueue.msg_max", "net.core.somaxconn"]) {
            assert_eq!(one(name, None), Ok(name.into()));
        }
        for name in
            ["kernel.core_pattern", "kernel.shm_rmid_forced2", "vm.swappiness", "fs.file-max", "kernel", "net", ""]
        {
            assert!(one(name, None).is_err(), "{name}");
        }
        let message = "linux.sysctl[\"kernel.core_pattern\"]: is the host's; no namespace keeps it apart";
        assert_eq!(one("kernel.core_pattern", None), Err(message.into()));
        let message = "linux.sysctl[\"kernel.hostname\"]: is what hostname of the spec is for";
        assert_eq!(one("kernel.hostname", None), Err(message.into()));
    }

    #[test]
    fn a_joined_namespace_is_not_the_containers_to_set() {
        let net = Some(NamespaceKind::Network);
        let message = "linux.sysctl[\"net.ipv4.ip_forward\"]: needs a network namespace of the container's own, but the \
                       spec joins \"/run/netns/x\"";
        assert_eq!(one("net.ipv4.ip_forward", net), Err(message.into()));
        assert!(one("kernel.shmmax", Some(NamespaceKind::Ipc)).is_err());
        assert!(one("kernel.shmmax", net).is_ok());
        assert!(one("net.ipv4.ip_unprivileged_port_start", net).is_ok());
    }

    #[test]
    fn names_do_not_climb() {
        for name in [
            "net..ipv4",
            "net/../kernel/core_pattern",
            "net/./x",
            "net.//.kernel",
            "net./.x",
            "net.",
            "/net",
            "net.a b",
        ] {
            assert!(one(name, None).is_err(), "{name}");
        }
    }
}
