//! A hook inside the container has what is inside, and no more; one of the host is not led astray by the image.

use serde_json::json;
use tests::{Bundle, Container, place};

/// What a startContainer hook finds in its reach.
const LOOK: &str = "ls /proc/self/fd | tr '\\n' ' '; echo; \
    for way in /proc/1/root /proc/1/cwd /proc/1/fd /proc/1/exe /proc/1/mem; do \
      if test -r $way/. || cat $way > /dev/null 2>&1; then echo open: $way; fi; done; \
    grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs)' /proc/self/status; cat /proc/self/uid_map";

#[tokio::test]
async fn a_hook_inside_has_neither_the_hosts_files_nor_a_descriptor_or_key_of_ours() {
    let out = place::new_dir(&place::unique("hooks"));
    let script = format!(
        "({LOOK}; cat /proc/keys 2> /dev/null | grep -c _ses; cat {}/out) > /out/seen 2>&1; true",
        out.display()
    );
    let bundle = Bundle::new().bind(&out, "/out", &[]).hook("startContainer", &script).sh("sleep 1000");
    std::fs::write(out.join("out"), "of the host").unwrap();
    let container = Container::started(bundle).await;
    let seen = std::fs::read_to_string(out.join("seen")).unwrap();
    // The last is the listing's own.
    assert!(seen.starts_with("0 1 2 3 \n"), "{seen}");
    assert!(!seen.contains("open: ") && !seen.contains("of the host"), "{seen}");
    assert!(seen.contains(&container.host_base().to_string()), "the container's ids: {seen}");
    container.end().await;
}

#[tokio::test]
async fn a_hook_inside_cannot_undo_a_lock() {
    let (out, shown) = (place::new_dir(&place::unique("hooks")), place::new_dir(&place::unique("shown")));
    std::fs::write(shown.join("file"), "as it was").unwrap();
    let script = "mount -o remount,bind,rw /shown; umount -l /shown; echo x > /shown/file; \
                  echo 1 > /proc/sys/kernel/panic; mount -o remount,rw /sys; true";
    let bundle = Bundle::new().bind(&out, "/out", &[]).bind(&shown, "/shown", &["ro"]);
    let bundle = bundle.hook("startContainer", script).sh("cat /shown/file; echo; grep ' /sys ' /proc/mounts");
    let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    let output = bundle.run().await;
    assert!(output.ok().starts_with("as it was\nsysfs /sys sysfs ro,"), "{output:?}");
    assert_eq!(std::fs::read_to_string(shown.join("file")).unwrap(), "as it was");
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
}

#[tokio::test]
async fn the_containers_filter_holds_for_a_hook_inside() {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
    });
    let bundle = Bundle::new().hook("startContainer", "mkdir /made");
    bundle.clone().run().await.ok();
    let message = bundle.set("/linux/seccomp", profile).start_refused().await;
    assert!(message.contains("hooks.startContainer[0] /bin/sh: exit status 1: mkdir: "), "{message}");
}

#[tokio::test]
async fn a_hook_of_the_host_does_not_load_what_the_image_or_its_environment_name() {
    // CVE-2025-23266: LD_PRELOAD of the image's environment, and the root filesystem as working directory.
    let out = place::new_dir(&place::unique("hooks"));
    let mut bundle = Bundle::new()
        .image_with(|image| std::fs::write(image.join("poc.so"), "no library").unwrap())
        .push("/process/env", json!("LD_PRELOAD=/proc/self/cwd/poc.so"));
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let script =
            format!("(/bin/true; pwd; test -e poc.so && echo in the image; env) > {}/{kind} 2>&1; true", out.display());
        bundle = bundle.hook(kind, &script);
    }
    let dir = bundle.dir.display().to_string();
    bundle.run().await.ok();
    for kind in ["prestart", "createRuntime", "createContainer", "poststart", "poststop"] {
        let seen = std::fs::read_to_string(out.join(kind)).unwrap();
        assert!(
            seen.starts_with(&format!("{dir}\n")) && !seen.contains("poc") && !seen.contains("image"),
            "{kind}: {seen}"
        );
    }
}
