//! containerd or a shim ends under a running container.

use tests::host::Host;

on_each_suite!(
    containerd_killed_finds_its_containers_again,
    containerd_restarted_finds_its_containers_again,
    a_killed_shim_leaves_nothing,
);

fn containerd_killed_finds_its_containers_again(host: &Host) {
    survives(host, "KILL");
}

fn containerd_restarted_finds_its_containers_again(host: &Host) {
    survives(host, "TERM");
}

/// Ends containerd, which the host's first process starts again.
const END: &str = "end() {
        old=$(pgrep -x containerd); kill -$1 $old
        while [ -e /proc/$old ]; do sleep 0.02; done
    }
    back() { until ctr version > /dev/null 2>&1; do sleep 0.02; done; }";

fn survives(host: &Host, signal: &str) {
    let trap = "trap \"echo caught\" USR1; trap \"exit 6\" TERM; while :; do sleep 0.05; done";
    host.sh(&format!("$RUN -d $IMAGE a sh -c '{trap}' && $RUN -d $IMAGE b sleep 1000")).ok();
    host.sh(&format!("{END}; end {signal}; back")).ok();
    assert_eq!(host.sh("ctr task ls | grep -c RUNNING").ok(), "2");
    assert_eq!(host.sh("ctr task exec --exec-id e a sh -c 'echo in; exit 3'").status, 3);
    // One that waits, and one that ends while no containerd runs.
    let attach = host.command("exec ctr task attach a > /state/attached").spawn().expect("ctr");
    host.until("ctr task kill -s USR1 a && grep -q caught /state/attached");
    let events = host.sh("ctr events > /state/events & events=$!
         until grep -q /namespaces/ /state/events; do ctr namespaces label default at=$RANDOM; sleep 0.05; done
         ctr task exec --exec-id f a true; ctr task kill a
         until grep -q /tasks/delete /state/events; do sleep 0.05; done; kill $events
         awk '/ \\/tasks\\// { for (i = 1; i < NF; i++) if ($i ~ /^\\/tasks/) print $i }' /state/events");
    let order = ["exec-added", "exec-started", "exit", "exit", "delete"].map(|topic| format!("/tasks/{topic}"));
    assert_eq!(events.stdout.lines().collect::<Vec<_>>(), order, "{events:#?}");
    assert_eq!(attach.wait_with_output().expect("ctr").status.code(), Some(6));
    // `ctr task attach` removes the task that has ended.
    let ended = host.sh(&format!(
        "{END}; init=$(ctr task ls | awk '$1 == \"b\" {{ print $2 }}')
         end {signal}; kill -KILL $init; back; while ctr task ls | grep -q RUNNING; do sleep 0.05; done; ctr task rm b 2>&1"
    ));
    // From 1.7 on containerd takes a shim without processes, which it finds when it starts, for one that leaked, runc's
    // too, and deletes it itself (loadShim of its shim manager).
    let known = ["exit code 137", "task b not found"];
    assert!(known.iter().any(|text| ended.stdout.contains(text)), "{ended:#?}");
    host.sh("ctr c rm a b").ok();
    assert_eq!(host.sh("$RUN --rm $IMAGE next sh -c 'exit 2'").status, 2);
}

fn a_killed_shim_leaves_nothing(host: &Host) {
    let before = host.traces();
    host.sh("$RUN -d $IMAGE other sleep 1000 && $RUN -d $IMAGE c sh -c 'sleep 500 & exec sleep 600' && ctr task exec -d --exec-id e c sleep 700").ok();
    host.until("[ $(pgrep -fc '^sleep [567]00') = 3 ]");
    host.sh("init=$(ctr task ls | awk '$1 == \"c\" { print $2 }'); shim=$(ps -o ppid= -p $init); tr '\\0' ' ' < /proc/${shim// /}/cmdline | grep -q eci && kill -KILL $shim").ok();
    // containerd calls the shim's `delete`, which ends what still runs.
    host.until("! pgrep -f '^sleep [567]00' && ! ctr task ls | grep '^c ' | grep -q RUNNING");
    host.sh("ctr task rm -f c; ctr c rm c").ok();
    // The other container is untouched; the same name can be had again.
    host.sh("ctr task exec --exec-id e other true").ok();
    assert_eq!(host.sh("$RUN --rm $IMAGE c sh -c 'exit 2'").status, 2);
    host.sh("ctr task rm -f other && ctr c rm other").ok();
    host.has_nothing_since(&before);
}
