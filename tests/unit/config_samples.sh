#!/bin/sh
# The sample files are what the programs print; a sample is a valid file and changes nothing; the settings that raftctl
# shares with the controller have the same defaults; bad settings are refused with file, line, key and what is allowed.
top=${srcdir:-.}
passed=0 failed=0
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
check() { # WHAT COMMAND…
        what=$1
        shift
        if "$@" >"$work/out" 2>&1; then
                passed=$((passed + 1))
        else
                echo "failed: $what"
                head -n 20 "$work/out"
                failed=$((failed + 1))
        fi
}
# PROGRAM LINE… ; refused, with the words $want
refused() {
        program=$1
        shift
        printf '%s\n' "$@" >"$work/bad.conf"
        if ./"$program" --config "$work/bad.conf" >"$work/said" 2>&1; then return 1; fi
        cat "$work/said"
        grep -qF "$want" "$work/said"
}
for kind in controller satellite; do
        ./outrigger-$kind --sample-config >"$work/$kind.conf" || exit 1
        check "contrib/conf/$kind.conf is not what outrigger-$kind --sample-config prints: make samples" \
                cmp "$top/contrib/conf/$kind.conf" "$work/$kind.conf"
        sed 's/^#\([a-z_]* =\)/\1/' "$work/$kind.conf" >"$work/all.conf"
        check "outrigger-$kind: the sample with all lines in force" \
                ./outrigger-$kind --config "$work/all.conf" --help
        for key in $(sed -n 's/^#\([a-z_]*\) =.*/\1/p' "$work/$kind.conf"); do
                ./outrigger-$kind --help >"$work/help" || exit 1
                check "outrigger-$kind --help lacks $key" grep -q "\.$key (" "$work/help"
        done
done
./raftctl/raftctl help | sed -n 's/^  \([a-z]*\.[a-z_]* (.*)\)$/\1/p' >"$work/tool"
./outrigger-controller --help >"$work/controller"
check 'raftctl help lists no settings' test -s "$work/tool"
while read -r line; do
        check "raftctl and outrigger-controller differ: $line" grep -qF "$line" "$work/controller"
done <"$work/tool"
want="bad.conf:2: raft.election_ms is '5', but must be: a number from 50 to 60000"
check "a number out of range" refused outrigger-controller '[raft]' 'election_ms = 5'
want="bad.conf:3: controller.log_level is 'LOUD', but must be: ERROR, WARN, INFO, DEBUG or TRACE"
check "no level" refused outrigger-controller '[controller]' "dir = $work" 'log_level = LOUD'
want="bad.conf:2: https.enabled is 'maybe', but must be: true or false"
check "no switch" refused outrigger-controller '[https]' 'enabled = maybe'
want="bad.conf:2: https.listen is 'here', but must be: an IP address"
check "no address" refused outrigger-controller '[https]' 'listen = here'
want='there is no setting https.port; there is: enabled listen'
check "no such key" refused outrigger-controller '[https]' 'port = 1'
want='raft.election_ms is 100, but must be at least three times raft.heartbeat_ms (50)'
check "two that do not fit" refused outrigger-controller '[controller]' "run_dir = $work/r" '[raft]' 'election_ms = 100'
want="bad.conf:2: net.port is '70000', but must be: a number from 1 to 65535"
check "no port" refused outrigger-satellite '[net]' 'port = 70000'
want='bad.conf:1: this is neither [section] nor key = value'
check "no INI file" refused outrigger-satellite 'nonsense'
echo "$passed passed, $failed failed"
[ $failed -eq 0 ]
