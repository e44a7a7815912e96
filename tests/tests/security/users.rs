//! Who a program runs as is a number of the container's map or nobody at all: it never wraps and never falls to 0
//! (CVE-2024-40635), and files of the image have no say in it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::{Value, json};
use tests::{Bundle, Container, stdio};

use crate::canary::{Canary, Make};

/// Ids that are numbers but not of the container, as JSON has them.
fn outside() -> Vec<Value> {
    vec![json!(65536), json!(100_000), json!(2_147_483_648_u64), json!(4_294_967_294_u64), json!(4_294_967_295_u64)]
}

/// What is no id at all.
fn none() -> Vec<Value> {
    vec![
        json!(-1),
        json!(4_294_967_296_u64),
        json!(18_446_744_073_709_551_615_u64),
        json!(1.5),
        json!("0"),
        json!("root"),
    ]
}

/// A user with one of its fields set.
fn user(field: &str, id: &Value) -> Value {
    let mut user = json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] });
    user[field] = if field == "additionalGids" { json!([0, id]) } else { id.clone() };
    user
}

#[tokio::test]
async fn an_id_outside_of_the_map_is_refused_by_name() {
    let container = Container::sleeping(Bundle::new()).await;
    for field in ["uid", "gid", "additionalGids"] {
        for id in outside().into_iter().chain(none()) {
            let user = user(field, &id);
            let name = format!("process.user.{field}");
            let message = Bundle::new().set("/process/user", user.clone()).refused().await;
            assert!(message.contains(&name), "{id}: {message}");
            let mut exec = container.process(&["/bin/id"]);
            exec["user"] = user;
            let failure = container.exec_process(&exec).await.expect_err(&name);
            let field = format!("user.{field}");
            assert!(failure.message.contains(&field) && failure.message.lines().count() == 1, "{id}: {failure:?}");
        }
    }
    container.end().await;
}

#[tokio::test]
async fn the_last_id_of_the_map_is_itself() {
    let last = json!({ "uid": 65535, "gid": 65535, "additionalGids": [0, 65535] });
    let expected = "65535 65535 65535 65535\n65535 65535 65535 65535\n0 65535";
    let show = "awk '/^[UG]id:/ { print $2, $3, $4, $5 } /^Groups:/ { print $2, $3 }' /proc/self/status";
    assert_eq!(Bundle::new().set("/process/user", last.clone()).sh(show).run().await.ok(), expected);
    let container = Container::sleeping(Bundle::new()).await;
    let mut exec = container.process(&["/bin/sh", "-c", show]);
    exec["user"] = last;
    assert_eq!(container.exec_process(&exec).await.unwrap().ok(), expected);
    container.end().await;
}

/// What an image may have as its /etc/passwd, and the `HOME` of uid 1000 with it.
fn forms(canary: &Canary) -> Vec<(&'static str, Make<'static>, &'static str)> {
    fs::write(canary.dir.join("etc/passwd"), "user:x:1000:1000::/of-the-host:/bin/sh\n").unwrap();
    let text = |text: &'static str| Box::new(move |passwd: &Path| fs::write(passwd, text).unwrap()) as Make<'_>;
    let link = |target: String| Box::new(move |passwd: &Path| symlink(&target, passwd).unwrap()) as Make<'_>;
    let huge = |passwd: &Path| {
        let file = fs::File::create(passwd).unwrap();
        file.set_len(1 << 40).unwrap();
    };
    vec![
        ("a user", text("user:x:1000:1000::/home:/bin/sh\n"), "/home"),
        ("names of digits", text("1000:x:0:0::/root:/bin/sh\n0:x:1000:0::/zero:/bin/sh\n"), "/zero"),
        ("lines of nothing", text(":::::::\n\n+:::::\nuser:x:-1:0::/a:\nu:x:4294968296:0::/b:\nu:x:1000\n"), "/"),
        ("bytes of nothing", Box::new(|passwd: &Path| fs::write(passwd, [0xff, 0, b'\n', b':', 0x80]).unwrap()), "/"),
        ("a terabyte", Box::new(huge), "/"),
        ("a fifo", Box::new(stdio::fifo), "/"),
        ("a directory", Box::new(|passwd: &Path| fs::create_dir(passwd).unwrap()), "/"),
        ("a file of the host", link(canary.absolute("etc/passwd")), "/"),
        ("a climb to the host", link(canary.climbing("etc/passwd")), "/"),
        ("a descriptor", link("/proc/self/fd/3".into()), "/"),
        ("a device", link("/dev/zero".into()), "/"),
        ("itself", link("passwd".into()), "/"),
    ]
}

#[tokio::test]
async fn the_images_passwd_is_asked_for_home_alone() {
    let canary = Canary::new();
    for (form, make, home) in forms(&canary) {
        let bundle = Bundle::new().image_with(|image| {
            for name in ["passwd", "group"] {
                let _ = fs::remove_file(image.join("etc").join(name));
                make(&image.join("etc").join(name));
            }
        });
        let bundle = bundle
            .set("/process/env", json!(["PATH=/bin"]))
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }))
            .sh("echo $HOME; awk '/^[UG]id:/ { print $2 } /^Groups:/ { print NF }' /proc/self/status");
        assert_eq!(bundle.run().await.ok(), format!("{home}\n1000\n1000\n1"), "{form}");
    }
}
