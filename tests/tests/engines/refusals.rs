//! What is refused through an engine: the text that its user reads, and that the next run works.

use tests::host::Host;

on_each_suite!(
    a_command_that_cannot_run_gives_runcs_text,
    namespaces_of_the_host_are_refused,
    without_a_network_in_the_spec_a_container_has_its_own_where_the_operator_says_so,
    wrong_input_is_refused_by_name,
    verbs_that_are_not_built_say_so,
);

/// Runs what must be refused, with its words; `ctr` leaves its container or snapshot behind where it created no task.
#[track_caller]
fn refused(host: &Host, options: &str, command: &str) -> String {
    let output = host.sh(&format!("$RUN --rm {options} $IMAGE refused {command}"));
    host.sh("ctr c rm refused 2> /dev/null; ctr snapshot rm refused 2> /dev/null; true").ok();
    output.failed()
}

fn a_command_that_cannot_run_gives_runcs_text(host: &Host) {
    for (command, reason) in [
        ("nosuch", r#"exec: "nosuch": executable file not found in $PATH"#),
        ("/bin/nosuch", r#"exec: "/bin/nosuch": stat /bin/nosuch: no such file or directory"#),
        ("/etc/passwd", r#"exec: "/etc/passwd": permission denied"#),
    ] {
        let said = refused(host, "", command);
        let text = format!("OCI runtime create failed: unable to start container process: {reason}");
        assert!(said.contains(&text), "{said}");
    }
    host.sh("$RUN -d $IMAGE c sleep 1000").ok();
    let exec = host.sh("ctr task exec --exec-id e c nosuch").failed();
    assert!(exec.contains(r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH"#), "{exec}");
    host.sh("ctr task exec --exec-id e c true && ctr task rm -f c && ctr c rm c").ok();
}

fn namespaces_of_the_host_are_refused(host: &Host) {
    let text = |what: &str| {
        format!(
            "OCI runtime create failed: error in the container spec: invalid or unsupported container spec: eci \
             containers can't share {what} with the host (because they use the linux user-namespace for isolation)"
        )
    };
    for (namespace, what) in [
        ("network:/proc/1/ns/net", "a network namespace"),
        ("pid:/proc/1/ns/pid", "namespaces [pid]"),
        ("ipc:/proc/self/ns/ipc", "namespaces [ipc]"),
    ] {
        let said = refused(host, &format!("--with-ns {namespace}"), "true");
        assert!(said.contains(&text(what)), "{said}");
    }
    assert_eq!(host.sh("ip netns add own && $RUN --rm --with-ns network:/run/netns/own $IMAGE c true").status, 0);
    host.sh("ip netns del own && umount /run/netns").ok();
    // How ctr says it: it leaves the namespace out.
    let said = refused(host, "--net-host", "true");
    assert!(said.contains(&text("a network namespace")), "{said}");
    host.until("grep -q 'audit=true container=refused rule=namespaces object=network' /state/log/containerd.log");
}

fn without_a_network_in_the_spec_a_container_has_its_own_where_the_operator_says_so(host: &Host) {
    host.sh("mkdir /etc/eci && printf '[namespaces]\nmissing = \"private\"\n' > /etc/eci/config.toml").ok();
    // --net-host binds these two as well, and an overlay, where the test hosts have them, cannot be id-mapped.
    let said = refused(host, "--net-host", "true");
    assert!(said.contains("/etc/hosts is on overlay, which cannot be id-mapped"), "{said}");
    host.sh("for file in hosts resolv.conf; do touch /state/$file && mount --bind /state/$file /etc/$file; done").ok();
    host.sh("ip link add onlyhosts type bridge").ok();
    let links = host.sh("$RUN --rm --net-host $IMAGE c ls /sys/class/net");
    assert_eq!(links.ok(), "lo");
    host.sh("ip link del onlyhosts; umount /etc/hosts /etc/resolv.conf").ok();
}

fn wrong_input_is_refused_by_name(host: &Host) {
    host.sh("touch /state/file").ok();
    for (options, reason) in [
        ("--cwd relative", r#"process.cwd: "relative" is not an absolute path"#),
        (
            "--mount type=bind,src=/state/none,dst=/there,options=rbind:ro",
            "/there: open source /state/none: No such file or directory",
        ),
        (
            "--mount type=nosuch,src=none,dst=/there,options=ro",
            r#"type: "nosuch" is not a filesystem that a container can mount"#,
        ),
        ("--mount type=bind,src=/state/file,dst=/there,options=rbind:rshared", "rshared"),
        ("--mount type=bind,src=/state/file,dst=/there/../../x,options=rbind:nosuch", "mounts["),
    ] {
        let said = refused(host, options, "true");
        assert!(said.contains(reason), "{options}: {said}");
        assert_eq!(said.matches('\n').count(), 1, "one line: {said}");
    }
    assert_eq!(
        host.sh(
            "$RUN --rm --cwd /tmp --mount type=bind,src=/state/file,dst=/there,options=rbind:ro $IMAGE c test -f /there"
        )
        .status,
        0
    );
    for (command, reason) in [
        ("ctr task exec --exec-id e nosuch true", "not found"),
        ("ctr task kill nosuch", "not found"),
        ("ctr task rm nosuch", "not found"),
    ] {
        let said = host.sh(command).failed();
        assert!(said.contains(reason), "{command}: {said}");
    }
}

fn verbs_that_are_not_built_say_so(host: &Host) {
    host.sh("$RUN -d $IMAGE c sleep 1000").ok();
    let said = host.sh("ctr task checkpoint c").failed();
    assert!(said.contains("Checkpoint is not implemented yet"), "{said}");
    host.sh("ctr task exec --exec-id e c true && ctr task rm -f c && ctr c rm c").ok();
}
