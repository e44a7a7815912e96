//! The shim's own file cannot be reached from a container (CVE-2019-5736: `/proc/self/exe` as a program made the runtime
//! execute itself in the container, where its file could be opened and overwritten).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use tests::stdio::Pipes;
use tests::{Bundle, Container, place};

/// The bytes of the shim under test, and what identifies its file.
fn shim() -> (Vec<u8>, (u64, u64, i64, i64)) {
    let stat = fs::metadata(place::shim()).unwrap();
    (fs::read(place::shim()).unwrap(), (stat.ino(), stat.len(), stat.mtime(), stat.ctime()))
}

/// The libraries that the shim is linked against, so that it runs from `/proc/self/exe` as it would with an attacker's.
fn with_libraries(image: &Path) {
    let output = std::process::Command::new("ldd").arg(place::shim()).output().expect("ldd");
    let text = String::from_utf8(output.stdout).unwrap();
    for library in text.split_whitespace().filter(|word| word.starts_with('/')) {
        let target = image.join(library.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(library, target).unwrap();
    }
}

fn image() -> Bundle {
    Bundle::new().with_inside().all_capabilities().image_with(|image| {
        with_libraries(image);
        let script = image.join("script");
        fs::write(&script, "#!/proc/self/exe --version\n").unwrap();
        fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    })
}

/// Until a process that is found by its command line runs the shim's file; its pid as the host counts.
async fn runs_the_shim(pid: u32) {
    let wanted = fs::metadata(place::shim()).unwrap();
    let runs = || {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| command.starts_with(b"/proc/self/exe"))
            && fs::metadata(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.ino() == wanted.ino())
    };
    tests::until(&format!("process {pid} runs /proc/self/exe"), runs).await;
}

#[tokio::test]
async fn a_program_that_is_the_shim_itself_is_only_another_program() {
    let before = shim();
    for args in [&["/proc/self/exe", "--version"][..], &["/script"]] {
        let said = image().args(args).run().await;
        assert!(said.stdout.contains("containerd-shim-eci-v2"), "{args:?}: {said:?}");
        let container = Container::sleeping(image()).await;
        let said = container.exec(args).await;
        assert!(said.stdout.contains("containerd-shim-eci-v2"), "{args:?}: {said:?}");
        container.end().await;
    }
    assert!(shim() == before, "the shim's file has changed");
}

#[tokio::test]
async fn the_shims_file_cannot_be_written_while_or_after_it_runs_in_a_container() {
    let before = shim();
    let container = Container::sleeping(image()).await;
    // `start` reads its standard input to the end, which does not come.
    let victim_pipes = Pipes::all();
    let victim = container.process(&["/proc/self/exe", "start"]);
    container.add_process("victim", &victim, &victim_pipes).await.unwrap();
    let pid = container.start_process("victim").await.unwrap();
    runs_the_shim(pid).await;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let inside = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap();
    let inside = inside.split_whitespace().last().unwrap();

    let mut pipes = Pipes::output();
    let script = format!("/inside overwrite {inside} > /tmp/said; cat /tmp/said");
    container.add_process("attacker", &container.process(&["/bin/sh", "-c", &script]), &pipes).await.unwrap();
    container.start_process("attacker").await.unwrap();
    let held = "for i in $(seq 600); do grep -q held /tmp/said && exit 0; sleep 0.05; done; exit 1";
    container.sh(held).await.ok();
    container.kill("victim", 9, false).await.unwrap();
    container.wait_process("victim").await.unwrap();
    container.delete_process("victim").await.unwrap();
    assert_eq!(container.wait_process("attacker").await.unwrap().exit_status, 0);
    let said = String::from_utf8(pipes.read().await.0).unwrap();
    container.delete_process("attacker").await.unwrap();
    container.end().await;

    assert_eq!(said.lines().filter(|line| !line.starts_with("held")).count(), 5, "{said}");
    assert!(!said.contains("done"), "{said}");
    assert!(said.lines().filter(|line| line.starts_with("write")).all(|line| line.contains("E")), "{said}");
    assert!(shim() == before, "the shim's file has changed");
}

/// A container that shares the pid namespace of another one, and of the processes that the shim makes there.
fn neighbour(container: &Container) -> Bundle {
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", container.pid);
    Bundle::new().with_inside().all_capabilities().namespace("pid", Some(&path("pid")))
}

/// What the spy has seen, once it has been told to stop.
fn judge(said: &str) {
    let last = said.lines().last().unwrap_or_default();
    let words: Vec<&str> = last.split(' ').collect();
    let ["seen", seen, "opened", opened] = words[..] else { panic!("{said}") };
    assert_ne!(seen, "0", "the spy has seen nothing: {said}");
    assert_eq!(opened, "0", "{said}");
}

#[tokio::test]
async fn an_init_that_waits_is_closed_to_its_neighbours() {
    let waiting = Container::create(Bundle::new()).await.unwrap();
    let neighbour = Container::sleeping(neighbour(&waiting)).await;
    // It has waited all along; one look is enough.
    let said = neighbour.sh("touch /tmp/stop; /inside spy /tmp/stop").await;
    judge(said.ok());
    neighbour.end().await;
    waiting.start().await.unwrap();
    waiting.end().await;
}

#[tokio::test]
async fn an_exec_that_is_on_its_way_is_closed_to_its_neighbours() {
    let container = Container::sleeping(Bundle::new().with_inside().all_capabilities()).await;
    let neighbour = Container::sleeping(neighbour(&container)).await;
    let mut spies = Vec::new();
    for target in [&container, &neighbour] {
        let pipes = Pipes::output();
        let spy = target.process(&["/inside", "spy", "/tmp/stop"]);
        target.add_process("spy", &spy, &pipes).await.unwrap();
        target.start_process("spy").await.unwrap();
        spies.push(pipes);
    }
    for _ in 0..40 {
        container.exec(&["/bin/true"]).await.ok();
    }
    for (target, pipes) in [&container, &neighbour].into_iter().zip(&mut spies) {
        target.sh("touch /tmp/stop").await.ok();
        assert_eq!(target.wait_process("spy").await.unwrap().exit_status, 0);
        judge(&String::from_utf8(pipes.read().await.0).unwrap());
        target.delete_process("spy").await.unwrap();
    }
    neighbour.end().await;
    container.end().await;
}
