//! The five sets of capabilities(7), and no_new_privs.

use serde_json::{Value, json};
use tests::{Bundle, Container, Output};

use super::process::{SHOW, status};

const CHOWN: u64 = 1;
const KILL: u64 = 1 << 5;
const NET_BIND: u64 = 1 << 10;

fn sets(output: &Output) -> [u64; 5] {
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]
        .map(|name| u64::from_str_radix(&status(output.ok(), name), 16).unwrap())
}

/// Bounding has all three, permitted, inheritable and ambient are each smaller.
fn five() -> Value {
    json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"],
        "ambient": ["CAP_KILL"],
    })
}

fn user(uid: u32) -> Value {
    json!({ "uid": uid, "gid": uid })
}

#[tokio::test]
async fn the_sets_are_the_specs_for_root_and_for_a_user() {
    // What execve(2) makes of them (capabilities(7), "Transformation of capabilities during execve"): a user has what is
    // ambient; root has bounding and inheritable, under no_new_privs nothing that was not permitted before.
    let all = CHOWN | KILL | NET_BIND;
    for (uid, no_new_privileges, expected) in [
        (1000, true, [KILL, KILL, KILL, all, KILL]),
        (1000, false, [KILL, KILL, KILL, all, KILL]),
        (0, true, [KILL, CHOWN | KILL, CHOWN | KILL, all, KILL]),
        (0, false, [KILL, all, all, all, KILL]),
    ] {
        let bundle = || {
            let bundle = Bundle::new().set("/process/capabilities", five()).set("/process/user", user(uid));
            bundle.set("/process/noNewPrivileges", json!(no_new_privileges))
        };
        assert_eq!(sets(&bundle().args(&SHOW).run().await), expected, "init, {uid} {no_new_privileges}");
        let container = Container::sleeping(bundle()).await;
        let output = container.exec(&SHOW).await;
        assert_eq!(sets(&output), expected, "exec, {uid} {no_new_privileges}");
        assert_eq!(status(output.ok(), "NoNewPrivs"), if no_new_privileges { "1" } else { "0" });
        container.end().await;
    }
}

#[tokio::test]
async fn nothing_is_inheritable_that_the_spec_does_not_name() {
    // CVE-2022-29162
    for uid in [0, 1000] {
        let container = Container::sleeping(Bundle::new().set("/process/user", user(uid))).await;
        let init = Bundle::new().set("/process/user", user(uid)).args(&SHOW).run().await;
        for output in [init, container.exec(&SHOW).await] {
            let [inheritable, permitted, effective, _, ambient] = sets(&output);
            assert_eq!((inheritable, ambient), (0, 0));
            assert_eq!(permitted == 0 && effective == 0, uid != 0);
        }
        container.end().await;
    }
}

#[tokio::test]
async fn an_exec_has_sets_of_its_own_or_those_of_the_container() {
    let container = Container::sleeping(Bundle::new().set("/process/capabilities", five())).await;
    let mut process = container.process(&SHOW);
    let only = json!(["CAP_NET_BIND_SERVICE"]);
    process["capabilities"] = json!({ "bounding": only, "permitted": only, "effective": only });
    let output = container.exec_process(&process).await.unwrap();
    assert_eq!(sets(&output), [0, NET_BIND, NET_BIND, NET_BIND, 0]);
    process.as_object_mut().unwrap().remove("capabilities");
    process.as_object_mut().unwrap().remove("noNewPrivileges");
    let output = container.exec_process(&process).await.unwrap();
    assert_eq!(sets(&output), [KILL, CHOWN | KILL, CHOWN | KILL, CHOWN | KILL | NET_BIND, KILL]);
    assert_eq!(status(output.ok(), "NoNewPrivs"), "1", "leaving it out does not widen");
    process["capabilities"] = json!({});
    assert_eq!(sets(&container.exec_process(&process).await.unwrap()), [0; 5]);
    container.end().await;
}

#[tokio::test]
async fn sets_that_cannot_be_had_are_smaller_and_logged() {
    let odd = json!({ "bounding": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_CHOWN"] });
    let bundle =
        Bundle::new().set("/process/capabilities", odd).push("/process/capabilities/bounding", json!("CAP_NEWER"));
    let mut container = Container::started(bundle.args(&SHOW)).await;
    assert_eq!(sets(&container.output().await), [0, CHOWN, CHOWN, CHOWN, 0]);
    container.shim.logged("process.capabilities.inheritable has no CAP_KILL: not in bounding").await;
    container.shim.logged("process.capabilities.ambient has no CAP_CHOWN").await;
    container.shim.logged("process.capabilities.bounding[1] \\\"CAP_NEWER\\\"").await;
    container.end().await;
}
