//! `update BUNDLE JSON`: asks the shim of a bundle for other limits of its container, where no engine's tool does.

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bundle, resources] = &arguments[..] else {
        eprintln!("usage: update BUNDLE JSON");
        std::process::exit(2);
    };
    if let Err(error) = update(std::path::Path::new(bundle), resources).await {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn update(bundle: &std::path::Path, resources: &str) -> Result<(), String> {
    let resources = serde_json::from_str(resources).map_err(|error| error.to_string())?;
    let address = std::fs::read_to_string(bundle.join("address")).map_err(|error| error.to_string())?;
    let id = bundle.file_name().unwrap_or_default().to_string_lossy();
    let task = containerd_shim_protos::shim_async::TaskClient::new(tests::shim::connect(&address).await);
    tests::container::update(&task, &id, &resources).await.map_err(|failure| failure.message)
}
