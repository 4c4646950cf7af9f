#!/usr/bin/env bash
# Starts a model server and the gateway in front of it, and keeps both running.
#
#   OLLAMA_API_KEY   the key that clients must send; the container does not start without one
#   OLLAMA_HOST      where Ollama listens; loopback unless set, since whoever reaches it needs no key
#   GATEWAY_CONFIG   the Caddyfile (default: /etc/caddy/Caddyfile)
#   KEY_VALIDATOR    a program that answers the gateway's questions about keys; none unless the image sets it
#   STEADY_SECONDS   how long a child must have run to be started again when it ends (default: 10)
#
# A child that ends after a while is started again. One that ends soon after its start, or with status 0,
# ends the container with its status: it would fare no better another time, or was meant to end.
# SIGTERM and SIGINT end the gateway first, so that answers under way can finish, then the rest.
#
# The key is never printed, and only the gateway gets it.
set -euo pipefail

readonly STEADY_SECONDS=${STEADY_SECONDS:-10} # a child that ran this long is worth starting again
readonly DRAIN_SECONDS=5   # for the gateway to finish its answers
readonly END_SECONDS=3     # for the others; with the above less than the 10 s that Docker waits

say() {
	printf 'entrypoint: %s\n' "$*" >&2
}

declare -A child_of started_at # name -> pid, name -> seconds

start() {
	case $1 in
	ollama) env -u OLLAMA_API_KEY ollama serve & ;;
	gateway) "$gateway" run --config "${GATEWAY_CONFIG:-/etc/caddy/Caddyfile}" --adapter caddyfile & ;;
	validator) env -u OLLAMA_API_KEY "$KEY_VALIDATOR" & ;;
	esac
	child_of[$1]=$!
	started_at[$1]=$SECONDS
}

# Waits at most $1 seconds until none of the named children runs.
await_end() {
	local deadline=$((SECONDS + $1)) name
	shift
	for name in "$@"; do
		while [[ -n ${child_of[$name]-} ]] && running "${child_of[$name]}"; do
			((SECONDS < deadline)) || return 1
			sleep 0.1
		done
	done
}

# A child that has ended but is not waited for yet still has a process id, so ask the shell's own list.
running() {
	local pid
	for pid in $(jobs -rp); do
		[[ $pid == "$1" ]] && return 0
	done
	return 1
}

signal() {
	local name=$2
	[[ -z ${child_of[$name]-} ]] || kill "-$1" "${child_of[$name]}" 2>/dev/null || true
}

# Ends all children and then this script, with status $1.
end() {
	local status=$1 name
	trap 'kill_all; exit "$status"' TERM INT # a second signal does not wait
	signal TERM gateway
	await_end "$DRAIN_SECONDS" gateway || true
	for name in "${!child_of[@]}"; do signal TERM "$name"; done
	await_end "$END_SECONDS" "${!child_of[@]}" || kill_all
	exit "$status"
}

kill_all() {
	local name
	for name in "${!child_of[@]}"; do signal KILL "$name"; done
}

if [[ -z ${OLLAMA_API_KEY-} ]]; then
	say "error: OLLAMA_API_KEY is not set. Start the container with -e OLLAMA_API_KEY=..."
	exit 1
fi

gateway=$(command -v caddy || command -v tollgate) || {
	say "error: neither caddy nor tollgate is on PATH"
	exit 1
}
export OLLAMA_HOST=${OLLAMA_HOST:-127.0.0.1:11434}
case $OLLAMA_HOST in
*0.0.0.0* | *'[::]'* | :*)
	say "warning: OLLAMA_HOST=$OLLAMA_HOST makes Ollama listen on every interface; whoever reaches its port needs no key"
	;;
esac

trap 'end 0' TERM INT
start ollama
[[ -z ${KEY_VALIDATOR-} ]] || start validator
start gateway

while true; do
	# In the background, since a signal interrupts a wait but not a sleep.
	sleep 1 &
	wait $! || true
	for name in "${!child_of[@]}"; do
		running "${child_of[$name]}" && continue
		status=0
		wait "${child_of[$name]}" || status=$?
		unset "child_of[$name]"
		if ((status == 0 || SECONDS - started_at[$name] < STEADY_SECONDS)); then
			say "$name ended with status $status"
			end "$status"
		fi
		say "$name ended with status $status; starting it again"
		start "$name"
	done
done
