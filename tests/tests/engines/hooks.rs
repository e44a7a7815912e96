//! Hooks through containerd, as nerdctl uses them: the network is a createRuntime hook's, and a poststop hook takes it away.

use serde_json::{Value, json};
use tests::host::Host;

on_each_suite!(hooks_give_a_container_its_network_and_take_it_away);

fn spec(host: &Host) -> Value {
    let mut spec: Value = serde_json::from_str(host.sh("ctr oci spec").ok()).expect("JSON");
    spec["root"] = json!({ "path": "/state/dir" });
    spec["process"]["args"] = json!(["/bin/httpd", "-f", "-p", "80", "-h", "/var/www"]);
    spec["process"]["terminal"] = json!(false);
    let hook = |kind: &str| {
        let env = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"];
        json!([{ "path": "/state/oci-hook", "args": ["oci-hook", kind], "env": env, "timeout": 60 }])
    };
    spec["hooks"] = json!({ "createRuntime": hook("createRuntime"), "poststop": hook("postStop") });
    spec
}

fn run(host: &Host, id: &str, spec: &Value) -> tests::Output {
    std::fs::write(host.state().join("spec.json"), spec.to_string()).expect("the spec");
    // The options are the same with every containerd, but not their order.
    host.sh(&format!("rm -f /state/calls; $RUN -d --config /state/spec.json {id}"))
}

fn hooks_give_a_container_its_network_and_take_it_away(host: &Host) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/oci-hook.sh");
    std::fs::copy(script, host.state().join("oci-hook")).expect("the hook");
    host.sh("cp -a /hosts/images/busybox /state/dir").ok();
    run(host, "hooked", &spec(host)).ok();
    // Its own address, and the published port.
    for address in ["10.89.0.2:80", "10.89.0.1:8080"] {
        host.until(&format!("[ \"$(busybox wget -qO- http://{address}/index.html)\" = served ]"));
    }
    assert_eq!(
        host.sh("ls /var/lib/cni/networks/hooked | grep 10.89; cat /state/calls").ok(),
        "10.89.0.2\ncreateRuntime"
    );
    let let_through = "iptables -S CNI-FORWARD | grep -c 10.89.0.2/32";
    assert_ne!(host.sh(let_through).stdout.trim(), "0", "the firewall's rules");
    host.sh("ctr task kill -s KILL hooked && until ctr task rm hooked; do sleep 0.05; done; ctr c rm hooked").ok();
    assert_eq!(
        host.sh("ls /var/lib/cni/networks/hooked | grep -c 10.89; cat /state/calls").stdout.trim(),
        "0\ncreateRuntime\npostStop"
    );
    assert_eq!(host.sh(let_through).stdout.trim(), "0");

    // After a start that fails, too.
    let mut broken = spec(host);
    broken["process"]["args"] = json!(["/nope"]);
    let said = run(host, "broken", &broken).failed();
    assert!(said.contains("/nope"), "{said}");
    host.sh("ctr task rm broken 2> /dev/null; ctr c rm broken").ok();
    assert_eq!(host.sh("cat /state/calls").ok(), "createRuntime\npostStop");
    host.sh("ip link del hooked0; rm -rf /state/dir /var/lib/cni/networks/hooked").ok();
}
