#!/bin/sh
# The first process of the machine: loads the modules, makes the host's files its root, runs the
# command there and reports its status. Should any of this fail, it ends, the kernel panics, and
# the host sees a machine without a status.
set -eu

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
ln -s /proc/self/fd /dev/fd

while read -r module; do
    # Unquoted: the arguments follow the file's name.
    insmod /modules/$module
done </modules/order

# The host's root is read only; what the command writes stays in memory.
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose host /host
mount -t tmpfs tmpfs /writes
mkdir /writes/upper /writes/work
mount -t overlay -o lowerdir=/host,upperdir=/writes/upper,workdir=/writes/work overlay /root

mount -t debugfs debugfs /sys/kernel/debug
mount -t fusectl fusectl /sys/fs/fuse/connections
mkdir /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t devpts devpts /dev/pts
mount --move /proc /root/proc
mount --move /sys /root/sys
mount --move /dev /root/dev
mount -t tmpfs tmpfs /root/run
cp /job/command /root/run/command

# The ports appear some time after their driver has been loaded, and are named vport<N>p1 to p3,
# N being the device's place on the bus.
until port=$(echo /root/dev/vport*p3) && [ -c "$port" ]; do sleep 0.05; done
port=${port%3}

status=0
chroot /root /bin/sh /run/command </root/dev/null >"${port}1" 2>"${port}2" || status=$?
echo "$(cat /job/nonce) $status" >"${port}3"
reboot -f
