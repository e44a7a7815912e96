//! Created, started, waited for, killed, deleted.

use tests::{Bundle, Container};

#[tokio::test]
async fn a_container_has_ids_of_its_own() {
    let output = Bundle::new().args(&["/bin/cat", "/proc/self/uid_map", "/proc/self/gid_map"]).run().await;
    let fields: Vec<&str> = output.ok().split_whitespace().collect();
    assert_eq!((fields[0], fields[2], fields.len()), ("0", "65536", 6), "{output:?}");
    assert_eq!(fields[..3], fields[3..]);
    let host: u32 = fields[1].parse().unwrap();
    assert!(host >= 100_000 && (host - 100_000).is_multiple_of(65536), "{host}");
}

#[tokio::test]
async fn exit_codes_are_those_of_the_program_and_of_its_execs() {
    let container = Container::sleeping(Bundle::new()).await;
    for code in [0, 1, 2, 42, 127, 255] {
        let output = Bundle::new().sh(&format!("exit {code}")).run().await;
        assert_eq!(output.status, code);
        assert_eq!(container.sh(&format!("exit {code}")).await.status, code);
    }
    container.end().await;
}
