use super::*;

fn hook(script: &str, timeout: Option<u64>) -> Hook {
    Hook {
        field: "hooks.poststop[0]".into(),
        path: "/bin/sh".into(),
        args: ["name", "-c", script].map(str::to_owned).to_vec(),
        env: vec!["A=1".into(), "B=2".into(), "A=3".into()],
        timeout,
    }
}

fn run_it(hook: &Hook, state: &str) -> Result<(), String> {
    run(&Run { hook, state, directory: Path::new("/tmp"), client: None }, nothing, nothing)
}

fn sh(script: &str) -> Result<(), String> {
    run_it(&hook(script, None), "{}")
}

/// What follows the hook's place and path in its error.
fn error_of(result: Result<(), String>) -> String {
    let error = result.expect_err("it fails");
    error.strip_prefix("hooks.poststop[0] /bin/sh: ").unwrap_or_else(|| panic!("{error}")).to_owned()
}

#[test]
fn it_has_the_state_its_arguments_its_environment_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let held = std::fs::File::open("/").unwrap();
    let out = dir.path().join("out");
    // No pipeline, whose pipe the shell would have, and no child that looks at the shell, which blocks signals when it forks.
    let script = format!(
        "exec > {0}; cat; echo; echo $0; pwd; tr '\\0' '\\n' < /proc/$$/environ; ls /proc/$$/fd; \
         exec grep -E 'Sig(Ign|Blk)' /proc/self/status",
        out.display()
    );
    let mut hook = hook(&script, None);
    hook.args.push("more".into());
    run_it(&hook, r#"{"id":"c"}"#).unwrap();
    drop(held);
    let seen = std::fs::read_to_string(out).unwrap();
    let (head, rest) = seen.split_once("SigBlk").unwrap();
    let head: Vec<&str> = head.split_whitespace().filter(|word| *word != "10" && *word != "255").collect();
    assert_eq!(head, [r#"{"id":"c"}"#, "more", "/tmp", "A=1", "B=2", "A=3", "0", "1", "2"]);
    assert!(rest.lines().all(|line| line.ends_with("0000000000000000")), "{rest}");
}

#[test]
fn its_failure_is_one_line_with_the_last_that_it_said() {
    assert_eq!(sh("true"), Ok(()));
    assert_eq!(error_of(sh("exit 3")), "exit status 3");
    assert_eq!(
        error_of(sh("echo one >&2; printf 'two\\007 \\n\\n' >&2; echo out; exit 3")),
        "exit status 3: two\u{fffd}"
    );
    assert_eq!(error_of(sh("echo out; exit 1")), "exit status 1: out");
    assert_eq!(error_of(sh("echo x >&2; kill -9 $$")), "killed by signal 9: x");
}

#[test]
fn a_megabyte_is_read_and_its_end_kept() {
    assert_eq!(sh("head -c 1000000 /dev/zero; head -c 1000000 /dev/zero >&2"), Ok(()));
    let error = error_of(sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo end >&2; exit 1"));
    assert!(error.starts_with("exit status 1: …xxx") && error.ends_with("xend") && error.len() < 500, "{error}");
}

#[test]
fn a_state_that_is_not_read_or_larger_than_a_pipe_does_no_harm() {
    let long = "x".repeat(1 << 20);
    assert_eq!(run_it(&hook("exec <&-; sleep 0.1", None), &long), Ok(()));
    assert_eq!(run_it(&hook("exit 0", None), &long), Ok(()));
    assert_eq!(run_it(&hook("test $(wc -c) = 1048576", None), &long), Ok(()));
}

#[test]
fn who_stays_behind_with_its_pipes_is_not_waited_for() {
    let begun = Instant::now();
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    sh(&format!("sleep 1000 & echo $! > {}", pid.display())).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
    let pid: i32 = std::fs::read_to_string(pid).unwrap().trim().parse().unwrap();
    // It may be meant to stay.
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn its_timeout_kills_its_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let pid = dir.path().join("pid");
    let script = format!("echo waiting >&2; sleep 1000 & echo $! > {}; wait", pid.display());
    assert_eq!(error_of(run_it(&hook(&script, Some(3)), "")), "killed after its timeout of 3 s: waiting");
    let pid = std::fs::read_to_string(pid).unwrap();
    let gone = || match std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    while !gone() {
        std::thread::sleep(Duration::from_millis(10));
    }
    // The near miss: one that ends in time.
    assert_eq!(run_it(&hook("sleep 0.1", Some(60)), ""), Ok(()));
}

#[test]
fn the_end_of_its_client_is_its_own() {
    let (ours, theirs) = crate::stage::channel::Channel::pair().unwrap();
    let hook = hook("sleep 1000", None);
    let run = Run { hook: &hook, state: "", directory: Path::new("/"), client: Some(ours.as_fd()) };
    theirs.send(&"a message is no end", &[]).unwrap();
    let closer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(theirs);
    });
    assert_eq!(error_of(super::run(&run, nothing, nothing)), "killed, because the shim is gone");
    closer.join().unwrap();
}

#[test]
fn what_is_no_program_is_told_by_the_kernels_word() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    for (path, expected) in [("/nope", "No such file or directory"), (file.to_str().unwrap(), "Permission denied")] {
        let hook = Hook { path: path.into(), ..hook("", None) };
        let error = run_it(&hook, "").unwrap_err();
        assert!(error.starts_with(&format!("hooks.poststop[0] {path}: {expected} (os error ")), "{error}");
    }
}
