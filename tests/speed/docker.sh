# Run in a test host with Docker by ../bench, with OURS and RUNS: prints lines `WHAT RUNTIME NANOSECONDS`, those of ./path.c in its own units.
set -euo pipefail
ours=$1 runs=$2
runtimes="$ours runc"

for runtime in $runtimes; do
  docker run -d --runtime "$runtime" --name "long-${runtime##*.}" busybox sleep 100000 > /dev/null
  docker run --rm --runtime "$runtime" busybox true
done
for n in $(seq "$runs"); do
  for runtime in $runtimes; do
    timed docker-run "$runtime" docker run --rm --runtime "$runtime" busybox true
    timed docker-exec "$runtime" docker exec "long-${runtime##*.}" true
  done
done
docker rm -f $(docker ps -aq) > /dev/null

# With Docker's own profile.
for n in $(seq 20); do
  for runtime in $runtimes; do
    docker run --rm --runtime "$runtime" -v /opt/shim/path:/path:ro busybox /path /home | sed "s/^/docker-/; s/ / $runtime /"
  done
done

# twenty RUNTIME: as many at once.
twenty() {
  local n
  for n in $(seq 20); do docker run --rm --runtime "$1" busybox true & done
  wait
}
for n in 1 2 3 4 5; do
  for runtime in $runtimes; do timed docker-twenty "$runtime" twenty "$runtime"; done
done

# Many files, of different owners, in a volume and in an image: in each round the first container of a new image.
docker volume create files > /dev/null
docker run --rm --runtime runc -v files:/files busybox sh -c '
  for n in $(seq 100); do
    mkdir /files/$n; cd /files/$n; touch $(seq 500); chown -R $n:$n .
  done'
for n in $(seq 10); do
  for runtime in $runtimes; do timed docker-volume "$runtime" docker run --rm --runtime "$runtime" -v files:/files busybox true; done
done
cp /hosts/images/busybox/bin/busybox /state/true
tar c -C "$(docker volume inspect -f '{{.Mountpoint}}' files)" . > /state/files.tar
for n in 1 2 3 4 5; do
  for runtime in $runtimes; do
    image=files-$n-${runtime##*.}
    docker import /state/files.tar "$image" > /dev/null
    timed docker-image "$runtime" docker run --rm --runtime "$runtime" -v /state/true:/bin/true:ro "$image" /bin/true
    docker rmi "$image" > /dev/null
  done
done
