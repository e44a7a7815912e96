//! What is long stays whole or is refused by name: there is no message of ours whose length could overflow, and none that is
//! cut short in silence (CVE-2021-43784).

use std::time::Instant;

use serde_json::{Value, json};
use tests::room::Room;
use tests::{Bundle, Container, place};

/// The longest line that an engine's user is given: what is wrong must be found in it.
const LONGEST_LINE: usize = 9000;

/// The first host id of the maps.
const BASE: u32 = 7_000_000;

#[track_caller]
fn judge(message: &str, parts: &[&str]) {
    assert!(message.len() <= LONGEST_LINE, "{} bytes: {}…", message.len(), &message[..500]);
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(parts.iter().all(|part| message.contains(part)), "{parts:?} are not in {message}");
}

/// A map of one id in each entry, or so: 65536 ids in `entries` of them.
fn map(entries: u32, hole: bool) -> Value {
    let size = 65536 / entries;
    let entry = |number: u32| {
        let moved = u32::from(hole && number == entries - 1);
        json!({ "containerID": number * size, "hostID": BASE + number * size + moved, "size": size })
    };
    (0..entries).map(entry).collect()
}

fn mapped(map: &Value) -> Bundle {
    assert!(map.to_string().len() > 64 << 10, "short");
    Bundle::new().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map.clone())
}

#[tokio::test]
async fn a_map_of_thousands_of_entries_is_one_range_or_is_refused() {
    let room = Room::new();
    let container = room.sleeping(mapped(&map(16384, false))).await;
    let shown = container.sh("cat /proc/self/uid_map /proc/self/gid_map").await;
    let fields: Vec<&str> = shown.ok().split_whitespace().collect();
    assert_eq!(fields, ["0", "7000000", "65536", "0", "7000000", "65536"]);
    container.end().await;
    let message = room.refused(mapped(&map(16384, true))).await;
    judge(&message, &["linux.uidMappings: host ID mappings are non-contiguous"]);
}

#[tokio::test]
async fn mounts_by_the_thousand_are_all_there() {
    let file = place::new_dir("source").join("of-the-source");
    std::fs::write(&file, "x").unwrap();
    for count in [300, 5000] {
        let before = Instant::now();
        let bundle =
            (0..count).fold(Bundle::new(), |bundle, number| bundle.bind(&file, &format!("/m/{number}"), &["ro"]));
        let output = bundle.sh("grep -c ' /m/' /proc/self/mountinfo; cat /m/*| wc -c").run().await;
        assert_eq!(output.ok(), format!("{count}\n{count}"));
        println!("{count} mounts: {:?}", before.elapsed());
    }
    let bundle = (0..300).fold(Bundle::new(), |bundle, number| bundle.bind(&file, &format!("/m/{number}"), &["ro"]));
    let message = bundle.bind(&file.join("missing"), "/m/last", &[]).refused().await;
    judge(&message, &["/missing"]);
}

#[tokio::test]
async fn long_arguments_and_environments_arrive_whole() {
    let long = "x".repeat(100_000);
    let args: Vec<&str> =
        ["/bin/sh", "-c", "echo $# ${#1} ${#9} ${#A1} ${#LONG} $LAST", "sh"].into_iter().chain([&*long; 9]).collect();
    let mut env: Vec<String> = (0..20_000).map(|number| format!("A{number}={number}")).collect();
    env.extend([format!("LONG={long}"), "LAST=last".to_owned(), "PATH=/bin".to_owned()]);
    let expected = "9 100000 100000 1 100000 last";
    let bundle = Bundle::new().args(&args).set("/process/env", json!(env));
    assert_eq!(bundle.clone().run().await.ok(), expected);
    let container = Container::sleeping(Bundle::new()).await;
    assert_eq!(container.exec_process(&bundle.spec["process"]).await.unwrap().ok(), expected);
    container.end().await;
}

#[tokio::test]
async fn what_is_too_long_for_a_program_is_refused_in_one_line() {
    // execve(2) takes 128 KiB for one string, and what is shorter may still be more than a message of a stage's has room for.
    let (too_long, long) = ("x".repeat(131_072), "x".repeat(100_000));
    let path = "/x".repeat(150_000);
    let cases = [
        ("/process/args", json!(["/bin/true", too_long]), "process.args[1]"),
        ("/process/args", json!(vec![&*long; 40]), "not found in $PATH"),
        ("/process/args", json!([["/bin/true"].as_slice(), &[&*long; 40]].concat()), "argument list too long"),
        ("/process/args", json!([format!("/{long}")]), "file name too long"),
        ("/process/env", json!([format!("A={too_long}")]), "process.env[0]"),
        ("/process/env", json!([long]), "process.env[0]"),
        ("/process/cwd", json!(path), "process.cwd"),
        ("/process/user/additionalGids", json!((0..70_000).collect::<Vec<u32>>()), "process.user.additionalGids"),
        ("/hostname", json!(long), "hostname"),
    ];
    let container = Container::sleeping(Bundle::new()).await;
    for (pointer, value, part) in cases {
        let bundle = Bundle::new().set(pointer, value);
        let message = match Container::create(bundle.clone()).await {
            Err(failure) => failure.message,
            Ok(container) => {
                let failure = container.start().await.expect_err(pointer);
                container.wait().await;
                container.end().await;
                failure.message
            }
        };
        judge(&message, &[part]);
        if pointer != "/hostname" {
            let failure = container.exec_process(&bundle.spec["process"]).await.expect_err(pointer);
            judge(&failure.message, &[part.trim_start_matches("process.")]);
        }
    }
    assert_eq!(container.sh("echo serves on").await.ok(), "serves on");
    container.end().await;
}

#[tokio::test]
async fn long_names_of_the_spec_are_carried_or_refused_by_name() {
    let long = "x".repeat(300_000);
    let annotations: serde_json::Map<String, Value> =
        (0..5000).map(|number| (format!("a{number}"), json!("x".repeat(200)))).collect();
    let bundle = Bundle::new().set("/annotations", json!(annotations)).set("/annotations/long", json!(long));
    let bundle = bundle.hook("poststop", "cat > /dev/null");
    bundle.sh("echo carried").run().await.ok();
    for (bundle, part) in [
        (Bundle::new().mount("tmpfs", "tmpfs", &"/x".repeat(150_000), &[]), "mounts[7]"),
        (Bundle::new().mount("tmpfs", "tmpfs", "/m", &[&long]), "mounts[7]"),
        (Bundle::new().mount("bind", &"/x".repeat(150_000), "/m", &["rbind"]), "mounts[7].source"),
        (Bundle::new().mount(&long, "none", "/m", &[]), "mounts[7]"),
        (Bundle::new().set("/linux/sysctl", json!({ (&*long): "1" })), "linux.sysctl"),
        (Bundle::new().set("/linux/maskedPaths", json!(["/x".repeat(150_000)])), "linux.maskedPaths"),
        (Bundle::new().set("/linux/cgroupsPath", json!("/x".repeat(150_000))), "linux.cgroupsPath"),
        (Bundle::new().set("/root/path", json!(long)), "root.path"),
    ] {
        judge(&bundle.refused().await, &[part]);
    }
}
