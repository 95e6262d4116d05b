#!/usr/bin/env bash
# The traffic-mirroring page, without a cluster: its manifests, two services that log and echo, the
# adapter and the gateway. Shows what each service saw before and after the mirror filter, and fails
# if anything is not as shown. On a terminal it then stays up.
set -euo pipefail
cd "$(dirname "$0")/.."

port=${DOPPEL_DEMO_PORT:-8000}
url=http://127.0.0.1:$port/
pages=k8s/examples/traffic-mirroring
body='Hello world'

bold='' dim='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
title() { printf '\n%s%s%s\n\n' "$bold" "$1" "$plain"; }
command_line() { printf '  %s$ %s%s\n' "$dim" "$*" "$plain"; }
fail() {
    printf '\n%s%s%s\n' "$red" "$1" "$plain" >&2
    exit 1
}

# ---- what is started here ends here ----------------------------------------------------------

work=$(mktemp -d "${TMPDIR:-/tmp}/doppel-demo.XXXXXX")
started=()
finish() {
    local pid
    for pid in ${started[@]+"${started[@]}"}; do
        # One that the reader has stopped must go on to end.
        kill -TERM "$pid" 2>/dev/null && kill -CONT "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start LOG COMMAND...: in the background, its process id in $pid.
start() {
    : >"$1"
    "${@:2}" >"$1" 2>&1 </dev/null &
    pid=$!
    started+=("$pid")
}

# within SECONDS COMMAND...: until the command succeeds.
within() {
    local end=$((SECONDS + $1))
    until "${@:2}"; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.05
    done
}

is_taken() { (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# ---- what the services saw -------------------------------------------------------------------

# head_of LOG NUMBER: the lines of a request's head, as they arrived.
head_of() { awk -v request="#$2" '/^#/ { on = $1 == request && $2 != "complete," && $2 != "aborted" } on { sub(/^#[0-9]+ /, ""); print }' "$1"; }
# saw_whole LOG NUMBER: whether the request arrived, its body to the last byte.
saw_whole() { grep -qxF "#$2 complete, ${#body} bytes of body: \"$body\"" "$1"; }
saw_nothing() { ! grep -q '^#' "$1"; }
saw_one_whole() { saw_whole "$1" 1 && ! grep -q '^#2 ' "$1"; }

# side_by_side LEFT RIGHT: two texts, next to each other where there is room.
side_by_side() {
    local width left right
    width=$(awk '{ if (length > width) width = length } END { print width + 3 }' "$1")
    if [ -t 1 ] && [ "$(tput cols 2>/dev/null || echo 80)" -lt $((2 * width)) ]; then
        cat "$1" - "$2" <<<'' | sed 's/^/  /'
        return
    fi
    # With a separator that is no white space `read` keeps the white space.
    paste -d $'\x1f' "$1" "$2" | while IFS=$'\x1f' read -r left right; do
        printf '  %-*s%s\n' "$width" "$left" "$right"
    done | sed 's/ *$//'
}

# show FIRST SECOND: what pipy saw of its request FIRST, and pipy-mirror of its request SECOND.
show() {
    local name number
    for name in pipy pipy-mirror; do
        number=$1
        {
            printf '%s saw\n' "$name"
            printf '%s\n' '----------------'
            if [ "$number" = none ]; then echo nothing; else
                head_of "$work/$name.log" "$number"
                sed -n "s/^#$number complete, .* of body: \"\(.*\)\"/\n\1/p" "$work/$name.log"
            fi
        } >"$work/$name.shown"
        shift
    done
    echo
    side_by_side "$work/pipy.shown" "$work/pipy-mirror.shown"
    echo
}

# check TEXT COMMAND...
check() {
    if "${@:2}"; then
        printf '  %s✓%s %s\n' "$green" "$plain" "$1"
    else
        printf '  %s✗ %s%s\n' "$red" "$1" "$plain"
        fail "This is not as it should be. The gateway's log:
$(tail -n 20 "$work/gateway.log")"
    fi
}

same() { [ "$1" = "$2" ]; }

# ---- the programs ----------------------------------------------------------------------------

is_taken "$port" && fail "Port $port of 127.0.0.1 is taken. Free it, or choose another: DOPPEL_DEMO_PORT=8080 make demo"
admin=$((port + 1))
while is_taken "$admin"; do admin=$((admin + 1)); done
admin=127.0.0.1:$admin

title "Building (development profile, which is the quickest to build and not the quickest to run)"
cargo build --workspace --bins --locked
target=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
bin=$target/debug

# start_service NAME: leaves its process id in $pid, its port in $service_port.
start_service() {
    local log=$work/$1.log
    start "$log" "$bin/doppel-echo" --listen 127.0.0.1:0 --name "$1"
    within 10 grep -q 'listens on' "$log" || fail "$1 did not start: $(cat "$log")"
    service_port=$(sed -n 's/.* listens on .*://p' "$log")
    # What the cluster would add to the manifests: where the Service's pods are.
    cat >"$work/manifests/endpoints-$1.yaml" <<END
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: $1
  namespace: server
  labels:
    kubernetes.io/service-name: $1
addressType: IPv4
ports:
  - name: ""
    protocol: TCP
    port: $service_port
endpoints:
  - addresses: [127.0.0.1]
    conditions:
      ready: true
END
}

adapt=("$bin/doppel-adapter" --from "$work/manifests" --to "$work/config" --pid-file "$work/gateway.pid")
adapter() { "${adapt[@]}" >"$work/adapter.log" 2>&1 || fail "doppel-adapter: $(cat "$work/adapter.log")"; }
revision() { sed -n 's/^ *revision: *//p' "$work"/config/* | tr -d '"' | tail -n 1; }
is_live() { curl -sf "http://$admin/config" | grep -qF "$(revision)"; }
ask() { curl -sS --max-time 10 "$url" -d "$body"; }
copies() { curl -sf "http://$admin/metrics" | awk -v outcome="outcome=\"$1\"" '/^doppel_mirror_requests_total/ && index($0, outcome) { sum += $NF } END { print sum + 0 }'; }

cp -R "$pages" "$work/pages"
for page in "$work"/pages/*.yaml "$work"/pages/mirror/*.yaml; do
    sed "s/port: 8000$/port: $port/" "$page" >"$work/page" && mv "$work/page" "$page"
done
mkdir "$work/manifests" "$work/config"
cp "$work"/pages/*.yaml "$work/manifests"
start_service pipy
start_service pipy-mirror
mirror=$pid mirror_port=$service_port

# ---- the page --------------------------------------------------------------------------------

title "1. A Gateway on port $port, a route to pipy"
command_line "ls $pages"
(cd "$pages" && ls ./*.yaml | sed 's|^./|    |')
command_line 'doppel-adapter --from manifests --to config'
adapter
command_line "doppel-gateway --config config --admin $admin"
start "$work/gateway.log" "$bin/doppel-gateway" --config "$work/config" --admin "$admin" \
    --pid-file "$work/gateway.pid" --drain-timeout 1s
gateway=$pid
is_ready() { curl -sf "http://$admin/readyz" >/dev/null || ! kill -0 "$gateway" 2>/dev/null; }
within 30 is_ready && kill -0 "$gateway" 2>/dev/null || fail "doppel-gateway did not become ready:
$(cat "$work/gateway.log")"

command_line "curl $url -d '$body'"
answer=$(ask) || fail "no answer from $url"
printf '    %s\n' "$answer"
within 10 saw_whole "$work/pipy.log" 1 || true
show 1 none
check 'pipy answered with what it was sent' same "$answer" "$body"
check 'pipy saw the whole request, once' saw_one_whole "$work/pipy.log"
check 'pipy-mirror saw nothing' saw_nothing "$work/pipy-mirror.log"

title '2. One filter more in the route'
{ diff "$pages/05-httproute.yaml" "$pages/mirror/all.yaml" || true; } | sed -n '/^> #/d; s/^> /  + /p'
echo
command_line "cp $pages/mirror/all.yaml manifests/05-httproute.yaml"
cp "$work/pages/mirror/all.yaml" "$work/manifests/05-httproute.yaml"
command_line 'doppel-adapter --from manifests --to config --pid-file gateway.pid   # and SIGHUP to the gateway'
adapter
within 10 is_live || fail "the gateway did not take the new configuration:
$(tail -n 20 "$work/gateway.log")"

command_line "curl $url -d '$body'"
answer=$(ask) || fail "no answer from $url"
printf '    %s\n' "$answer"
within 10 saw_whole "$work/pipy-mirror.log" 1 || true
one_copy() { [ "$(copies started)" = 1 ] && [ "$(copies completed)" = 1 ]; }
within 10 one_copy || true
show 2 1
check 'pipy answered as before' same "$answer" "$body"
check 'pipy-mirror saw the whole request, once' saw_one_whole "$work/pipy-mirror.log"
check 'both saw the same head, byte for byte' same "$(head_of "$work/pipy-mirror.log" 1)" "$(head_of "$work/pipy.log" 2)"
check 'the gateway counted one copy, and that it is complete' one_copy

if ! [ -t 0 ] || ! [ -t 1 ]; then
    echo
    exit 0
fi

# ---- on a terminal ---------------------------------------------------------------------------

title '3. Yours'
cat <<END
  The gateway stays up, and what the services get appears below. In another terminal:

  ${bold}Ask again${plain}
    curl $url -d 'Hello again'

  ${bold}Stop the mirror in its tracks${plain}: it accepts and never reads. Ask again, as quick as before; then let it go on.
    kill -STOP $mirror
    kill -CONT $mirror

  ${bold}Kill it${plain}, ask again; and bring a slow one in its place.
    kill $mirror
    $bin/doppel-echo --listen 127.0.0.1:$mirror_port --name pipy-mirror --delay 2s

  ${bold}Copy ten requests of a hundred${plain}
    cp $work/pages/mirror/10-percent.yaml $work/manifests/05-httproute.yaml
    ${adapt[*]}

  ${bold}What the gateway counted${plain}
    curl -s http://$admin/metrics | grep doppel_mirror

  Return or Ctrl-C ends it all.

END
for name in pipy pipy-mirror; do
    # Heads would mix.
    tail -n 0 -f "$work/$name.log" > >(grep --line-buffered '^#' | sed -u "s/^/  $name /") &
    started+=("$!")
done
trap 'exit 0' INT
read -r || true
