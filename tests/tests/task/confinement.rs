//! Security modules and the session keyring.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde_json::json;
use tests::container::create_request;
use tests::shim::deadline;
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

#[tokio::test]
async fn an_apparmor_profile_that_a_user_names_is_applied_or_an_error() {
    // Not loaded where there is AppArmor, and nothing to load it into where there is none.
    let refusal = Bundle::new().set("/process/apparmorProfile", json!("no-such-profile")).refused().await;
    assert!(refusal.contains("process.apparmorProfile \"no-such-profile\": apparmor"), "{refusal}");
    let container = Container::sleeping(Bundle::new()).await;
    let mut process = container.process(&["true"]);
    process["apparmorProfile"] = json!("no-such-profile");
    let failure = container.exec_process(&process).await.unwrap_err();
    assert!(failure.message.contains("process.apparmorProfile \"no-such-profile\""), "{failure:?}");
    process["apparmorProfile"] = json!("unconfined");
    assert_eq!(container.exec_process(&process).await.unwrap().ok(), "");
    container.end().await;
}

#[tokio::test]
async fn an_engines_default_apparmor_profile_is_left_off_where_it_would_forbid_the_containers_mounts() {
    if !std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        assert_eq!(Bundle::new().set("/process/apparmorProfile", json!("docker-default")).run().await.ok(), "");
    }
    let bundle = Bundle::new().all_capabilities().set("/process/apparmorProfile", json!("docker-default"));
    let container = Container::sleeping(bundle).await;
    let line = container.shim.logged("process.apparmorProfile").await;
    assert!(line.contains("docker-default") && line.contains("is left off"), "{line}");
    container.end().await;
}

#[tokio::test]
async fn a_label_that_no_module_takes_is_an_error() {
    let refusal = Bundle::new().set("/process/selinuxLabel", json!("a:b:c:s0")).refused().await;
    assert!(refusal.contains("process.selinuxLabel \"a:b:c:s0\": selinux is disabled or not supported"), "{refusal}");
    let refusal = Bundle::new().set("/process/selinuxLabel", json!("a\nb")).refused().await;
    assert!(refusal.contains("process.selinuxLabel: \"a\\nb\" has a line break"), "{refusal}");
    assert_eq!(Bundle::new().set("/process/selinuxLabel", json!("")).run().await.ok(), "");
}

#[tokio::test]
async fn a_container_and_its_execs_have_a_session_keyring_of_their_own() {
    let bundle = || Bundle::new().with_inside();
    let (one, two) = (Container::sleeping(bundle()).await, Container::sleeping(bundle()).await);
    for container in [&one, &two] {
        let description = container.exec(&["/inside", "keyring"]).await;
        let fields: Vec<&str> = description.ok().split(';').collect();
        assert_eq!((fields[0], fields[1], fields[2]), ("keyring", "0", "0"));
        assert_eq!(fields[4], format!("_eci.{}", container.id()));
    }
    let first = bundle();
    let name = format!("_eci.{}", first.id);
    let output = first.args(&["/inside", "keyring"]).run().await;
    assert!(output.ok().ends_with(&name), "{output:?}");
    one.end().await;
    two.end().await;
}

#[tokio::test]
async fn no_keyring_is_made_where_the_options_say_so() {
    let bundle = Bundle::new().with_inside().args(&["/inside", "keyring"]);
    let shim = Shim::start(&bundle).await;
    let pipes = Pipes::output();
    let mut request = create_request(&bundle, &pipes);
    let options = containerd_shim_protos::shim::oci::Options { no_new_keyring: true, ..Default::default() };
    let value = options.write_to_bytes().unwrap();
    let type_url = "containerd.runc.v1.Options".to_owned();
    request.options = Some(Any { type_url, value, ..Default::default() }).into();
    let pid = shim.task.create(deadline(), &request).await.unwrap().pid;
    let mut container = Container { bundle, shim, pid, pipes };
    container.start().await.unwrap();
    let output = container.output().await;
    assert!(!output.stdout.contains("_eci."), "{output:?}");
    container.end().await;
}
