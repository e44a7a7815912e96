# The last check of a boot.

check_nothing_is_left() {
  # The writable layer, which holds a range, goes with containerd's next collection of garbage: that of a removed image.
  works ctr image tag "$IMAGE" docker.io/library/unused:latest
  works ctr image rm --sync docker.io/library/unused:latest
  eventually "no range is leased" sh -c 'containerd-shim-eci-v2 ranges > /dev/null; ! ls /run/eci/ranges/*-* 2> /dev/null'
  is "what there is now, and was not" "$(machine | diff before - | grep '^[<>]')" ""
}
