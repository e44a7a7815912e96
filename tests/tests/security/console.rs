//! A terminal is a pair of the container's own devpts, bound by descriptor, wherever the image's `/dev/console` or
//! `/dev/pts` lead (CVE-2025-52565).

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;
use tests::stdio::{Pipes, fifo};
use tests::{Bundle, Container, place};

use crate::canary::{Canary, Make};

const LOOK: &str = "tty; stat -c %F /dev/console; [ /dev/console -ef $(tty) ] || stat -c %t:%T /dev/console $(tty)";

/// Runs it with a terminal: what it says, lines joined.
async fn run(bundle: Bundle) -> Result<String, String> {
    let bundle = bundle.set("/process/terminal", json!(true));
    let mut container = Container::create_with(bundle, Pipes::terminal()).await.map_err(|failure| failure.message)?;
    container.start().await.unwrap();
    let output = container.output().await;
    container.end().await;
    Ok(output.ok().replace("\r\n", "\n"))
}

fn judge(said: &str) {
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/") || lines[0] == "/dev/console", "{said}");
    assert_eq!(lines[1], "character special file", "{said}");
    // Two names of one device.
    assert!(lines.len() == 2 || lines[2] == lines[3], "{said}");
}

#[tokio::test]
async fn the_images_console_is_covered_by_our_own() {
    let canary = Canary::new();
    let makes: [Make<'_>; 5] = [
        Box::new(|console| symlink(canary.absolute("dev/console"), console).unwrap()),
        Box::new(|console| symlink(canary.climbing("new"), console).unwrap()),
        Box::new(|console| symlink("/proc/sys/kernel/core_pattern", console).unwrap()),
        Box::new(fifo),
        Box::new(|console| fs::create_dir(console).unwrap()),
    ];
    for make in &makes {
        let bundle = Bundle::new().image_with(|image| make(&image.join("dev/console")));
        judge(&run(bundle.sh(LOOK)).await.unwrap());
    }
    canary.untouched();
}

#[tokio::test]
async fn a_console_of_a_bound_dev_leads_nowhere_outside() {
    let canary = Canary::new();
    let pattern = fs::read("/proc/sys/kernel/core_pattern").unwrap();
    for target in [canary.absolute("dev/console"), canary.climbing("new"), "/proc/sys/kernel/core_pattern".to_owned()] {
        let dev = place::new_dir("dev");
        for name in ["pts", "shm", "mqueue"] {
            fs::create_dir(dev.join(name)).unwrap();
        }
        symlink(&target, dev.join("console")).unwrap();
        let mut bundle = Bundle::new();
        let source = dev.display().to_string();
        for mount in bundle.spec["mounts"].as_array_mut().unwrap() {
            if mount["destination"] == "/dev" {
                *mount = json!({ "destination": "/dev", "type": "bind", "source": source, "options": ["rbind"] });
            }
        }
        let message = run(bundle.sh(LOOK)).await.expect_err(&target);
        assert!(message.contains("/dev/console") && message.lines().count() == 1, "{message}");
    }
    assert_eq!(fs::read("/proc/sys/kernel/core_pattern").unwrap(), pattern);
    canary.untouched();
}

#[tokio::test]
async fn an_exec_gets_no_terminal_of_a_false_devpts() {
    let bundle = Bundle::new().all_capabilities().with_inside();
    let container = Container::sleeping(bundle).await;
    let exec = container.process(&["/bin/tty"]);
    let add = |name: &'static str| {
        let (container, exec) = (&container, exec.clone());
        async move {
            let mut pipes = Pipes::terminal();
            container.add_process(name, &exec, &pipes).await.unwrap();
            let started = container.start_process(name).await.map(drop);
            let said = match started {
                Ok(()) => {
                    container.wait_process(name).await.unwrap();
                    Ok(String::from_utf8(pipes.read().await.0).unwrap())
                }
                Err(failure) => Err(failure.message),
            };
            container.delete_process(name).await.unwrap();
            said
        }
    };
    assert!(add("before").await.unwrap().starts_with("/dev/pts/"));
    let tmpfs = "mount -t tmpfs none /dev/pts && ln -s /proc/1/root/dev/null /dev/pts/ptmx";
    container.sh(tmpfs).await.ok();
    let message = add("false").await.unwrap_err();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("/dev/pts is not a devpts"), "{message}");
    container.sh("umount /dev/pts && mount -t devpts -o ptmxmode=666 none /dev/pts").await.ok();
    assert!(add("after").await.unwrap().starts_with("/dev/pts/"), "a devpts of the container's own is its business");
    container.end().await;
}

/// What engines allow beside the defaults.
fn with_rule(bundle: Bundle) -> Bundle {
    let rule = json!({ "allow": true, "type": "c", "major": 5, "minor": 1, "access": "rwm" });
    bundle.all_capabilities().push("/linux/resources/devices", rule)
}

/// The node of the same number is the host's console.
#[tokio::test]
async fn a_console_that_is_made_is_the_containers() {
    let script = "mkdir -p /made /own; mount -t tmpfs own /own
        for dir in /made /own; do mknod $dir/console c 5 1 && mknod -m 600 $dir/tty c 5 0 && cd $dir && stat -c '%n %t:%T' console tty
        [ console -ef /dev/console ] && echo same; echo said > console; mknod console c 5 1 2>&1 | grep -o exists; done";
    let said = run(with_rule(Bundle::new()).sh(script)).await.unwrap();
    let each = "console 88:0\ntty 5:0\nsame\nsaid\nexists";
    assert_eq!(said.trim(), format!("{each}\n{each}"));

    // Without a terminal there is none, and what is written goes nowhere.
    let container = Container::sleeping(with_rule(Bundle::new())).await;
    let each = "console 1:3\ntty 5:0\nexists";
    assert_eq!(container.sh(script).await.stdout.trim(), format!("{each}\n{each}"));
    // Nor is anything else at its place.
    let others =
        "cd /dev; for what in 'ln -s zero' mkfifo 'mknod -m 600'; do [ \"$what\" != 'mknod -m 600' ] || number='c 1 5'
        $what console $number; mknod /console c 5 1; stat -c %t:%T /console; rm console /console; done";
    assert_eq!(container.sh(others).await.ok(), "1:3\n1:3\n1:3");
    container.end().await;
}

/// Nor does a node of an image open the host's, though engines allow its number; `--device` does.
#[tokio::test]
async fn a_console_of_the_images_is_not_opened() {
    let mut bundle = with_rule(Bundle::new()).with_inside();
    bundle = bundle.image_with(|image| {
        place::sh(&format!("mknod -m 666 {}/node c 5 1", image.display())).ok();
    });
    let refused = bundle.clone().args(&["/inside", "open", "/node", "w"]).run().await;
    assert_eq!(refused.failed().trim(), "EPERM");
    let asked_for = json!({ "path": "/dev/asked-for", "type": "c", "major": 5, "minor": 1, "fileMode": 0o666 });
    let container = Container::sleeping(bundle.push("/linux/devices", asked_for)).await;
    // Where the host has none, its driver says so.
    let opened = container.exec(&["/inside", "open", "/dev/asked-for", "w"]).await;
    assert_ne!(format!("{}{}", opened.stdout, opened.stderr).trim(), "EPERM", "{opened:?}");
    container.end().await;
}

/// A multiplexor is of the devpts beside it (`devpts_mntget()` of fs/devpts/inode.c), and of none without.
#[tokio::test]
async fn a_multiplexor_that_is_made_is_of_the_devpts_beside_it() {
    let script = "mkdir -p /made/pts /alone; mount --bind /dev/pts /made/pts; mknod /made/ptmx c 5 2; mknod /alone/ptmx c 5 2
        ls /dev/pts; exec 5<> /made/ptmx; ls /dev/pts; stat -c %t:%T /alone/ptmx; cat /alone/ptmx 2>&1 | sed 's/.*: //'";
    let container = Container::sleeping(with_rule(Bundle::new())).await;
    assert_eq!(container.sh(script).await.ok(), "ptmx\n0\nptmx\n5:2\nNo such file or directory");
    container.end().await;
}
