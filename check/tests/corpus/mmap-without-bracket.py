"""Draws and looks by the mmap module, without a bracket. expect anywhere: outside-write, outside-read"""

from corpus import *

pixels = map_buffer(open_buffer())
pixels[:] = b"\1" * SIZE
frame = pixels[:]
done()
