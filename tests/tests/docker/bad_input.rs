//! Odd images, options and names: each works, or is refused by the name of what is wrong, and leaves nothing behind.

use tests::host::Host;

on_both_dockers!(
    images_whose_directories_are_symlinks,
    three_hundred_mounts,
    names_with_spaces_colons_and_newlines,
    ids_above_those_that_a_container_has,
    options_that_cannot_be_met_are_refused_by_their_field,
);

fn images_whose_directories_are_symlinks(host: &Host) {
    host.sh("cp -a /hosts/images/busybox /state/image").ok();
    let look = "ls -d /proc/1 /sys/class /dev/null /etc/hosts && cat /proc/1/comm";
    for (name, target) in [
        ("proc", "var"),
        ("proc", "/nowhere"),
        ("sys", "proc"),
        ("dev", "/proc"),
        ("dev", "/"),
        ("etc", "/proc/1"),
        ("etc", "var"),
    ] {
        let made = format!(
            "cd /state/image && mv {name} /state/kept && ln -s {target} {name} && tar -c . | docker import - odd > /dev/null; rm {name}; mv /state/kept {name}
             $DOCKER --rm odd /bin/sh -c 'PATH=/bin; {look}'; code=$?; docker rmi odd > /dev/null; exit $code"
        );
        // dockerd's own layer has directories in their place.
        assert_eq!(host.sh(&made).ok(), "/dev/null\n/etc/hosts\n/proc/1\n/sys/class\ncat", "{name} -> {target}");
    }
    // Where a mount's place is a symlink, it ends inside.
    host.sh("cd /state/image && ln -s ../../../../../tmp out && ln -s /proc/self/root/tmp magic && ln -s / top && ln -s proc/sys sysctl && tar -c . | docker import - odd && mkdir /state/dir").ok();
    let inside = host.sh("$DOCKER --rm -v /state/dir:/out/dir odd /bin/sh -c '/bin/grep -c \" /tmp/dir \" /proc/self/mountinfo'; ls -d /tmp/dir");
    assert_eq!((inside.stdout.trim(), inside.status), ("1", 2), "{inside:#?}");
    for (place, reason) in
        [("/top", "would cover the root filesystem"), ("/sysctl", "leads to procfs through a symlink in the image")]
    {
        let said = host.sh(&format!("$DOCKER --rm -v /state/dir:{place} odd /bin/true")).failed();
        assert!(said.contains(&format!(" {place}: ")) && said.contains(reason), "{place}: {said}");
    }
    host.sh("docker rmi odd && rm -r /state/image /state/dir").ok();
}

fn three_hundred_mounts(host: &Host) {
    let run = "mkdir -p /state/m/{1..300}; for i in {1..300}; do echo $i > /state/m/$i/file; options+=\" -v /state/m/$i:/m/$i\"; done
               $DOCKER --rm $options busybox sh -c 'grep -c \" /m/\" /proc/self/mountinfo; cat /m/1/file /m/300/file'; rm -r /state/m";
    assert_eq!(host.sh(&format!("options=; {run}")).ok(), "300\n1\n300");
}

fn names_with_spaces_colons_and_newlines(host: &Host) {
    std::fs::create_dir(host.state().join("a b:c\nd,e\\f\tg")).unwrap();
    std::fs::write(host.state().join("a b:c\nd,e\\f\tg/file"), "found\n").unwrap();
    let mount = "--mount $'type=bind,\"src=/state/a b:c\\nd,e\\\\f\\tg\",\"dst=/x y:z\\nw,v\\\\\"'";
    let output = host.sh(&format!(
        "$DOCKER --rm {mount} -w $'/new dir:\\nx' -e $'A=b\\nc' busybox sh -c 'cat /x*/file; echo \"$A\"; pwd'"
    ));
    assert_eq!(output.ok(), "found\nb\nc\n/new dir:\nx");
    host.sh("rm -r /state/a*g").ok();
    let volume = host.sh("$DOCKER --rm -v '/state/o p:/o p' busybox ls -d '/o p'; rmdir '/state/o p'");
    assert_eq!(volume.ok(), "/o p");
}

fn ids_above_those_that_a_container_has(host: &Host) {
    host.sh("cp -a /hosts/images/busybox /state/image && cd /state/image && echo big > big && chown 70000:70001 big && echo own > own && chown 65535:65535 own && tar -c . | docker import - big").ok();
    let inside = "PATH=/bin; stat -c %u:%g /big /own; cat /big; chown 0 /big; echo x >> /big; echo $?";
    let output = host.sh(&format!("$DOCKER --rm big /bin/sh -c '{inside}'"));
    // The kernel shows an id that is not mapped as nobody's, and lets nobody change it.
    assert_eq!(output.ok(), "65534:65534\n65535:65535\nbig\n1");
    for refused in ["chown: /big: ", "can't create /big: Permission denied"] {
        assert!(output.stderr.contains(refused), "{output:#?}");
    }
    for (option, field) in [
        ("--user 70000", "process.user.uid"),
        ("--user 0:70000", "process.user.gid"),
        ("--group-add 70000", "process.user.additionalGids"),
    ] {
        let said = host.sh(&format!("$DOCKER --rm {option} busybox true")).failed();
        assert!(said.contains(field) && said.contains("70000 is outside the container's ids"), "{option}: {said}");
    }
    host.sh("docker rmi big && rm -r /state/image").ok();
}

fn options_that_cannot_be_met_are_refused_by_their_field(host: &Host) {
    host.sh("mkdir /state/dir").ok();
    for (options, reason) in [
        ("--sysctl net.ipv4.nope=1", "linux.sysctl[net.ipv4.nope]: write /proc/sys/net/ipv4/nope: No such file"),
        ("--tmpfs /x:size=abc", "mounts[7] /x: set option size=abc of tmpfs: Invalid argument"),
        ("--cgroup-parent ../x", "linux.cgroupsPath: \"../x/"),
        ("-v /state/dir:/proc", "mounts[6].destination: \"/proc\" must be a mount of type proc"),
        ("-v /state/dir:/proc/1", "\"/proc/1\" lies below /proc"),
        ("--hostname h -v /state/dir:/etc/hostname", "/etc/hostname: "),
    ] {
        let said = host.sh(&format!("$DOCKER --rm {options} busybox true")).failed();
        assert!(said.contains(reason), "{options}: {said}");
    }
    host.sh("rmdir /state/dir").ok();
}
