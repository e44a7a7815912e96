//! The shim is killed at each of its failpoints.

use tests::shim::{Answer, How};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim, place};

use crate::look;

/// Lives one container's life until the shim dies of it. Returns the request that was not answered.
async fn live(shim: &std::sync::Arc<Shim>, bundle: Bundle) -> Answer<()> {
    let container = Container::create_in(shim, bundle.args(&["/bin/sleep", "1000"]), Pipes::none()).await?;
    container.start().await?;
    let process = container.process(&["/bin/true"]);
    container.add_process("e", &process, &Pipes::none()).await?;
    container.start_process("e").await?;
    container.wait_process("e").await?;
    container.kill("", 9, true).await?;
    container.wait_process("").await?;
    container.delete().await?;
    Ok(())
}

#[tokio::test]
async fn a_shim_that_is_killed_anywhere_leaves_the_others_untouched_and_delete_cleans_up() {
    let other = Container::sleeping(Bundle::new()).await;
    let binary = place::copy_of(&place::shim_with_failpoints());
    let names: Vec<_> = look::failpoints().into_iter().filter(|name| !name.starts_with("stage-")).collect();
    assert!(names.len() >= 13, "{names:?}");
    for name in names {
        let bundle = Bundle::new();
        let how = How { binary: binary.clone(), ..How::failing_at(name) };
        let shim = Shim::start_as(&bundle, &how).await;
        live(&shim, bundle.clone()).await.expect_err(name);
        look::gone(shim.pid).await;

        assert_eq!(other.sh("echo lives").await.ok(), "lives", "{name}");
        let before = look::living_bases();
        let next = Container::sleeping(Bundle::new()).await;
        // Other tests' containers may have ended meanwhile.
        let mut taken = look::living_bases();
        taken.retain(|it| before.contains(it));
        assert!(
            taken.iter().all(|(_, base)| *base != next.host_base()),
            "{name}: a range of living processes was given away"
        );
        next.end().await;

        look::delete_twice(&bundle);
        assert!(look::is_gone(&shim.socket()), "{name}: the socket is left");
        tests::until("the end of its processes", || shim.processes().is_empty()).await;
        assert_eq!(look::ranges_of(&bundle.id).len(), usize::from(name != "create-planned"), "{name}");

        // Its id is free, and what it wrote is its own again.
        let again = Container::create(bundle.clone()).await.unwrap_or_else(|failure| panic!("{name}: {failure:?}"));
        again.start().await.expect("start");
        again.wait().await;
        again.end().await;
        look::remove_layer(&bundle);
        assert_eq!(look::ranges_of(&bundle.id), Vec::<String>::new(), "{name}");
    }
    other.end().await;
}
