//! A task that runs detached: looked at, entered, watched, killed, removed.

use tests::host::Host;
use tests::place;

on_each_suite!(
    a_detached_task_is_listed_entered_and_removed,
    signals_reach_the_task,
    output_goes_where_the_log_uri_says,
    events_come_in_order,
    creating_a_container_leaves_no_error_in_containerds_log,
    a_task_is_paused_and_goes_on,
    an_end_of_memory_is_told_before_the_exit,
);

fn a_detached_task_is_listed_entered_and_removed(host: &Host) {
    host.sh("$RUN -d --pid-file /state/c.pid $IMAGE c sleep 1000").ok();
    let pid = host.sh("cat /state/c.pid").ok().to_owned();
    let words = |script: &str| host.sh(script).ok().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words("ctr task ls | tail -n +2"), ["c", &pid, "RUNNING"]);
    assert_eq!(host.sh(&format!("tr '\\0' ' ' < /proc/{pid}/cmdline")).ok(), "sleep 1000");
    assert_eq!(words("ctr task ps c | awk 'NR > 1 { print $1 }'"), std::slice::from_ref(&pid));
    let exec = host.sh(
        "echo typed | ctr task exec --exec-id e --cwd /tmp c sh -c 'read line; echo $line; pwd; echo bad >&2; exit 7'",
    );
    assert_eq!((exec.status, exec.stdout.as_str(), exec.stderr.trim()), (7, "typed\n/tmp\n", "bad"));
    // An exec that runs is a process of the task.
    host.sh("ctr task exec -d --exec-id long c sleep 500").ok();
    assert_eq!(words("ctr task ps c | tail -n +2").len(), 4);
    let running = host.sh("ctr task rm c").failed();
    assert!(running.contains("failed precondition"), "{running}");
    assert!(host.sh("ctr c rm c").failed().contains("cannot delete a non stopped container"));
    host.sh("ctr task kill -s KILL c").ok();
    host.until("ctr task ls | grep -q STOPPED");
    let removed = host.sh("ctr task rm c 2>&1");
    assert!(removed.stdout.contains("exit code 137"), "{removed:#?}");
    assert_eq!(words("ctr task ls | tail -n +2"), Vec::<String>::new());
    host.sh("ctr c rm c").ok();
}

fn signals_reach_the_task(host: &Host) {
    let trap = "trap \"echo caught\" USR1; trap \"exit 5\" TERM; echo ready; while :; do sleep 0.05; done";
    host.sh(&format!("$RUN -d --log-uri file:///state/said $IMAGE c sh -c '{trap}'")).ok();
    host.until("grep -q ready /state/said");
    host.sh("ctr task kill -s USR1 c").ok();
    host.until("grep -q caught /state/said");
    for (signal, reason) in [("99", "signal 99 does not exist"), ("NOSUCH", "invalid signal: NOSUCH")] {
        let said = host.sh(&format!("ctr task kill -s {signal} c")).failed();
        assert!(said.contains(reason), "{said}");
    }
    host.sh("ctr task kill c").ok();
    host.until("ctr task ls | grep -q STOPPED");
    assert!(host.sh("ctr task rm c 2>&1").stdout.contains("exit code 5"));
    host.sh("ctr c rm c").ok();
    // --all: the execs too; --exec-id: one alone.
    host.sh("$RUN -d $IMAGE all sleep 1000; ctr task exec -d --exec-id e all sleep 500; ctr task exec -d --exec-id f all sleep 600").ok();
    host.sh("ctr task kill -s KILL --exec-id e all").ok();
    host.until("! pgrep -f '^sleep 500'");
    host.sh("pgrep -f '^sleep 600' && ctr task kill --all -s KILL all").ok();
    host.until("! pgrep -f '^sleep 600' && ctr task ls | grep -q STOPPED");
    host.sh("ctr task rm all; ctr c rm all").ok();
}

fn output_goes_where_the_log_uri_says(host: &Host) {
    host.sh("$RUN -d --log-uri file:///state/file.log $IMAGE c sh -c 'echo out; echo err >&2'").ok();
    host.until("ctr task ls | grep -q STOPPED");
    assert_eq!(host.sh("sort /state/file.log").ok(), "err\nout");
    host.sh("ctr task rm c && ctr c rm c").ok();
    let logger = "#!/bin/sh\necho $CONTAINER_NAMESPACE $CONTAINER_ID \"$@\" > /state/logger.args\nexec 5>&-\ncat <&3 > /state/logger.out &\ncat <&4 > /state/logger.err\nwait\ntouch /state/logger.done\n";
    place::script(&host.state().join("logger"), logger);
    host.sh("$RUN -d --log-uri 'binary:///state/logger?key=value' $IMAGE d sh -c 'echo out; echo err >&2; exit 3'")
        .ok();
    host.until("[ -e /state/logger.done ] && ctr task ls | grep -q STOPPED");
    assert_eq!(
        host.sh("cat /state/logger.args /state/logger.out /state/logger.err").ok(),
        "default d key value\nout\nerr"
    );
    assert!(host.sh("ctr task rm d 2>&1").stdout.contains("exit code 3"));
    host.sh("ctr c rm d").ok();
    let said =
        host.sh("$RUN -d --log-uri binary:///state/nosuch $IMAGE e true; code=$?; ctr c rm e; exit $code").failed();
    assert!(said.contains("/state/nosuch"), "{said}");
}

fn events_come_in_order(host: &Host) {
    // A changed label shows when the subscription stands.
    let topics = host.sh("ctr events > /state/events & events=$!
         until grep -q /namespaces/ /state/events; do ctr namespaces label default at=$RANDOM; sleep 0.05; done
         $RUN -d $IMAGE c sleep 1000 && ctr task exec --exec-id e c true && ctr task kill -s KILL c
         until ctr task ls | grep -q STOPPED; do sleep 0.05; done
         ctr task rm c; ctr c rm c
         until grep -q /containers/delete /state/events; do sleep 0.05; done
         kill $events
         awk '/ \\/tasks\\// { for (i = 1; i < NF; i++) if ($i ~ /^\\/tasks/) print $i }' /state/events");
    let order = ["create", "start", "exec-added", "exec-started", "exit", "exit", "delete"]
        .map(|topic| format!("/tasks/{topic}"));
    assert_eq!(topics.stdout.lines().collect::<Vec<_>>(), order, "{topics:#?}");
}

fn creating_a_container_leaves_no_error_in_containerds_log(host: &Host) {
    host.sh("$RUN --rm $IMAGE c true && $RUN -d $IMAGE d sleep 1000 && ctr task exec --exec-id e d true && ctr task rm -f d && ctr c rm d").ok();
    // From containerd 2.0 on, what a runtime says of itself can be asked for, by the call that it makes itself.
    host.sh("! ctr plugins --help | grep -q inspect-runtime || ctr plugins inspect-runtime --runtime io.containerd.eci.v2 | grep -q '\"io.containerd.eci.v2\"'").ok();
    host.sh("ctr plugins ls > /dev/null").ok();
    // containerd says "copy shim log" of every shim that is gone while it copies, runc's too.
    let errors = host.sh("grep -E 'level=(error|fatal)|eci.*failed|failed.*eci' /state/log/containerd.log | grep -vE 'copy shim log|load cni during init'");
    assert_eq!(errors.stdout, "", "{errors:#?}");
}

fn a_task_is_paused_and_goes_on(host: &Host) {
    host.sh("$RUN -d $IMAGE c sleep 1000 && ctr task pause c").ok();
    assert_eq!(host.sh("ctr task ls | awk '$1 == \"c\" { print $3 }'").ok(), "PAUSED");
    let exec = host.sh("ctr task exec --exec-id e c true").failed();
    assert!(exec.contains("cannot exec in container c: it is paused"), "{exec}");
    host.sh("ctr task resume c && ctr task exec --exec-id e c true && ctr task pause c").ok();
    // What is paused is ended all the same.
    host.sh("ctr task rm -f c && ctr c rm c").ok();
}

fn an_end_of_memory_is_told_before_the_exit(host: &Host) {
    let events = host.sh("ctr events > /state/oom & events=$!
         until grep -q /namespaces/ /state/oom; do ctr namespaces label default at=$RANDOM; sleep 0.05; done
         $RUN --rm --memory-limit 16777216 $IMAGE c tail -c 100000000 /dev/zero; echo $?
         until grep -q /tasks/delete /state/oom; do sleep 0.05; done; kill $events
         awk '/ \\/tasks\\// { for (i = 1; i < NF; i++) if ($i ~ /^\\/tasks/) print $i }' /state/oom | uniq");
    let lines: Vec<&str> = events.stdout.lines().collect();
    let order = ["create", "start", "oom", "exit", "delete"].map(|topic| format!("/tasks/{topic}"));
    assert_eq!((lines[0], &lines[1..]), ("137", &order.each_ref().map(String::as_str)[..]), "{events:#?}");
}
