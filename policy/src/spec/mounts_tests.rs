//! Mounts as specs write them.

use serde_json::json;

use super::*;

fn planned(json: serde_json::Value) -> Result<Mount, String> {
    let mount: SpecMount = serde_json::from_value(json).expect("a mount");
    mounts(&[mount], Path::new("/bundle")).map(|mut mounts| mounts.remove(0)).map_err(|refusal| refusal.to_string())
}

fn of_type(fstype: &str, destination: &str, options: &[&str]) -> Result<Mount, String> {
    planned(json!({"destination": destination, "type": fstype, "source": "/src", "options": options}))
}

fn refusal(fstype: &str, destination: &str, options: &[&str]) -> String {
    of_type(fstype, destination, options).expect_err("refused")
}

#[test]
fn every_type_has_its_kind() {
    let kind = |fstype: &str, options: &[&str]| of_type(fstype, "/x", options).expect(fstype).kind;
    let data = |key: &str, value: Option<&str>| vec![(key.to_owned(), value.map(str::to_owned))];
    assert_eq!(kind("proc", &["hidepid=2", "ro"]), MountKind::Proc { data: data("hidepid", Some("2")) });
    assert_eq!(kind("sysfs", &["ro"]), MountKind::Sysfs);
    assert_eq!(kind("mqueue", &[]), MountKind::Mqueue);
    assert_eq!(kind("cgroup", &["ro", "relatime"]), MountKind::Cgroup);
    assert_eq!(kind("cgroup2", &[]), MountKind::Cgroup);
    assert_eq!(kind("devpts", &["newinstance"]), MountKind::Devpts { data: data("newinstance", None) });
    assert_eq!(kind("tmpfs", &["size=1m"]), MountKind::Tmpfs { data: data("size", Some("1m")) });
    let overlay = MountKind::Filesystem {
        fstype: "overlay".into(),
        source: Some("/src".into()),
        data: data("lowerdir", Some("/a:/b")),
    };
    assert_eq!(kind("overlay", &["lowerdir=/a:/b"]), overlay);
    let bind = |recursive| MountKind::Bind { source: "/src".into(), recursive, id_map: BindIds::Container };
    for (fstype, options, recursive) in [
        ("bind", vec!["rbind"], true),
        ("bind", vec![], false),
        ("none", vec!["bind"], false),
        ("", vec!["rbind"], true),
        ("ext4", vec!["rbind"], true),
    ] {
        assert_eq!(kind(fstype, &options), bind(recursive));
    }
    let relative = planned(json!({"destination": "/x", "type": "bind", "source": "data"})).expect("a mount");
    assert!(matches!(relative.kind, MountKind::Bind { source, .. } if source == Path::new("/bundle/data")));
}

#[test]
fn unknown_types_are_refused_by_name() {
    let message = "mounts[0].type: \"ext4\" is not a filesystem that a container can mount";
    assert_eq!(refusal("ext4", "/x", &["size=1"]), message);
    assert_eq!(refusal("none", "/x", &[]), "mounts[0].type: \"none\" needs the option bind or rbind");
    assert_eq!(refusal("", "/x", &["ro"]), "mounts[0].type: \"\" needs the option bind or rbind");
    assert_eq!(planned(json!({"destination": "/x", "type": "bind"})), Err("mounts[0].source: is missing".into()));
}

#[test]
fn destinations_stay_inside_and_leave_the_root_and_proc_alone() {
    assert_eq!(of_type("tmpfs", "/a//b/", &[]).expect("a mount").destination.as_str(), "/a/b");
    assert_eq!(refusal("tmpfs", "/a/../../b", &[]), "mounts[0].destination: \"/a/../../b\" has a .. component");
    assert_eq!(refusal("tmpfs", "a", &[]), "mounts[0].destination: \"a\" is not an absolute path");
    let root = "mounts[0].destination: \"/\" would cover the root filesystem; root.path is the place for another one";
    assert_eq!(refusal("tmpfs", "/./", &[]), root);
    assert_eq!(refusal("bind", "/proc", &["rbind"]), "mounts[0].destination: \"/proc\" must be a mount of type proc");
    assert_eq!(refusal("tmpfs", "/proc", &[]), "mounts[0].destination: \"/proc\" must be a mount of type proc");
    assert!(of_type("bind", "/proc/meminfo", &["bind"]).is_ok());
    assert!(of_type("tmpfs", "/process", &[]).is_ok());
    for (fstype, path) in [("tmpfs", "/proc/meminfo"), ("bind", "/proc/self/attr"), ("proc", "/proc/1")] {
        assert!(refusal(fstype, path, &[]).contains("lies below /proc"));
    }
}

#[test]
fn options_must_be_the_mounts_own() {
    assert_eq!(refusal("bind", "/x", &["rbind", "size=1m"]), "mounts[0].options: \"size=1m\" is not an option of bind");
    assert_eq!(refusal("bind", "/x", &["rbind", "sync"]), "mounts[0].options: \"sync\" is not an option of bind");
    assert_eq!(refusal("sysfs", "/x", &["mode=755"]), "mounts[0].options: \"mode=755\" is not an option of sysfs");
    assert_eq!(refusal("bind", "/x", &["tmpcopyup"]), "mounts[0].options: \"tmpcopyup\" is for tmpfs");
    assert_eq!(refusal("tmpfs", "/x", &["idmap"]), "mounts[0].options: \"idmap\" and \"ridmap\" are for bind mounts");
    assert!(refusal("bind", "/x", &["remount"]).starts_with("mounts[0].options: \"remount\" asks to change a mount"));
    assert!(of_type("tmpfs", "/x", &["tmpcopyup"]).expect("a mount").copy_up);
}

#[test]
fn sharing_with_the_host_is_refused_and_following_it_is_not() {
    let message = "would share mounts with the host, which a user namespace forbids; use rslave";
    assert_eq!(refusal("bind", "/x", &["rbind", "rshared"]), format!("mounts[0].options: \"rshared\" {message}"));
    assert_eq!(refusal("bind", "/x", &["shared"]), format!("mounts[0].options: \"shared\" {message}"));
    let propagation = |fstype, option| of_type(fstype, "/x", &[option]).expect(option).propagation;
    assert_eq!(propagation("bind", "rslave"), Some((Propagation::Slave, true)));
    assert_eq!(propagation("bind", "private"), Some((Propagation::Private, false)));
    assert_eq!(propagation("tmpfs", "rshared"), Some((Propagation::Shared, true)));
    // The later one holds.
    assert!(of_type("bind", "/x", &["rshared", "rslave"]).is_ok());
}

#[test]
fn bind_mounts_may_bring_a_map_of_their_own() {
    let line = |container: u32, host: u32, size: u32| json!({"containerID": container, "hostID": host, "size": size});
    let bind = |uid: serde_json::Value, gid: serde_json::Value, fstype: &str, option: &str| {
        planned(json!({
            "destination": "/x", "type": fstype, "source": "/src", "options": [option],
            "uidMappings": uid, "gidMappings": gid
        }))
    };
    let mapped =
        bind(json!([line(0, 5, 1), line(1, 100, 9)]), json!([line(0, 5, 1)]), "bind", "ridmap").expect("a mount");
    let MountKind::Bind { id_map: BindIds::Explicit { uid, gid, recursive }, .. } = mapped.kind else {
        panic!("{mapped:?}")
    };
    assert_eq!((uid.len(), gid.len(), recursive), (2, 1, true));
    assert_eq!(uid[1], IdMapping { container_id: 1, host_id: 100, size: 9 });
    let one = || json!([line(0, 5, 1)]);
    for (uid, gid, fstype, message) in [
        (one(), json!([]), "bind", "gidMappings: is missing"),
        (json!([]), one(), "bind", "uidMappings: is missing"),
        (one(), one(), "tmpfs", "uidMappings: is for bind mounts"),
        (json!([line(0, 5, 0)]), one(), "bind", "uidMappings: {0 5 0} is not a range of ids"),
        (json!([line(0, u32::MAX, 1)]), one(), "bind", "uidMappings: {0 4294967295 1} is not a range of ids"),
        (json!([line(0, 5, 10), line(9, 50, 1)]), one(), "bind", "uidMappings: {9 50 1} overlaps another entry"),
        (json!([line(0, 5, 10), line(10, 4, 2)]), one(), "bind", "uidMappings: {10 4 2} overlaps another entry"),
    ] {
        let option = if fstype == "bind" { "idmap" } else { "ro" };
        assert_eq!(bind(uid, gid, fstype, option), Err(format!("mounts[0].{message}")));
    }
    let plain = of_type("bind", "/x", &["idmap"]).expect("a mount");
    assert!(matches!(plain.kind, MountKind::Bind { id_map: BindIds::Container, .. }));
}
