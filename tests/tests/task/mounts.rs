//! The spec's mounts: every option, binds of files and directories and what lies below them, destinations, masks.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::json;
use tests::{Bundle, Container, place};

/// A directory of the host with a tmpfs mounted below it; it is unmounted with its value.
struct Nested(PathBuf);

impl Nested {
    fn new() -> Self {
        let dir = place::new_dir("nested");
        tests::sh(&format!(
            "cd {0}; mkdir sub; mount -t tmpfs -o suid,exec,dev tmpfs sub; echo x > sub/file; echo x > file",
            dir.display()
        ))
        .ok();
        Self(dir)
    }
}

impl Drop for Nested {
    fn drop(&mut self) {
        tests::sh(&format!("umount -l -R {}/sub", self.0.display()));
    }
}

/// Of each mount of a container's mountinfo: its mountpoint, its own options and its propagation.
async fn mounted(container: &Container) -> Vec<(String, Vec<String>, String)> {
    let text = container.sh("cat /proc/self/mountinfo").await;
    let line = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let end = fields.iter().position(|field| *field == "-").unwrap();
        // The mark of an id-mapped mount is left out: each bind is one.
        let options = fields[5].split(',').filter(|option| *option != "idmapped").map(str::to_owned).collect();
        (fields[4].to_owned(), options, fields[6..end].join(" "))
    };
    text.ok().lines().map(line).collect()
}

#[tokio::test]
async fn options_hold_for_the_mount_and_their_recursive_forms_for_the_tree() {
    let nested = Nested::new();
    // The option, what mountinfo then shows, and whether the mount below has it too.
    let cases = [
        // Docker does not ask for "rro" where it means it.
        ("ro", "ro", true),
        ("nosuid", "nosuid", false),
        ("nodev", "nodev", false),
        ("noexec", "noexec", false),
        ("nosymfollow", "nosymfollow", false),
        ("noatime", "noatime", false),
        ("nodiratime", "nodiratime", false),
        ("rro", "ro", true),
        ("rnosuid", "nosuid", true),
        ("rnodev", "nodev", true),
        ("rnoexec", "noexec", true),
        ("rnosymfollow", "nosymfollow", true),
        ("rnoatime", "noatime", true),
        ("rnodiratime", "nodiratime", true),
    ];
    let bundle = cases
        .iter()
        .fold(Bundle::new(), |bundle, (option, ..)| bundle.bind(&nested.0, &format!("/m/{option}"), &[option]));
    let container = Container::sleeping(bundle).await;
    let mounts = mounted(&container).await;
    let has = |path: &str, shown: &str| {
        let (_, options, _) =
            mounts.iter().find(|(at, ..)| at == path).unwrap_or_else(|| panic!("{path}: {mounts:#?}"));
        options.iter().any(|option| option == shown)
    };
    for (option, shown, recursive) in cases {
        assert!(has(&format!("/m/{option}"), shown), "{option}");
        assert_eq!(has(&format!("/m/{option}/sub"), shown), recursive, "{option}/sub");
    }
    for read_only in ["ro", "rro"] {
        assert!(container.sh(&format!("echo x > /m/{read_only}/sub/file")).await.failed().contains("Read-only"));
    }
    container.sh("echo x > /m/nosuid/sub/file").await.ok();
    container.end().await;
}

#[tokio::test]
async fn recursive_forms_take_away_and_plain_ones_take_back() {
    let nested = Nested::new();
    let dir = nested.0.display();
    tests::sh(&format!("cd {dir}; mkdir a; mount --bind -o ro,nosuid,nodev,noexec,noatime sub a || :; mount -o remount,bind,ro,nosuid,nodev,noexec,noatime a")).ok();
    let source = nested.0.join("a");
    let bundle = Bundle::new()
        .bind(&source, "/plain", &["rw", "suid", "dev", "exec", "relatime"])
        .bind(&source, "/all", &["rrw", "rsuid", "rdev", "rexec", "rsymfollow", "rdiratime", "rstrictatime"])
        .bind(&nested.0.join("sub"), "/last", &["ro", "noexec", "rw", "exec"]);
    let container = Container::sleeping(bundle).await;
    let mounts = mounted(&container).await;
    let options = |path: &str| mounts.iter().find(|(at, ..)| at == path).unwrap().1.join(",");
    assert_eq!(options("/plain"), "ro,nosuid,nodev,noexec,relatime", "what the host has set stays");
    assert_eq!(options("/all"), "rw");
    assert_eq!(options("/last"), "rw,relatime");
    container.end().await;
    tests::sh(&format!("umount {dir}/a")).ok();
}

#[tokio::test]
async fn propagation_is_the_containers_own_or_comes_from_the_host_but_never_goes_there() {
    let nested = Nested::new();
    let bundle = Bundle::new()
        .bind(&nested.0, "/private", &["rprivate"])
        .bind(&nested.0, "/slave", &["rslave"])
        .bind(&nested.0, "/unbindable", &["unbindable"])
        .bind(&nested.0, "/tree", &["runbindable"]);
    let container = Container::sleeping(bundle.all_capabilities()).await;
    let mounts = mounted(&container).await;
    let propagation = |path: &str| mounts.iter().find(|(at, ..)| at == path).unwrap().2.clone();
    assert_eq!(propagation("/private"), "");
    assert!(propagation("/slave").starts_with("master:"), "{mounts:#?}");
    assert_eq!(propagation("/unbindable"), "unbindable");
    assert_ne!(propagation("/unbindable/sub"), "unbindable");
    assert_eq!((propagation("/tree"), propagation("/tree/sub")), ("unbindable".to_owned(), "unbindable".to_owned()));
    let bound = container.sh("mkdir -p /to; mount --bind /private /to && mount --bind /unbindable /to").await;
    assert!(bound.failed().contains("Invalid argument"), "{bound:?}");
    let later = nested.0.join("later");
    tests::sh(&format!("mkdir {0}; mount -t tmpfs tmpfs {0}; echo x > {0}/file", later.display())).ok();
    container.sh("cat /slave/later/file; ! test -e /private/later/file; mount -t tmpfs tmpfs /slave/sub; touch /slave/sub/own").await.ok();
    assert!(!nested.0.join("sub/own").exists());
    tests::sh(&format!("umount {}", later.display())).ok();
    container.end().await;

    for name in ["shared", "rshared"] {
        let refusal = Bundle::new().bind(&nested.0, "/m", &[name]).refused().await;
        assert!(refusal.contains(&format!("].options: \"{name}\" would share mounts with the host")), "{refusal}");
    }
}

fn owner(path: &Path) -> (u32, u32) {
    let stat = std::fs::symlink_metadata(path).unwrap();
    (stat.uid(), stat.gid())
}

#[tokio::test]
async fn what_is_bound_has_the_owners_of_the_disk() {
    let nested = Nested::new();
    tests::sh(&format!("cd {}; chown 7:8 file; chown 9:9 sub/file", nested.0.display())).ok();
    let bundle = Bundle::new()
        .bind(&nested.0, "/tree", &[])
        .bind(&nested.0.join("file"), "/etc/one-file", &["ro"])
        .bind(&nested.0.join("sub"), "/tree/made/below", &[]);
    let output = bundle
        .sh("stat -c %u:%g /tree /tree/file /tree/sub/file /etc/one-file /tree/made/below/file; \
             echo x > /tree/new; echo x > /tree/sub/new; chown 5:6 /tree/sub/new")
        .run()
        .await;
    assert_eq!(output.ok(), "0:0\n7:8\n9:9\n7:8\n9:9");
    assert_eq!((owner(&nested.0.join("new")), owner(&nested.0.join("sub/new"))), ((0, 0), (5, 6)));
    assert_eq!((owner(&nested.0), owner(&nested.0.join("file"))), ((0, 0), (7, 8)));
}

#[tokio::test]
async fn explicit_mappings_are_those_of_the_mount() {
    let nested = Nested::new();
    let mut bundle = Bundle::new();
    let room = tests::room::Room::new();
    // Container ids are 100000 on in a room of its own: what the disk has as 0 is shown as the container's 1000.
    let map = json!([{ "containerID": 0, "hostID": 101_000, "size": 10 }]);
    for (option, at) in [("idmap", "/top"), ("ridmap", "/all")] {
        bundle = bundle.push(
            "/mounts",
            json!({
                "type": "bind", "source": nested.0, "destination": at, "options": ["rbind", option],
                "uidMappings": map, "gidMappings": map,
            }),
        );
    }
    let container = room.sleeping(bundle).await;
    let output = container.sh("stat -c %u /top/file /all/file /top/sub/file /all/sub/file").await;
    assert_eq!(output.ok(), "1000\n1000\n65534\n1000");
    container.end().await;
    let refusal = Bundle::new().mount("tmpfs", "tmpfs", "/m", &["idmap"]).refused().await;
    assert!(refusal.ends_with("\"idmap\" and \"ridmap\" are for bind mounts"), "{refusal}");
}

#[tokio::test]
async fn a_tmpfs_has_its_options_and_takes_the_images_content_along() {
    let bundle = Bundle::new().image_with(|image| {
        tests::sh(&format!("cd {}; mkdir -p data/dir; echo x > data/dir/file; chown 5:6 data/dir/file; ln -s file data/dir/link; chmod 711 data; mkdir -m 700 private", image.display())).ok();
    });
    let output = bundle
        .clone()
        .mount("tmpfs", "tmpfs", "/data", &["tmpcopyup", "size=1m"])
        .mount("tmpfs", "tmpfs", "/mine", &["mode=700", "uid=7", "gid=8", "ro"])
        .mount("tmpfs", "tmpfs", "/private", &[])
        .mount("tmpfs", "tmpfs", "/new", &[])
        .sh("stat -c '%a %u:%g' /data /data/dir/file /mine /private /new; readlink /data/dir/link; rm /data/dir/file; echo x > /mine/x")
        .run()
        .await;
    let said = output.failed();
    assert!(
        said.starts_with("711 0:0\n644 5:6\n700 7:8\n700 0:0\n1777 0:0\nfile\n")
            && said.contains("Read-only file system"),
        "{said}"
    );
    assert!(bundle.dir.join("image/data/dir/file").exists());
    let refusal = bundle.mount("tmpfs", "tmpfs", "/m", &["uid=65536"]).refused().await;
    assert!(refusal.ends_with("options: uid: 65536 is outside the container's ids, which are 0 to 65535"), "{refusal}");
}

#[tokio::test]
async fn a_mount_that_makes_no_sense_is_refused_by_its_field() {
    let cases = [
        (
            Bundle::new().mount("nfs", "server:/", "/m", &[]),
            "mounts[7].type: \"nfs\" is not a filesystem that a container can mount",
        ),
        (Bundle::new().mount("", "/tmp", "/m", &[]), "mounts[7].type: \"\" needs the option bind or rbind"),
        (
            Bundle::new().mount("tmpfs", "tmpfs", "/m", &["remount"]),
            "asks to change a mount that is already there; give its options to that mount instead",
        ),
        (
            Bundle::new().mount("tmpfs", "tmpfs", "/m", &["hidepid=2"]),
            "mounts[7].options: \"hidepid=2\" is not an option of tmpfs",
        ),
        (
            Bundle::new().mount("tmpfs", "tmpfs", "/", &[]),
            "would cover the root filesystem; root.path is the place for another one",
        ),
        (
            Bundle::new().mount("tmpfs", "tmpfs", "/a/../../m", &[]),
            "mounts[7].destination: \"/a/../../m\" has a .. component",
        ),
        (
            Bundle::new().mount("tmpfs", "tmpfs", "/proc/self", &[]),
            "lies below /proc and is not one of the files that a bind mount may stand for",
        ),
        (
            Bundle::new().bind(Path::new("/nowhere/at-all"), "/m", &[]),
            "/nowhere/at-all: No such file or directory (os error 2)",
        ),
    ];
    for (bundle, reason) in cases {
        let refusal = bundle.refused().await;
        assert!(refusal.ends_with(reason), "{refusal}");
    }
}

#[tokio::test]
async fn a_symlink_of_the_image_leads_nowhere_outside() {
    let outside = place::new_dir("outside");
    let bundle = Bundle::new().image_with(|image| {
        let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, image.join(name)).unwrap();
        link(&format!("../../../../../..{}", outside.display()), "climbs");
        link(outside.to_str().unwrap(), "absolute");
    });
    // The image has that path too, as an empty directory: there the mounts land.
    let inside = outside.to_str().unwrap().trim_start_matches('/').to_owned();
    std::fs::create_dir_all(bundle.dir.join("image").join(inside)).unwrap();
    let output = bundle
        .mount("tmpfs", "tmpfs", "/climbs/one", &[])
        .mount("tmpfs", "tmpfs", "/absolute/two", &[])
        .sh(&format!("grep -c ' {}/[a-z]* ' /proc/self/mountinfo", outside.display()))
        .run()
        .await;
    assert_eq!(output.ok(), "2");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0, "nothing is made outside");
}

#[tokio::test]
async fn a_symlink_where_proc_or_sys_must_be_is_refused() {
    for name in ["proc", "sys"] {
        let bundle = Bundle::new().image_with(|image| {
            std::fs::remove_dir(image.join(name)).unwrap();
            std::os::unix::fs::symlink("tmp", image.join(name)).unwrap();
        });
        let refusal = bundle.refused().await;
        assert!(
            refusal.ends_with(&format!("/{name}: is a symlink in the image where a directory must be")),
            "{refusal}"
        );
    }
    let bundle = Bundle::new().image_with(|image| std::fs::write(image.join("data"), "").unwrap());
    let refusal = bundle.mount("tmpfs", "tmpfs", "/data", &[]).refused().await;
    assert!(refusal.ends_with("/data: is a file where a directory must be"), "{refusal}");
}

#[tokio::test]
async fn masked_and_read_only_paths_may_be_files_directories_or_missing() {
    let bundle = Bundle::new().image_with(|image| {
        tests::sh(&format!(
            "cd {}; mkdir secret open; echo x > secret/file; echo x > open/file; echo x > hidden",
            image.display()
        ))
        .ok();
    });
    let output = bundle
        .set("/linux/maskedPaths", json!(["/secret", "/hidden", "/missing", "/proc/keys"]))
        .set("/linux/readonlyPaths", json!(["/open", "/etc/passwd", "/missing", "/proc/sys"]))
        .sh("ls -A /secret; cat /hidden /proc/keys; cat /open/file; for file in /open/file /etc/passwd /secret/new /proc/sys/net/ipv4/ip_forward; do echo 1 > $file; done; ls /missing")
        .run()
        .await;
    let said = output.failed();
    assert!(said.starts_with("x\n"), "{said}");
    assert_eq!(said.matches("Read-only file system").count(), 4, "{said}");
    assert!(said.contains("/missing: No such file"), "{said}");
}
