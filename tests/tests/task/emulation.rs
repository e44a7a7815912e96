//! Files of /proc and /sys tell of the container: its limits, and settings that are its own. They cannot be taken away, and
//! end with it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;
use serde_json::json;
use tests::stdio::Pipes;
use tests::{Bundle, Container, place, pod, shim, until};

const MIB: u64 = 1 << 20;

/// A setting of the kernel that no namespace has.
const SETTING: &str = "/proc/sys/kernel/panic";

/// A container as with `--privileged`: nothing below /proc is read-only.
fn writable() -> Bundle {
    Bundle::new().set("/linux/readonlyPaths", json!([]))
}

fn limited(resources: serde_json::Value) -> Bundle {
    Bundle::new().set("/linux/resources", resources)
}

async fn script(container: &Container, script: &str) -> String {
    container.sh(script).await.ok().to_owned()
}

/// How many threads serve files.
fn threads(shim: u32) -> usize {
    let tasks = fs::read_dir(format!("/proc/{shim}/task")).unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name == "eci-emulation\n").count()
}

/// Waits until a shim serves the files of so many containers, with two threads for each.
async fn serves(shim: u32, count: usize) {
    until(&format!("the threads of {count} containers"), || threads(shim) == 2 * count).await;
}

#[tokio::test]
async fn limits_are_what_the_files_tell() {
    let resources = json!({ "memory": { "limit": 256 * MIB }, "cpu": { "quota": 50_000, "period": 100_000 } });
    let container = Container::sleeping(limited(resources)).await;
    assert_eq!(script(&container, "grep MemTotal /proc/meminfo | tr -s ' '").await, "MemTotal: 262144 kB");
    assert_eq!(script(&container, "wc -l < /proc/swaps").await, "1");
    assert_eq!(script(&container, "grep -c ^processor /proc/cpuinfo").await, "1");
    let up = script(&container, "cat /proc/uptime").await;
    let fields: Vec<f64> = up.split_whitespace().map(|field| field.parse().unwrap()).collect();
    let host = fs::read_to_string("/proc/uptime").unwrap();
    let host: Vec<f64> = host.split_whitespace().map(|field| field.parse().unwrap()).collect();
    assert!(fields.len() == 2 && fields[0] < host[0] && fields[1] < host[1], "{up}");
    // Others see what others have.
    let other = Container::sleeping(Bundle::new()).await;
    let total = script(&other, "awk '/MemTotal/ { print $2 }' /proc/meminfo").await;
    assert!(total.parse::<u64>().unwrap() > 262_144, "{total}");
    container.update(&json!({ "memory": { "limit": 300 * MIB } })).await.unwrap();
    assert_eq!(script(&container, "sleep 1; awk '/MemTotal/ { print $2 }' /proc/meminfo").await, "307200");
    other.end().await;
    container.end().await;
}

#[tokio::test]
async fn a_container_with_one_cpu_has_one() {
    let container = Container::sleeping(limited(json!({ "cpu": { "cpus": "0" } }))).await;
    assert_eq!(script(&container, "grep -c ^processor /proc/cpuinfo").await, "1");
    assert_eq!(script(&container, "grep -c '^cpu[0-9]' /proc/stat").await, "1");
    container.end().await;
}

#[tokio::test]
async fn a_setting_is_the_containers_own_and_its_pods() {
    let read = format!("cat {SETTING}");
    let host = fs::read_to_string(SETTING).unwrap();
    let other = Container::sleeping(writable()).await;
    let group = place::unique("pod");
    let first = Container::sleeping(pod::member(writable(), &group)).await;
    let seed = script(&first, &read).await;
    assert_eq!(seed, host.trim());
    script(&first, &format!("echo 77 > {SETTING}")).await;
    // The same process, another, and another container of the pod; nobody else.
    assert_eq!(script(&first, &format!("echo 78 > {SETTING}; {read}")).await, "78");
    assert_eq!(script(&first, &read).await, "78");
    let of_pod = pod::joining(pod::member(writable(), &group), &first, &pod::SHARED);
    let second =
        Container::create_in(&first.shim, of_pod.args(&["/bin/sleep", "1000"]), Pipes::output()).await.unwrap();
    second.start().await.unwrap();
    assert_eq!(script(&second, &read).await, "78");
    script(&second, &format!("echo 79 > {SETTING}")).await;
    assert_eq!(script(&first, &read).await, "79");
    assert_eq!(script(&other, &read).await, seed);
    assert_eq!(fs::read_to_string(SETTING).unwrap(), host);
    let nonsense = first.sh(&format!("echo nonsense > {SETTING}")).await;
    assert!(nonsense.status != 0 && nonsense.stderr.contains("Invalid argument"), "{nonsense:?}");
    assert_eq!(script(&first, &read).await, "79");

    second.remove().await;
    serves(first.shim.pid, 1).await;
    first.end().await;
    // The next one begins anew.
    let next = Container::sleeping(writable()).await;
    assert_eq!(script(&next, &read).await, seed);
    next.end().await;
    other.end().await;
}

#[tokio::test]
async fn what_is_emulated_stays_where_it_is() {
    let bundle = writable().all_capabilities().set("/root/readonly", json!(true));
    let container = Container::sleeping(bundle).await;
    let refused = async |script: &str, error: &str| {
        let output = container.sh(script).await;
        assert!(output.status != 0 && output.stderr.contains(error), "{script}: {output:?}");
    };
    for file in ["/proc/meminfo", SETTING] {
        refused(&format!("umount {file}"), "Invalid argument").await;
        refused(&format!("mv {file} /dev/shm/x"), "").await;
        refused(&format!("rm {file}"), "").await;
        refused(&format!("chmod 777 {file}"), "").await;
        refused(&format!("chown 5 {file}"), "").await;
    }
    refused("echo x > /proc/meminfo", "").await;
    assert_eq!(script(&container, &format!("echo 5 > {SETTING}; cat {SETTING}")).await, "5");
    // A mount of the container's own on top is its own affair, and comes off again.
    let on_top = "echo x > /dev/shm/x; mount --bind /dev/shm/x /proc/meminfo; cat /proc/meminfo; umount /proc/meminfo";
    assert_eq!(script(&container, on_top).await, "x");
    assert_eq!(script(&container, "head -c 8 /proc/meminfo").await, "MemTotal");
    // No filesystem that tools list, and nothing to see of where it is made.
    assert_eq!(script(&container, "df | grep -c fuse; true").await, "0");
    let owner = script(&container, &format!("stat -c %u:%g {SETTING} /proc/meminfo | sort -u")).await;
    assert_eq!(owner, "0:0");
    container.end().await;
}

#[tokio::test]
async fn read_only_paths_and_masks_go_on_top() {
    let bundle = Bundle::new().all_capabilities().push("/linux/maskedPaths", json!("/proc/meminfo"));
    let container = Container::sleeping(bundle).await;
    let output = container.sh(&format!("echo 5 > {SETTING}")).await;
    assert!(output.status != 0 && output.stderr.contains("Read-only file system"), "{output:?}");
    assert_eq!(script(&container, &format!("cat {SETTING}")).await, fs::read_to_string(SETTING).unwrap().trim());
    assert_eq!(script(&container, "cat /proc/meminfo").await, "");
    // So are those in a sysfs that is.
    let of_sysfs = "awk '$5 ~ \"^/sys/\" && / fuse / { print $6 }' /proc/self/mountinfo | cut -d , -f 1 | sort -u";
    assert_eq!(script(&container, of_sysfs).await, "ro");
    assert_eq!(script(&container, "head -c 9 /proc/cpuinfo").await, "processor");
    container.end().await;
}

#[tokio::test]
async fn a_bind_mount_of_the_spec_is_not_covered() {
    let file = place::new_dir("own-uptime").join("uptime");
    fs::write(&file, "mine\n").unwrap();
    let output = Bundle::new().bind(&file, "/proc/uptime", &[]).sh("cat /proc/uptime").run().await;
    assert_eq!(output.ok(), "mine");
    let output = Bundle::new().sh("cat /proc/uptime").run().await;
    assert_ne!(output.ok(), "mine");
}

#[tokio::test]
async fn hooks_find_the_files_in_place() {
    let dir = place::new_dir("hook");
    let script =
        format!("cd $(dirname $0) 2> /dev/null; exec cat {}/rootfs/proc/meminfo > {}/seen", "BUNDLE", dir.display());
    let bundle = limited(json!({ "memory": { "limit": 256 * MIB } }));
    let script = script.replace("BUNDLE", &bundle.dir.display().to_string());
    let output = bundle.hook("createContainer", &script).sh("true").run().await;
    output.ok();
    assert!(fs::read_to_string(dir.join("seen")).unwrap().contains("262144 kB"));
}

#[tokio::test]
async fn threads_serve_one_container_and_end_with_it() {
    let first = Container::sleeping(writable()).await;
    serves(first.shim.pid, 1).await;
    let second =
        Container::create_in(&first.shim, Bundle::new().args(&["/bin/sleep", "1000"]), Pipes::none()).await.unwrap();
    serves(first.shim.pid, 2).await;
    second.start().await.unwrap();
    second.remove().await;
    serves(first.shim.pid, 1).await;
    // Nor does a create that fails after them leave one.
    let failing = Bundle::new().hook("createContainer", "exit 1");
    assert!(Container::create_in(&first.shim, failing, Pipes::none()).await.is_err());
    let failing = Bundle::new().args(&["/no/such/program"]);
    if let Ok(created) = Container::create_in(&first.shim, failing, Pipes::none()).await {
        assert!(created.start().await.is_err());
        created.wait().await;
        created.delete().await.unwrap();
    }
    serves(first.shim.pid, 1).await;
    assert_eq!(script(&first, "head -c 8 /proc/meminfo").await, "MemTotal");
    first.end().await;
}

#[tokio::test]
async fn nothing_but_the_shim_has_the_device() {
    let device = fs::metadata("/dev/fuse").unwrap().rdev();
    let holds = |pid: u32| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        fds.filter(|fd| fs::metadata(fd.path()).is_ok_and(|file| file.rdev() == device)).count()
    };
    let container = Container::create(Bundle::new().args(&["/bin/sleep", "1000"])).await.unwrap();
    assert_eq!((holds(container.shim.pid), holds(container.pid)), (2, 0));
    container.start().await.unwrap();
    assert_eq!((holds(container.shim.pid), holds(container.pid)), (2, 0));
    container.end().await;
}

#[tokio::test]
async fn a_dead_shims_files_say_so_and_hold_nothing_up() {
    let container = Container::started(writable().sh("trap 'exit 3' TERM; while true; do sleep 0.1; done")).await;
    let file = format!("/proc/{}/root/proc/meminfo", container.pid);
    assert!(fs::read_to_string(&file).unwrap().starts_with("MemTotal"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(container.shim.pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    until("the end of the connection", || {
        fs::read_to_string(&file).is_err_and(|error| error.raw_os_error() == Some(Errno::NOTCONN.raw_os_error()))
    })
    .await;
    // It goes on without them, and ends with `delete`.
    assert!(fs::metadata(format!("/proc/{}/root/bin/sh", container.pid)).is_ok());
    let output = shim::call_delete(&container.bundle.dir, &container.id());
    assert!(output.status.success(), "{output:?}");
    until("the end of init", || fs::metadata(format!("/proc/{}/root", container.pid)).is_err()).await;
    tests::room::remove_layer(&container.bundle);
}

/// Whatever is done to a setting, it answers as one of the kernel's own: `msgmax`, which the ipc namespace has.
#[tokio::test]
async fn a_setting_takes_what_the_kernels_own_would() {
    // The kernel shows a sysctl from its beginning alone (proc_sys_call_handler()), and these are files like others.
    const BETTER: [&str; 4] = ["read-at-1", "bytewise", "seek-data", "map-private"];
    // The kernel takes that for every file of its own, and keeps it until the inode is forgotten.
    const STRICTER: [&str; 1] = ["utimes"];
    // Refused by another number, as a directory that is one mount has no way out.
    const BY_THE_MOUNT: [&str; 1] = ["rename"];
    let container = Container::sleeping(writable().all_capabilities().with_inside()).await;
    let native = script(&container, "/inside setting /proc/sys/kernel/msgmax").await;
    for path in [SETTING, "/proc/sys/vm/max_map_count"] {
        let emulated = script(&container, &format!("/inside setting {path}")).await;
        let differ: Vec<_> = native.lines().zip(emulated.lines()).filter(|(one, other)| one != other).collect();
        let names: Vec<_> = differ.iter().filter_map(|(one, _)| one.split(' ').next()).collect();
        let known = names.iter().all(|name| {
            BETTER.contains(name) || STRICTER.contains(name) || path != SETTING && BY_THE_MOUNT.contains(name)
        });
        assert!(known && native.lines().count() == emulated.lines().count(), "{path}: {differ:#?}");
        assert!(emulated.contains("\ntorn 0 none\nat last 4245\n"), "{emulated}");
    }
    container.end().await;
}

/// Where most is emulated, one mount has it all, and the rest is as the kernel's own.
#[tokio::test]
async fn a_directory_that_is_one_mount_shows_what_the_kernel_has_there() {
    let container = Container::sleeping(writable().all_capabilities()).await;
    for directory in ["sys/vm", "sys/kernel/keys", "sys/fs/inotify", "sys/fs/fanotify", "sys/fs/epoll", "pressure"] {
        let mut hosts: Vec<_> =
            fs::read_dir(format!("/proc/{directory}")).unwrap().map(|it| it.unwrap().file_name()).collect();
        hosts.sort();
        let names = script(&container, &format!("ls -A /proc/{directory} | LC_ALL=C sort")).await;
        assert_eq!(names.lines().collect::<Vec<_>>(), hosts, "{directory}");
        let mounts = format!("grep -o ' /proc/{directory}[^ ]* ' /proc/self/mountinfo");
        assert_eq!(script(&container, &mounts).await.trim(), format!("/proc/{directory}"));
        assert_eq!(script(&container, &format!("stat -c '%a %u' /proc/{directory}")).await, "555 65534");
    }
    let stat = |path| format!("stat -c '%a %u %F' /proc/sys/vm/{path}");
    assert_eq!(script(&container, &stat("swappiness")).await, "644 0 regular file");
    // Of the host's root, who is nobody here: as the kernel refuses, so does it.
    for (name, mode) in [("laptop_mode", 644), ("drop_caches", 200), ("stat_refresh", 600)] {
        let stat = script(&container, &stat(name)).await;
        assert!(stat.starts_with(&format!("{mode} 65534 regular")), "{name}: {stat}");
        for act in [format!("echo 1 > /proc/sys/vm/{name}"), format!("chmod 666 /proc/sys/vm/{name}")] {
            let said = container.sh(&act).await;
            assert!(said.status != 0 && said.stderr.contains("ermi"), "{act}: {said:?}");
        }
    }
    let said = container.sh("cat /proc/sys/vm/stat_refresh").await;
    assert!(said.status != 0 && said.stderr.contains("Permission denied"), "{said:?}");
    let hosts = fs::read_to_string("/proc/sys/vm/lowmem_reserve_ratio").unwrap();
    assert_eq!(script(&container, "cat /proc/sys/vm/lowmem_reserve_ratio").await, hosts.trim_end());
    for act in ["echo 1 > /proc/sys/vm/new", "mkdir /proc/sys/vm/new", "rm /proc/sys/vm/swappiness"] {
        assert!(container.sh(act).await.status != 0, "{act}");
    }
    // One that is mounted inside has the same.
    let inner =
        "echo 17 > /proc/sys/vm/swappiness && mkdir -p /p && mount -t proc proc /p && cd /p/sys/vm && cat swappiness";
    assert_eq!(script(&container, inner).await, "17");
    assert!(container.sh("umount /p/sys/vm").await.status != 0);
    let names = "[ \"$(ls /p/sys/vm)\" = \"$(ls /proc/sys/vm)\" ] && ls /p/sys/vm/swappiness";
    assert_eq!(script(&container, names).await, "/p/sys/vm/swappiness");
    container.end().await;
}

/// What is true at the time cannot be changed by anybody, and is whole for whoever reads it in parts.
#[tokio::test]
async fn what_only_shows_cannot_be_written_by_any_way() {
    let container = Container::sleeping(writable().all_capabilities().with_inside()).await;
    for (act, error) in [
        ("echo x > /proc/meminfo", "Permission denied"),
        ("echo x >> /proc/stat", "Permission denied"),
        ("dd if=/dev/zero of=/proc/cpuinfo bs=1M count=1", "Permission denied"),
        ("echo 0-1023 > /sys/devices/system/cpu/online", "Read-only file system"),
        ("mkdir /sys/firmware/x", "Read-only file system"),
        ("echo x > /sys/firmware/x", "Read-only file system"),
        ("truncate -s 0 /proc/meminfo && test -s /proc/meminfo && rm /proc/meminfo", "Permission denied"),
        ("mv /proc/stat /proc/meminfo", ""),
        ("ln /proc/meminfo /proc/other", ""),
        ("chmod 666 /proc/meminfo", ""),
    ] {
        let said = container.sh(act).await;
        assert!(said.status != 0 && said.stderr.contains(error), "{act}: {said:?}");
    }
    let parts = "dd if=/proc/cpuinfo bs=1 2> /dev/null | md5sum; dd if=/proc/cpuinfo bs=7 2> /dev/null | md5sum; md5sum < /proc/cpuinfo";
    let sums = script(&container, &format!("({parts}) | sort -u | wc -l")).await;
    assert_eq!(sums, "1");
    container.end().await;
}
