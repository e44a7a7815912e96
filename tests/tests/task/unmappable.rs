//! Sources on filesystems that take no id map: FUSE, overlay, ramfs, as they are and below a recursive bind mount.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::room::Room;
use tests::{Bundle, Container, place};

/// A FUSE filesystem with one file, `file`, that says `fuse`; both belong to `owner`. It speaks protocol 7.31 and no id maps.
struct Fuse {
    path: PathBuf,
}

const ROOT: u64 = 1;
const FILE: u64 = 2;
const TEXT: &[u8] = b"fuse\n";

impl Fuse {
    fn mount(path: PathBuf, owner: u32) -> Self {
        std::fs::create_dir_all(&path).unwrap();
        let device = File::options().read(true).write(true).open("/dev/fuse").unwrap();
        let server = device.try_clone().unwrap();
        std::thread::spawn(move || serve(server, owner));
        let options = "fd=0,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions";
        let mut mount = Command::new("mount");
        mount.args(["-i", "-t", "fuse.tests", "-o", options, "tests"]).arg(&path).stdin(Stdio::from(device));
        assert!(mount.status().unwrap().success(), "a FUSE mount");
        Self { path }
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        place::sh(&format!("umount -l {}", self.path.display()));
    }
}

/// Answers until the filesystem is unmounted (`include/uapi/linux/fuse.h`).
fn serve(mut device: File, owner: u32) {
    let mut request = vec![0_u8; 1 << 17];
    loop {
        let length = match device.read(&mut request) {
            Ok(length) => length,
            // Before it is mounted.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                std::thread::sleep(std::time::Duration::from_millis(5));
                continue;
            }
            Err(_) => return,
        };
        let word = |at: usize| u64::from_le_bytes(request[at..at + 8].try_into().unwrap());
        let (opcode, unique, node) = (word(0) >> 32, word(8), word(16));
        let body = &request[40..length];
        let answer: Result<Vec<u8>, i32> = match opcode {
            // FORGET, BATCH_FORGET and INTERRUPT take none.
            2 | 42 | 36 => continue,
            1 if body.starts_with(b"file\0") => {
                Ok([&FILE.to_le_bytes()[..], &[0; 32], &attributes(FILE, owner)].concat())
            }
            1 => Err(2),
            3 => Ok([&[0; 16][..], &attributes(node, owner)].concat()),
            14 | 27 => Ok(vec![0; 16]),
            15 => Ok(if word(48) == 0 { TEXT.to_vec() } else { Vec::new() }),
            17 => Ok(vec![0; 80]),
            18 | 25 | 29 => Ok(Vec::new()),
            26 => Ok([&7_u32.to_le_bytes()[..], &31_u32.to_le_bytes(), &[0; 56]].concat()),
            28 => Ok(Vec::new()),
            _ => Err(38),
        };
        let (error, body) = answer.map_or_else(|errno| (-errno, Vec::new()), |body| (0, body));
        let length = u32::try_from(16 + body.len()).unwrap();
        let answer = [&length.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes(), &body].concat();
        // Who asked may be gone: that is no end.
        let _ = device.write(&answer);
    }
}

/// `struct fuse_attr`.
fn attributes(node: u64, owner: u32) -> Vec<u8> {
    let (mode, size): (u32, u64) = if node == ROOT { (0o040_755, 0) } else { (0o100_640, TEXT.len() as u64) };
    let mut attributes = Vec::new();
    for word in [node, size, 0, 0, 0, 0] {
        attributes.extend(word.to_le_bytes());
    }
    for half in [0, 0, 0, mode, 1, owner, owner, 0, 4096, 0] {
        attributes.extend(half.to_le_bytes());
    }
    attributes
}

fn refusal(source: &Path, mount: &Path, fstype: &str) -> String {
    format!(
        "OCI runtime create failed: error in the container spec: can't mount {} because {} is on {fstype}, which cannot be \
         id-mapped: its owners would show as nobody; [mounts] unmappable = \"plain\" in /etc/eci/config.toml allows that",
        source.display(),
        mount.display()
    )
}

/// Directories of ramfs, overlay and FUSE.
fn unmappable(dir: &Path, owner: u32) -> (Fuse, [(PathBuf, &'static str); 3]) {
    let script = "mkdir ramfs overlay u w l; echo x > l/file; mount -t ramfs ramfs ramfs; echo x > ramfs/file
        mount -t overlay overlay -o lowerdir=l,upperdir=u,workdir=w overlay";
    place::sh(&format!("cd {}; {script}", dir.display())).ok();
    let fuse = Fuse::mount(dir.join("fuse"), owner);
    (fuse, [(dir.join("ramfs"), "ramfs"), (dir.join("overlay"), "overlay"), (dir.join("fuse"), "fuse.tests")])
}

fn unmount(dir: &Path) {
    place::sh(&format!("umount {0}/ramfs {0}/overlay", dir.display())).ok();
}

#[tokio::test]
async fn a_source_that_cannot_be_id_mapped_is_refused_by_path_type_and_key() {
    let dir = place::new_dir("sources");
    let (_fuse, sources) = unmappable(&dir, 0);
    for (source, fstype) in &sources {
        assert_eq!(Bundle::new().bind(source, "/m", &[]).refused().await, refusal(source, source, fstype));
        let file = source.join("file");
        assert_eq!(Bundle::new().bind(&file, "/m", &[]).refused().await, refusal(&file, &file, fstype));
    }
    // A mount that comes along; not without it.
    let refused = Bundle::new().bind(&dir, "/m", &[]).refused().await;
    assert!(sources.iter().any(|(mount, fstype)| refused == refusal(&dir, mount, fstype)), "{refused}");
    let alone = Bundle::new().mount("bind", dir.to_str().unwrap(), "/m", &["bind"]).sh("ls -A /m/ramfs; cat /m/l/file");
    assert_eq!(alone.run().await.ok(), "x");
    unmount(&dir);
}

#[tokio::test]
async fn where_the_operator_says_so_it_is_bound_as_it_is_and_the_log_says_so() {
    let dir = place::new_dir("sources");
    let (_fuse, sources) = unmappable(&dir, 0);
    let room = Room::new();
    room.configure("[mounts]\nunmappable = \"plain\"");
    let container =
        room.sleeping(sources.iter().fold(Bundle::new().bind(&dir, "/all", &[]), |bundle, (source, fstype)| {
            bundle.bind(source, &format!("/{fstype}"), &[])
        }));
    let container = container.await;
    for (source, fstype) in &sources {
        let name = source.file_name().unwrap().to_str().unwrap();
        for path in [format!("/{fstype}/file"), format!("/all/{name}/file")] {
            assert_eq!(container.sh(&format!("stat -c %u:%g {path}")).await.ok(), "65534:65534", "{path}");
        }
        let line = format!("{} is on {fstype}, which cannot be id-mapped: it is mounted as it is", source.display());
        container.shim.logged(&line).await;
    }
    // What can be mapped is.
    assert_eq!(container.sh("stat -c %u /all /all/l/file").await.ok(), "0\n0");
    container.end().await;
    unmount(&dir);
}

#[tokio::test]
async fn a_source_whose_owners_lie_in_the_range_is_bound_as_it_is() {
    // The first range of a room.
    let owner = 100_000 + 7;
    let dir = place::new_dir("sources");
    let (_fuse, sources) = unmappable(&dir, owner);
    place::sh(&format!("chown -R {owner}:{owner} {0}/ramfs {0}/overlay", dir.display())).ok();
    let room = Room::new();
    let bundle =
        sources.iter().fold(Bundle::new(), |bundle, (source, fstype)| bundle.bind(source, &format!("/{fstype}"), &[]));
    let container = room.sleeping(bundle).await;
    assert_eq!(container.host_base(), 100_000);
    for (_, fstype) in &sources {
        let output = container.sh(&format!("stat -c %u:%g /{fstype} /{fstype}/file; cat /{fstype}/file")).await;
        assert!(output.ok().starts_with("7:7\n7:7\n"), "{output:?}");
    }
    assert!(!container.shim.log().contains("cannot be id-mapped"));
    container.end().await;
    unmount(&dir);
}

#[tokio::test]
async fn a_volume_with_many_files_is_mapped_without_touching_one() {
    let dir = place::new_dir("many");
    place::sh(&format!(
        "cd {}; mkdir d{{1..50}}; for d in d*; do (cd $d; touch {{1..1000}}; chown 7:8 1); done",
        dir.display()
    ))
    .ok();
    let stat = |name: &str| {
        std::fs::symlink_metadata(dir.join(name))
            .map(|stat| (stat.uid(), stat.gid(), stat.ctime_nsec(), stat.atime_nsec()))
            .unwrap()
    };
    let names = ["", "d1", "d1/1", "d50/1000"];
    let before = names.map(stat);
    let script = "find /m -type f -user 7 -group 8 | wc -l; find /m -type f -user 0 | wc -l";
    let container = Container::sleeping(Bundle::new().bind(&dir, "/m", &[])).await;
    // Nothing of it has been read or written until the container looks.
    assert_eq!(names.map(stat), before);
    assert_eq!(container.sh(script).await.ok(), "50\n49950");
    assert_eq!(
        names.map(stat).map(|(uid, gid, changed, _)| (uid, gid, changed)),
        before.map(|(uid, gid, changed, _)| (uid, gid, changed))
    );
    container.end().await;
}
