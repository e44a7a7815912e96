//! Who may read and write: by the mode, as with the kernel's own settings.

use serde_json::json;
use tests::Container;

use crate::setup::privileged;

/// What opening says to a user of this id with these capabilities, for reading and for writing.
async fn opens(container: &Container, user: u32, capabilities: &[&str], path: &str) -> (String, String) {
    let sets = ["bounding", "effective", "permitted", "inheritable", "ambient"];
    let sets = sets.map(|set| (set.to_owned(), json!(capabilities)));
    let said = async |how: &str| {
        let mut process = container.process(&["/inside", "open", path, how]);
        process["user"] = json!({ "uid": user, "gid": user });
        process["capabilities"] = serde_json::Value::Object(sets.clone().into_iter().collect());
        container.exec_process(&process).await.unwrap().stdout.trim().to_owned()
    };
    (said("r").await, said("w").await)
}

#[tokio::test]
async fn other_users_may_what_the_mode_says() {
    let container = Container::sleeping(privileged("trixie").with_inside()).await;
    let settings = ["/proc/sys/kernel/panic", "/proc/sys/vm/swappiness", "/proc/sys/net/core/rmem_max"];
    let natives = "/proc/sys/kernel/msgmax";
    for user in [0, 1000] {
        let kernels = opens(&container, user, &[], natives).await;
        assert_eq!((kernels.0.as_str(), kernels.1 == "ok"), ("ok", user == 0), "{kernels:?}");
        for path in settings {
            assert_eq!(opens(&container, user, &[], path).await, kernels, "{path}");
        }
    }
    let refused = ("ok".to_owned(), "EACCES".to_owned());
    for path in ["/proc/meminfo", "/proc/sys/kernel/random/boot_id", "/proc/stat", "/sys/devices/system/cpu/online"] {
        assert_eq!(opens(&container, 1000, &[], path).await, refused, "{path}");
    }
    // What docs/emulation.md says of CAP_DAC_OVERRIDE, which the kernel's own do not ask for.
    let may = ["CAP_DAC_OVERRIDE"];
    assert_eq!(opens(&container, 1000, &may, natives).await, refused);
    for path in settings {
        assert_eq!(opens(&container, 1000, &may, path).await, ("ok".to_owned(), "ok".to_owned()), "{path}");
    }
    // It is of no use with what is the host's root's.
    for path in ["/proc/sys/vm/laptop_mode", "/proc/sys/kernel/core_pattern"] {
        for user in [0, 1000] {
            assert_eq!(opens(&container, user, &may, path).await, refused, "{path}");
        }
    }
    assert_eq!(opens(&container, 0, &may, "/proc/sys/vm/drop_caches").await.0, "EACCES");
    container.end().await;
}
