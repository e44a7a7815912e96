//! mknod(1) of what harms nobody, wherever a container may write.

use tests::{Container, place};

use crate::setup::{bash, on, privileged};

#[tokio::test]
async fn harmless_devices_can_be_made_and_opened() {
    let bundle = privileged("trixie").bind(&place::new_dir("volume"), "/volume", &[]);
    let container = Container::sleeping(bundle).await;
    for mknod in ["mknod", "/busybox/bin/busybox mknod"] {
        // The root filesystem, a volume, a tmpfs of the spec, and a tmpfs and an overlay of its own.
        for dir in ["/opt", "/volume", "/mnt", "/own", "/own/over"] {
            let script = format!(
                "set -e; umask 022; mkdir -p /own /volume/u /volume/w; mount -t tmpfs own /own; mkdir /own/over
                 mount -t overlay o -o lowerdir=/usr,upperdir=/volume/u,workdir=/volume/w /own/over; cd {dir}; {mknod} null c 1 3; {mknod} -m 600 zero c 1 5
                 echo x > null; wc -c < null; head -c 3 zero | wc -c; stat -c '%F %t:%T %a %u:%g' null zero
                 {mknod} null c 1 3 2> /dev/null && exit 9; cd /; [[ {dir} == /own* ]] || rm {dir}/null {dir}/zero; umount /own/over; umount /own
                 rm -rf /volume/*; ls {dir} 2> /dev/null || :"
            );
            let of = |rights: &str, minor| format!("character special file 1:{minor} {rights} 0:0");
            assert_eq!(
                bash(&container, &script).await.ok(),
                format!("0\n3\n{}\n{}", of("644", 3), of("600", 5)),
                "{mknod} {dir}"
            );
        }
        for device in ["c 1 1", "c 1 11", "b 8 0", "b 7 0"] {
            let refused = bash(&container, &format!("{mknod} /opt/x {device}")).await;
            assert!(refused.failed().contains("not permitted"), "{mknod} {device}");
        }
    }
    container.end().await;
    // The capability is one of the usual fourteen.
    let container = Container::sleeping(on("trixie")).await;
    assert_eq!(bash(&container, "mknod /opt/null c 1 3 && echo x > /opt/null && echo made").await.ok(), "made");
    container.end().await;
}
