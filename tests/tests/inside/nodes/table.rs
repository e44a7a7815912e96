//! Each row as its own cells say, in containers of every kind.

use serde_json::json;
use tests::rows::{By, Row, answers, questions};
use tests::{Bundle, Container};

use super::{host_values, rows};
use crate::setup::{bash, on, privileged};

async fn each_shows_takes_and_refuses_what_its_row_says(bundle: Bundle, rows: &[Row], by: By) {
    let before = host_values(rows);
    let container = Container::sleeping(bundle).await;
    let said = bash(&container, &questions(rows)).await;
    let mut said: Vec<&str> = said.ok().lines().collect();
    said.sort_unstable();
    let expected = answers(rows, by);
    let differs = said.iter().zip(&expected).find(|(said, expected)| *said != expected);
    assert_eq!((differs, said.len()), (None, expected.len()), "{said:#?}");
    assert_eq!(host_values(rows), before, "the host's are the host's");
    container.end().await;
}

#[tokio::test]
async fn in_a_privileged_container() {
    each_shows_takes_and_refuses_what_its_row_says(privileged("trixie"), &rows(), By::Privileged).await;
}

#[tokio::test]
async fn on_a_read_only_root() {
    let bundle = privileged("trixie").set("/root/readonly", json!(true));
    each_shows_takes_and_refuses_what_its_row_says(bundle, &rows(), By::Privileged).await;
}

/// The same files; what its engine has made read-only is that.
#[tokio::test]
async fn in_a_plain_container() {
    // Masked as everywhere, with nothing to see.
    let masked = "/sys/firmware";
    let rows: Vec<Row> = rows().into_iter().filter(|row| row.path != masked).collect();
    each_shows_takes_and_refuses_what_its_row_says(on("trixie"), &rows, By::Plain).await;
    let container = Container::sleeping(on("trixie")).await;
    assert_eq!(bash(&container, &format!("ls -A {masked}")).await.ok(), "");
    container.end().await;
}
