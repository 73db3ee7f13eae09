#!/usr/bin/env bash
# Tries to make the service lose a message, and then shows that it would have been noticed.
#
# Kills it at any moment and at each system call, has its disk fail, fill up and lose power, takes
# its memory and descriptors, and looks after each recovery whether everything that was acknowledged
# is there, once and in order (tests/process/torture.rs; on a simulated disk
# tests/store/power_loss.rs). Then the same against a build with planted faults (src/fault.rs), each
# of which must be found.
#
#   scripts/torture.sh [--long] [--no-faults]
#
#   --long       the figures of a release, which last hours, or those of ORION_CHAT_TORTURE_…:
#                KILLS, SLOW_KILLS, EVERY (of how many system calls one is tried), POWER_LOSSES,
#                IMAGES, FAULT_STEP, DESCRIPTORS, MEMORY_MB, MEMORY_KILLS, SLOW_CLIENTS, SEED
#   --no-faults  leaves the planted faults out
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/lib.sh

profile=torture
faults=yes
for argument in "$@"; do
  case $argument in
    --long) profile=torture-long ;;
    --no-faults) faults= ;;
    *) die "unknown option $argument; there are --long and --no-faults" ;;
  esac
done
if [[ $profile == torture-long ]]; then
  for figure in KILLS=2000 SLOW_KILLS=200 EVERY=1 POWER_LOSSES=300 IMAGES=500000 FAULT_STEP=1 \
    DESCRIPTORS=20 MEMORY_KILLS=20 SLOW_CLIENTS=1000; do
    name=ORION_CHAT_TORTURE_${figure%=*}
    export "$name=${!name:-${figure#*=}}"
  done
fi

need mkfs.ext4=e2fsprogs prlimit=util-linux python3=python3 strace=strace

# The figures are printed by tests that pass.
tortured() { cargo nextest run --locked --profile "$profile" --success-output final "$@"; }

tortured || die "the service under torture"
[[ $faults ]] || exit 0

# The same folder of builds, where all but this crate itself is shared; the binary is kept aside, as
# the next build takes its place.
cargo build --locked --features planted-faults || die "cargo build --features planted-faults"
planted=$PWD/target/planted/orion-chat
mkdir -p "${planted%/*}"
cp target/debug/orion-chat "$planted"
cargo build --locked

ORION_CHAT=$planted tortured --run-ignored only -E 'test(torture_finds)' 2>&1 | tee target/planted/service ||
  die "a planted fault that is not found"
read -r of_service all_of_service < <(
  sed -n 's/^ *planted faults found: \([0-9]*\) of \([0-9]*\),.*/\1 \2/p' target/planted/service
) || die "it does not tell what it found"

# Those of the replica are found by scenarios beside PostgreSQL, which hold without them.
need initdb=postgresql pgbouncer=pgbouncer faketime=faketime openssl=openssl
scenario() {
  # A fault is found that makes it fail twice: what fails now and then is no proof.
  local retries=2
  [[ ! $1 ]] || retries=1
  ORION_CHAT=$planted ORION_CHAT_FAULT=$1 cargo nextest run --locked --profile postgres \
    --retries "$retries" --ignore-default-filter -E "binary(postgres) and test(=$2)" >"target/planted/$2.$1" 2>&1
}
of_replica=(
  sent-before-commit=outage::installed::commits_are_lost
  no-version-guard=apart::installed::the_later_title_wins_and_the_other_is_kept
  deletions-not-taken=pull::installed::what_is_done_there_appears_here_soon
  followed-by-newest=pull::a_transaction_that_is_left_open_holds_up_nobody_for_good
)
cargo nextest run --locked --profile postgres --no-run
started=()
for pair in "${of_replica[@]}"; do
  scenario '' "${pair#*=}" &
  started+=("$!=holds=$pair")
  scenario "${pair%%=*}" "${pair#*=}" &
  started+=("$!=fails=$pair")
done
found=0
for one in "${started[@]}"; do
  IFS='=' read -r job wanted fault name <<<"$one"
  outcome=holds
  wait "$job" || outcome=fails
  [[ $outcome == "$wanted" ]] || die "$name $outcome with the fault ${fault}: see target/planted"
  if [[ $wanted == fails ]]; then
    grep -q "panicked at" "target/planted/$name.$fault" || die "$name did not fail by what it found"
    printf 'found %s, by %s\n' "$fault" "$name"
    found=$((found + 1))
  fi
done
printf 'planted faults of the replica found: %d of %d; with those above, %d of %d\n' \
  "$found" "${#of_replica[@]}" $((found + of_service)) $((${#of_replica[@]} + all_of_service))
