//! Root filesystems of containers whose specs bring a map: whoever owns the files decides how they are shown.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::json;
use tests::room::Room;
use tests::{Bundle, Container, place};

const BASE: u32 = 7_000_000;

fn mapped(bundle: Bundle) -> Bundle {
    let map = json!([{ "containerID": 0, "hostID": BASE, "size": 65536 }]);
    bundle.set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
}

/// An image whose files have been given to the ids of the map, as `dockerd --userns-remap` and `ctr --uidmap` do.
fn remapped(bundle: Bundle) -> Bundle {
    let bundle = bundle.image_with(|image| {
        tests::sh(&format!("chown -hR {BASE}:{BASE} {0}; chown {1}:{1} {0}/tmp", image.display(), BASE + 7)).ok();
    });
    tests::sh(&format!("chown {BASE}:{BASE} {0}/upper {0}/work", bundle.dir.display())).ok();
    bundle
}

fn owner(path: &Path) -> (u32, u32) {
    let stat = std::fs::symlink_metadata(path).unwrap();
    (stat.uid(), stat.gid())
}

const USE: &str =
    "stat -c %u:%g / /bin/busybox /tmp; echo x > /made; chown 5:6 /made; echo x >> /etc/passwd; stat -c %u:%g /made";

async fn used(room: &Room, bundle: Bundle) -> String {
    let container: Container = room.sleeping(bundle).await;
    let output = container.sh(USE).await;
    container.end().await;
    output.ok().to_owned()
}

#[tokio::test]
async fn files_that_carry_the_ids_of_the_specs_map_are_left_so() {
    let bundle = remapped(mapped(Bundle::new()));
    let image = bundle.dir.join("image");
    assert_eq!(used(&Room::new(), bundle.clone()).await, "0:0\n0:0\n7:7\n5:6");
    assert_eq!(owner(&bundle.upper().join("made")), (BASE + 5, BASE + 6));
    assert_eq!(owner(&bundle.upper().join("etc/passwd")), (BASE, BASE));
    assert_eq!((owner(&image), owner(&image.join("tmp"))), ((BASE, BASE), (BASE + 7, BASE + 7)));
}

#[tokio::test]
async fn files_that_do_not_are_shown_through_the_map_of_the_spec() {
    let bundle = mapped(Bundle::new());
    assert_eq!(used(&Room::new(), bundle.clone()).await, "0:0\n0:0\n0:0\n5:6");
    assert_eq!(owner(&bundle.upper().join("made")), (5, 6));
}

#[tokio::test]
async fn an_image_from_0_on_may_lie_below_a_layer_that_carries_the_ids() {
    // What containerd makes of a map when the kernel can map layers: the image stays shared, the new layer is the map's.
    let bundle = mapped(Bundle::new());
    tests::sh(&format!("chown {BASE}:{BASE} {0}/upper {0}/work", bundle.dir.display())).ok();
    assert_eq!(used(&Room::new(), bundle.clone()).await, "0:0\n0:0\n0:0\n5:6");
    assert_eq!(owner(&bundle.upper().join("made")), (BASE + 5, BASE + 6));
    assert_eq!(owner(&bundle.upper().join("etc/passwd")), (BASE, BASE));
    assert_eq!(owner(&place::busybox().join("etc/passwd")), (0, 0));
}

#[tokio::test]
async fn a_mount_that_asks_for_the_containers_map_has_it() {
    let mut bundle = mapped(Bundle::new());
    let maps = [format!("uidmap=0:{BASE}:65536"), format!("gidmap=0:{BASE}:65536")];
    bundle.rootfs[0].options.extend(maps);
    assert_eq!(used(&Room::new(), bundle.clone()).await, "0:0\n0:0\n0:0\n5:6");
    assert_eq!(owner(&bundle.upper().join("made")), (5, 6));
}

#[tokio::test]
async fn a_mount_that_asks_for_another_map_is_refused() {
    let mut bundle = mapped(Bundle::new());
    bundle.rootfs[0].options.push("uidmap=0:8000000:65536".into());
    let refusal = Room::new().refused(bundle).await;
    assert!(refusal.ends_with("rootfs: the mount's id map \"0:8000000:65536\" is not the container's"), "{refusal}");
}

#[tokio::test]
async fn layers_that_belong_to_somebody_else_are_refused() {
    // The same image, without the map, or with the next one.
    let image = remapped(Bundle::new());
    let map = json!([{ "containerID": 0, "hostID": BASE + 65536, "size": 65536 }]);
    let next = image.clone().set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map);
    for bundle in [image, next] {
        let at = bundle.dir.join("image");
        let refusal = Room::new().refused(bundle).await;
        let reason = format!("belongs to host id {BASE}, which is neither below 65536 nor the container's");
        assert!(refusal.ends_with(&format!("{}: {reason}", at.display())), "{refusal}");
    }
}
