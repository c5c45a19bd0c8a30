"""Draws and looks by the mmap module."""

from corpus import *

buffer = open_buffer()
pixels = map_buffer(buffer)
sync(buffer, START | WRITE)
pixels[:] = b"\1" * SIZE
sync(buffer, END | WRITE)
sync(buffer, START | READ)
frame = pixels[:]
sync(buffer, END | READ)
done()
