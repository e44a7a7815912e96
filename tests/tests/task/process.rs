//! Who a program is, where it starts and with what: for a container's first process and for its execs.

use serde_json::json;
use tests::{Bundle, Container};

/// A line of proc_pid_status(5), its value with single spaces.
pub(crate) fn status(text: &str, name: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {text}")).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Shows the process itself: no shell in between changes anything.
pub(crate) const SHOW: [&str; 2] = ["/bin/cat", "/proc/self/status"];

#[tokio::test]
async fn a_program_has_its_user_its_groups_and_its_umask() {
    let user = json!({ "uid": 1000, "gid": 1001, "umask": 0o027, "additionalGids": [5, 65535] });
    let init = Bundle::new().set("/process/user", user.clone()).args(&SHOW).run().await;
    let container = Container::sleeping(Bundle::new()).await;
    let mut process = container.process(&SHOW);
    process["user"] = user;
    let exec = container.exec_process(&process).await.unwrap();
    for output in [init, exec] {
        let of = |name| status(output.ok(), name);
        assert_eq!(of("Uid"), "1000 1000 1000 1000");
        assert_eq!(of("Gid"), "1001 1001 1001 1001");
        assert_eq!(of("Groups"), "5 65535");
        assert_eq!(of("Umask"), "0027");
    }
    let usual = container.exec(&SHOW).await;
    assert_eq!((status(usual.ok(), "Umask"), status(usual.ok(), "Groups")), ("0022".into(), String::new()));
    container.end().await;
}

#[tokio::test]
async fn ids_outside_of_the_map_are_refused_by_name_and_the_last_one_inside_works() {
    let container = Container::sleeping(Bundle::new()).await;
    for id in [65536_u32, u32::MAX] {
        let fields = [
            ("uid", json!(id), "uid"),
            ("gid", json!(id), "gid"),
            ("additionalGids", json!([1, id]), "additionalGids[1]"),
        ];
        for (name, value, field) in fields {
            let expected = format!("process.user.{field}: {id} is outside the container's ids, which are 0 to 65535");
            let message = Bundle::new().set(&format!("/process/user/{name}"), value.clone()).refused().await;
            assert_eq!(message, format!("OCI runtime create failed: error in the container spec: {expected}"));
            let mut process = container.process(&SHOW);
            process["user"][name] = value;
            let failure = container.exec_process(&process).await.unwrap_err();
            assert_eq!(failure.message, format!("OCI runtime exec failed: error in the process spec: {expected}"));
        }
    }
    container.end().await;
    let last = json!({ "uid": 65535, "gid": 65535, "additionalGids": [65535] });
    let output = Bundle::new().set("/process/user", last).args(&SHOW).run().await;
    assert_eq!(status(output.ok(), "Uid"), "65535 65535 65535 65535");
}

#[tokio::test]
async fn a_missing_working_directory_is_made_for_the_first_process_only() {
    let script = "pwd; stat -c %u:%g:%a .";
    let bundle =
        Bundle::new().set("/process/cwd", json!("/new/deep")).set("/process/user", json!({ "uid": 7, "gid": 7 }));
    assert_eq!(bundle.sh(script).run().await.ok(), "/new/deep\n0:0:755");
    let container = Container::sleeping(Bundle::new()).await;
    let mut process = container.process(&["/bin/pwd"]);
    process["cwd"] = json!("/tmp");
    assert_eq!(container.exec_process(&process).await.unwrap().ok(), "/tmp");
    process["cwd"] = json!("/missing");
    let failure = container.exec_process(&process).await.unwrap_err();
    assert_eq!(
        failure.message,
        "OCI runtime exec failed: chdir to process.cwd \"/missing\": no such file or directory"
    );
    process["cwd"] = json!("/etc/passwd");
    let failure = container.exec_process(&process).await.unwrap_err();
    assert!(failure.message.contains("process.cwd \"/etc/passwd\": not a directory"), "{failure:?}");
    container.end().await;
}

#[tokio::test]
async fn a_descriptor_is_no_working_directory() {
    // CVE-2024-21626, straight and through a symbolic link of the image.
    let link = |image: &std::path::Path| {
        std::fs::create_dir(image.join("w")).unwrap();
        for fd in 3..12 {
            std::os::unix::fs::symlink(format!("/proc/self/fd/{fd}"), image.join(format!("w/{fd}"))).unwrap();
        }
    };
    let container = Container::sleeping(Bundle::new().image_with(link)).await;
    for fd in 3..12 {
        for cwd in [format!("/proc/self/fd/{fd}"), format!("/w/{fd}"), format!("/proc/thread-self/fd/{fd}/..")] {
            let mut process = container.process(&["/bin/pwd"]);
            process["cwd"] = json!(cwd);
            let failure = container.exec_process(&process).await.unwrap_err();
            assert!(failure.message.contains("process.cwd"), "{cwd}: {failure:?}");
        }
    }
    container.end().await;
    for fd in [3, 7, 9] {
        let message = Bundle::new().set("/process/cwd", json!(format!("/proc/self/fd/{fd}"))).refused().await;
        assert!(message.contains("process.cwd"), "{message}");
    }
}

#[tokio::test]
async fn the_environment_is_the_specs_with_a_home() {
    let env = json!(["PATH=/bin", "A=1", "B=x=y", "A=2", "EMPTY="]);
    let passwd = |image: &std::path::Path| {
        std::fs::write(image.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nu:x:1000:1000::/home/u:/bin/sh\n")
            .unwrap();
    };
    for (uid, home) in [(0, "/root"), (1000, "/home/u"), (1001, "/")] {
        let user = json!({ "uid": uid, "gid": 0 });
        let bundle = Bundle::new().image_with(passwd).set("/process/env", env.clone()).set("/process/user", user);
        let container = Container::sleeping(bundle).await;
        let expected = format!("PATH=/bin\nA=2\nB=x=y\nEMPTY=\nHOME={home}");
        assert_eq!(container.exec(&["env"]).await.ok(), expected);
        let environ = std::fs::read_to_string(format!("/proc/{}/environ", container.pid)).unwrap();
        assert_eq!(environ.trim_end_matches('\0').replace('\0', "\n"), expected);
        container.end().await;
    }
    for entry in ["NAME", "=value", ""] {
        let message = Bundle::new().set("/process/env", json!(["PATH=/bin", entry])).refused().await;
        assert!(
            message.contains(&format!("process.env[1] {entry:?} is not of the form NAME=value"))
                || message.contains(&format!("process.env[1] {entry:?}: is not of the form NAME=value")),
            "{message}"
        );
    }
    let message = Bundle::new().set("/process/env", json!(["A=\0"])).refused().await;
    assert!(message.contains("process.env[0]: has a NUL byte"), "{message}");
}

#[tokio::test]
async fn a_program_starts_with_default_signals_and_three_descriptors() {
    let user = json!({ "uid": 1000, "gid": 1000 });
    for bundle in [Bundle::new(), Bundle::new().set("/process/user", user)] {
        let bundle = bundle.push("/process/env", json!("LISTEN_FDS=2")).push("/process/env", json!("LISTEN_PID=1"));
        let container = Container::sleeping(bundle.clone()).await;
        let fds = ["/bin/ls", "/proc/self/fd"];
        let copy = |args: &[&str]| {
            let new = Bundle::new();
            let process = bundle.spec["process"].clone();
            new.set("/process", process).args(args).run()
        };
        for output in [copy(&SHOW).await, container.exec(&SHOW).await] {
            for name in ["SigIgn", "SigBlk", "SigCgt", "SigPnd", "ShdPnd"] {
                assert_eq!(status(output.ok(), name), "0000000000000000", "{name}");
            }
        }
        for output in [copy(&fds).await, container.exec(&fds).await] {
            // 3 is the directory that ls itself has open.
            assert_eq!(output.ok(), "0\n1\n2\n3");
        }
        container.end().await;
    }
}

/// What runs, and the words of runc and of Go's os/exec about it.
const NOT_RUNNABLE: [(&str, &str); 6] = [
    ("nope", r#"exec: "nope": executable file not found in $PATH"#),
    ("/nope", r#"exec: "/nope": stat /nope: no such file or directory"#),
    ("/etc", r#"exec: "/etc": is a directory"#),
    ("/etc/plain", r#"exec: "/etc/plain": permission denied"#),
    ("./plain", r#"exec: "./plain": stat ./plain: no such file or directory"#),
    ("/etc/plain/x", r#"exec: "/etc/plain/x": stat /etc/plain/x: not a directory"#),
];

fn odd_files(image: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(image.join("etc/plain"), "x").unwrap();
    for (name, text) in [("bin/odd", "\x01no format"), ("bin/lost", "#!/bin/none\n")] {
        std::fs::write(image.join(name), text).unwrap();
        std::fs::set_permissions(image.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_told_in_runcs_words() {
    let container = Container::sleeping(Bundle::new().image_with(odd_files)).await;
    let create = "OCI runtime create failed: unable to start container process: ";
    let exec = "OCI runtime exec failed: exec failed: unable to start container process: ";
    for (program, words) in NOT_RUNNABLE {
        let message = Bundle::new().image_with(odd_files).args(&[program]).refused().await;
        assert_eq!(message, format!("{create}{words}"));
        let failure = container.exec_process(&container.process(&[program])).await.unwrap_err();
        assert_eq!(failure.message, format!("{exec}{words}"));
    }
    for (program, words) in
        [("odd", "exec /bin/odd: exec format error"), ("/bin/lost", "exec /bin/lost: no such file or directory")]
    {
        let message = Bundle::new().image_with(odd_files).args(&[program]).start_refused().await;
        assert_eq!(message, format!("{create}{words}"));
        let failure = container.exec_process(&container.process(&[program])).await.unwrap_err();
        assert_eq!(failure.message, format!("{exec}{words}"));
    }
    container.end().await;
}

#[tokio::test]
async fn an_exec_that_could_not_start_has_a_shells_exit_status() {
    let container = Container::sleeping(Bundle::new()).await;
    let pipes = tests::stdio::Pipes::none();
    container.add_process("lost", &container.process(&["nope"]), &pipes).await.unwrap();
    container.start_process("lost").await.unwrap_err();
    assert_eq!(container.state("lost").await.unwrap().exit_status, 127);
    assert_eq!(container.delete_process("lost").await.unwrap().exit_status, 127);
    container.end().await;
}

#[tokio::test]
async fn the_path_of_the_program_is_its_own_environments() {
    let bundle = || Bundle::new().args(&["true"]);
    assert_eq!(bundle().set("/process/env", json!(["PATH=/none:/etc:/bin"])).run().await.ok(), "");
    let not_found = r#"exec: "true": executable file not found in $PATH"#;
    for env in [json!(["PATH=/etc"]), json!(["PATH="]), json!([])] {
        let message = bundle().set("/process/env", env).refused().await;
        assert!(message.ends_with(not_found), "{message}");
    }
    let message = bundle().set("/process/env", json!(["PATH=bin:/bin"])).refused().await;
    assert!(
        message.ends_with(r#"exec: "true": cannot run executable found relative to current directory"#),
        "{message}"
    );
    let output = Bundle::new().set("/process/cwd", json!("/bin")).args(&["./echo", "here"]).run().await;
    assert_eq!(output.ok(), "here");
}
