"""What the programs in Python share: a buffer, by the mmap module, and brackets, by fcntl."""

import ctypes
import fcntl
import mmap
import os
import struct
import sys

SIZE = 16 * 4096
READ, WRITE, RW = 1, 2, 3
START, END = 0, 4

SYNC = 0x40086200  # _IOW('b', 0, struct dma_buf_sync), and so on
HEAP_ALLOC = 0xC0184800
UDMABUF_CREATE = 0x40187542
CLOEXEC = 1


def open_buffer():
    """A new buffer, from what the command line names."""
    path = sys.argv[1]
    if not path.startswith("/dev/"):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.ftruncate(fd, SIZE)
        return fd
    device = os.open(path, os.O_RDWR)
    if path != "/dev/udmabuf":
        allocation = bytearray(struct.pack("QIIQ", SIZE, 0, os.O_RDWR | os.O_CLOEXEC, 0))
        fcntl.ioctl(device, HEAP_ALLOC, allocation)
        return struct.unpack("QIIQ", allocation)[1]
    memfd = os.memfd_create("corpus", os.MFD_ALLOW_SEALING)
    os.ftruncate(memfd, SIZE)
    fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    create = bytearray(struct.pack("IIQQ", memfd, CLOEXEC, 0, SIZE))
    return fcntl.ioctl(device, UDMABUF_CREATE, create)


def map_buffer(fd):
    """Its bytes."""
    return mmap.mmap(fd, SIZE)


def sync(fd, flags):
    """DMA_BUF_IOCTL_SYNC; Python restarts what a signal interrupts."""
    while True:
        try:
            return fcntl.ioctl(fd, SYNC, struct.pack("Q", flags))
        except BlockingIOError:
            pass


def done():
    """The last word of a program that came to its end."""
    print("done", file=sys.stderr)
