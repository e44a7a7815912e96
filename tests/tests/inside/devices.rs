//! mknod(1) of what harms nobody, wherever a container may write.

use std::path::Path;

use tests::{Container, place};

use crate::setup::{Kind, bash, device, on};

in_kinds!(
    harmless_devices_can_be_made_and_opened: privileged, system;
    those_of_the_host_are_not_made: privileged, system;
    what_it_has_been_given_it_can_make_again: privileged, system;
);

const MKNODS: [&str; 2] = ["mknod", "/busybox/bin/busybox mknod"];

/// Opens each of those that are made here: what it says. A terminal answers who has it as its own (script(1)).
const OPEN: &str = "echo x > null; wc -c < null; head -c 3 zero | wc -c; (echo x > full) 2>&1 | grep -o 'No space'
    for source in random urandom; do cmp -s <(head -c 16 $source) <(head -c 16 $source) || echo $source; done
    script -qec 'echo seen > tty' /dev/null | tr -d '\\r'; stat -c '%F %t:%T %a %u:%g' null zero full random urandom tty";

async fn harmless_devices_can_be_made_and_opened(kind: Kind) {
    let bundle = kind.on("trixie").bind(&place::new_dir("volume"), "/volume", &[]);
    let (container, _room) = kind.sleeping(bundle).await;
    let of = |number: &str, rights: &str| format!("character special file {number} {rights} 0:0");
    let opened = ["0", "3", "No space", "random", "urandom", "seen"].map(str::to_owned);
    let nodes = [("1:3", "644"), ("1:5", "600"), ("1:7", "644"), ("1:8", "644"), ("1:9", "644"), ("5:0", "644")];
    let expected = [&opened[..], &nodes.map(|(number, rights)| of(number, rights))].concat().join("\n");
    for mknod in MKNODS {
        // The root filesystem, a volume, a tmpfs of the spec, and a tmpfs and an overlay of its own.
        for dir in ["/opt", "/volume", "/mnt", "/own", "/own/over"] {
            let script = format!(
                "set -e; umask 022; mkdir -p /own /volume/u /volume/w; mount -t tmpfs own /own; mkdir /own/over
                 mount -t overlay o -o lowerdir=/usr,upperdir=/volume/u,workdir=/volume/w /own/over; cd {dir}; {mknod} null c 1 3; {mknod} -m 600 zero c 1 5
                 {mknod} full c 1 7; {mknod} random c 1 8; {mknod} urandom c 1 9; {mknod} tty c 5 0; {OPEN}
                 {mknod} null c 1 3 2> /dev/null && exit 9; cd /; [[ {dir} == /own* ]] || rm {dir}/{{null,zero,full,random,urandom,tty}}
                 umount /own/over; umount /own; rm -rf /volume/*; ls {dir} 2> /dev/null || :"
            );
            assert_eq!(bash(&container, &script).await.ok(), expected, "{mknod} {dir}");
        }
    }
    container.end().await;
}

async fn those_of_the_host_are_not_made(kind: Kind) {
    let (container, _room) = kind.sleeping(kind.on("trixie")).await;
    for mknod in MKNODS {
        // The last is one that it could have been given.
        for device in ["c 1 1", "c 1 11", "b 8 0", "b 7 0", "c 10 200"] {
            let refused = bash(&container, &format!("{mknod} /opt/x {device}")).await;
            assert!(refused.failed().contains("not permitted"), "{mknod} {device}");
        }
    }
    container.end().await;
}

/// The capability is one of the usual fourteen.
#[tokio::test]
async fn a_plain_container_makes_one_too() {
    let container = Container::sleeping(on("trixie")).await;
    assert_eq!(bash(&container, "mknod /opt/null c 1 3 && echo x > /opt/null && echo made").await.ok(), "made");
    container.end().await;
}

/// Has a device that is made here answer: TUNGETFEATURES of linux/if_tun.h (1: IFF_TUN).
const TUN: &str = r#"perl -e 'open(my $it, "+<", "tun") or die "$!\n"; my $all = pack("L", 0); ioctl($it, 0x800454cf, $all) or die "$!\n"; print unpack("L", $all) & 1'"#;
/// The same: KVM_GET_API_VERSION of linux/kvm.h (12 since Linux 2.6.22).
const KVM: &str = r#"perl -e 'open(my $it, "+<", "kvm") or die "$!\n"; print ioctl($it, 0xae00, 0) // die "$!\n"'"#;

async fn what_it_has_been_given_it_can_make_again(kind: Kind) {
    let Some(tun) = device("/dev/net/tun", 10, 200) else {
        return place::skip("devices::what_it_has_been_given_it_can_make_again", "there is no /dev/net/tun");
    };
    let (container, _room) = kind.sleeping(kind.given(kind.on("trixie"), tun)).await;
    for dir in ["/opt", "/mnt"] {
        for mknod in MKNODS {
            let script = format!("cd {dir}; {mknod} tun c 10 200 && {TUN}; rm tun");
            assert_eq!(bash(&container, &script).await.ok(), "1", "{mknod} {dir}");
        }
    }
    if Path::new("/dev/fuse").exists() {
        bash(&container, "mknod /opt/fuse c 10 229 && : 3<> /opt/fuse").await.ok();
    }
    container.end().await;
}

/// A privileged container has it by the operator's config, and by nothing else. Asked for by name it stays the host's.
#[tokio::test]
async fn kvm_by_config() {
    let Some(kvm) = device("/dev/kvm", 10, 232) else {
        return place::skip("devices::kvm_by_config", "there is no /dev/kvm");
    };
    let script = format!("cd /opt; mknod -m 600 kvm c 10 232 && {KVM}");
    let list = "[devices]\nprivileged = [\"/dev/kvm\"]\n";
    for (kind, config, is_had) in
        [(Kind::privileged(), list, true), (Kind::privileged(), "", false), (Kind::system(), list, false)]
    {
        let room = kind.room_with(config);
        let container = room.sleeping(kind.given(kind.on("trixie"), kvm.clone())).await;
        let said = bash(&container, &script).await;
        if is_had {
            assert_eq!(said.ok(), "12", "{kind:?}");
        } else {
            assert!(said.failed().contains("not permitted"), "{kind:?}: {said:?}");
        }
        container.end().await;
    }
}
