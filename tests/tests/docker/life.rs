//! What Docker does with a container between `run` and `rm`.

use tests::host::Host;

on_each_docker!(
    signals_reach_the_program_and_stop_waits_for_it,
    a_container_is_restarted_as_its_policy_says,
    a_paused_container_stands_still,
    processes_and_statistics_are_those_of_the_container,
    limits_are_set_and_change_while_it_runs,
    who_takes_more_memory_than_allowed_is_killed,
    a_stopped_container_starts_again_with_its_data_and_its_ids,
    a_restart_is_a_boot,
    events_come_in_their_order,
);

/// Of a container's inspection.
fn inspected(host: &Host, what: &str) -> String {
    host.sh(&format!("docker inspect -f '{what}' one")).ok().to_owned()
}

fn signals_reach_the_program_and_stop_waits_for_it(host: &Host) {
    let traps = "trap \"echo usr1\" USR1; trap \"echo term; exit 9\" TERM; trap \"exit 5\" WINCH; echo ready; while :; do sleep 0.05; done";
    host.sh(&format!("$DOCKER -d --name one busybox sh -c '{traps}'")).ok();
    host.until("docker logs one | grep -q ready");
    host.sh("docker kill -s USR1 one").ok();
    host.until("docker logs one | grep -q usr1");
    assert_eq!(host.sh("docker stop one; docker logs one; docker wait one").ok(), "one\nready\nusr1\nterm\n9");
    host.sh(&format!("docker rm one; $DOCKER -d --name one --stop-signal WINCH busybox sh -c '{traps}'")).ok();
    host.until("docker logs one | grep -q ready");
    assert_eq!(host.sh("docker stop one && docker wait one && docker rm one").ok(), "one\n5\none");
    // Who does not listen is killed.
    host.sh("$DOCKER -d --name one busybox sleep 1000").ok();
    assert_eq!(host.sh("docker stop -t 0 one && docker wait one && docker rm one").ok(), "one\n137\none");
}

fn a_container_is_restarted_as_its_policy_says(host: &Host) {
    host.sh("$DOCKER -d --name one --restart on-failure:2 busybox sh -c 'echo run; exit 3'").ok();
    host.until(
        "[ \"$(docker inspect -f '{{.RestartCount}} {{.State.Status}} {{.State.ExitCode}}' one)\" = '2 exited 3' ]",
    );
    assert_eq!(host.sh("docker logs one; docker rm one").ok(), "run\nrun\nrun\none");
    host.sh("$DOCKER -d --name one --restart always busybox sleep 1000").ok();
    let killed = "kill -KILL $(docker inspect -f '{{.State.Pid}}' one)";
    host.sh(killed).ok();
    host.until("[ \"$(docker inspect -f '{{.RestartCount}} {{.State.Status}}' one)\" = '1 running' ]");
    host.sh("docker exec one true && docker stop -t 0 one").ok();
    assert_eq!(inspected(host, "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    host.sh("docker rm one").ok();
}

fn a_paused_container_stands_still(host: &Host) {
    host.sh("$DOCKER -d --name one busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i > /count; done'").ok();
    host.until("docker exec one test -s /count");
    host.sh("docker pause one").ok();
    assert_eq!(inspected(host, "{{.State.Status}}"), "paused");
    let count = "cat /proc/$(docker inspect -f '{{.State.Pid}}' one)/root/count";
    assert_eq!(host.sh(&format!("one=$({count}); sleep 0.3; [ $one = $({count}) ]")).status, 0);
    assert!(host.sh("docker exec one true").failed().contains("is paused"));
    host.sh("docker unpause one").ok();
    host.until(&format!("one=$({count}); sleep 0.1; [ $one != $({count}) ]"));
    // One that is paused can be stopped.
    host.sh("docker pause one && docker stop -t 0 one && docker rm one").ok();
}

fn processes_and_statistics_are_those_of_the_container(host: &Host) {
    host.sh("$DOCKER -d --name one --memory 64m --pids-limit 20 busybox sh -c 'sleep 901 & exec sleep 902'").ok();
    // Both have become sleep: the shell's own words are in its children, too, until then.
    host.until("[ $(docker top one -o pid,args | grep -cE '^ *[0-9]+ +sleep 90[12] *$') = 2 ]");
    let top = host.sh("docker top one -o pid,args");
    let pids = host.sh("pgrep -f '^sleep 90[12]' | sort -n");
    let shown: Vec<&str> = top.ok().lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let mut expected: Vec<&str> = pids.ok().lines().collect();
    expected.sort_unstable();
    let mut sorted = shown.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "{top:#?}");
    let stats = host.sh("docker stats --no-stream --format '{{.Name}} {{.PIDs}} {{.MemUsage}}' one");
    assert!(stats.ok().starts_with("one 2 ") && stats.ok().ends_with("/ 64MiB"), "{stats:#?}");
    let used = stats.ok().split_whitespace().nth(2).unwrap();
    assert!(!used.starts_with('0'), "{stats:#?}");
    host.sh("docker rm -f one").ok();
}

fn limits_are_set_and_change_while_it_runs(host: &Host) {
    // On the machine's hierarchies, of version 1: what they say inside is what the container has.
    let files = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes cpu/cpu.cfs_quota_us cpu/cpu.shares pids/pids.max cpuset/cpuset.cpus";
    let limits =
        || host.sh(&format!("docker exec one sh -c '{files}'")).ok().split_whitespace().collect::<Vec<_>>().join(" ");
    host.sh("$DOCKER -d --name one --memory 64m --memory-swap 64m --cpus 1.5 --cpu-shares 512 --pids-limit 20 --cpuset-cpus 0-1 busybox sleep 1000").ok();
    assert_eq!(limits(), "67108864 67108864 150000 512 20 0-1");
    host.sh(
        "docker update --memory 80m --memory-swap 96m --cpus 0.5 --cpu-shares 256 --pids-limit 30 --cpuset-cpus 0 one",
    )
    .ok();
    assert_eq!(limits(), "83886080 100663296 50000 256 30 0");
    // Kept over a restart.
    host.sh("docker restart -t 0 one").ok();
    assert_eq!(limits(), "83886080 100663296 50000 256 30 0");
    // The kernel keeps them: no process beyond the limit.
    let forks =
        host.sh("docker exec one sh -c 'for i in $(seq 40); do sleep 100 & done' 2>&1 | grep -c \"can't fork\"");
    assert_eq!(forks.ok(), "1", "{forks:#?}");
    host.sh("docker rm -f one").ok();
}

fn who_takes_more_memory_than_allowed_is_killed(host: &Host) {
    let since = host.sh("date +%s.%N").ok().to_owned();
    assert_eq!(host.sh("$DOCKER --name one --memory 16m --memory-swap 16m busybox tail /dev/zero").status, 137);
    // First, as dockerd answers it when it has told of the end, which it does after it has answered `run`.
    assert_eq!(inspected(host, "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    let events = host.sh(&format!(
        "docker events --since {since} --until $(date +%s.%N) --filter container=one --format '{{{{.Action}}}}' | grep -E '^(start|oom|die)$'"
    ));
    assert_eq!(events.ok(), "start\noom\ndie");
    host.sh("docker rm one").ok();
}

fn a_stopped_container_starts_again_with_its_data_and_its_ids(host: &Host) {
    let map = |name: &str| host.sh(&format!("docker exec {name} cat /proc/self/uid_map")).ok().to_owned();
    host.sh("$DOCKER -d --name one busybox sleep 1000 && docker exec one sh -c 'echo a > /a; echo b > /home/b; chown user:users /home/b'").ok();
    let first = map("one");
    host.sh("docker stop -t 0 one").ok();
    // Others take ranges meanwhile.
    host.sh("for name in two three; do $DOCKER -d --name $name busybox sleep 1000; done").ok();
    assert!(map("two") != first && map("three") != first && map("two") != map("three"));
    let upper = "docker start one > /dev/null; docker exec one sh -c 'cat /a /home/b; stat -c %u:%g:%n /a /home/b'";
    assert_eq!(host.sh(upper).ok(), "a\nb\n0:0:/a\n1000:100:/home/b");
    assert_eq!(map("one"), first);
    // And so it is after a restart, and after an end by itself.
    host.sh("docker restart -t 0 one && docker exec one cat /a").ok();
    assert_eq!(map("one"), first);
    host.sh("docker rm -f one two three").ok();
    // Its range can be had again once it is removed.
    host.sh("$DOCKER -d --name four busybox sleep 1000").ok();
    assert_eq!(map("four"), first);
    host.sh("docker rm -f four").ok();
}

fn a_restart_is_a_boot(host: &Host) {
    // Whole seconds of the boot, of the uptime and of now, in that order.
    let clocks = || {
        let script = "awk '/^btime/ { print $2 }' /proc/stat; cut -d . -f 1 /proc/uptime; date +%s";
        let output = host.sh(&format!("docker exec one sh -c \"{}\"", script.replace('$', "\\$")));
        let numbers: Vec<i64> = output.ok().lines().map(|line| line.parse().unwrap()).collect();
        <[i64; 3]>::try_from(numbers).unwrap_or_else(|_| panic!("{output:#?}"))
    };
    let boot_id = || host.sh("docker exec one cat /proc/sys/kernel/random/boot_id").ok().to_owned();
    host.sh("$DOCKER -d --name one busybox sleep 1000").ok();
    host.until("[ $(docker exec one cut -d . -f 1 /proc/uptime) -ge 3 ]");
    let (before, id) = (clocks(), boot_id());
    assert_eq!(boot_id(), id, "one for its life");
    host.sh("docker restart -t 0 one").ok();
    let (after, next) = (clocks(), boot_id());
    assert!(id.len() == 36 && next.len() == 36 && id != next, "{id} {next}");
    // It was up for three seconds.
    assert!(after[0] >= before[0] + 2, "{before:?}, and then {after:?}");
    assert!(after[1] <= after[2] - before[0] - 2, "{before:?}, and then {after:?}");
    for [boot, up, now] in [before, after] {
        // A busy machine takes its time between them.
        assert!((-2..=20).contains(&(now - boot - up)), "{before:?}, and then {after:?}");
    }
    host.sh("docker rm -f one").ok();
}

fn events_come_in_their_order(host: &Host) {
    let since = host.sh("date +%s.%N").ok().to_owned();
    host.sh("$DOCKER -d --name one busybox sleep 1000 && docker exec one true && docker pause one && docker unpause one && docker stop -t 0 one && docker rm one").ok();
    let events = host.sh(&format!("docker events --since {since} --until $(date +%s.%N) --filter type=container --filter container=one --format '{{{{.Action}}}}'"));
    let actions: Vec<&str> = events.ok().lines().map(|action| action.split(':').next().unwrap()).collect();
    let expected = [
        "create",
        "start",
        "exec_create",
        "exec_start",
        "exec_die",
        "pause",
        "unpause",
        "kill",
        "kill",
        "die",
        "stop",
        "destroy",
    ];
    let mut seen = actions.clone();
    // dockerd tells of a stop that takes no time and of the end that it causes in either order.
    seen.dedup();
    let mut wanted = expected.to_vec();
    wanted.dedup();
    let order = |names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| **name != "stop" && **name != "die").map(|name| (*name).to_owned()).collect()
    };
    assert_eq!(order(&seen), order(&wanted), "{actions:?}");
    assert!(seen.contains(&"die") && seen.contains(&"stop"), "{actions:?}");
}
