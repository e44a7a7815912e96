#!/bin/sh
# oci-hook createRuntime|postStop: gives a container a network and a published port, as nerdctl's hook of that name does: the
# state of the runtime spec on standard input, CNI's plugins on the network namespace of its pid.
set -e
state=$(cat)
echo "$1" >> /state/calls
export CNI_CONTAINERID=$(echo "$state" | sed 's/.*"id":"\([^"]*\)".*/\1/')
pid=$(echo "$state" | sed -n 's/.*"pid":\([0-9]*\).*/\1/p')
export CNI_NETNS=${pid:+/proc/$pid/ns/net} CNI_IFNAME=eth0 CNI_PATH=/usr/lib/cni
common='"cniVersion": "0.4.0", "name": "hooked"'
bridge="{ $common, \"type\": \"bridge\", \"bridge\": \"hooked0\", \"isGateway\": true,
  \"ipam\": { \"type\": \"host-local\", \"ranges\": [[{ \"subnet\": \"10.89.0.0/16\" }]] } }"
ports='{ "portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }] }'
portmap() { echo "{ $common, \"type\": \"portmap\", \"runtimeConfig\": $ports $1 }" | /usr/lib/cni/portmap; }
# chained PLUGIN [MORE]: one without a configuration of its own.
chained() { echo "{ $common, \"type\": \"$1\" ${2:-} }" | "/usr/lib/cni/$1"; }
case $1 in
  createRuntime)
    export CNI_COMMAND=ADD
    result=$(echo "$bridge" | /usr/lib/cni/bridge)
    result=$(portmap ", \"prevResult\": $result")
    result=$(chained firewall ", \"prevResult\": $result")
    chained tuning ", \"prevResult\": $result" > /dev/null
    # libcni keeps it, too: by it the firewall knows what to remove.
    echo "$result" > "/state/result-$CNI_CONTAINERID"
    ;;
  postStop)
    export CNI_COMMAND=DEL
    result=$(cat "/state/result-$CNI_CONTAINERID")
    chained tuning ", \"prevResult\": $result"
    chained firewall ", \"prevResult\": $result"
    portmap ""
    echo "$bridge" | /usr/lib/cni/bridge
    ;;
esac
