//! What we make on the host is root's alone, and no program of an image is reachable for a user of the host through it
//! (CVE-2021-41103, CVE-2024-25621: directories that everyone could pass, with set-user-ID programs below).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Bundle, Container};

/// Every file below a directory.
fn files(dir: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !path.starts_with("/run/netns") {
            files(&path, found);
        }
        found.insert(path);
    }
}

/// All that there is in the bundle and in the places that the sandbox has for itself. The layers are the engine's.
fn all(bundle: &Bundle) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for dir in ["/run", "/etc"] {
        files(Path::new(dir), &mut found);
    }
    files(&bundle.dir, &mut found);
    found.retain(|path| !["upper", "work"].iter().any(|name| path.starts_with(bundle.dir.join(name))));
    found
}

#[tokio::test]
async fn what_we_make_on_the_host_is_not_for_others() {
    let bundle = Bundle::new().args(&["/bin/sleep", "1000"]).hook("poststop", "true");
    bundle.write();
    tests::stdio::fifo(&bundle.dir.join("log"));
    let before = all(&bundle);
    let container = Container::sleeping(bundle).await;
    container.sh("true").await.ok();
    let made: Vec<PathBuf> = all(&container.bundle).difference(&before).cloned().collect();
    let name = |end: &str| made.iter().any(|path| path.ends_with(end));
    assert!(name("eci.json") && name("address"), "{made:?}");
    for path in made.iter().map(PathBuf::as_path).chain(["/run/eci", "/run/eci/ranges"].map(Path::new)) {
        // Another test's container may be gone meanwhile, and containerd's own directory is containerd's.
        let Ok(stat) = fs::symlink_metadata(path) else { continue };
        if path == Path::new("/run/containerd") {
            continue;
        }
        assert_eq!((stat.mode() & 0o077, stat.uid(), stat.gid()), (0, 0, 0), "{}: {:o}", path.display(), stat.mode());
    }
    container.end().await;
}

/// What a user of the host finds when looking for a file through those of processes.
fn seen_by(uid: u32, pids: &[u32], inside: &str) -> tests::Output {
    let look = format!(
        "for pid in {}; do for way in root cwd task/$pid/root $(cd /proc/$pid/fd && echo fd/*); do
            ls -d -L /proc/$pid/$way/. /proc/$pid/$way{inside}
        done; done 2> /dev/null; :",
        pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
    );
    let (reuid, regid) = (format!("--reuid={uid}"), format!("--regid={uid}"));
    Command::new("setpriv").args([&*reuid, &*regid, "--clear-groups", "sh", "-c", &look]).output().unwrap().into()
}

#[tokio::test]
async fn a_set_user_id_program_of_a_container_is_out_of_reach_for_users_of_the_host() {
    let mut bundle = Bundle::new().all_capabilities();
    bundle = bundle.image_with(|image| {
        fs::copy(image.join("bin/busybox"), image.join("of-the-image")).unwrap();
        fs::set_permissions(image.join("of-the-image"), fs::Permissions::from_mode(0o4755)).unwrap();
    });
    // As an engine keeps images and layers.
    fs::set_permissions(&bundle.dir, fs::Permissions::from_mode(0o700)).unwrap();
    let container = Container::sleeping(bundle).await;
    container.sh("cp /bin/busybox /made && chmod 4755 /made && ls -l /made | grep ^-rws").await.ok();
    // On the disk it is root's: what protects it is that nobody gets there.
    let made = fs::metadata(container.bundle.upper().join("made")).unwrap();
    assert_eq!((made.uid(), made.mode() & 0o7777), (0, 0o4755));
    let pids = [container.pid, container.shim.pid];
    for inside in ["/made", "/of-the-image", "/bin/busybox"] {
        for uid in [65534, 1000, container.host_base() + 1000] {
            assert_eq!(seen_by(uid, &pids, inside).ok(), "", "uid {uid}, {inside}");
        }
        assert_ne!(seen_by(0, &pids, inside).ok(), "", "root finds it");
    }
    // Nothing of the tree is mounted where a user of the host could look.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&container.bundle.dir.display().to_string()), "{mounts}");
    container.end().await;
}
