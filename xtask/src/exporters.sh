# What `cargo xtask test` runs on a real kernel's exporters: the command dmabuf, the program in C
# that uses libdmabuf, and the programs of tests. In the machine every test finds what it needs, but
# for a user who is not root.
dmabuf=$1 c_client=$2
shift 2

said=$(mktemp)
# Runs a program that must not skip anything; what it says is shown when it fails or skips.
whole() {
    "$@" >"$said" 2>&1
    status=$?
    grep '^skipped: ' "$said" | grep -qv 'keep root from' && status=1
    [ $status = 0 ] || { echo "$*:"; cat "$said"; exit $status; }
}

for tests; do whole "$tests" --show-output; done
whole "$c_client"

mkdir /run/dmabuf
"$dmabuf" serve >"$said.ready" &
until grep -q '^ready' "$said.ready"; do kill -0 $! || exit; sleep 0.1; done
# What has random calls answered: the kernel's heaps, and the served ones.
"$dmabuf" conform --compare 10 /dev/udmabuf /dev/dma_heap/system \
    /run/dmabuf/coherent /run/dmabuf/bounce /run/dmabuf/tracked /run/dmabuf/checked || exit
"$dmabuf" conform --compare 5 /dev/dri/card0 /dev/udmabuf || exit
# Without a target it takes all that is there.
"$dmabuf" conform
