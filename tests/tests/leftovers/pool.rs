//! A pool of two ranges.

use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

use crate::TURN;

/// Created, ended and deleted, with its writable layer left where it is. Returns its first host id.
async fn stopped(bundle: Bundle) -> u32 {
    let container = Container::sleeping(bundle).await;
    let base = container.host_base();
    container.end().await;
    base
}

#[tokio::test]
async fn a_used_up_pool_takes_ranges_of_stopped_containers_and_then_says_so() {
    let _turn = TURN.lock().await;
    std::fs::create_dir_all("/etc/eci").expect("/etc/eci");
    std::fs::write("/etc/eci/config.toml", "[ranges]\nfirst = 2000000000\ncount = 2\n").expect("the config");
    let (older, newer) = (Bundle::new(), Bundle::new());
    let (first, second) = (stopped(older.clone()).await, stopped(newer.clone()).await);
    assert_eq!((first, second), (2_000_000_000, 2_000_065_536));

    let bundle = Bundle::new();
    let shim = Shim::start(&bundle).await;
    let mut containers = Vec::new();
    for (bundle, base, from) in [(bundle, first, &older.id), (Bundle::new(), second, &newer.id)] {
        let container = Container::create_in(&shim, bundle, Pipes::none()).await.expect("create");
        assert_eq!(container.host_base(), base, "the one that has been stopped for longest is taken");
        shim.logged(from).await;
        containers.push(container);
    }
    let failure = Container::create_in(&shim, Bundle::new(), Pipes::none()).await.err().expect("no range is left");
    let expected = "no free id range: all 2 ranges of the pool are in use (2 by containers, 0 by other owners or \
                    accounts of the host); raise";
    assert!(failure.message.contains(expected), "{failure:?}");

    // One that is removed makes room.
    let removed = containers.remove(0);
    removed.start().await.expect("start");
    removed.wait().await;
    removed.delete().await.expect("delete");
    std::fs::remove_dir_all(removed.bundle.upper()).expect("the layer");
    let next = Container::create_in(&shim, Bundle::new(), Pipes::none()).await.expect("create");
    assert_eq!(next.host_base(), first);
    for container in [next, containers.remove(0)] {
        container.start().await.expect("start");
        container.wait().await;
        container.delete().await.expect("delete");
    }
    shim.shut_down().await.expect("shutdown");
    std::fs::remove_file("/etc/eci/config.toml").expect("the config");
}
