//! Root filesystems: every form in which an engine gives one, with 0-based owners inside and on the disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use containerd_shim_protos::types::mount::Mount;
use serde_json::json;
use tests::bundle::{bind_rootfs, copy_tree, overlay};
use tests::{Bundle, place};

/// Owner, mode, size and times of everything below a directory: what must not change.
fn inventory(dir: &Path) -> Vec<String> {
    let script = format!("find {} -printf '%p %U:%G %m %s %T@ %C@ %l\\n' | sort", dir.display());
    tests::sh(&script).ok().lines().map(str::to_owned).collect()
}

fn owner(path: &Path) -> (u32, u32) {
    let stat = std::fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (stat.uid(), stat.gid())
}

/// Sees the image's owners, makes files, gives one away.
const USE: &str = "stat -c %u:%g / /bin/busybox /tmp; echo x > /made; mkdir /dir; echo x > /given; chown 5:6 /given; \
    rm /bin/arch; echo changed >> /etc/passwd; stat -c %u:%g /made /dir /given";
const SEEN: &str = "0:0\n0:0\n0:0\n0:0\n0:0\n5:6";

/// The owners on disk of what [`USE`] has made in the layer at `dir`, whose ids begin with `base`.
fn assert_owners(dir: &Path, base: u32) {
    assert_eq!(owner(&dir.join("made")), (base, base));
    assert_eq!(owner(&dir.join("dir")), (base, base));
    assert_eq!(owner(&dir.join("given")), (base + 5, base + 6));
    assert_eq!(owner(&dir.join("etc/passwd")), (base, base));
}

#[tokio::test]
async fn an_overlay_of_one_layer_keeps_owners_from_0_on_on_the_disk() {
    let before = inventory(&place::busybox());
    let bundle = Bundle::new();
    assert_eq!(bundle.clone().sh(USE).run().await.ok(), SEEN);
    assert_owners(&bundle.upper(), 0);
    assert_eq!(inventory(&place::busybox()), before);
}

/// Layers, the first on top: a file of each, one that all have, one that a whiteout of the top hides.
fn layers(dir: &Path) -> Vec<PathBuf> {
    let layers: Vec<PathBuf> = ["top", "middle"].map(|name| dir.join(name)).into();
    for layer in &layers {
        let name = layer.file_name().unwrap().to_str().unwrap();
        std::fs::create_dir_all(layer.join("etc")).unwrap();
        std::fs::write(layer.join("etc/same"), name).unwrap();
        std::fs::write(layer.join("etc").join(name), name).unwrap();
    }
    std::fs::write(dir.join("middle/hidden"), "").unwrap();
    tests::sh(&format!("mknod {} c 0 0", dir.join("top/hidden").display())).ok();
    [layers, vec![place::busybox()]].concat()
}

const LOOK: &str =
    "cat /etc/same /etc/top /etc/middle; ls /hidden; echo x > /etc/middle; rm -r /etc/top; echo x > /made";

#[tokio::test]
async fn of_many_layers_the_uppermost_wins_and_a_whiteout_hides() {
    let mut bundle = Bundle::new();
    let lowers = layers(&bundle.dir);
    bundle.rootfs = vec![overlay(&bundle.dir, &lowers)];
    let before: Vec<_> = lowers.iter().map(|layer| inventory(layer)).collect();
    let output = bundle.clone().sh(LOOK).run().await;
    assert_eq!(output.ok(), "toptopmiddle");
    assert!(output.stderr.contains("/hidden: No such file"), "{output:?}");
    assert_eq!(owner(&bundle.upper().join("made")), (0, 0));
    assert_eq!(lowers.iter().map(|layer| inventory(layer)).collect::<Vec<_>>(), before);
}

#[tokio::test]
async fn a_directory_is_bound_and_its_files_keep_their_owners() {
    let mut bundle = Bundle::new();
    let image = bundle.dir.join("image");
    copy_tree(&place::busybox(), &image);
    bundle.rootfs = vec![bind_rootfs(&image)];
    assert_eq!(bundle.clone().sh(USE).run().await.ok(), SEEN);
    assert_owners(&image, 0);
    assert_eq!(owner(&image.join("bin/busybox")), (0, 0));
}

#[tokio::test]
async fn a_directory_that_is_bound_read_only_stays_so() {
    let mut bundle = Bundle::new().all_capabilities();
    let image = bundle.dir.join("image");
    copy_tree(&place::busybox(), &image);
    std::fs::create_dir(image.join("run")).unwrap();
    bundle.rootfs = vec![bind_rootfs(&image)];
    bundle.rootfs[0].options = vec!["rbind".into(), "ro".into()];
    let before = inventory(&image);
    let output = bundle.sh("mount -o remount,rw,bind /; echo x > /made").run().await;
    assert!(output.failed().contains("Read-only file system"), "{output:?}");
    assert_eq!(inventory(&image), before);
}

/// Mounts an overlay at `bundle/rootfs`, as dockerd or `ctr run --rootfs` do before they ask for a container.
struct EnginesMount(PathBuf);

impl EnginesMount {
    fn new(bundle: &Bundle, cwd: &Path, options: &str) -> Self {
        let at = bundle.dir.join("rootfs");
        let mount = format!("mount -t overlay overlay -o {options} {}", at.display());
        tests::sh(&format!("cd {} && {mount}", cwd.display())).ok();
        Self(at)
    }
}

impl Drop for EnginesMount {
    fn drop(&mut self) {
        tests::sh(&format!("umount -l {}", self.0.display()));
    }
}

#[tokio::test]
async fn an_overlay_that_the_engine_has_mounted_is_taken_over() {
    for absolute in [true, false] {
        let mut bundle = Bundle::new();
        bundle.rootfs.clear();
        let before = inventory(&place::busybox());
        let options = format!("lowerdir={},upperdir=upper,workdir=work", place::busybox().display());
        let mounted = EnginesMount::new(&bundle, &bundle.dir, &options);
        let path = if absolute { mounted.0.display().to_string() } else { "rootfs".into() };
        let bundle = bundle.set("/root/path", json!(path));
        assert_eq!(bundle.clone().sh(USE).run().await.ok(), SEEN);
        assert_owners(&bundle.upper(), 0);
        drop(mounted);
        assert_eq!(inventory(&place::busybox()), before);
    }
}

#[tokio::test]
async fn relative_layers_of_an_overlay_that_the_engine_has_mounted_are_found() {
    let mut bundle = Bundle::new();
    bundle.rootfs.clear();
    let snapshots = bundle.dir.join("snapshots");
    std::fs::create_dir(&snapshots).unwrap();
    layers(&snapshots);
    copy_tree(&place::busybox(), &snapshots.join("base"));
    // containerd shortens a long list of layers by their common directory, and leaves upper and work as they are.
    let dir = snapshots.display();
    tests::sh(&format!("mkdir {dir}/upper {dir}/work")).ok();
    let options = format!("lowerdir=top:middle:base,upperdir={dir}/upper,workdir={dir}/work");
    let _mounted = EnginesMount::new(&bundle, &snapshots, &options);
    assert_eq!(bundle.clone().sh(LOOK).run().await.ok(), "toptopmiddle");
    assert_eq!(owner(&snapshots.join("upper/made")), (0, 0));
}

/// An image file with an erofs of busybox.
fn erofs(dir: &Path) -> PathBuf {
    let (tree, image) = (dir.join("tree"), dir.join("image.erofs"));
    copy_tree(&place::busybox(), &tree);
    std::fs::create_dir(tree.join("run")).unwrap();
    tests::sh(&format!("mkfs.erofs --quiet {} {}", image.display(), tree.display())).ok();
    image
}

fn has_erofs(test: &str) -> bool {
    let has = tests::sh("modprobe erofs 2> /dev/null || :; grep -qw erofs /proc/filesystems").status == 0;
    if !has {
        tests::skip(test, "this kernel has no erofs");
    }
    has
}

#[tokio::test]
async fn an_erofs_image_is_mounted_as_it_is() {
    if !has_erofs("rootfs::an_erofs_image_is_mounted_as_it_is") {
        return;
    }
    let mut bundle = Bundle::new();
    let image = erofs(&bundle.dir);
    bundle.rootfs = vec![Mount {
        type_: "erofs".into(),
        source: image.display().to_string(),
        options: vec!["ro".into(), "loop".into()],
        ..Default::default()
    }];
    let output =
        bundle.sh("stat -c %u:%g / /bin/busybox; awk '$5 == \"/\"' /proc/self/mountinfo; echo x > /made").run().await;
    let said = output.failed();
    assert!(said.starts_with("0:0\n0:0\n") && said.contains(" - erofs "), "{said}");
    assert!(said.contains("Read-only file system"), "{said}");
}

#[tokio::test]
async fn an_erofs_image_is_a_layer_of_an_overlay() {
    if !has_erofs("rootfs::an_erofs_image_is_a_layer_of_an_overlay") {
        return;
    }
    let mut bundle = Bundle::new();
    let image = erofs(&bundle.dir);
    let layer = Mount {
        type_: "erofs".into(),
        source: image.display().to_string(),
        target: "layer".into(),
        options: vec!["ro".into(), "loop".into()],
        ..Default::default()
    };
    bundle.rootfs = vec![layer, overlay(&bundle.dir, &[bundle.dir.join("rootfs/layer")])];
    assert_eq!(bundle.clone().sh(USE).run().await.ok(), SEEN);
    assert_owners(&bundle.upper(), 0);
}

#[tokio::test]
async fn set_id_programs_and_file_capabilities_work_and_are_the_containers_on_the_disk() {
    let bundle = Bundle::new()
        .set("/process/noNewPrivileges", json!(false))
        .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    let bundle = bundle.image_with(|image| {
        for (name, mode) in [("set-uid", "4755"), ("set-gid", "2755"), ("plain", "755")] {
            let place = image.join(name).display().to_string();
            tests::sh(&format!("install -m {mode} {} {place}", place::inside().display())).ok();
        }
        std::fs::create_dir(image.join("caps")).unwrap();
        std::fs::copy(image.join("bin/busybox"), image.join("caps/cat")).unwrap();
        // capabilities(7), version 2: CAP_NET_BIND_SERVICE, effective.
        let value = [0x02000001_u32, 1 << 10, 0, 0, 0].map(u32::to_le_bytes).concat();
        let path = image.join("caps/cat");
        rustix::fs::setxattr(path, "security.capability", &value, rustix::fs::XattrFlags::empty()).unwrap();
    });
    let script = "/set-uid euid; /set-gid euid; /plain euid; /caps/cat /proc/self/status | grep CapEff; grep CapEff /proc/self/status";
    let output = bundle.sh(script).run().await;
    let none = "CapEff:\t0000000000000000";
    assert_eq!(output.ok(), format!("0:1000\n1000:0\n1000:1000\nCapEff:\t0000000000000400\n{none}"));
}

#[tokio::test]
async fn a_capability_that_the_container_gives_to_a_file_is_one_of_any_container_on_the_disk() {
    let bundle = Bundle::new().with_inside();
    bundle.clone().sh("echo x > /program && /inside setcap /program").run().await.ok();
    let mut value = [0_u8; 64];
    let length = rustix::fs::getxattr(bundle.upper().join("program"), "security.capability", &mut value[..]).unwrap();
    // Version 2 names no user namespace's root; version 3 would, and be worth nothing in the next container.
    assert_eq!((length, value[3]), (20, 2));
}

#[tokio::test]
async fn a_root_filesystem_that_cannot_be_one_is_refused_by_its_path() {
    let missing = |mut bundle: Bundle, mount: Option<Mount>| {
        bundle.rootfs = mount.into_iter().collect();
        bundle
    };
    let none = PathBuf::from("/nowhere/at-all");
    let refusal = missing(Bundle::new(), Some(bind_rootfs(&none))).refused().await;
    assert!(refusal.contains("/nowhere/at-all") && refusal.contains("No such file or directory"), "{refusal}");
    let refusal = missing(Bundle::new().set("/root/path", json!("/nowhere/at-all")), None).refused().await;
    assert!(refusal.contains("/nowhere/at-all") && refusal.contains("No such file or directory"), "{refusal}");
    let refusal = Bundle::new().remove("/root").refused().await;
    assert!(refusal.ends_with("root: is missing"), "{refusal}");
    let nfs = Mount { type_: "nfs".into(), source: "server:/".into(), ..Default::default() };
    let refusal = missing(Bundle::new(), Some(nfs)).refused().await;
    assert!(refusal.contains("nfs: is not a type of mount that a root filesystem may have"), "{refusal}");
    let file = Bundle::new();
    let path = file.dir.join("file");
    std::fs::write(&path, "").unwrap();
    let refusal = missing(file, Some(bind_rootfs(&path))).refused().await;
    assert!(refusal.contains(path.to_str().unwrap()) && refusal.contains("Not a directory"), "{refusal}");
    let layer = Bundle::new();
    let gone = vec![layer.dir.join("gone")];
    let mount = overlay(&layer.dir, &gone);
    let refusal = missing(layer, Some(mount)).refused().await;
    assert!(refusal.contains(gone[0].to_str().unwrap()) && refusal.contains("No such file"), "{refusal}");
}

#[tokio::test]
async fn a_root_filesystem_that_cannot_be_id_mapped_is_refused() {
    let mut bundle = Bundle::new();
    let dir = bundle.dir.join("ramfs");
    tests::sh(&format!(
        "mkdir {0}; mount -t ramfs ramfs {0}; cp -a {1}/. {0}",
        dir.display(),
        place::busybox().display()
    ))
    .ok();
    bundle.rootfs = vec![bind_rootfs(&dir)];
    let refusal = bundle.refused().await;
    assert!(refusal.ends_with(&format!("{}: is on ramfs, which cannot be id-mapped", dir.display())), "{refusal}");
    tests::sh(&format!("umount {}", dir.display())).ok();
}
