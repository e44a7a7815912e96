//! The verbs for people: `check`, `ranges`, `features`, `--version`, `help`.

use tests::room::Room;
use tests::{Bundle, Container, Output, place};

fn call(args: &[&str]) -> Output {
    std::process::Command::new(place::shim()).args(args).output().unwrap().into()
}

#[test]
fn check_has_a_line_for_everything_that_a_host_may_lack() {
    let output = call(&["check"]);
    assert_eq!(output.stderr, "");
    for subject in [
        "kernel",
        "user namespaces",
        "time namespace",
        "overlay",
        "id-mapped mounts",
        "id-mapped tmpfs",
        "cgroups",
        "seccomp notify",
        "FUSE",
        "io_uring",
        "AppArmor and user namespaces",
        "volume directory",
        "id ranges",
        "keys per user",
        "inotify instances per user",
        "inotify watches per user",
    ] {
        let judged = |line: &str| {
            let (mark, rest) = line.split_once(' ')?;
            (["ok", "weaker", "MISSING"].contains(&mark) && rest.trim_start().starts_with(subject)).then_some(())
        };
        assert!(output.stdout.lines().any(|line| judged(line).is_some()), "no line for {subject}:\n{}", output.stdout);
    }
    let missing = output.stdout.lines().any(|line| line.starts_with("MISSING"));
    assert_eq!(output.status == 0, !missing, "{output:#?}");
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(output.stdout.contains(release.trim()) && output.stdout.contains("driver"), "{}", output.stdout);
}

#[test]
fn check_warns_of_shared_directories_that_others_can_traverse() {
    use std::os::unix::fs::PermissionsExt;
    let room = Room::new();
    room.configure("[mounts]\nshared = [\"/run/shared/open\", \"/run/shared/closed\", \"/run/shared/closed/below\", \"/run/none\"]\n");
    for (path, mode) in [("", 0o755), ("/open", 0o711), ("/closed", 0o750), ("/closed/below", 0o777)] {
        let path = format!("/run/shared{path}");
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let said = room.verb("check").stdout;
    let line = |path: &str| said.lines().find(|line| line.contains(&format!("{path} (mode"))).unwrap_or_default();
    assert!(line("/open").starts_with("weaker") && line("/open").contains("chmod o-x"), "{said}");
    for path in ["/closed", "/closed/below"] {
        assert!(line(path).starts_with("ok"), "{said}");
    }
    assert!(!said.contains("/run/none"), "{said}");
}

fn line_of(id: &str) -> Option<Vec<String>> {
    let output = call(&["ranges"]);
    let mut lines = output.ok().lines();
    let header: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["RANGE", "CONTAINER", "NAMESPACE", "SINCE", "STATUS"]);
    let fields = lines.map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    fields.into_iter().find(|fields| fields[1] == id)
}

#[tokio::test]
async fn ranges_tell_who_has_which_ids_until_the_writable_layer_is_gone() {
    let container = Container::sleeping(Bundle::new()).await;
    let (id, base, dir) = (container.id(), container.host_base(), container.bundle.dir.clone());
    let running = line_of(&id).unwrap();
    let range = format!("{base}-{}", base + 65535);
    assert_eq!((&running[0], running[2].as_str(), running[4].as_str()), (&range, tests::shim::NAMESPACE, "running"));
    assert!(running[3].starts_with("20") && running[3].ends_with('Z'), "{running:?}");
    container.end().await;
    let stopped = line_of(&id).expect("a stopped container keeps its range");
    assert_eq!((&stopped[0], stopped[4].as_str()), (&range, "stopped"));
    std::fs::remove_dir_all(dir).unwrap();
    assert_eq!(line_of(&id), None, "a container that is removed has none");
}

#[test]
fn check_warns_of_a_volume_directory_only_while_host_users_can_get_there() {
    // In a mount namespace of its own, so that the machine's directory stays as it is.
    let script = "mount -t tmpfs -o mode=755 tmpfs /var/lib && mkdir -p /var/lib/docker/volumes && \
                  chmod 701 /var/lib/docker/volumes && chmod $0 /var/lib/docker && exec \"$1\" check";
    let line = |mode: &str| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script, mode]).arg(place::shim());
        let output = Output::from(command.output().unwrap());
        let line = output.stdout.lines().find(|line| line.contains("/var/lib/docker/volumes")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{output:#?}"))
    };
    assert!(line("711").starts_with("weaker") && line("711").contains("chmod o-x"), "{}", line("711"));
    assert!(line("710").starts_with("ok"), "{}", line("710"));
}

#[test]
fn features_are_the_oci_document() {
    let output = call(&["features"]);
    let features: serde_json::Value = serde_json::from_str(output.ok()).unwrap();
    let parsed: oci_spec::runtime::Features = serde_json::from_str(output.ok()).unwrap();
    assert!(parsed.mount_options().as_ref().unwrap().iter().any(|option| option == "rro"));
    assert_eq!((&features["ociVersionMin"], &features["ociVersionMax"]), (&"1.0.0".into(), &"1.3.0".into()));
    let namespaces = features["linux"]["namespaces"].as_array().unwrap();
    for name in ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"] {
        assert!(namespaces.contains(&name.into()), "{name}");
    }
    assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

#[test]
fn versions_and_help_are_printed_and_unknown_words_are_refused_in_one_line() {
    let version = call(&["--version"]);
    let number = version.ok().strip_prefix("containerd-shim-eci-v2 ").unwrap();
    assert_eq!(number.split('.').count(), 3);
    assert!(call(&["-v"]).ok().contains(&format!("Version:  {number}")));
    for word in ["help", "--help", "-h"] {
        let help = call(&[word]);
        assert!(["check", "ranges", "features", "--version"].iter().all(|verb| help.ok().contains(verb)), "{help:?}");
    }
    for (args, reason) in [
        (&["dance"][..], "unknown verb \"dance\""),
        (&[], "nothing to do"),
        (&["--dance"], "flag provided but not defined: -dance"),
    ] {
        let output = call(args);
        assert!(output.status != 0 && output.stdout.is_empty(), "{output:?}");
        assert!(output.stderr.lines().count() == 1 && output.stderr.contains(reason), "{output:?}");
    }
}
