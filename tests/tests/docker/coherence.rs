//! `docker cp`, `export`, `diff` and `commit` on running containers: dockerd looks at the root filesystem through a mount of its
//! own, and each side sees what the other has done, also where it had looked at the same names before.

use tests::host::Host;

on_each_docker!(
    the_next_exec_sees_what_was_copied_in,
    a_process_sees_what_was_copied_in_without_an_exec,
    what_was_copied_to_can_be_written_to,
    what_was_done_inside_is_copied_out,
    an_exec_knows_the_users_that_were_added_inside,
    two_views_agree_on_directories_and_links,
    copies_and_execs_in_turn_lose_nothing,
    mounts_and_links_inside_do_not_lead_docker_cp_out,
    a_directory_that_is_full_of_names_is_forgotten_too,
);

/// Makes `docker exec` and `docker cp` short, for a container `views` that runs `$1` in its working directory `$2`.
const SETUP: &str = r#"
    set -e; scratch=$(mktemp -d /tmp/views.XXXX)
    # Docker 26 leaves the mount of an export, under any runtime.
    drop() {
        root=$(docker inspect -f '{{.GraphDriver.Data.MergedDir}}' views 2> /dev/null)
        docker rm -f views > /dev/null 2>&1
        case $root in /*/merged) umount "$root" 2> /dev/null; rm -rf "${root%/merged}" ;; esac
    }
    trap 'set +e; drop; rm -rf "$scratch"' EXIT
    start() { docker rm -f views > /dev/null 2>&1 || :; $DOCKER -d --name views -w "$2" busybox sh -c "$1" > /dev/null; }
    inside() { docker exec views "$@" 2>&1; }
    put() { echo "$2" > "$scratch/file"; docker cp -q "$scratch/file" "views:$1"; }
    get() { docker cp "views:$1" - 2>&1 | tar -xO 2> /dev/null; }
    fail() { echo "$*"; exit 1; }
    equal() { [ "$1" = "$2" ] || fail "$3: [$1], not [$2]"; }
"#;

fn check(host: &Host, script: &str) {
    let output = host.sh(&format!("{SETUP}{script}"));
    assert_eq!(output.status, 0, "{output:#?}");
}

fn the_next_exec_sees_what_was_copied_in(host: &Host) {
    // /bin is held by the program that runs there, /etc by what is mounted in it, /var/www by a working directory.
    check(
        host,
        r#"start 'cd /var/www; exec sleep 1d' /home
        for dir in "" /etc /bin /var/www /home /var /tmp; do
            for round in 1 2 3; do
                inside cat $dir/new && fail "$dir/new is there"
                put $dir/new $round; equal "$(inside cat $dir/new)" $round "cp to $dir/new"
                put $dir/new again$round; equal "$(inside cat $dir/new)" again$round "cp over $dir/new"
                inside rm $dir/new
            done
        done
        # What the image has: read before, replaced, removed inside and put back.
        inside cat /etc/group > /dev/null
        put /etc/group one; equal "$(inside cat /etc/group)" one "cp over the image's"
        inside rm /etc/group; put /etc/group two; equal "$(inside cat /etc/group)" two "cp over what was removed"
        inside sh -c 'echo inside > /etc/group'; put /etc/group three; equal "$(inside cat /etc/group)" three "cp over the container's""#,
    );
}

fn a_process_sees_what_was_copied_in_without_an_exec(host: &Host) {
    check(
        host,
        r#"start 'for n in 1 2 3 4 5; do until [ "$(cat come etc/$n 2> /dev/null)" = "$n $n" ]; do sleep 0.02; done; echo saw $n; done' /
        # Its own working directory, a directory above what is mounted; a name that it looks for all the time.
        for n in 1 2 3 4 5; do
            put /come "$n $n"; : > "$scratch/empty"; docker cp -q "$scratch/empty" views:/etc/$n
            for try in $(seq 500); do docker logs views | grep -q "saw $n" && break; sleep 0.02; done
            docker logs views | grep -q "saw $n" || fail "never saw $n"
        done
        docker wait views > /dev/null
        # The same for a directory that is only made, in one that is held.
        start 'cd /var/www; until [ -d made ]; do sleep 0.02; done; ls -d made' /
        mkdir "$scratch/made"; docker cp -q "$scratch/made" views:/var/www/
        equal "$(timeout 60 docker wait views)" 0 wait
        equal "$(docker logs views)" made "a directory""#,
    );
}

fn what_was_copied_to_can_be_written_to(host: &Host) {
    // Both have the directory to copy up.
    check(
        host,
        r#"start 'cd /var/www; exec sleep 1d' /bin
        for dir in /var/www /bin /etc; do
            put $dir/theirs 1
            inside sh -c "echo 2 > $dir/ours; mkdir $dir/dir; mv $dir/theirs $dir/dir/moved"
            equal "$(inside ls -A $dir/dir)" moved "$dir"
            equal "$(get $dir/ours)" 2 "$dir/ours"; equal "$(get $dir/dir/moved)" 1 "$dir/dir/moved"
        done
        # A process that has been there all the time.
        equal "$(nsenter -t $(docker inspect -f '{{.State.Pid}}' views) -m sh -c 'cd /proc/1/cwd && ls -A')" "$(printf 'dir\nindex.html\nours')" cwd"#,
    );
}

fn what_was_done_inside_is_copied_out(host: &Host) {
    check(
        host,
        r#"start 'exec sleep 1d' /
        for round in 1 2 3; do
            get /etc/late && fail "/etc/late is there"
            inside sh -c "echo $round > /etc/late"; equal "$(get /etc/late)" $round "made inside"
            inside sh -c "echo more$round > /etc/late"; equal "$(get /etc/late)" more$round "changed inside"
            inside rm /etc/late; get /etc/late && fail "/etc/late is still there"
        done
        old=$(get /etc/group); [ -n "$old" ] || fail "the image has no group file"
        inside sh -c 'echo x:x:77: >> /etc/group'; equal "$(get /etc/group)" "$old
x:x:77:" "changed, of the image"
        inside mv /etc/group /etc/moved; get /etc/group && fail "moved away"; equal "$(get /etc/moved | tail -n 1)" x:x:77: "moved"
        docker export views | tar -t > "$scratch/list"
        grep -qx etc/moved "$scratch/list" && ! grep -qx etc/group "$scratch/list" || fail "export: $(cat "$scratch/list")"
        inside sh -c 'mv /etc/moved /etc/group'; put /etc/new new
        docker diff views > "$scratch/diff"; grep -qx 'A /etc/new' "$scratch/diff" && grep -qx 'C /etc/group' "$scratch/diff" || fail "diff: $(cat "$scratch/diff")"
        docker commit views views-image > /dev/null
        said=$($DOCKER --rm views-image sh -c 'cat /etc/new; tail -n 1 /etc/group; ls /etc/moved 2> /dev/null || :')
        docker rmi views-image > /dev/null
        equal "$said" "new
x:x:77:" commit"#,
    );
}

fn an_exec_knows_the_users_that_were_added_inside(host: &Host) {
    check(
        host,
        r#"start 'exec sleep 1d' /
        for n in 1 2 3 4 5; do
            docker exec -u late$n views true 2> /dev/null && fail "late$n exists"
            inside sh -c "echo late$n:x:300$n:400$n::/:/bin/sh >> /etc/passwd"
            equal "$(docker exec -u late$n views id -u)" 300$n "late$n"
        done"#,
    );
}

fn two_views_agree_on_directories_and_links(host: &Host) {
    check(
        host,
        r#"start 'cd /var/www; exec sleep 1d' /
        mkdir -p "$scratch/tree/a/b"; echo 1 > "$scratch/tree/a/b/file"; ln -s b/file "$scratch/tree/a/link"; ln "$scratch/tree/a/b/file" "$scratch/tree/hard"
        inside ls /var/www/tree && fail "the tree is there"
        docker cp -q "$scratch/tree" views:/var/www
        equal "$(inside sh -c 'cat /var/www/tree/a/link /var/www/tree/hard; readlink /var/www/tree/a/link')" "1
1
b/file" "a tree"
        # Made again inside, where a lower one was removed: opaque. Then filled from outside.
        inside sh -c 'cp -r /var/www /var/copy; rm -r /var/spool 2> /dev/null; mkdir /var/spool; ln /var/www/tree/hard /var/spool/hard'
        put /var/spool/theirs 2
        equal "$(inside ls -A /var/spool)" "hard
theirs" "an opaque directory"
        equal "$(docker cp views:/var/spool - | tar -t | sort)" "spool/
spool/hard
spool/theirs" "an opaque directory, copied out"
        # A directory of the image that is removed inside is made again by a copy.
        inside rm -r /var/www/tree /home; docker cp -q "$scratch/tree" views:/home
        equal "$(inside ls -A /home)" "a
hard" "a directory made again"
        inside mv /var/copy /var/moved; get /var/copy/tree/hard && fail moved; equal "$(get /var/moved/tree/hard)" 1 moved"#,
    );
}

fn copies_and_execs_in_turn_lose_nothing(host: &Host) {
    // Beside a process that writes, moves and removes in the same directories, and looks for the names before they come.
    check(
        host,
        r#"start 'while :; do for d in /etc /bin /var/www /tmp/deep/er; do mkdir -p $d; echo x > $d/own; cat $d/n$((c % 10)) > /dev/null 2>&1; mv $d/own $d/own2; rm $d/own2; done; c=$((c + 1)); done' /var/www
        for n in $(seq 50); do
            case $((n % 5)) in 0) dir=/etc ;; 1) dir=/bin ;; 2) dir=/var/www ;; 3) dir=/tmp/deep/er ;; 4) dir= ;; esac
            put $dir/n$((n % 10)) "content $n"
            inside sh -c "[ \"\$(cat $dir/n$((n % 10)))\" = 'content $n' ]" || fail "$dir, copy $n: not what was copied"
            inside sh -c "echo inside $n > $dir/m$((n % 10))"
            equal "$(get $dir/m$((n % 10)))" "inside $n" "$dir, copy $n out"
            [ $((n % 7)) != 0 ] || inside rm $dir/n$((n % 10)) $dir/m$((n % 10))
        done
        equal "$(docker inspect -f '{{.State.Running}}' views)" true running
        equal "$(docker logs views 2>&1)" "" "what went wrong inside""#,
    );
}

/// dockerd acts through its own mount, in namespaces of its own: what a container mounts is not there, and where its links
/// lead is inside.
fn mounts_and_links_inside_do_not_lead_docker_cp_out(host: &Host) {
    check(
        host,
        r#"canary=/tmp/canary.$$; mkdir $canary; trap 'set +e; drop; rm -rf "$scratch" $canary' EXIT
        docker rm -f views > /dev/null 2>&1 || :
        $DOCKER -d --name views --cap-add SYS_ADMIN --security-opt seccomp=unconfined busybox sh -c "
            mkdir -p /mnt /real $canary; mount -t tmpfs tmpfs /mnt; ln -s $canary /link; ln -s ../../../../..$canary /up
            while :; do rm -rf /flip; mkdir /flip; rm -rf /flip; ln -s /../../..$canary /flip; done" > /dev/null
        until inside test -L /up; do sleep 0.05; done
        root=$(docker inspect -f '{{.GraphDriver.Data.MergedDir}}' views)
        case $root in /*) ;; *) root=/var/lib/docker/rootfs/overlayfs/$(docker inspect -f '{{.Id}}' views) ;; esac
        equal "$(grep -c " $root" /proc/self/mountinfo)" 1 "mounts at dockerd's"
        put /mnt/file 1; inside test -e /mnt/file && fail "docker cp wrote into the container's mount"
        equal "$(cat $root/mnt/file)" 1 "below the mount"
        put /link/file 2; put /up/file2 3
        equal "$(inside cat $canary/file $canary/file2)" "2
3" "through links"
        for n in $(seq 20); do put /flip/f$n 1 2> /dev/null || :; docker cp views:/flip - > /dev/null 2>&1 || :; done
        equal "$(ls -A $canary)" "" "the host's directory""#,
    );
}

fn a_directory_that_is_full_of_names_is_forgotten_too(host: &Host) {
    check(
        host,
        r#"start 'cd /var; i=0; while [ $i -lt 20000 ]; do [ -e n$i ]; i=$((i + 1)); done; echo looked; exec sleep 1d' /
        until docker logs views | grep -q looked; do sleep 0.05; done
        for n in 0 7777 19999; do put /var/n$n $n; equal "$(inside cat /var/n$n)" $n "name $n"; done"#,
    );
}
