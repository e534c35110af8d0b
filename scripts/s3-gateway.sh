#!/bin/bash
# s3-gateway.sh rgw|versitygw|gofakes3|s3s-fs [COMMAND...] - an S3 service of one's own,
# for as long as COMMAND runs or, without one, until the input ends. `./dev s3` calls it.
#
#   rgw          Ceph's RADOS Gateway over one monitor and one object store in
#                memory (Debian's packages; scripts/packages.txt, line s3)
#   versitygw    a Go program without code in common with Ceph's, over a
#                directory; built on first use, with Go 1.24 or newer
#   gofakes3     another one, in memory, that looks at no signature
#   s3s-fs       a Rust program that lets two writers win where they race: a store
#                that must be refused; built on first use, with cargo
#
# It listens on 127.0.0.1 alone and lives in a directory of its own. Its
# processes end with it, however it ends; what kill -9 leaves is the directory.
# What a client needs to reach it is in COMMAND's environment or, without one,
# printed as lines NAME=value, after which comes the line "ready":
#
#   RAMET_TEST_S3            the endpoint, http://127.0.0.1:PORT
#   RAMET_TEST_S3_BUCKET     a bucket, made and empty
#   RAMET_TEST_S3_KIND       which of them, and its version
#   AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION AWS_ENDPOINT_URL_S3
#   AWS_EC2_METADATA_DISABLED  true: nobody is to ask this machine for other keys
set -euo pipefail

readonly VERSITYGW=github.com/versity/versitygw/cmd/versitygw@v1.8.0
readonly GOFAKES3=github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0
readonly S3S_FS=s3s-fs@0.14.1
readonly START_S=120 # for each step of starting, on however busy a machine
kind=${1:-}
shift || true
children=()

fail() {
    printf 's3-gateway: %s\n' "$*" >&2
    exit 1
}

stop() {
    local child
    for child in "${children[@]}"; do
        kill -KILL "$child" 2>/dev/null || true
    done
    wait "${children[@]}" 2>/dev/null || true
    rm -rf "$dir"
}

# Run a daemon, which ends when this script does, however that ends.
daemon() { # NAME COMMAND...
    local name=$1
    shift
    setpriv --pdeathsig KILL "$@" <&- >"$dir/$name.out" 2>&1 &
    children+=($!)
}

# What the daemons said, for whoever has to find out why they did not start.
tell_why() {
    tail -n 5 "$dir"/*.out "$dir"/log/* 2>/dev/null >&2 || true
}

wait_for() { # WHAT COMMAND...
    local what=$1 end=$((SECONDS + START_S)) child
    shift
    until "$@" >/dev/null 2>&1; do
        for child in "${children[@]}"; do
            kill -0 "$child" 2>/dev/null || {
                tell_why
                fail "a daemon ended while waiting for $what"
            }
        done
        [ "$SECONDS" -lt "$end" ] || {
            tell_why
            fail "no $what after $START_S s"
        }
        sleep 0.1
    done
}

is_free() {
    ! (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Three free ports below those that the system gives to connections.
pick_ports() {
    ports=()
    while [ ${#ports[@]} -lt 3 ]; do
        local port=$((20000 + RANDOM % 12000))
        case " ${ports[*]} " in *" $port "*) continue ;; esac
        ! is_free "$port" || ports+=("$port")
    done
}

# ---- Ceph ---------------------------------------------------------------------

write_ceph_config() { # FSID
    cat >"$CEPH_CONF" <<CONF
[global]
fsid = $1
mon_host = [v2:127.0.0.1:${ports[1]},v1:127.0.0.1:${ports[2]}]
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = cephx
auth_service_required = cephx
auth_client_required = cephx
keyring = $dir/keyring
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
log_file = $dir/log/\$name.log
pid_file = $dir/run/\$name.pid
mon_data = $dir/mon
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_warn = 1
mon_data_avail_crit = 1
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pgp_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
rgw_data = $dir/rgw
# Without tcp_nodelay a kept connection takes 50 ms for an answer.
rgw_frontends = beast endpoint=127.0.0.1:${ports[0]} tcp_nodelay=1
rgw_thread_pool_size = 64
rgw_enable_usage_log = false
CONF
}

make_ceph_keys() {
    local key
    ceph-authtool "$dir/keyring" --create-keyring --gen-key -n mon. \
        --cap mon 'allow *' >/dev/null
    for key in client.admin client.rgw; do
        ceph-authtool "$dir/keyring" --gen-key -n "$key" --cap mon 'allow *' \
            --cap osd 'allow *' --cap mgr 'allow *' >/dev/null
    done
    ceph-authtool "$dir/keyring" --gen-key -n osd.0 --cap osd 'allow *' \
        --cap mon 'allow profile osd' --cap mgr 'allow profile osd' >/dev/null
}

osd_is_up() {
    ceph osd stat 2>/dev/null | grep -q '1 up'
}

start_rgw() {
    local fsid
    export CEPH_CONF=$dir/ceph.conf
    command -v radosgw >/dev/null || fail "Ceph's radosgw is not installed"
    mkdir "$dir"/{mon,osd,run,log,rgw}
    fsid=$(cat /proc/sys/kernel/random/uuid)
    pick_ports
    write_ceph_config "$fsid"
    make_ceph_keys
    monmaptool --create --fsid "$fsid" --addv a \
        "[v2:127.0.0.1:${ports[1]},v1:127.0.0.1:${ports[2]}]" \
        "$dir/monmap" >/dev/null 2>&1
    ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
    daemon mon ceph-mon -f -i a
    ceph-osd -i 0 --mkfs --osd-uuid "$(cat /proc/sys/kernel/random/uuid)" \
        >"$dir/mkfs.out" 2>&1
    wait_for "Ceph monitor" ceph osd new "$(cat "$dir/osd/fsid")" 0
    ceph osd crush add osd.0 1.0 host=localhost root=default >/dev/null 2>&1
    daemon osd ceph-osd -f -i 0
    wait_for "object store" osd_is_up
    radosgw-admin -n client.rgw user create --uid=ramet --display-name=ramet \
        --access-key="$AWS_ACCESS_KEY_ID" \
        --secret="$AWS_SECRET_ACCESS_KEY" >"$dir/user.out" 2>&1
    daemon rgw radosgw -f -n client.rgw
    RAMET_TEST_S3_KIND="rgw $(radosgw --version | cut -d' ' -f3)"
}

# ---- in Go ---------------------------------------------------------------------

# A program's path, built on first use and kept.
go_program() { # MODULE@VERSION
    local name=${1##*/} tools=${XDG_CACHE_HOME:-$HOME/.cache}/ramet-tools
    if [ ! -x "$tools/$name" ]; then
        command -v go >/dev/null || fail "$name needs Go 1.24 or newer"
        echo "s3-gateway: building $name" >&2
        GOBIN=$dir/bin go install "$1" >&2 || fail "can't build $name"
        mkdir -p "$tools"
        mv "$dir/bin/${name%@*}" "$tools/$name"
    fi
    printf '%s\n' "$tools/$name"
}

start_versitygw() {
    local program
    program=$(go_program "$VERSITYGW")
    mkdir "$dir/data"
    pick_ports
    daemon versitygw env -u AWS_CA_BUNDLE "$program" -p "127.0.0.1:${ports[0]}" \
        -a "$AWS_ACCESS_KEY_ID" -s "$AWS_SECRET_ACCESS_KEY" --keep-alive -q \
        posix "$dir/data" # on a disk with extended attributes
    RAMET_TEST_S3_KIND="versitygw ${VERSITYGW#*@}"
}

start_gofakes3() {
    local program
    program=$(go_program "$GOFAKES3")
    pick_ports
    daemon gofakes3 "$program" -backend mem -host "127.0.0.1:${ports[0]}"
    RAMET_TEST_S3_KIND="gofakes3 ${GOFAKES3#*@}"
}

# ---- in Rust -------------------------------------------------------------------

start_s3s-fs() {
    local tools=${XDG_CACHE_HOME:-$HOME/.cache}/ramet-tools
    if [ ! -x "$tools/$S3S_FS" ]; then
        command -v cargo >/dev/null || fail "$S3S_FS needs cargo"
        echo "s3-gateway: building $S3S_FS" >&2
        CARGO_TARGET_DIR=$dir/target cargo install "${S3S_FS%@*}" \
            --version "${S3S_FS#*@}" --features binary --root "$dir" -q >&2 ||
            fail "can't build $S3S_FS"
        mkdir -p "$tools"
        mv "$dir/bin/${S3S_FS%@*}" "$tools/$S3S_FS"
        rm -rf "$dir/target"
    fi
    mkdir "$dir/data"
    pick_ports
    daemon s3s-fs "$tools/$S3S_FS" --host 127.0.0.1 --port "${ports[0]}" \
        --access-key "$AWS_ACCESS_KEY_ID" \
        --secret-key "$AWS_SECRET_ACCESS_KEY" "$dir/data"
    RAMET_TEST_S3_KIND="s3s-fs ${S3S_FS#*@}"
}

# ---- all ---------------------------------------------------------------------

make_bucket() {
    curl -sf -X PUT --aws-sigv4 "aws:amz:$AWS_REGION:s3" \
        --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" \
        -H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' \
        "$RAMET_TEST_S3/$RAMET_TEST_S3_BUCKET"
}

case $kind in
rgw | versitygw | gofakes3 | s3s-fs) ;;
*) fail "which gateway? there are: rgw versitygw gofakes3 s3s-fs" ;;
esac
dir=$(mktemp -d "${TMPDIR:-/tmp}/ramet-s3-XXXXXX")
trap stop EXIT
trap 'exit 130' INT TERM HUP
export AWS_ACCESS_KEY_ID=RAMETTEST AWS_SECRET_ACCESS_KEY=ramet-test-secret
export AWS_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true
unset AWS_SESSION_TOKEN AWS_PROFILE AWS_ENDPOINT_URL
"start_$kind"
export RAMET_TEST_S3=http://127.0.0.1:${ports[0]} RAMET_TEST_S3_KIND
export RAMET_TEST_S3_BUCKET=ramet AWS_ENDPOINT_URL_S3=$RAMET_TEST_S3
wait_for "answer of the gateway" make_bucket

if [ $# -gt 0 ]; then
    "$@"
    exit
fi
for name in RAMET_TEST_S3 RAMET_TEST_S3_BUCKET RAMET_TEST_S3_KIND \
    AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION AWS_ENDPOINT_URL_S3 \
    AWS_EC2_METADATA_DISABLED; do
    printf '%s=%s\n' "$name" "${!name}"
done
echo ready
cat <&0 >/dev/null & # beside, so that a signal need not wait for it
children+=($!)
wait $!
