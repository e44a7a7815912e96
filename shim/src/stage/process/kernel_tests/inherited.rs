//! What a program inherits: umask, signals, session, terminal, personality, CPUs, environment.

use nix::sys::signal::{SigSet, Signal};

use super::*;

#[test]
fn the_umask_is_runcs_unless_the_spec_gives_one() {
    let shown = alone(|| {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        run(&program(&["/bin/cat", "/proc/self/status"]))
    });
    assert_eq!(shown.line("Umask:"), "0022");
}

#[test]
fn the_umask_is_that_of_the_spec() {
    let shown = alone(|| run(&Process { umask: Some(0o127), ..program(&["/bin/cat", "/proc/self/status"]) }));
    assert_eq!(shown.line("Umask:"), "0127");
}

#[test]
fn no_signal_is_ignored_or_blocked() {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"trap "" USR1 40 64; exec "$0" "$@""#]).arg(std::env::current_exe().unwrap());
    let shown = alone_under(command, || {
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGHUP]).thread_block().unwrap();
        let before = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        println!("\nbefore: {}", before.lines().find(|line| line.starts_with("SigIgn:")).unwrap());
        run(&program(&["/bin/cat", "/proc/self/status"]))
    });
    let ignored = u64::from_str_radix(&shown.line("before: SigIgn:"), 16).unwrap();
    let expected = [Signal::SIGUSR1 as u32, Signal::SIGPIPE as u32, 40, 64].map(|signal| 1 << (signal - 1));
    assert!(expected.iter().all(|bit| ignored & bit != 0), "{ignored:x}");
    let sets = ["SigBlk:", "SigIgn:", "SigCgt:", "SigPnd:"].map(|name| shown.line(name));
    assert_eq!(sets, [const { "0000000000000000" }; 4]);
}

/// Process group, session and terminal of proc_pid_stat(5), and the process itself.
fn session(shown: &Shown) -> (bool, bool) {
    let stat = shown.line("stat:");
    let fields: Vec<&str> = stat.split(' ').collect();
    (fields[0] == fields[4] && fields[0] == fields[5], fields[6] != "0")
}

const STAT: &str = "exec awk '{ print \"\\nstat: \" $0 }' /proc/self/stat";

#[test]
fn a_program_leads_a_session_without_a_terminal() {
    assert_eq!(session(&alone(|| run(&shell(STAT)))), (true, false));
}

#[test]
fn a_program_with_a_terminal_has_it_as_the_controlling_one() {
    let shown = alone(|| {
        let main = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY).unwrap();
        rustix::pty::unlockpt(&main).unwrap();
        let name = rustix::pty::ptsname(&main, vec![]).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
        rustix::stdio::dup2_stdin(rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap()).unwrap();
        // The program must not be hung up when this process's copy goes.
        std::mem::forget(rustix::io::dup(&main).unwrap());
        let prepared = prepared(&Process { terminal: true, ..shell(STAT) })?;
        let kept = rustix::io::dup(&main).unwrap();
        prepared.become_and_exec(|| {
            rustix::io::fcntl_setfd(&kept, rustix::io::FdFlags::empty())?;
            Ok(())
        })
    });
    assert_eq!(session(&shown), (true, true));
}

#[test]
fn a_terminal_that_is_none_is_an_error() {
    let shown = alone(|| run(&Process { terminal: true, ..shell(STAT) }));
    assert_eq!(shown.line("error:"), "taking the controlling terminal: inappropriate ioctl for device");
}

#[test]
fn the_personality_is_that_of_the_spec() {
    let no_randomisation = 0x4_0000;
    let shown = alone(|| {
        run(&Process {
            personality: Some(no_randomisation),
            ..shell("echo; echo \"is: $(cat /proc/self/personality)\"")
        })
    });
    assert_eq!(shown.line("is:"), "00040000");
}

#[test]
fn the_program_runs_on_its_cpus() {
    let process = Process { cpu_affinity_final: Some("0".into()), ..program(&["/bin/cat", "/proc/self/status"]) };
    assert_eq!(alone(|| run(&process)).line("Cpus_allowed_list:"), "0");
}

#[test]
fn home_is_that_of_the_passwd_file() {
    let shown = alone(|| run(&shell("echo; echo home: $HOME")));
    assert_eq!(shown.line("home:"), "/root");
}

#[test]
fn the_environment_is_the_specs_alone() {
    let env = vec!["A=1".into(), "HOME=/x".into(), "A=2".into()];
    let shown = alone(|| run(&Process { env, ..shell("echo; echo env: $(tr '\\0' ' ' < /proc/$$/environ)") }));
    assert_eq!(shown.line("env:"), "A=2 HOME=/x");
}
