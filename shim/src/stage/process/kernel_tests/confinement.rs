//! The session keyring and security modules.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use policy::plan::AppArmor;

use super::*;

/// The lines of `/proc/keys` that describe the container's keyring: id, flags, usage, timeout, permissions, uid, …
const KEYS: &str = "echo; echo keyring: $(grep '_eci.test' /proc/keys)";

fn with_keyring(process: &Process) -> Result<Infallible, StageError> {
    prepared_with(process, |setup| setup.no_new_keyring = false)?.become_and_exec(|| Ok(()))
}

#[test]
fn a_container_has_a_session_keyring_of_its_own() {
    let shown = alone(|| with_keyring(&Process { uid: 0, ..shell(KEYS) }));
    let keyring = shown.line("keyring:");
    let fields: Vec<&str> = keyring.split(' ').collect();
    assert_eq!((fields[4], fields[5], fields[7], fields[8]), ("3f1b0000", "0", "keyring", "_eci.test:"), "{keyring}");
}

#[test]
fn the_keyring_is_left_alone_when_asked() {
    let shown = alone(|| {
        let process = shell("echo; echo keyring: $(grep '_eci.untouched' /proc/keys)");
        prepared_with(&process, |setup| setup.id = "untouched")?.become_and_exec(|| Ok(()))
    });
    assert_eq!(shown.line("keyring:"), "");
}

/// Two processes of one container share the keyring that the first one made.
#[test]
fn an_exec_joins_the_containers_keyring() {
    let keyring = |text: &str| text.split(' ').next().unwrap().to_owned();
    let shown = alone(|| {
        let id = format!("shared-{}", std::process::id());
        if let Some(id) = std::env::var_os("ECI_TEST_KEYRING") {
            let id: &str = id.into_string().unwrap().leak();
            let script = format!("echo keyring: $(grep '_eci.{id}' /proc/keys); read line");
            return prepared_with(&shell(&script), |setup| (setup.no_new_keyring, setup.id) = (false, id))?
                .become_and_exec(|| Ok(()));
        }
        let start = || {
            let name = std::thread::current().name().unwrap().to_owned();
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([&name, "--exact", "--nocapture"]).env("ECI_TEST_KEYRING", &id);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            let line = lines.find_map(|line| line.unwrap().strip_prefix("keyring: ").map(str::to_owned)).unwrap();
            (child, line)
        };
        let (mut first, one) = start();
        let (mut second, other) = start();
        for child in [&mut first, &mut second] {
            child.stdin.take().unwrap().write_all(b"\n").unwrap();
            child.wait().unwrap();
        }
        println!("\none: {one}\nother: {other}");
        std::process::exit(0);
    });
    assert_eq!(keyring(&shown.line("one:")), keyring(&shown.line("other:")));
    assert!(shown.line("one:").contains("keyring _eci.shared-"));
}

fn apparmor(profile: &str, engine_default: bool, bounding: u64) -> Result<Option<String>, StageError> {
    let wanted = AppArmor { profile: profile.into(), engine_default };
    super::super::lsm::apparmor(proc().as_fd(), &wanted, bounding)
}

#[test]
fn a_profile_that_the_user_names_is_never_skipped() {
    let shown = alone(|| {
        let error = apparmor("eci-test-none", false, u64::MAX).unwrap_err();
        Err(error)
    });
    let error = shown.line("error:");
    assert!(error.starts_with(r#"applying process.apparmorProfile "eci-test-none": apparmor"#), "{error}");
}

#[test]
fn a_default_profile_is_left_off_where_the_container_may_mount() {
    let note = apparmor("docker-default", true, 1 << 21).unwrap().unwrap();
    assert!(note.starts_with(r#"process.apparmorProfile: the engine's default "docker-default" is left off"#));
}

/// Where the host has no AppArmor, an engine's default asks for nothing; elsewhere it must be loaded.
#[test]
fn a_default_profile_is_skipped_without_apparmor_only() {
    let shown = alone(|| match apparmor("eci-test-none", true, 0) {
        Ok(note) => Err(StageError::Program(format!("skipped {note:?}"))),
        Err(error) => Err(error),
    });
    let enabled =
        std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|on| on.starts_with('Y'));
    let expected = if enabled { r#"applying process.apparmorProfile "eci-test-none": "# } else { "skipped None" };
    assert!(shown.line("error:").starts_with(expected), "{}", shown.0);
}

#[test]
fn a_profile_name_cannot_carry_a_second_command() {
    let error = apparmor("a\nb", false, 0).unwrap_err();
    assert_eq!(error.to_string(), r#"applying process.apparmorProfile "a\nb": is not the name of a profile"#);
}

#[test]
fn a_label_that_no_module_knows_is_refused() {
    let shown = alone(|| run(&Process { selinux_label: Some("no:such:label".into()), ..shell("true") }));
    let expected = "applying process.selinuxLabel \"no:such:label\": \
                    selinux is disabled or not supported, or does not know the label";
    assert_eq!(shown.line("error:"), expected);
}

/// S12: what is written reaches a procfs, or nothing.
#[test]
fn a_directory_that_is_no_procfs_is_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "").unwrap();
    let fd: OwnedFd = File::open(directory.path()).unwrap().into();
    assert_eq!(super::super::procfs::open(fd.as_fd(), "file").unwrap_err(), rustix::io::Errno::INVAL);
    assert!(super::super::procfs::open(proc().as_fd(), "thread-self/attr/exec").is_ok());
    let error = super::super::procfs::open(proc().as_fd(), "self/root/etc/hosts").unwrap_err();
    assert_eq!(error, rustix::io::Errno::LOOP);
}
