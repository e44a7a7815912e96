//! Hooks that fail: what each kind's failure does to its container, and every way of failing.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::stdio::Pipes;
use tests::{Bundle, Container, place};

/// Counts its runs in a file.
fn counting(bundle: Bundle) -> (Bundle, PathBuf) {
    let file = place::new_dir(&place::unique("hooks")).join("count");
    let bundle = bundle.hook("poststop", &format!("echo >> {}", file.display()));
    (bundle, file)
}

fn count(file: &PathBuf) -> usize {
    std::fs::read_to_string(file).unwrap_or_default().len()
}

/// The message of a create that fails for a hook of `kind`, after another that does well.
async fn refused(kind: &str, hook: Value) -> String {
    let (bundle, file) = counting(Bundle::new().hook(kind, "true").push(&format!("/hooks/{kind}"), hook));
    let message = bundle.refused().await;
    assert_eq!(count(&file), 1, "poststop hooks run once after a create that failed");
    message
}

fn script(script: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"] })
}

#[tokio::test]
async fn one_that_fails_before_start_ends_the_create_with_one_line_that_names_it() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let message = refused(kind, script("echo some; echo no luck >&2; exit 3")).await;
        let expected = format!("OCI runtime create failed: hooks.{kind}[1] /bin/sh: exit status 3: no luck");
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn after_one_that_fails_no_other_runs() {
    let file = place::new_dir(&place::unique("hooks")).join("ran");
    let later = format!("touch {}", file.display());
    let bundle = Bundle::new().hook("prestart", "exit 1").hook("prestart", &later).hook("createRuntime", &later);
    bundle.hook("createContainer", &later).refused().await;
    assert!(!file.exists());
}

#[tokio::test]
async fn a_start_container_hook_that_fails_ends_the_start_and_the_container() {
    let (bundle, file) = counting(Bundle::new().hook("startContainer", "echo no luck >&2; exit 3"));
    let message = bundle.sh("touch /ran").start_refused().await;
    assert!(message.ends_with("hooks.startContainer[0] /bin/sh: exit status 3: no luck"), "{message}");
    assert_eq!((message.lines().count(), count(&file)), (1, 1));
}

#[tokio::test]
async fn a_poststart_hook_that_fails_stops_the_container() {
    let (bundle, file) = counting(Bundle::new().hook("poststart", "true").hook("poststart", "echo no luck; exit 3"));
    let container = Container::create_with(bundle.args(&["/bin/sleep", "1000"]), Pipes::none()).await.unwrap();
    let failure = container.start().await.unwrap_err();
    assert!(failure.message.ends_with("hooks.poststart[1] /bin/sh: exit status 3: no luck"), "{failure:?}");
    assert_eq!(container.wait().await, 137);
    assert_eq!(count(&file), 0);
    container.end().await;
    assert_eq!(count(&file), 1);
}

#[tokio::test]
async fn a_poststop_hook_that_fails_is_a_warning_and_the_others_run() {
    let (bundle, file) = counting(Bundle::new().hook("poststop", "echo no luck; exit 3"));
    let container = Container::started(bundle).await;
    container.wait().await;
    container.delete().await.unwrap();
    assert_eq!(count(&file), 1);
    container.shim.logged("hooks.poststop[0] /bin/sh: exit status 3: no luck").await;
    container.shim.shut_down().await.unwrap();
}

#[tokio::test]
async fn one_that_hangs_is_killed_with_its_children_after_its_timeout() {
    for kind in ["prestart", "createContainer", "startContainer"] {
        let mut hook = script(&format!("echo here >&2; sleep 4711 & echo {kind}; wait"));
        // Time enough to say something, on a busy machine.
        hook["timeout"] = json!(3);
        let begun = Instant::now();
        let message = match kind {
            "startContainer" => Bundle::new().push("/hooks/startContainer", hook).start_refused().await,
            kind => Bundle::new().push(&format!("/hooks/{kind}"), hook).refused().await,
        };
        let expected = format!("hooks.{kind}[0] /bin/sh: killed after its timeout of 3 s: here");
        assert!(message.ends_with(&expected), "{message}");
        assert!(begun.elapsed() >= Duration::from_secs(3));
        let left = || tests::sh("grep -la '^sleep.4711' /proc/[0-9]*/cmdline").stdout;
        tests::until(&format!("the end of the children of {kind}"), || left().is_empty()).await;
    }
}

#[tokio::test]
async fn one_that_is_no_program_is_told_by_its_path() {
    let plain = place::new_dir(&place::unique("hooks")).join("plain");
    std::fs::write(&plain, "x").unwrap();
    for kind in ["createRuntime", "createContainer"] {
        for (path, reason) in [
            ("/nope", "No such file or directory (os error 2)"),
            (plain.to_str().unwrap(), "Permission denied (os error 13)"),
        ] {
            let message = refused(kind, json!({ "path": path })).await;
            assert!(message.ends_with(&format!("hooks.{kind}[1] {path}: {reason}")), "{message}");
        }
    }
    // A program of the host's is none of the container's.
    let host = place::shim();
    let message = Bundle::new().push("/hooks/startContainer", json!({ "path": host })).start_refused().await;
    assert!(message.contains(": No such file or directory"), "{message}");
}

#[tokio::test]
async fn one_that_no_kernel_or_clock_would_take_is_refused_by_its_name() {
    for (hook, expected) in [
        (json!({ "path": "bin/sh" }), r#"path: "bin/sh" is not an absolute path"#),
        (json!({ "args": ["sh"] }), "path: is missing"),
        (json!({ "path": "/bin/true", "timeout": 0 }), "timeout: 0 is not a positive number of seconds"),
        (json!({ "path": "/bin/true", "timeout": -1 }), "timeout: -1 is not a positive number of seconds"),
        (json!({ "path": "/bin/true", "env": ["A"] }), r#"env[0]: "A" is not of the form NAME=value"#),
    ] {
        let message = Bundle::new().push("/hooks/poststop", hook).refused().await;
        assert!(message.ends_with(&format!("error in the container spec: hooks.poststop[0].{expected}")), "{message}");
    }
    let near = json!({ "path": "/bin/true", "timeout": 1, "env": ["A="] });
    Bundle::new().push("/hooks/poststop", near).run().await.ok();
}

#[tokio::test]
async fn one_that_dies_or_talks_too_much_or_does_not_listen_does_no_harm() {
    let message = refused("createRuntime", script("kill -9 $$")).await;
    assert!(message.ends_with("hooks.createRuntime[1] /bin/sh: killed by signal 9"), "{message}");
    let megabytes = "head -c 4000000 /dev/zero | tr '\\0' x >&2; head -c 4000000 /dev/zero";
    let message = refused("createRuntime", script(&format!("{megabytes}; echo; echo end >&2; exit 1"))).await;
    assert!(message.ends_with("xxxend") && message.len() < 1000, "{message}");
    // Each of them, where it succeeds.
    let mut bundle = Bundle::new().set("/annotations", json!({ "long": "x".repeat(300_000) }));
    for kind in super::hooks::KINDS {
        bundle = bundle.hook(kind, &format!("exec < /dev/null; {megabytes}"));
        bundle = bundle.hook(kind, "sleep 300 & exit 0");
    }
    // Nobody waits for what stays behind, or a request would not be answered in time.
    bundle.run().await.ok();
}
