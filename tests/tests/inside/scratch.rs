use tests::Container;
use serde_json::json;
use crate::setup;

#[tokio::test]
async fn scratch() {
    let suite = std::env::var("S_SUITE").unwrap_or("trixie".into());
    let mut bundle = setup::privileged(&suite);
    if std::env::var("S_RO").is_ok() { bundle = bundle.set("/root/readonly", json!(true)); }
    let container = Container::sleeping(bundle.bind("/tmp/scripts".as_ref(), "/scripts", &["ro"]).bind(&tests::place::new_dir("vol"), "/vol", &[])).await;
    for script in std::env::var("S").unwrap().split(' ') {
        let start = std::time::Instant::now();
        let said = container.exec(&["/bin/bash", &format!("/scripts/{script}")]).await;
        eprintln!("=== {script} [{}] {:?}\n{}--- err\n{}", said.status, start.elapsed(), said.stdout, said.stderr);
    }
    container.end().await;
}
