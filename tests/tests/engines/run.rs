//! `ctr run`: what comes in and what comes out.

use tests::host::Host;

on_each_suite!(
    the_exit_code_of_the_program_is_that_of_ctr,
    streams_and_environment_are_passed,
    a_directory_serves_as_the_root_filesystem,
    mounts_are_made_as_asked,
    a_read_only_root_is_read_only,
);

fn the_exit_code_of_the_program_is_that_of_ctr(host: &Host) {
    for code in [0, 1, 42, 255] {
        assert_eq!(host.sh(&format!("$RUN --rm $IMAGE code-{code} sh -c 'exit {code}'")).status, code);
    }
    // The first process of a pid namespace takes no signal from itself (pid_namespaces(7)), a child does.
    assert_eq!(host.sh("$RUN --rm $IMAGE killed sh -c 'sh -c \"kill -KILL \\$\\$\"; exit $?'").status, 137);
}

fn streams_and_environment_are_passed(host: &Host) {
    let output = host.sh(
        "echo typed | $RUN --rm --env A='b c' --env D=e --cwd /tmp $IMAGE c sh -c 'read line; echo $line; pwd; echo $A$D; echo bad >&2'",
    );
    assert_eq!((output.ok(), output.stderr.trim()), ("typed\n/tmp\nb ce", "bad"));
    // `ctr run` of containerd 1.6 and 1.7 has no --user; their `ctr task exec` has.
    let user = host.sh(
        "if ctr run --help | grep -q -- '--user '; then $RUN --rm --user 1000:1000 $IMAGE u id
         else $RUN -d $IMAGE u sleep 1000 && ctr task exec --user 1000:1000 --exec-id e u id && ctr task rm -f u > /dev/null && ctr c rm u; fi",
    );
    assert_eq!(user.ok(), "uid=1000(user) gid=1000(user) groups=1000(user)");
}

fn a_directory_serves_as_the_root_filesystem(host: &Host) {
    host.sh("cp -a /hosts/images/busybox /state/dir").ok();
    let output =
        host.sh("$RUN --rm --rootfs /state/dir c /bin/sh -c '/bin/touch /made; /bin/stat -c %u:%g /bin/busybox /made'");
    assert_eq!(output.ok(), "0:0\n0:0");
    assert_eq!(host.sh("stat -c %u:%g /state/dir /state/dir/made").ok(), "0:0\n0:0");
    let said = host.sh("$RUN --rm --rootfs /state/none d /bin/true").failed();
    assert!(said.contains("/state/none: No such file or directory"), "{said}");
    // It keeps its range as long as its writable layer is there.
    assert!(host.sh("containerd-shim-eci-v2 ranges").ok().contains(" c "));
    host.sh("ctr c rm d 2> /dev/null; rm -rf /state/dir").ok();
}

fn mounts_are_made_as_asked(host: &Host) {
    host.sh("mkdir /state/ro /state/rw /state/ro/below && mount -t tmpfs below /state/ro/below && echo content > /state/ro/file").ok();
    let run = "$RUN --rm --cap-add CAP_SYS_ADMIN \
         --mount type=bind,src=/state/ro,dst=/ro,options=rbind:ro --mount type=bind,src=/state/rw,dst=/rw,options=rbind:rw \
         --mount type=tmpfs,src=tmpfs,dst=/fast,options=size=1m:mode=700 $IMAGE";
    let inside = |id: &str, script: &str| host.sh(&format!("{run} {id} sh -c '{script}'"));
    assert_eq!(
        inside("a", "cat /ro/file; cp /ro/file /rw; stat -c %a /fast; df -k /fast | tail -n 1")
            .ok()
            .split_whitespace()
            .collect::<Vec<_>>(),
        ["content", "700", "tmpfs", "1024", "0", "1024", "0%", "/fast"]
    );
    assert_eq!(host.sh("cat /state/rw/file").ok(), "content");
    let remount = inside("b", "touch /ro/file || mount -o remount,bind,rw /ro || umount /ro").failed();
    assert!(remount.contains("Read-only file system") && remount.contains("permission denied"), "{remount}");
    assert_eq!(
        inside(
            "c",
            "mkdir /own && mount -t tmpfs own /own && mount -o remount,ro own /own && ! touch /own/a && mount -o remount,rw own /own && touch /own/a"
        )
        .status,
        0
    );
    host.sh("umount /state/ro/below").ok();
}

fn a_read_only_root_is_read_only(host: &Host) {
    let said = host.sh("$RUN --rm --read-only $IMAGE c touch /file").failed();
    assert!(said.contains("Read-only file system"), "{said}");
    let remount = host.sh("$RUN --rm --read-only --privileged $IMAGE d mount -o remount,rw /").failed();
    assert!(remount.contains("permission denied"), "{remount}");
    assert_eq!(
        host.sh("$RUN --rm --read-only --mount type=tmpfs,src=t,dst=/tmp,options=mode=1777 $IMAGE e touch /tmp/file")
            .status,
        0
    );
}
