//! `docker run`: what comes in and what comes out, and as whom.

use tests::host::Host;

on_each_docker!(
    the_exit_code_of_the_program_is_that_of_docker,
    a_program_that_cannot_run_is_told_by_its_name,
    streams_are_passed,
    user_groups_directory_and_environment_are_as_asked,
    the_runtime_goes_by_its_name_by_the_operators_and_by_default,
    an_init_reaps_for_the_program,
);

fn the_exit_code_of_the_program_is_that_of_docker(host: &Host) {
    for code in [0, 7, 255] {
        assert_eq!(host.sh(&format!("$DOCKER --rm busybox sh -c 'exit {code}'")).status, code);
    }
    assert_eq!(host.sh("$DOCKER --rm busybox sh -c 'sh -c \"kill -KILL \\$\\$\"; exit $?'").status, 137);
}

fn a_program_that_cannot_run_is_told_by_its_name(host: &Host) {
    // As under runc: docker's own codes, and nothing is left of the container.
    for (program, code) in [("/nope", 127), ("nope", 127), ("/etc", 126), ("/etc/passwd", 126)] {
        let output = host.sh(&format!("$DOCKER --rm busybox {program}"));
        assert_eq!(output.status, code, "{program}: {output:#?}");
        assert!(output.failed().contains(program), "{program}: {output:#?}");
    }
}

fn streams_are_passed(host: &Host) {
    let output = host.sh("echo typed | $DOCKER --rm -i busybox sh -c 'read line; echo $line; echo bad >&2'");
    assert_eq!((output.ok(), output.stderr.trim()), ("typed", "bad"));
    // Without -i there is nothing to read.
    assert_eq!(host.sh("echo typed | $DOCKER --rm busybox cat").ok(), "");
    let terminal = host.sh("$DOCKER --rm -t busybox sh -c 'test -t 0 && test -t 1 && tty'");
    assert_eq!(terminal.ok(), "/dev/pts/0");
    // As much as no pipe holds.
    let much = host.sh("head -c 3000000 /dev/zero | $DOCKER --rm -i busybox cat | wc -c");
    assert_eq!(much.ok(), "3000000");
}

fn user_groups_directory_and_environment_are_as_asked(host: &Host) {
    let who = "$DOCKER --rm --user user:users --group-add 2000 --group-add nobody --workdir /var/www -e A='b c' -e D= \
               --hostname inside --domainname example busybox sh -c 'id; pwd; echo \"$A|$D|$(hostname)|$HOME\"; cat /proc/sys/kernel/domainname'";
    let expected =
        "uid=1000(user) gid=100(users) groups=100(users),2000,65534(nobody)\n/var/www\nb c||inside|/home\nexample";
    assert_eq!(host.sh(who).ok(), expected);
    // Ids without a name, and a directory that the image does not have: it belongs to root.
    let strange = "$DOCKER --rm --user 4000:5000 -w /new/dir busybox sh -c 'id -u; id -g; pwd; stat -c %u:%g .'";
    assert_eq!(host.sh(strange).ok(), "4000\n5000\n/new/dir\n0:0");
    // No id above those that a container has.
    let said = host.sh("$DOCKER --rm --user 65536 busybox true").failed();
    assert!(said.contains("process.user.uid"), "{said}");
    assert_eq!(host.sh("$DOCKER --rm --user 65535 busybox id -u").ok(), "65535");
}

fn the_runtime_goes_by_its_name_by_the_operators_and_by_default(host: &Host) {
    let runtime = tests::host::runtime();
    for option in [String::new(), "--runtime named".to_owned(), format!("--runtime {runtime}")] {
        let map = host.sh(&format!("docker run --rm {option} busybox cat /proc/self/uid_map"));
        let fields: Vec<&str> = map.ok().split_whitespace().collect();
        assert_eq!((fields[0], fields[2]), ("0", "65536"), "{option}: {map:#?}");
        assert!(fields[1].parse::<u32>().unwrap() >= 65536, "{option}: {map:#?}");
    }
}

fn an_init_reaps_for_the_program(host: &Host) {
    let comm = host.sh("$DOCKER --rm --init busybox cat /proc/1/comm");
    assert_eq!(comm.ok(), "docker-init");
    // An orphan has gone when the program looks.
    let orphan = "$DOCKER --rm --init busybox sh -c '(true & exec sleep 0.1) & wait; sleep 0.2; ! ps | grep -q [Z]ombie; ps -o stat | grep -c ^Z'";
    assert_eq!(host.sh(orphan).stdout.trim(), "0");
}
