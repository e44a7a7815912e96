//! A full /run.

use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use tests::stdio::Pipes;
use tests::{Bundle, Container, Shim};

use crate::TURN;

#[tokio::test]
async fn a_full_run_is_one_clear_error_and_leaves_nothing() {
    let _turn = TURN.lock().await;
    let state = Path::new("/run/eci");
    std::fs::create_dir_all(state).expect("the state directory");
    mount("none", state, "tmpfs", MountFlags::empty(), c"size=16k,mode=700").expect("a tmpfs");
    let bundle = Bundle::new();
    let shim = Shim::start(&bundle).await;
    let ready = Container::create_in(&shim, bundle, Pipes::none()).await.expect("there is room for one");
    std::fs::write(state.join("filler"), [0; 16384]).expect_err("it is full now");

    let refused = Bundle::new();
    let failure = Container::create_in(&shim, refused.clone(), Pipes::none()).await.err().expect("no room");
    assert!(failure.message.contains("id range leases: cannot write /run/eci/ranges/"), "{failure:?}");
    assert!(failure.message.ends_with("No space left on device (os error 28)"), "{failure:?}");
    assert_eq!(failure.message.lines().count(), 1, "{failure:?}");
    assert!(!refused.dir.join("eci.json").exists());

    // What runs goes on, and there is room again afterwards.
    ready.start().await.expect("start");
    assert_eq!(ready.wait().await, 0);
    ready.delete().await.expect("delete");
    std::fs::remove_file(state.join("filler")).expect("the filler");
    let again = Container::create_in(&shim, refused, Pipes::none()).await.expect("there is room again");
    again.start().await.expect("start");
    assert_eq!(again.wait().await, 0);
    again.delete().await.expect("delete");
    shim.shut_down().await.expect("shutdown");
    unmount(state, UnmountFlags::DETACH).expect("umount");
}
