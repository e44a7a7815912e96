//! One ownership everywhere: what a container's files are owned by, inside, on disk and in what Docker makes of them, is what it
//! is under runc, and nothing is ever chowned.
//!
//! A check that goes [`as_under_runc`] runs its script under both and compares every line.

use tests::host::Host;

on_each_docker!(
    files_copied_in_and_out_keep_their_owners,
    images_made_of_containers_keep_their_owners,
    images_that_are_built_have_the_owners_of_their_dockerfile,
    volumes_have_the_owners_of_what_is_put_there,
    volumes_are_shared_with_containers_of_either_runtime,
    single_files_and_sockets_keep_user_and_group,
    tmpfs_and_nested_mounts_are_owned_as_asked,
    files_that_docker_makes_are_roots,
    a_restarted_container_has_its_owners,
    nothing_is_chowned,
);

/// Runs a script under runc and under the runtime under test (`$RT`), and compares what it prints. `$own` is a directory on a
/// disk, `$c` and `$v` names for a container and a volume, which go in the end; `owners` prints those of files.
fn as_under_runc(host: &Host, script: &str) -> String {
    let run = |runtime: &str| {
        let prelude = format!(
            r#"set -e; RT={runtime}; own=$(mktemp -d /state/own.XXXX); c=owner-c v=owner-v
            # Docker 26 leaves the mount of an export, under any runtime.
            drop() {{
                root=$(docker inspect -f '{{{{.GraphDriver.Data.MergedDir}}}}' $1 2> /dev/null)
                docker rm -f -v $1 > /dev/null 2>&1
                case $root in /*/merged) umount "$root" 2> /dev/null; rm -rf "${{root%/merged}}" ;; esac
            }}
            trap 'set +e; drop $c; drop $c-2; docker volume rm -f $v > /dev/null 2>&1; docker rmi -f owner-image > /dev/null 2>&1; rm -rf "$own"' EXIT
            run() {{ docker run --runtime $RT "$@"; }}
            owners() {{ (cd "$1" && shift && find . -mindepth 1 -printf '%P %U:%G %m %y\n' | sort); }}
            "#
        );
        let output = host.sh(&format!("{prelude}{script}"));
        assert_eq!(output.status, 0, "under {runtime}: {output:#?}");
        output.stdout
    };
    let (ours, runc) = (run(&tests::host::runtime()), run("runc"));
    assert_eq!(ours, runc, "ours, and runc's");
    assert!(!ours.trim().is_empty(), "nothing was compared");
    ours
}

fn files_copied_in_and_out_keep_their_owners(host: &Host) {
    let said = as_under_runc(
        host,
        r#"mkdir "$own/d"; echo 1 > "$own/d/f"; echo 2 > "$own/d/g"; chown 5:6 "$own/d/f"; chown 1000:100 "$own/d"; chmod 2750 "$own/d"
        look() { docker cp $c:/var/$1 - | tar -tv --numeric-owner | awk '{print $1, $2, $6}' | sort; }
        run -d --name $c busybox sh -c 'mkdir /var/mine; echo > /var/mine/x; chown -R 7:8 /var/mine; chmod 4755 /var/mine/x; exec sleep 1d' > /dev/null
        until docker exec $c test -u /var/mine/x; do sleep 0.05; done
        for state in running stopped; do
            docker cp -q "$own/d" $c:/var/plain-$state; docker cp -q -a "$own/d" $c:/var/kept-$state
            tar -C "$own" -c d | docker cp - $c:/var/mine
            look plain-$state; look kept-$state; look mine
            mkdir "$own/$state"; docker cp -q $c:/var/mine "$own/$state/new"; docker cp -q -a $c:/var/mine "$own/$state/kept"
            owners "$own/$state"
            [ $state = stopped ] || { docker exec $c find /var -exec stat -c '%n %u:%g %a' '{}' +; docker stop -t 0 $c > /dev/null; }
        done
        docker start $c > /dev/null; docker exec $c find /var -exec stat -c '%n %u:%g %a' '{}' +"#,
    );
    assert!(said.contains("/var/mine/x 7:8 4755") && said.contains("/var/kept-running/f 5:6 644"), "{said}");
}

fn images_made_of_containers_keep_their_owners(host: &Host) {
    let said = as_under_runc(
        host,
        r#"run --name $c busybox sh -c 'mkdir -p /srv/a; echo 1 > /srv/a/f; echo 2 > /srv/g; chown 1000:100 /srv/a /srv/a/f; chown 0:65535 /srv/g; rm /etc/group; chmod 6711 /srv/g'
        docker diff $c | sort
        docker export $c | tar -tv --numeric-owner | awk '$6 ~ /^(srv|etc|var)/ {print $1, $2, $6}' | sort
        docker commit $c owner-image > /dev/null
        run --rm owner-image find /srv /etc -exec stat -c '%n %u:%g %a' '{}' + | sort
        docker save owner-image | tar -x -C "$own"; ls "$own" > /dev/null
        docker run --rm --runtime runc owner-image find /srv -exec stat -c '%n %u:%g %a' '{}' +"#,
    );
    assert!(said.contains("/srv/g 0:65535 6711") && said.contains("D /etc/group"), "{said}");
}

fn images_that_are_built_have_the_owners_of_their_dockerfile(host: &Host) {
    // The classic builder runs its steps by the default runtime, which is the one under test.
    let script = r#"
        set -e; context=$(mktemp -d /tmp/build.XXXX); trap 'docker rmi -f owner-built > /dev/null 2>&1; rm -rf "$context"' EXIT
        echo 1 > "$context/f"; chown 5:6 "$context/f"
        printf '%s\n' 'FROM busybox' 'COPY f /srv/root' 'COPY --chown=7:8 f /srv/chowned' 'RUN echo 2 > /srv/made && chown 1000:100 /srv/made && cat /proc/self/uid_map > /srv/map' \
            'WORKDIR /srv/dir' 'USER 1000:100' 'RUN echo 3 > /tmp/users' > "$context/Dockerfile"
        DOCKER_BUILDKIT=0 docker build -q -t owner-built "$context" > "$context/log" 2>&1 || { cat "$context/log"; exit 1; }
        for runtime in runc RUNTIME; do docker run --rm --user 0 --runtime $runtime owner-built stat -c '%n %u:%g' /srv/root /srv/chowned /srv/made /srv/dir /tmp/users; done
        docker run --rm --runtime runc owner-built cat /srv/map"#;
    let output = host.sh(&script.replace("RUNTIME", &tests::host::runtime()));
    let lines: Vec<&str> = output.ok().lines().collect();
    let owners = ["/srv/root 0:0", "/srv/chowned 7:8", "/srv/made 1000:100", "/srv/dir 0:0", "/tmp/users 1000:100"];
    assert_eq!(lines[..5], owners);
    assert_eq!(lines[5..10], owners);
    // It was ours that ran the steps.
    let map: Vec<&str> = lines[10].split_whitespace().collect();
    assert!(map[1] != "0" && map[2] == "65536", "{map:?}");
}

fn volumes_have_the_owners_of_what_is_put_there(host: &Host) {
    let said = as_under_runc(
        host,
        r#"run --name $c busybox sh -c 'mkdir /data; echo 1 > /data/f; echo 2 > /data/g; chown 1000:100 /data /data/f; chmod 1770 /data; chown 65535:1 /data/g'
        docker commit --change 'VOLUME /data' $c owner-image > /dev/null; docker rm $c > /dev/null
        # A named volume and an anonymous one, filled by dockerd from the image.
        for option in "-v $v:/data" ''; do
            run -d --name $c $option owner-image sh -c 'id > /data/new; chown 33:33 /data/new; exec sleep 1d' > /dev/null
            until [ "$(docker exec $c stat -c %u:%g /data/new)" = 33:33 ]; do sleep 0.05; done 2> /dev/null
            docker exec -u 1000:100 $c touch /data/by-user
            source=$(docker inspect -f '{{range .Mounts}}{{.Source}}{{end}}' $c)
            stat -c '%u:%g %a' "$source"; owners "$source"
            docker exec $c find /data -exec stat -c '%n %u:%g %a' '{}' + | sort
            docker restart -t 0 $c > /dev/null; owners "$source"; docker rm -f -v $c > /dev/null
        done
        # A volume is nobody's but its files' owners': the next container has them.
        run --rm -v $v:/v busybox find /v -exec stat -c '%n %u:%g %a' '{}' + | sort"#,
    );
    assert!(said.contains("/data/g 65535:1 644") && said.contains("/v/by-user 1000:100 644"), "{said}");
}

fn volumes_are_shared_with_containers_of_either_runtime(host: &Host) {
    // Two containers of the runtime under test, each with ids of its own, and one of runc's.
    let said = as_under_runc(
        host,
        r#"run -d --name $c -v $v:/v busybox sh -c 'echo 1 > /v/one; chown 10:20 /v/one; exec sleep 1d' > /dev/null
        until [ "$(docker exec $c stat -c %u:%g /v/one)" = 10:20 ]; do sleep 0.05; done 2> /dev/null
        run -d --name $c-2 --volumes-from $c busybox sh -c 'echo 2 > /v/two; chown 30:40 /v/two; chmod 640 /v/two; exec sleep 1d' > /dev/null
        until [ "$(docker exec $c stat -c %a /v/two)" = 640 ]; do sleep 0.05; done 2> /dev/null
        docker run --rm --runtime runc -v $v:/v busybox sh -c 'cat /v/one /v/two; echo 3 > /v/three; chown 50:60 /v/three; chown 11 /v/one'
        for name in $c $c-2; do docker exec $name sh -c 'cat /v/three; stat -c "%n %u:%g %a" /v/*'; done
        docker exec -u 30:40 $c cat /v/two; docker exec -u 31:41 $c cat /v/two 2>&1 || :
        owners /var/lib/docker/volumes/$v/_data"#,
    );
    assert!(said.contains("one 11:20 644 f") && said.contains("Permission denied"), "{said}");
}

fn single_files_and_sockets_keep_user_and_group(host: &Host) {
    let said = as_under_runc(
        host,
        r#"echo 1 > "$own/f"; chown 1000:100 "$own/f"; chmod 640 "$own/f"
        perl -MSocket -e 'socket(my $s, AF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un($ARGV[0])) or die' "$own/s"
        chown 0:44 "$own/s"; chmod 660 "$own/s"
        script='stat -c "%n %u:%g %a %F" /f /s; cat /f; for file in /f /s; do [ ! -r $file ] || echo r$file; [ ! -w $file ] || echo w$file; done'
        run --rm -v "$own/f:/f" -v "$own/s:/s" -u 1000:100 --group-add 44 busybox sh -c "$script"
        run --rm -v "$own/f:/f:ro" -v "$own/s:/s" -u 1001:1001 busybox sh -c "$script" 2> /dev/null
        run --rm -v "$own/f:/f" busybox sh -c 'echo 2 >> /f; chown 12:13 /f'; owners "$own""#,
    );
    assert!(said.contains("/s 0:44 660 socket") && said.contains("w/s") && said.contains("f 12:13 640 f"), "{said}");
}

fn tmpfs_and_nested_mounts_are_owned_as_asked(host: &Host) {
    let said = as_under_runc(
        host,
        r#"mkdir -p "$own/n/deep"; chown 5:6 "$own/n" "$own/n/deep"
        run -d --name $c --tmpfs /t:uid=7,gid=8,mode=710 --mount type=tmpfs,dst=/m,tmpfs-mode=1750 -v $v:/a -v "$own/n:/a/b" --tmpfs /a/b/deep \
            busybox sh -c 'echo > /a/f; chown 1:2 /a/f; echo > /a/b/g; chown 3:4 /a/b/g; echo > /a/b/deep/h; exec sleep 1d' > /dev/null
        until docker exec $c test -s /a/b/deep/h; do sleep 0.05; done
        look() { docker exec $c sh -c 'stat -c "%n %u:%g %a" /t /m /dev/shm; find /a -exec stat -c "%n %u:%g %a" "{}" +' | sort; }
        look; docker restart -t 0 $c > /dev/null; until docker exec $c test -s /a/b/deep/h; do sleep 0.05; done; look
        owners "$own"; owners /var/lib/docker/volumes/$v/_data"#,
    );
    assert!(said.contains("/t 7:8 710") && said.contains("/a/b/g 3:4 644"), "{said}");
}

fn files_that_docker_makes_are_roots(host: &Host) {
    let said = as_under_runc(
        host,
        r#"run -d --name $c -h host.name busybox sleep 1d > /dev/null
        docker exec $c stat -c '%n %u:%g %a' /etc/hosts /etc/hostname /etc/resolv.conf /.dockerenv
        docker exec -u 1000:100 $c sh -c 'cat /etc/hostname; grep -c . /etc/hosts > /dev/null && cat /etc/resolv.conf > /dev/null && echo readable'
        docker exec -u 1000:100 $c sh -c ': > /etc/hosts' 2>&1 || :
        docker exec $c sh -c 'echo 10.9.9.9 here >> /etc/hosts'
        stat -c '%u:%g %a' "$(docker inspect -f '{{.HostsPath}}' $c)" "$(docker inspect -f '{{.ResolvConfPath}}' $c)"
        docker exec $c grep here /etc/hosts"#,
    );
    assert!(said.contains("/etc/hosts 0:0 644") && said.contains("readable"), "{said}");
}

fn a_restarted_container_has_its_owners(host: &Host) {
    let said = as_under_runc(
        host,
        r#"run -d --name $c busybox sh -c '[ -e /srv ] || { mkdir /srv; echo > /srv/f; chown 1000:100 /srv/f; chown 0:5 /srv; }; touch /srv/run; chown 9:9 /srv/run; exec sleep 1d' > /dev/null
        until [ "$(docker exec $c stat -c %u:%g /srv/run)" = 9:9 ]; do sleep 0.05; done 2> /dev/null
        for round in 1 2; do
            docker exec $c find /srv -exec stat -c '%n %u:%g' '{}' + | sort
            docker stop -t 0 $c > /dev/null
            # Others start meanwhile.
            run --rm --name $c-2 busybox true
            run -d --name $c-2 busybox sleep 1d > /dev/null
            docker cp $c:/srv - | tar -tv --numeric-owner | awk '{print $2, $6}' | sort
            docker start $c > /dev/null; docker rm -f $c-2 > /dev/null
        done"#,
    );
    assert!(said.contains("/srv/f 1000:100"), "{said}");
}

/// The time of the last change of an inode, which a chown would set, of everything that a container has but does not touch: its
/// image on the host's disk, a volume, a bind mount.
fn nothing_is_chowned(host: &Host) {
    let script = r#"
        set -e; own=$(mktemp -d /state/own.XXXX); trap 'docker rm -f owner-c > /dev/null 2>&1; docker volume rm -f owner-v > /dev/null 2>&1; rm -rf "$own"' EXIT
        docker run --rm --runtime runc -v owner-v:/v busybox sh -c 'cp -r /etc /v; chown -R 5:6 /v/etc'
        cp -r /etc/apt "$own/b"; chown 7:8 "$own/b"
        image() { find /var/lib/docker/overlay2 /var/lib/containerd/io.containerd.snapshotter.v1.overlayfs -path '*/etc/passwd' -o -name busybox -type f; }
        look() { { find "$own/b" /var/lib/docker/volumes/owner-v -mindepth 1; image; } 2> /dev/null | sort | xargs stat -c '%n %u:%g %Z %z'; }
        look > "$own/before"; [ "$(grep -c bin/busybox "$own/before")" -ge 1 ] || { cat "$own/before"; exit 1; }
        sleep 0.05
        docker run -d --name owner-c --runtime RUNTIME -v owner-v:/v -v "$own/b:/b" busybox sleep 1d > /dev/null
        docker exec owner-c sh -c 'find / -xdev > /dev/null; cat /v/etc/passwd /b/sources.list > /dev/null 2>&1; :'
        docker restart -t 0 owner-c > /dev/null; docker cp -q "$own/before" owner-c:/srv; docker exec owner-c test -s /srv
        docker rm -f owner-c > /dev/null
        look > "$own/after"; diff "$own/before" "$own/after" && wc -l < "$own/after""#;
    let output = host.sh(&script.replace("RUNTIME", &tests::host::runtime()));
    assert!(output.ok().parse::<u32>().is_ok_and(|lines| lines > 10), "{output:#?}");
}
