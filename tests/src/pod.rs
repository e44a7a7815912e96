//! Pods: one shim for the containers of a group, which share the namespaces of the first, as engines ask for them.

use serde_json::json;

use crate::stdio::Pipes;
use crate::{Bundle, Container, place};

/// What a pod shares.
pub const SHARED: [&str; 3] = ["network", "ipc", "uts"];

/// A container of the group, by the annotation of the container runtime interface.
pub fn member(bundle: Bundle, group: &str) -> Bundle {
    bundle.set("/annotations", json!({ "io.kubernetes.cri.sandbox-id": group }))
}

/// In these namespaces of the first one's.
pub fn joining(bundle: Bundle, first: &Container, kinds: &[&str]) -> Bundle {
    kinds.iter().fold(bundle, |bundle, kind| {
        let file = if *kind == "network" { "net" } else { kind };
        bundle.namespace(kind, Some(&format!("/proc/{}/ns/{file}", first.pid)))
    })
}

/// Two that sleep, for execs.
pub async fn sleeping(first: Bundle, second: Bundle) -> (Container, Container) {
    let group = place::unique("pod");
    let first = Container::sleeping(member(first, &group)).await;
    let second = joining(member(second, &group), &first, &SHARED).args(&["/bin/sleep", "1000"]);
    let second = Container::create_in(&first.shim, second, Pipes::output()).await.unwrap();
    second.start().await.unwrap();
    (first, second)
}
