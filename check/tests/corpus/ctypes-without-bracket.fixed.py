"""Maps by ctypes and draws in a bracket."""

from corpus import *

libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + 3 * [ctypes.c_int] + [ctypes.c_long]

buffer = open_buffer()
pixels = libc.mmap(None, SIZE, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, buffer, 0)
sync(buffer, START | WRITE)
ctypes.memset(pixels, 1, SIZE)
sync(buffer, END | WRITE)
done()
