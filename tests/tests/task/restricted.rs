//! What of the host may not be bound, whatever name it goes by, and what lies close to it and may.

use std::path::Path;

use tests::room::Room;
use tests::{Bundle, Output, place};

/// A machine with engines, as shims in its room see it: directories of its own at `/etc/docker`, `/var/lib` and so on. Everything
/// lies on the sandbox's disk, below `dir`, too; `dir` itself is what a user has.
pub(crate) struct Machine {
    pub(crate) room: Room,
    pub(crate) dir: String,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = place::new_dir("machine").to_str().unwrap().to_owned();
        let room = Room::new();
        room.sh(&format!(
            "cd {dir}; mkdir -p etc/docker lib/docker/volumes lib/docker-other lib/containerd run/docker run/other home/user opt
            echo secret > etc/docker/daemon.json; echo mine > home/user/file; echo hosts > etc/hosts; echo x > lib/docker-other/file
            python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(\"run/docker.sock\")'
            for name in docker containerd docker-other; do echo $name > lib/$name/name; done
            cp /etc/passwd /etc/group /etc/nsswitch.conf etc/; mkdir etc/eci; touch etc/subuid etc/subgid
            for name in eci subuid subgid; do mount --bind /etc/$name etc/$name; done
            mount --rbind etc /etc; mount --bind lib /var/lib; mount --bind opt /opt
            mkdir -p /run/docker; mount --bind run/docker /run/docker; touch /run/docker.sock; mount --bind run/docker.sock /run/docker.sock"
        ))
        .ok();
        Self { room, dir }
    }

    pub(crate) async fn refused(&self, source: &str) -> String {
        self.room.refused(Bundle::new().bind(Path::new(source), "/m", &[])).await
    }

    pub(crate) async fn run(&self, bundle: Bundle) -> Output {
        let mut container = match self.room.create(bundle).await {
            Ok(container) => container,
            Err(failure) => panic!("create: {failure:?}"),
        };
        container.start().await.expect("start");
        let output = container.output().await;
        container.end().await;
        output
    }

    /// What a container finds at `/m`.
    pub(crate) async fn shows(&self, source: &str, script: &str) -> String {
        self.run(Bundle::new().bind(Path::new(source), "/m", &[]).sh(script)).await.ok().to_owned()
    }
}

const ENVELOPE: &str = "OCI runtime create failed: error in the container spec: ";

fn restricted(source: &str) -> String {
    format!("{ENVELOPE}can't mount {source} because it's configured as a restricted host mount")
}

fn socket(source: &str) -> String {
    format!(
        "{ENVELOPE}docker socket mount denied: {source} is the socket of a container engine and would hand over the host; \
         run an engine inside the container instead"
    )
}

#[tokio::test]
async fn what_is_restricted_is_refused_by_its_own_name_and_logged() {
    let machine = Machine::new();
    for source in [
        "/etc/docker/daemon.json",
        "/etc/docker",
        "/etc/eci",
        "/var/lib/docker",
        "/var/lib/docker/volumes",
        "/run/docker",
    ] {
        assert_eq!(machine.refused(source).await, restricted(source));
    }
    for source in
        ["/proc", "/proc/sys/kernel", "/proc/version", "/sys", "/sys/kernel", "/dev", "/dev/pts", "/boot", "/run/eci"]
    {
        assert_eq!(machine.refused(source).await, restricted(source));
    }
    assert_eq!(
        machine.refused("/sys/fs/cgroup").await,
        restricted("/sys/fs/cgroup") + "; a container has a cgroup tree of its own at /sys/fs/cgroup"
    );
    let bundle = Bundle::new().bind(Path::new("/etc/docker/daemon.json"), "/m", &[]);
    let shim = tests::Shim::start_as(&bundle, machine.room.how()).await;
    let denied = tests::Container::create_in(&shim, bundle, tests::stdio::Pipes::none()).await;
    assert!(denied.is_err());
    let line = shim.logged("audit=true").await;
    assert!(line.contains("rule=mounts object=/etc/docker/daemon.json"), "{line}");
    assert_eq!(shim.log().matches("audit=true").count(), 1);
    shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn another_name_is_the_same_file() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine
        .room
        .sh(&format!(
            "cd {dir}/home/user; ln -s /etc/docker link; ln -s ../../home/user/link/daemon.json chain
            mkdir dir sub top; mount --bind /etc/docker dir; mkdir /etc/docker/certs; mount --bind /etc/docker/certs sub
            touch copy; mount --bind /etc/docker/daemon.json copy
            mount --bind {dir}/run/docker top"
        ))
        .ok();
    for name in ["link", "chain", "dir", "dir/daemon.json", "dir/certs", "sub", "copy"] {
        let source = format!("{dir}/home/user/{name}");
        assert_eq!(machine.refused(&source).await, restricted(&source) + " (it leads to /etc/docker)");
    }
    let top = format!("{dir}/home/user/top");
    assert_eq!(machine.refused(&top).await, restricted(&top) + " (it leads to /run/docker)");
    // By a path that is not its shortest.
    assert_eq!(
        machine.refused("/etc/../etc/./docker").await,
        restricted("/etc/../etc/./docker") + " (it leads to /etc/docker)"
    );
    // On the disk where it really lies.
    let real = format!("{dir}/etc/docker");
    assert_eq!(machine.refused(&real).await, restricted(&real) + " (it leads to /etc/docker)");
    // What they lead to decides: a symlink to something harmless is as good as that.
    machine.room.sh(&format!("ln -s {dir}/home/user/file /etc/docker/out; ln -s {dir}/home/user {dir}/docker")).ok();
    assert_eq!(machine.shows("/etc/docker/out", "cat /m").await, "mine");
    assert_eq!(machine.shows(&format!("{dir}/docker/file"), "cat /m").await, "mine");
}

#[tokio::test]
async fn magic_links_lead_nowhere() {
    let machine = Machine::new();
    for name in ["fd/0", "root", "cwd", "exe", "ns/mnt"] {
        let refusal = machine.refused(&format!("/proc/self/{name}")).await;
        assert!(refusal.contains(&format!("open source /proc/self/{name}: leads through a magic link")), "{refusal}");
    }
}

#[tokio::test]
async fn a_directory_above_something_restricted_is_refused() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine
        .room
        .sh(&format!("cd {dir}/home; mkdir alias with; mount --bind /etc alias; mkdir with/in; mount --bind /etc/docker with/in; mkdir with/file"))
        .ok();
    for source in ["/", "/etc", "/var", "/var/lib", "/var/run", "/run"] {
        let refusal = machine.refused(source).await;
        assert!(refusal.starts_with(&(restricted(source) + " (it holds ")), "{refusal}");
    }
    let alias = format!("{dir}/home/alias");
    let refusal = machine.refused(&alias).await;
    assert!(refusal.starts_with(&(restricted(&alias) + " (it holds ")), "{refusal}");
    // A mount that comes along with a recursive bind mount; without it there is nothing.
    let with = format!("{dir}/home/with");
    assert_eq!(machine.refused(&with).await, restricted(&with) + " (it holds /etc/docker)");
    let alone = Bundle::new().mount("bind", &with, "/m", &["bind"]).sh("ls -A /m/in; ls /m");
    assert_eq!(machine.run(alone).await.ok(), "file\nin");
    // What is not there yet could be made, from inside or later.
    assert_eq!(machine.refused("/opt").await, restricted("/opt") + " (it holds the place of /opt/containerd)");
}

#[tokio::test]
async fn what_lies_beside_something_restricted_is_bound() {
    let machine = Machine::new();
    let dir = &machine.dir;
    assert_eq!(machine.shows("/var/lib/docker-other", "cat /m/name; cat /m/file").await, "docker-other\nx");
    assert_eq!(machine.shows("/etc/hosts", "cat /m").await, "hosts");
    assert_eq!(machine.shows(&format!("{dir}/home/user"), "cat /m/file; echo new > /m/new").await, "mine");
    assert_eq!(machine.room.sh(&format!("stat -c %u:%g {dir}/home/user/new")).ok(), "0:0");
    machine.room.sh(&format!("mkdir -p {dir}/m/6.1 /lib/modules; echo x > {dir}/m/6.1/dep; mount --bind {dir}/m /lib/modules; mount --bind {dir}/m /usr/src")).ok();
    assert_eq!(machine.shows("/lib/modules", "cat /m/6.1/dep").await, "x");
    assert_eq!(machine.shows("/usr/src", "cat /m/6.1/dep").await, "x");
    assert_eq!(machine.shows("/dev/null", "echo x > /m; cat /m; stat -c %F /m").await, "character special file");
    assert_eq!(machine.shows("/dev/shm", "echo x > /m/shared; cat /m/shared; rm /m/shared").await, "x");
}

#[tokio::test]
async fn the_socket_of_an_engine_is_refused_by_every_name() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine
        .room
        .sh(&format!("cd {dir}/home/user; ln -s /run/docker.sock link; touch bound; mount --bind /run/docker.sock bound; mkdir under; touch under/bound; mount --bind /run/docker.sock under/bound"))
        .ok();
    for source in ["/run/docker.sock", "/var/run/docker.sock"] {
        assert_eq!(machine.refused(source).await, socket(source));
    }
    for name in ["link", "bound"] {
        let source = format!("{dir}/home/user/{name}");
        assert_eq!(machine.refused(&source).await, socket(&source));
    }
    let under = format!("{dir}/home/user/under");
    assert_eq!(machine.refused(&under).await, restricted(&under) + " (it holds /run/docker.sock)");
    let other = format!("{dir}/lib/docker-other");
    assert_eq!(machine.shows(&other, "cat /m/name").await, "docker-other");
    // A hard link: the same file; and no directory of that filesystem can be told from one that has another.
    machine.room.sh(&format!("ln {dir}/run/docker.sock {dir}/home/user/hard")).ok();
    let hard = format!("{dir}/home/user/hard");
    assert_eq!(machine.refused(&hard).await, socket(&hard));
    assert_eq!(
        machine.refused(&other).await,
        restricted(&other) + " (it holds maybe one of the hard links of /run/docker.sock)"
    );
    assert_eq!(machine.shows(&format!("{other}/name"), "cat /m").await, "docker-other");
    machine.room.sh(&format!("rm {hard}; ln -s {dir}/home/user/app.sock {dir}/run/other/sock")).ok();
    // Another one's socket is no engine's.
    machine
        .room
        .sh(&format!(
            "cd {dir}/home/user; python3 -c 'import socket; s = socket.socket(socket.AF_UNIX); s.bind(\"app.sock\")'"
        ))
        .ok();
    assert_eq!(machine.shows(&format!("{dir}/run/other/sock"), "test -S /m && echo socket").await, "socket");
}

#[tokio::test]
async fn a_filesystem_of_the_kernel_is_restricted_wherever_it_is_mounted() {
    let machine = Machine::new();
    let dir = format!("{}/home/chroot", machine.dir);
    machine
        .room
        .sh(&format!("mkdir -p {dir}/proc {dir}/sys; mount -t proc proc {dir}/proc; mount -t sysfs sysfs {dir}/sys"))
        .ok();
    assert_eq!(
        machine.refused(&format!("{dir}/proc")).await,
        restricted(&format!("{dir}/proc")) + " (it is of the kernel's proc)"
    );
    assert_eq!(machine.refused(&dir).await, restricted(&dir) + " (it holds the kernel's proc at proc)");
    let alone = Bundle::new().mount("bind", &dir, "/m", &["bind"]).sh("ls -A /m/proc; ls /m");
    assert_eq!(machine.run(alone).await.ok(), "proc\nsys");
}

#[tokio::test]
async fn the_operator_adds_to_the_list_and_engines_have_no_exception_there() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine.room.sh("mkdir -p /var/lib/docker/volumes/v/_data/deep").ok();
    machine.room.configure(&format!(
        "[mounts]\nrestricted = [\"{dir}/home/user/file\", \"/var/lib/docker/volumes/v/_data/deep\", \"/dev/zero\"]"
    ));
    let file = format!("{dir}/home/user/file");
    assert_eq!(machine.refused(&file).await, restricted(&file));
    let home = format!("{dir}/home/user");
    assert_eq!(machine.refused(&home).await, restricted(&home) + &format!(" (it holds {file})"));
    let volume = "/var/lib/docker/volumes/v/_data";
    assert_eq!(machine.refused(&format!("{volume}/deep")).await, restricted(&format!("{volume}/deep")));
    assert_eq!(machine.refused(volume).await, restricted(volume) + &format!(" (it holds {volume}/deep)"));
    let hard = format!("{dir}/run/hard");
    machine.room.sh(&format!("ln {file} {hard}")).ok();
    assert_eq!(machine.refused(&hard).await, restricted(&hard) + &format!(" (it leads to {file})"));
    assert_eq!(machine.refused("/dev/zero").await, restricted("/dev/zero"));
    assert_eq!(machine.shows("/var/lib/docker-other", "cat /m/name").await, "docker-other");
}

#[tokio::test]
async fn what_is_restricted_below_a_source_can_be_covered_instead() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine.room.sh(&format!(
        "cd {dir}/home/user; mkdir in proc; echo secret > in/file; mount -t proc proc proc; mkdir etc; mount --bind /etc etc
        touch sock; mount --bind /run/docker.sock sock"
    ))
    .ok();
    machine.room.configure(&format!(
        "[mounts]\nrestricted = [\"{dir}/home/user/in\", \"{dir}/home/user/missing\"]\nancestors = \"mask\""
    ));
    let source = format!("{dir}/home/user");
    let script = "cat /m/file; ls -A /m/in /m/proc /m/etc/docker; test -c /m/sock && echo covered; cat /m/etc/hosts
        echo new > /m/etc/new; echo x > /m/in/x; umount /m/in; umount /m/etc; mount -o remount,rw /m/in; cat /m/in/file; true";
    let bundle = Bundle::new().bind(Path::new(&source), "/m", &[]).all_capabilities().sh(script);
    let output = machine.run(bundle).await;
    assert_eq!(output.ok(), "mine\n/m/etc/docker:\n\n/m/in:\n\n/m/proc:\ncovered\nhosts");
    assert!(output.stderr.contains("/m/in/x: Read-only file system"), "{output:?}");
    // Each is still refused by itself, and so is a file in it.
    let inside = format!("{source}/in");
    assert_eq!(machine.refused(&inside).await, restricted(&inside));
    assert_eq!(machine.refused("/etc/docker").await, restricted("/etc/docker"));
    assert_eq!(machine.refused("/proc").await, restricted("/proc"));
    // The masks do not come with a bind mount that is not recursive where they were on mounts below.
    let alone = Bundle::new().mount("bind", &source, "/m", &["bind"]).sh("cat /m/file; ls -A /m/in /m/etc");
    assert_eq!(machine.run(alone).await.ok(), "mine\n/m/etc:\n\n/m/in:");
}

#[tokio::test]
async fn the_layers_of_an_overlay_are_sources_too() {
    let machine = Machine::new();
    let dir = &machine.dir;
    machine.room.sh(&format!("cd {dir}/home; mkdir u w user/'a:b'; echo x > user/'a:b'/other")).ok();
    let overlay = |options: &[&str]| Bundle::new().mount("overlay", "overlay", "/m", options);
    let user = format!("{dir}/home/user");
    for options in [
        vec![format!("lowerdir={user}:/etc/docker")],
        vec![format!("lowerdir={user}"), "upperdir=/etc/docker".into(), format!("workdir={dir}/home/w")],
    ] {
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        assert_eq!(machine.room.refused(overlay(&options)).await, restricted("/etc/docker"));
    }
    let lower = format!("lowerdir={user}/a\\:b:{dir}/lib/docker-other");
    let (upper, work) = (format!("upperdir={dir}/home/u"), format!("workdir={dir}/home/w"));
    let output = machine.run(overlay(&[&lower, &upper, &work]).sh("cat /m/other /m/name")).await;
    assert_eq!(output.ok(), "x\ndocker-other");
}
