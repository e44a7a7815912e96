# Read before the other scripts of this directory.

# timed WHAT RUNTIME COMMAND...: prints both and the nanoseconds that the command took; its output goes nowhere.
timed() {
  local what=$1 runtime=$2 start
  shift 2
  start=$(date +%s%N)
  "$@" > /dev/null
  echo "$what $runtime $(($(date +%s%N) - start))"
}
