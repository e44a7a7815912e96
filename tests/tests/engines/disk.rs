//! Whom the files on the host's disk belong to.

use tests::host::Host;

on_each_suite!(files_on_disk_have_the_owners_that_the_containers_see);

fn files_on_disk_have_the_owners_that_the_containers_see(host: &Host) {
    host.sh("mkdir /state/shared && chown 7:7 /state/shared && chmod 777 /state/shared && echo old > /state/shared/old && chown 8:9 /state/shared/old").ok();
    let list = "stat -c '%u:%g %n' /state/shared /state/shared/old";
    let before = host.sh(list);
    // Every file of the image, as containerd has unpacked it.
    let image =
        "find /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/1 -printf '%U:%G %C@ %P\\n' | sort";
    let unpacked = host.sh(image);
    assert!(unpacked.ok().lines().count() > 100, "{unpacked:#?}");
    for id in ["one", "two"] {
        let script = format!(
            "$RUN -d --mount type=bind,src=/state/shared,dst=/shared,options=rbind:rw $IMAGE {id} sleep 1000 &&
             ctr task exec --exec-id e {id} sh -c 'touch /shared/root-{id} /root-{id} &&
               touch /shared/user-{id} && chown 1000:100 /shared/user-{id} && cp -p /shared/user-{id} /user-{id}'"
        );
        host.sh(&script).ok();
    }
    // Each sees the other's files with the owners that it would have given them.
    let seen =
        host.sh("ctr task exec --exec-id f one stat -c '%u:%g %n' /shared/user-two /shared/old /shared/root-two");
    assert_eq!(seen.ok(), "1000:100 /shared/user-two\n8:9 /shared/old\n0:0 /shared/root-two");
    let made = host.sh("cd /state/shared && stat -c '%u:%g %n' root-* user-*
         cd /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots
         find . -path '*/fs/root-*' -printf '%U:%G %f\\n' -o -path '*/fs/user-*' -printf '%U:%G %f\\n' | sort");
    let owners = "0:0 root-one\n0:0 root-two\n1000:100 user-one\n1000:100 user-two";
    assert_eq!(made.ok(), format!("{owners}\n{owners}"));
    assert_eq!(host.sh(image), unpacked);
    assert_eq!(host.sh(list), before);
    for id in ["one", "two"] {
        host.sh(&format!("ctr task rm -f {id} && ctr c rm {id}")).ok();
    }
}
