"""Draws and looks by the mmap module, without a bracket. expect anywhere: outside-write, outside-read"""

from corpus import *

pixels = map_buffer(open_buffer())
half = SIZE // 2
pixels[:half] = b"\1" * half
frame = pixels[half:]
done()
