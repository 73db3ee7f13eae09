# shellcheck shell=bash
# A server of a script's own: sourced after lib.sh, never run. It is killed when the script ends,
# and the folder $work goes with it.

work=$(mktemp -d)
log=$work/stderr
server=
cleanup() {
  if [[ $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start COMMAND...: starts a server, and sets $server and $url once it listens. Fails if it ends
# before, or takes longer than 10 s.
start() {
  local tries
  : >"$log" # the line of the server before must not be taken for this one's
  "$@" </dev/null >/dev/null 2>>"$log" &
  server=$!
  for ((tries = 0; tries < 200; tries++)); do
    # shellcheck disable=SC2034 # for who sources this
    if url=$(listening_url); then return; fi
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.05
  done
  return 1
}

# What the start-up line names. `read` passes over a line that is not yet written to its end.
listening_url() {
  local line pattern='listening on (http://[][0-9A-Za-z.:]+)'
  while read -r line; do
    if [[ $line =~ $pattern ]]; then
      echo "${BASH_REMATCH[1]}"
      return
    fi
  done <"$log"
  return 1
}

# stop SIGNAL: sets $status to the server's exit code. It has 10 s for requests in flight.
stop() {
  local tries
  kill "-$1" "$server" 2>/dev/null || true
  for ((tries = 0; tries < 300; tries++)); do
    kill -0 "$server" 2>/dev/null || break
    sleep 0.05
  done
  ((tries < 300)) || kill -KILL "$server"
  status=0
  wait "$server" 2>/dev/null || status=$?
  server=
}

# Ends the run because of the server: with its exit code, and its last words.
die_of_server() {
  stop TERM
  die "$1; its exit code was $status, its last words: $(tail -n 3 "$log")"
}
