//! Descriptors, the working directory, the program's file.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

/// A directory that everyone may enter, kept by the test and not by its second run.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The path that a test hands to its second run.
fn handed(directory: &tempfile::TempDir) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env("ECI_TEST_DIRECTORY", directory.path());
    command
}

fn given(name: &str) -> ContainerPath {
    cwd(&format!("{}/{name}", std::env::var("ECI_TEST_DIRECTORY").unwrap()))
}

/// S08: no descriptor but the three reaches the program.
#[test]
fn descriptors_above_two_are_closed() {
    let shown = alone(|| {
        let mut kept = vec![];
        for _ in 0..20 {
            kept.push(rustix::io::dup(proc()).unwrap());
        }
        run(&shell("echo; printf 'fds: '; ls -m /proc/$$/fd; :"))
    });
    assert_eq!(shown.line("fds:"), "0, 1, 2");
}

/// S08: CVE-2024-21626.
#[test]
fn a_working_directory_through_a_descriptor_is_refused() {
    let shown = alone(|| {
        let host = File::open("/sys/fs/cgroup").unwrap();
        let path = cwd(&format!("/proc/self/fd/{}", host.as_raw_fd()));
        let refused = run(&Process { cwd: path, ..shell("pwd") });
        println!("\nfirst: {}", refused.unwrap_err().to_string().replace(&host.as_raw_fd().to_string(), "N"));
        run(&Process { cwd: cwd("/proc/self/fd/1000"), ..shell("pwd") })
    });
    assert_eq!(
        shown.line("first:"),
        r#"chdir to process.cwd "/proc/self/fd/N": leads through a magic link of /proc, or too many symbolic links"#
    );
    assert!(shown.line("error:").starts_with(r#"chdir to process.cwd "/proc/self/fd/1000": "#));
}

#[test]
fn a_working_directory_outside_of_the_root_is_noticed() {
    let directory = directory();
    let shown = alone_under(handed(&directory), || {
        let root = super::super::own_tree().unwrap();
        rustix::process::chroot(given("").as_str()).unwrap();
        let entered = super::super::cwd::Entered::Yes;
        super::super::cwd::enter_as_user(&root, &cwd("/"), entered)?;
        panic!("a directory outside of the root passed")
    });
    assert_eq!(shown.line("error:"), r#"chdir to process.cwd "/": lies outside of the container's root"#);
}

#[test]
fn a_missing_working_directory_is_made_for_the_first_process() {
    let directory = directory();
    let shown = alone_under(handed(&directory), || {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        run(&Process { uid: 1000, gid: 1000, cwd: given("a/b"), ..shell("echo; echo in: $(pwd)") })
    });
    let made = directory.path().join("a/b");
    assert_eq!(shown.line("in:"), made.to_str().unwrap());
    let made = fs::metadata(made).unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid(), made.gid()), (0o755, 0, 0));
}

#[test]
fn a_missing_working_directory_is_an_error_for_an_exec() {
    let directory = directory();
    let shown = alone_under(handed(&directory), || {
        let process = Process { cwd: given("a"), ..shell("pwd") };
        prepared_with(&process, |setup| setup.create_cwd = false)?.become_and_exec(|| Ok(()))
    });
    assert!(shown.line("error:").ends_with("/a\": no such file or directory"), "{}", shown.0);
    assert!(!directory.path().join("a").exists());
}

#[test]
fn a_user_may_stand_where_only_root_can_go() {
    let directory = directory();
    fs::create_dir(directory.path().join("a")).unwrap();
    fs::set_permissions(directory.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    let shown = alone_under(handed(&directory), || {
        run(&Process {
            uid: 1000,
            cwd: given("a"),
            ..shell("echo; echo in: $(readlink /proc/$$/cwd); ls . || echo no: no")
        })
    });
    assert_eq!(shown.line("in:"), directory.path().join("a").to_str().unwrap());
    assert_eq!(shown.line("no:"), "no");
}

#[test]
fn a_working_directory_that_is_a_file_or_a_dangling_link_is_refused() {
    let directory = directory();
    fs::write(directory.path().join("file"), "").unwrap();
    std::os::unix::fs::symlink("nowhere", directory.path().join("link")).unwrap();
    let shown = alone_under(handed(&directory), || {
        let refused = |name| run(&Process { cwd: given(name), ..shell("pwd") }).unwrap_err().to_string();
        println!("\nfile: {}", refused("file"));
        println!("\nlink: {}", refused("link"));
        run(&Process { cwd: given("file/x"), ..shell("pwd") })
    });
    assert!(shown.line("file:").ends_with("/file\": not a directory"), "{}", shown.0);
    assert!(shown.line("link:").ends_with("/link\": is a symlink where a directory must be"), "{}", shown.0);
    assert!(shown.line("error:").ends_with("/file/x\": not a directory"), "{}", shown.0);
    assert!(!directory.path().join("nowhere").exists());
}

#[test]
fn a_working_directory_may_be_a_link() {
    let directory = directory();
    fs::create_dir(directory.path().join("a")).unwrap();
    std::os::unix::fs::symlink("a", directory.path().join("link")).unwrap();
    let shown =
        alone_under(handed(&directory), || run(&Process { cwd: given("link"), ..shell("echo; echo in: $(pwd -P)") }));
    assert_eq!(shown.line("in:"), directory.path().join("a").to_str().unwrap());
}

/// The program is judged as its user: what root alone may execute is not executable.
#[test]
fn a_program_is_looked_up_as_its_user() {
    let directory = directory();
    fs::copy("/bin/sh", directory.path().join("tool")).unwrap();
    fs::set_permissions(directory.path().join("tool"), fs::Permissions::from_mode(0o700)).unwrap();
    let shown = alone_under(handed(&directory), || {
        let tool = given("tool").to_string();
        run(&Process { uid: 1000, ..program(&[&tool, "-c", "id"]) })
    });
    assert!(shown.line("error:").ends_with("/tool\": permission denied"), "{}", shown.0);
}

#[test]
fn a_program_that_root_may_execute_runs_for_root() {
    let directory = directory();
    fs::copy("/bin/sh", directory.path().join("tool")).unwrap();
    fs::set_permissions(directory.path().join("tool"), fs::Permissions::from_mode(0o700)).unwrap();
    let shown = alone_under(handed(&directory), || {
        let env = vec![format!("PATH=/nowhere:{}", given(""))];
        run(&Process { env, ..program(&["tool", "-c", "echo; echo it: runs as $0"]) })
    });
    assert_eq!(shown.line("it:"), "runs as tool");
}

#[test]
fn a_program_that_is_nowhere_fails_while_the_container_is_created() {
    let shown = alone(|| {
        let Err(error) = prepared(&program(&["nope"])) else { panic!("prepared") };
        assert!(matches!(error, StageError::Program(_)));
        Err(error)
    });
    assert_eq!(shown.line("error:"), r#"exec: "nope": executable file not found in $PATH"#);
}
