#!/bin/sh
# Runs programs from Debian's packages under `dmabuf check`, on the devices of the virtual machine.
# docs/check-real-programs.md says how to get there and what was found.
#
#     sh docs/check-real-programs.sh ROOT DMABUF [NAME…]
#
# ROOT is a Debian with the packages in it, DMABUF the command. Names choose among the runs.
set -eu

root=$1 dmabuf=$2
shift 2
for folder in dev proc sys; do mount --rbind "/$folder" "$root/$folder"; done
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cp "$dmabuf" "$root/run/dmabuf"
cat >"$root/run/runs" <<'RUNS'
export HOME=/root PATH=/usr/bin:/bin:/usr/sbin:/sbin
export GST_REGISTRY=/tmp/registry XDG_RUNTIME_DIR=/run/user WAYLAND_DISPLAY=wl
mkdir -m 700 /run/user
cd /tmp
only=" $* "

is_wanted() {
	[ "$only" = "  " ] || case $only in *" $1 "*) ;; *) return 1 ;; esac
}

# A run's name, and the program; a program that is still there after two minutes is ended.
run() {
	name=$1
	shift
	is_wanted "$name" || return 0
	echo
	echo "== $name: $*"
	status=0
	timeout -k 10 120 /run/dmabuf check -- "$@" >/tmp/output 2>/tmp/report || status=$?
	echo "status $status"
	cat /tmp/report
}

weston() {
	rm -f /run/user/wl
	"$@" weston --backend=headless --renderer=gl --socket=wl --idle-time=0 --shell=kiosk \
		--log=/tmp/weston.log 2>/tmp/composed &
	compositor=$!
	until [ -S /run/user/wl ]; do sleep 1; done
}

# A compositor that composes with the CPU (llvmpipe) is checked, while a client hands it buffers.
compositor() {
	name=$1
	shift
	is_wanted "$name" || return 0
	echo
	echo "== $name: weston, while $*"
	weston /run/dmabuf check --
	timeout -k 10 60 "$@" >/tmp/output 2>&1 || echo "the client: $? $(tail -n 1 /tmp/output)"
	pkill -TERM -x weston
	status=0
	wait "$compositor" || status=$?
	echo "status $status"
	cat /tmp/composed
}

# A client of such a compositor is checked.
client() {
	is_wanted "$1" || return 0
	weston env
	run "$@"
	pkill -TERM -x weston
	wait "$compositor" || true
}

v4l2-ctl -d /dev/video0 --set-fmt-video=width=320,height=240,pixelformat=YUYV
v4l2-ctl -d /dev/video1 --set-fmt-video-out=width=320,height=240,pixelformat=YUYV
gst-inspect-1.0 >/dev/null 2>&1 || true
camera="v4l2src device=/dev/video0 io-mode=dmabuf num-buffers=5 ! video/x-raw,format=YUY2,width=320,height=240"

run v4l2-ctl-import v4l2-ctl -d /dev/video0 --out-device /dev/video1 \
	--stream-dmabuf --stream-out-mmap --stream-count=5
run v4l2-ctl-export v4l2-ctl -d /dev/video0 --out-device /dev/video1 \
	--stream-mmap --stream-out-dmabuf --stream-count=5
run v4l2-compliance v4l2-compliance -d /dev/video0 -s4
run gst-filesink gst-launch-1.0 $camera ! filesink location=/tmp/frames
run gst-convert gst-launch-1.0 $camera ! videoconvert ! video/x-raw,format=RGB ! fakesink
run gst-jpeg gst-launch-1.0 $camera ! jpegenc ! fakesink
run gst-flip gst-launch-1.0 $camera ! videoflip method=rotate-180 ! videobox left=-8 ! fakesink
run gst-v4l2sink gst-launch-1.0 videotestsrc num-buffers=5 ! \
	video/x-raw,format=YUY2,width=320,height=240,interlace-mode=interleaved ! \
	v4l2sink device=/dev/video1 io-mode=dmabuf
run gst-gl gst-launch-1.0 $camera ! glupload ! glcolorconvert ! gldownload ! fakesink
run gst-gl-export gst-launch-1.0 videotestsrc num-buffers=5 ! glupload ! glcolorconvert ! \
	gldownload ! "video/x-raw(memory:DMABuf)" ! fakesink
run kmscube kmscube -D /dev/dri/card1 -c 3
run cam cam -l
client gst-waylandsink gst-launch-1.0 $camera ! waylandsink
compositor weston-shm gst-launch-1.0 $camera ! waylandsink
RUNS
exec chroot "$root" sh /run/runs "$@"
