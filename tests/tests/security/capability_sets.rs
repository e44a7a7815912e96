//! What a program may do is what the spec says, and nothing is handed on by inheritance (CVE-2022-24769, CVE-2022-29162,
//! CVE-2022-27650).

use serde_json::{Value, json};
use tests::bundle::all_capabilities;
use tests::{Bundle, Container};

const STATUS: [&str; 2] = ["/bin/cat", "/proc/self/status"];

/// A set of /proc/PID/status.
fn set(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect(name);
    u64::from_str_radix(line.trim(), 16).expect("hexadecimal")
}

/// What the same spec gives to a container's first process and to an exec.
async fn both(capabilities: &Value, user: u32) -> [String; 2] {
    let bundle = Bundle::new().set("/process/user/uid", json!(user)).set("/process/capabilities", capabilities.clone());
    let first = bundle.args(&STATUS).run().await;
    let container = Container::sleeping(Bundle::new()).await;
    let mut process = container.process(&STATUS);
    process["capabilities"] = capabilities.clone();
    process["user"]["uid"] = json!(user);
    let exec = container.exec_process(&process).await.unwrap();
    container.end().await;
    [first.ok().to_owned(), exec.ok().to_owned()]
}

#[tokio::test]
async fn nothing_is_inheritable_that_the_spec_does_not_name() {
    let all = all_capabilities();
    for user in [0, 1000] {
        for status in both(&json!({ "bounding": all, "effective": all, "permitted": all }), user).await {
            assert_eq!((set(&status, "CapInh"), set(&status, "CapAmb")), (0, 0), "{status}");
            assert_ne!(set(&status, "CapBnd"), 0, "{status}");
            // A user who is not root has no use for the others without an ambient set.
            assert_eq!(set(&status, "CapEff") != 0, user == 0, "{status}");
        }
    }
}

#[tokio::test]
async fn an_inheritable_set_is_no_more_than_the_bounding_one() {
    let sets = json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
        "inheritable": ["CAP_KILL", "CAP_SYS_ADMIN"], "ambient": ["CAP_KILL", "CAP_SYS_ADMIN"] });
    for status in both(&sets, 1000).await {
        for name in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(set(&status, name), 1 << 5, "{name} of {status}");
        }
    }
}

#[tokio::test]
async fn an_ambient_set_that_is_not_inheritable_gives_nothing() {
    let sets = json!({ "bounding": ["CAP_KILL"], "permitted": ["CAP_KILL"], "effective": ["CAP_KILL"],
        "ambient": ["CAP_KILL"] });
    for status in both(&sets, 1000).await {
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(set(&status, name), 0, "{name} of {status}");
        }
    }
}

#[tokio::test]
async fn an_exec_that_names_no_capabilities_has_those_of_its_container() {
    let container = Container::sleeping(Bundle::new().capabilities(&["CAP_KILL"])).await;
    let mut process = container.process(&STATUS);
    process.as_object_mut().unwrap().remove("capabilities");
    let output = container.exec_process(&process).await.unwrap();
    for (name, expected) in [("CapBnd", 1 << 5), ("CapEff", 1 << 5), ("CapInh", 0), ("CapAmb", 0)] {
        assert_eq!(set(output.ok(), name), expected, "{name} of {output:?}");
    }
    container.end().await;
}
