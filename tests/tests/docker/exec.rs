//! `docker exec`, `attach` and `logs`.

use tests::host::Host;
use tests::terminal::Terminal;

on_each_docker!(
    exec_runs_as_asked_and_returns_the_programs_code,
    an_exec_that_cannot_run_is_told_by_its_name,
    health_checks_are_execs_that_leave_nothing,
    logs_have_both_streams_in_order,
);

on_both_dockers!(
    many_execs_at_once_each_end_with_their_own_code,
    a_terminal_has_the_windows_size_and_follows_it,
    who_attaches_types_and_sees,
);

fn exec_runs_as_asked_and_returns_the_programs_code(host: &Host) {
    host.sh("$DOCKER -d --name one -e KEPT=yes busybox sleep 1000").ok();
    assert_eq!(host.sh("docker exec one sh -c 'exit 42'").status, 42);
    let asked = host.sh(
        "echo typed | docker exec -i -e A='b c' -u nobody -w /var/www one sh -c 'read line; echo \"$line|$A|$KEPT\"; id -u; pwd; echo bad >&2'",
    );
    assert_eq!((asked.ok(), asked.stderr.trim()), ("typed|b c|yes\n65534\n/var/www", "bad"));
    // What the container was not given, an exec can be given.
    let rights =
        "docker exec one grep CapEff /proc/self/status; docker exec --privileged one grep CapEff /proc/self/status";
    let capabilities = host.sh(rights);
    let capabilities: Vec<&str> = capabilities.ok().lines().collect();
    assert_eq!(capabilities[0], "CapEff:\t00000000a80425fb");
    assert!(capabilities[1] > "CapEff:\t0000010000000000", "{capabilities:?}");
    // A detached one goes on.
    host.sh("docker exec -d one sh -c 'echo done > /done; exec sleep 900'").ok();
    host.until("[ \"$(docker exec one cat /done)\" = done ] && pgrep -xf 'sleep 900'");
    host.sh("docker rm -f one").ok();
}

fn an_exec_that_cannot_run_is_told_by_its_name(host: &Host) {
    host.sh("$DOCKER -d --name one busybox sleep 1000").ok();
    host.sh("docker run -d --name runc --runtime runc busybox sleep 1000").ok();
    for program in ["/nope", "nope", "/etc", "/etc/passwd"] {
        let output = host.sh(&format!("docker exec one {program}"));
        // Docker 26 has one code for all of them.
        assert_eq!(output.status, host.sh(&format!("docker exec runc {program}")).status, "{program}: {output:#?}");
        assert!(output.failed().contains(program), "{program}: {output:#?}");
    }
    let said = host.sh("docker exec -u 70000 one true").failed();
    assert!(said.contains("70000 is outside the container's ids, which are 0 to 65535"), "{said}");
    host.sh("docker exec one true && docker rm -f one runc").ok();
}

fn health_checks_are_execs_that_leave_nothing(host: &Host) {
    host.sh(
        "$DOCKER -d --name one --health-cmd 'test -e /ok' --health-interval 50ms --health-retries 2 busybox sleep 1000",
    )
    .ok();
    let health = |status: &str| {
        host.until(&format!("[ \"$(docker inspect -f '{{{{.State.Health.Status}}}}' one)\" = {status} ]"));
    };
    health("unhealthy");
    // By its child: its stages have its words.
    let shim = host.sh("ps -o ppid= -p $(docker inspect -f '{{.State.Pid}}' one)").ok().to_owned();
    // The most of two seconds, in which many of them run.
    let most = |what: &str| {
        let look = format!("ls /proc/{shim}/{what} | wc -l");
        let script = format!("for i in $(seq 40); do {look}; sleep 0.05; done | sort -n | tail -n 1");
        host.sh(&script).ok().parse::<u32>().expect("a number")
    };
    host.sh("docker exec one touch /ok").ok();
    health("healthy");
    // Threads stay as long as there is work, however many it took at a time.
    let (descriptors, threads) = (most("fd"), most("task") + 4);
    // Another fifty of them: no more than before, once those of the one that runs are closed.
    host.sh("for i in $(seq 10); do docker exec one true; done; sleep 2.5").ok();
    host.until(&format!(
        "[ $(ls /proc/{shim}/fd | wc -l) -le {descriptors} ] && [ $(ls /proc/{shim}/task | wc -l) -le {threads} ]"
    ));
    host.sh("docker rm -f one").ok();
}

fn many_execs_at_once_each_end_with_their_own_code(host: &Host) {
    host.sh("$DOCKER -d --name one busybox sleep 1000").ok();
    let storm = "for i in $(seq 1 30); do { docker exec one sh -c \"echo $i; exit $i\"; echo $?; } > /tmp/storm-$i & done; wait
                 for i in $(seq 1 30); do echo $i; echo $i; done > /tmp/expected; for i in $(seq 1 30); do cat /tmp/storm-$i; done | diff - /tmp/expected";
    assert_eq!(host.sh(storm).ok(), "");
    host.sh("docker rm -f one; rm /tmp/storm-* /tmp/expected").ok();
}

/// Runs a command on a terminal of 100 columns and 30 rows, as its controlling one: there a new size is signalled.
fn on_terminal(host: &Host, command: &str) -> Terminal {
    Terminal::start(host.command(&format!("exec setsid --ctty --wait {command}")), 100, 30)
}

fn a_terminal_has_the_windows_size_and_follows_it(host: &Host) {
    let mut terminal = on_terminal(host, "$DOCKER -it --name one busybox sh");
    terminal.has_size(30, 100);
    terminal.resize(81, 25);
    terminal.has_size(25, 81);
    let mut exec = on_terminal(host, "docker exec -it one sh");
    exec.has_size(30, 100);
    exec.types("exit 9\n");
    assert_eq!(exec.ends(), 9);
    terminal.types("exit 7\n");
    assert_eq!(terminal.ends(), 7);
    host.sh("docker rm one").ok();
}

fn who_attaches_types_and_sees(host: &Host) {
    host.sh("$DOCKER -dit --name one busybox sh").ok();
    let mut first = on_terminal(host, "docker attach one");
    first.types("kept=va''lue; echo fir''st\n");
    first.shows("first");
    // docker's keys to leave.
    first.types("\x10\x11");
    first.ends();
    let mut second = on_terminal(host, "docker attach one");
    second.types("echo got $kept; exit 4\n");
    second.shows("got value");
    assert_eq!(second.ends(), 4);
    assert_eq!(host.sh("docker wait one").ok(), "4");
    host.sh("docker rm one").ok();
}

fn logs_have_both_streams_in_order(host: &Host) {
    host.sh("$DOCKER --name one busybox sh -c 'for i in 1 2 3; do echo out $i; echo err $i >&2; done; seq 4 20000'")
        .ok();
    let logs = host.sh("docker logs one");
    assert_eq!(logs.stderr, "err 1\nerr 2\nerr 3\n");
    let lines: Vec<&str> = logs.stdout.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2], lines[19_999]), (20_000, "out 1", "out 3", "20000"));
    assert_eq!(host.sh("docker logs --tail 2 one").ok(), "19999\n20000");
    // Followed to the end of a program that goes on.
    let followed = host.sh("docker rm one > /dev/null; $DOCKER -d --name one busybox sh -c 'for i in 1 2 3; do echo $i; sleep 0.2; done' > /dev/null; docker logs -f one");
    assert_eq!(followed.ok(), "1\n2\n3");
    host.sh("docker rm one").ok();
}
