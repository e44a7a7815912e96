//! What the containers of a pod share of it, and what each has for itself.

use serde_json::json;
use tests::rows::Row;
use tests::{Bundle, Container, pod};

use super::{SEE, answers, change, listed, rows, with};
use crate::setup::{bash, privileged};

const MIB: u64 = 1 << 20;

/// Two containers of one pod, of which the second has less memory.
async fn pair(bundle: impl Fn() -> Bundle) -> (Container, Container) {
    pod::sleeping(bundle(), bundle().set("/linux/resources/memory", json!({ "limit": 64 * MIB }))).await
}

#[tokio::test]
async fn settings_are_shared_and_the_rest_is_each_ones_own() {
    let rows = rows();
    let dir = listed(&rows);
    let (first, second) = pair(|| with(privileged("trixie"), &dir)).await;
    let see = format!("{SEE}\nsee /proc /sys < /nodes/paths");
    bash(&first, &change(&rows)).await.ok();
    let [one, other] = [answers(&bash(&first, &see).await), answers(&bash(&second, &see).await)];
    let settings: Vec<&Row> = rows.iter().filter(|row| row.is_kept()).collect();
    for row in &settings {
        let text = ("text".to_owned(), row.path.clone());
        assert_eq!(other[&text], one[&text], "{}", row.path);
        assert!(row.tied || one[&text] != row.hosts().trim(), "{}", row.path);
    }
    // The other way round.
    let back: String = settings
        .iter()
        .filter_map(|row| {
            let now = &one[&("text".to_owned(), row.path.clone())];
            Some(format!("echo '{}' > {}\n", row.other_than(&[now])?.0, row.path))
        })
        .collect();
    bash(&second, &back).await.ok();
    let [then, there] = [answers(&bash(&first, &see).await), answers(&bash(&second, &see).await)];
    for row in &settings {
        let text = ("text".to_owned(), row.path.clone());
        assert_eq!(then[&text], there[&text], "{}", row.path);
        assert!(row.tied || then[&text] != one[&text], "{}", row.path);
    }
    // Each is a boot, has limits and pids of its own, and files.
    for path in ["/proc/sys/kernel/random/boot_id", "/sys/devices/virtual/dmi/id/product_uuid", "/proc/meminfo"] {
        let text = ("text".to_owned(), path.to_owned());
        assert!(!one.contains_key(&text) || one[&text] != other[&text], "{path}: {}", one[&text]);
    }
    for row in &rows {
        let is = ("is".to_owned(), row.path.clone());
        assert_ne!(one[&is], other[&is], "{}", row.path);
    }
    second.remove().await;
    first.end().await;
}
