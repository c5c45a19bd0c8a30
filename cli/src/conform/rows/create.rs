//! How a buffer comes to be: its size, its first bytes, its descriptor.

use dmabuf_uapi::{DmaHeapAllocationData, UDMABUF_FLAGS_CLOEXEC};
use rustix::fs::{MemfdFlags, OFlags, SealFlags};

use super::super::row::{Row, Seen, Stop, may_differ, required, saw, whether};
use super::super::sys::{self, page};
use super::super::target::{self, Family, PAGES, Target, Wanted};

const HEAP: &str = "dma_heap_ioctl_allocate, drivers/dma-buf/dma-heap.c";
const UDMABUF: &str = "udmabuf_create, drivers/dma-buf/udmabuf.c";
const PRIME: &str = "drm_prime_handle_to_fd_ioctl, drivers/gpu/drm/drm_prime.c";
const EXPBUF: &str = "vb2_core_expbuf, drivers/media/common/videobuf2/videobuf2-core.c";
const SERVE: &str = "dmabuf-serve's documentation: ftruncate, once, allocates";

pub const ROWS: &[Row] = &[
    required(
        "create.zeroed",
        "A new buffer's bytes are all zero.",
        "Documentation/userspace-api/dma-buf-heaps.rst; system_heap_allocate: __GFP_ZERO",
        "zero",
        |target| {
            let (_buffer, map) = target.mapped()?;
            zero(&map)
        },
    ),
    required(
        "create.zeroed-again",
        "What was in a freed buffer is not in the next one.",
        "Documentation/userspace-api/dma-buf-heaps.rst; system_heap_allocate: __GFP_ZERO",
        "zero",
        |target| {
            for _ in 0..4 {
                let (buffer, map) = target.mapped()?;
                buffer.sync(3)?;
                map.fill(0, map.len(), 0xa5);
                buffer.sync(7)?;
            }
            let (_buffer, map) = target.mapped()?;
            zero(&map)
        },
    ),
    required(
        "create.whole-pages",
        "A buffer's size is a whole number of pages.",
        "dma_buf_export, drivers/dma-buf/dma-buf.c; Documentation/driver-api/dma-buf.rst",
        "whole pages",
        |target| whether(target.buffer()?.size.is_multiple_of(page()), "whole pages", "a part"),
    ),
    required(
        "create.size-as-asked",
        "A buffer of so many pages is as large as was asked for.",
        "Documentation/userspace-api/dma-buf-heaps.rst",
        "as asked",
        |target| {
            chosen(target)?;
            whether(target.buffer()?.size == PAGES * page(), "as asked", "another")
        },
    ),
    required(
        "create.size-zero",
        "A buffer of no bytes is refused.",
        "dma_heap_buffer_alloc; udmabuf_create; drm_mode_create_dumb",
        "EINVAL",
        |target| create(target, 0),
    ),
    may_differ(
        "create.size-one",
        "A size of one byte is refused or rounded up.",
        "dma_heap_buffer_alloc: PAGE_ALIGN; udmabuf_create: PAGE_ALIGNED",
        &[("udmabuf", "EINVAL"), ("heap", "a page"), ("drm", "a page"), ("served", "EINVAL")],
        |target| sized(target, 1, "a page"),
    ),
    may_differ(
        "create.size-unaligned",
        "A size of a page and a byte is refused or rounded up.",
        "dma_heap_buffer_alloc: PAGE_ALIGN; udmabuf_create: PAGE_ALIGNED",
        &[("udmabuf", "EINVAL"), ("heap", "2 pages"), ("drm", "2 pages"), ("served", "EINVAL")],
        |target| sized(target, page() + 1, "2 pages"),
    ),
    required(
        "create.size-overflow",
        "A size that does not fit into whole pages is refused.",
        "dma_heap_buffer_alloc: PAGE_ALIGN is 0; udmabuf_create: PAGE_ALIGNED; ftruncate(2)",
        "EINVAL",
        // Not a size that is merely too large: the system heap takes all memory that there is
        // before it says no, and the OOM killer comes first.
        |target| {
            if target.family() == Family::Drm {
                return Err(Stop::not_here("DRM counts pixels, and only so many"));
            }
            create(target, u64::MAX)
        },
    ),
    required(
        "create.cloexec",
        "A descriptor that is asked to be close-on-exec is.",
        "dma_buf_fd, drivers/dma-buf/dma-buf.c; fcntl(2): FD_CLOEXEC",
        "set",
        |target| cloexec(target, true),
    ),
    required(
        "create.inherited",
        "A descriptor that is not asked to be close-on-exec is not.",
        "dma_buf_fd, drivers/dma-buf/dma-buf.c; fcntl(2): FD_CLOEXEC",
        "clear",
        |target| cloexec(target, false),
    ),
    required(
        "create.read-write",
        "The descriptor is open for loads and stores.",
        "dma_buf_export: exp_info.flags; fcntl(2): F_GETFL",
        "O_RDWR",
        |target| mode(&target.buffer()?),
    ),
    required(
        "create.read-only",
        "A descriptor that is asked for loads alone is for loads alone.",
        "DMA_HEAP_VALID_FD_FLAGS, linux/dma-heap.h; DRM_RDWR, drm/drm.h; VIDIOC_EXPBUF(2)",
        "O_RDONLY",
        |target| mode(&target.read_only()?),
    ),
    may_differ(
        "create.unknown-flag",
        "A flag that nobody knows is refused.",
        "DMA_HEAP_VALID_FD_FLAGS; drm_prime_handle_to_fd_ioctl; vb2_core_expbuf; udmabuf_ioctl_create",
        &[("udmabuf", "ok"), ("heap", "EINVAL"), ("drm", "EINVAL"), ("v4l2", "EINVAL")],
        |target| {
            if target.family() == Family::Served {
                return Err(Stop::not_here("a file is created without such flags"));
            }
            let unknown = Wanted { unknown_flag: true, ..Wanted::of(PAGES * page()) };
            saw(target.exporter().create(unknown))
        },
    ),
    required(
        "create.own-inode",
        "Each buffer has an inode of its own.",
        "dma_buf_getfile, drivers/dma-buf/dma-buf.c",
        "different",
        |target| {
            let (first, second) = (target.buffer()?, target.buffer()?);
            let inode = |buffer| Ok::<_, Stop>(rustix::fs::fstat(buffer)?.st_ino);
            whether(inode(&first)? != inode(&second)?, "different", "the same")
        },
    ),
    required(
        "create.udmabuf-unsealed",
        "udmabuf refuses a memfd that can shrink.",
        UDMABUF,
        "EINVAL",
        |target| {
            target.udmabuf(|udmabuf| {
                let memory = udmabuf.memory(page(), SealFlags::empty())?;
                saw(udmabuf.make(memory, 0, 0, page()))
            })
        },
    ),
    required(
        "create.udmabuf-write-sealed",
        "udmabuf refuses a memfd that cannot be stored to.",
        UDMABUF,
        "EINVAL",
        |target| {
            target.udmabuf(|udmabuf| {
                let memory = udmabuf.memory(page(), SealFlags::SHRINK | SealFlags::WRITE)?;
                saw(udmabuf.make(memory, 0, 0, page()))
            })
        },
    ),
    required(
        "create.udmabuf-no-memfd",
        "udmabuf refuses a file that is no memfd.",
        UDMABUF,
        "EBADFD",
        |target| {
            target.udmabuf(|udmabuf| {
                let file =
                    std::fs::File::open("/proc/self/exe").map_err(|error| target::errno(&error))?;
                saw(udmabuf.make(file, 0, 0, page()))
            })
        },
    ),
    required(
        "create.udmabuf-no-sealing",
        "udmabuf refuses a memfd that cannot be sealed.",
        UDMABUF,
        "EINVAL",
        |target| {
            target.udmabuf(|udmabuf| {
                let memory = rustix::fs::memfd_create("unsealed", MemfdFlags::CLOEXEC)?;
                rustix::fs::ftruncate(&memory, page())?;
                saw(udmabuf.make(memory, 0, 0, page()))
            })
        },
    ),
    required(
        "create.udmabuf-offset",
        "udmabuf refuses to start inside of a page.",
        UDMABUF,
        "EINVAL",
        |target| {
            target.udmabuf(|udmabuf| {
                let memory = udmabuf.memory(2 * page(), SealFlags::SHRINK)?;
                saw(udmabuf.make(memory, 0, 512, page()))
            })
        },
    ),
    required(
        "create.udmabuf-past-end",
        "udmabuf refuses pages that the memfd does not have.",
        UDMABUF,
        "EINVAL",
        |target| {
            target.udmabuf(|udmabuf| {
                let memory = udmabuf.memory(page(), SealFlags::SHRINK)?;
                saw(udmabuf.make(memory, 0, 0, 2 * page()))
            })
        },
    ),
    required(
        "create.udmabuf-keeps-size",
        "The memfd below a udmabuf cannot be shrunk.",
        "F_SEAL_SHRINK, fcntl(2)",
        "EPERM",
        |target| {
            target.udmabuf(|udmabuf| {
                let memory = udmabuf.memory(page(), SealFlags::SHRINK)?;
                let _buffer = udmabuf.make(&memory, UDMABUF_FLAGS_CLOEXEC, 0, page())?;
                saw(rustix::fs::ftruncate(&memory, 0))
            })
        },
    ),
    required(
        "create.udmabuf-list-empty",
        "udmabuf refuses a list of nothing.",
        UDMABUF,
        "EINVAL",
        |target| list(target, 0),
    ),
    required(
        "create.udmabuf-list",
        "udmabuf makes one buffer of a list of pieces, one page of them twice.",
        "UDMABUF_CREATE_LIST, linux/udmabuf.h",
        "ok",
        |target| list(target, 2),
    ),
    may_differ(
        "create.udmabuf-list-long",
        "udmabuf refuses a list of 1025 pieces.",
        "list_limit, drivers/dma-buf/udmabuf.c",
        &[("udmabuf", "EINVAL")],
        |target| list(target, 1025),
    ),
    required(
        "create.heap-fd-set",
        "A heap refuses a request whose field for the descriptor is not zero.",
        HEAP,
        "EINVAL",
        |target| {
            target.heap(|heap| saw(heap.allocate(DmaHeapAllocationData { fd: 1, ..request() })))
        },
    ),
    required(
        "create.heap-flags",
        "A heap refuses heap flags: none are defined.",
        "DMA_HEAP_VALID_HEAP_FLAGS, linux/dma-heap.h",
        "EINVAL",
        |target| {
            target.heap(|heap| {
                saw(heap.allocate(DmaHeapAllocationData { heap_flags: 1, ..request() }))
            })
        },
    ),
    required(
        "create.drm-no-handle",
        "DRM exports no buffer that is not there.",
        PRIME,
        "ENOENT",
        |target| target.drm(|card| saw(card.export(0, OFlags::CLOEXEC.bits()))),
    ),
    required(
        "create.drm-same",
        "DRM exports one buffer as one dma-buf, however often.",
        PRIME,
        "the same",
        |target| {
            target.drm(|card| {
                let (handle, _) = card.dumb(page())?;
                let export = || card.export(handle, OFlags::CLOEXEC.bits());
                let (first, second) = (export()?, export()?);
                same_inode(&first, &second)
            })
        },
    ),
    required(
        "create.drm-import-own",
        "DRM knows its own buffer when it is imported.",
        "drm_gem_prime_fd_to_handle, drivers/gpu/drm/drm_prime.c",
        "the same",
        |target| {
            target.drm(|card| {
                let (handle, _) = card.dumb(page())?;
                let exported = card.export(handle, OFlags::CLOEXEC.bits())?;
                whether(card.import(&exported)? == handle, "the same", "another")
            })
        },
    ),
    required(
        "create.v4l2-no-buffer",
        "V4L2 exports no buffer that is not there.",
        EXPBUF,
        "EINVAL",
        |target| target.v4l2(|queue| saw(queue.export(queue.queue(), 99, OFlags::empty()))),
    ),
    required(
        "create.v4l2-wrong-queue",
        "V4L2 exports no buffer of a queue that the node does not have.",
        EXPBUF,
        "EINVAL",
        |target| target.v4l2(|queue| saw(queue.export(9, 0, OFlags::empty()))),
    ),
    may_differ(
        "create.v4l2-again",
        "V4L2 exports one buffer as several dma-bufs.",
        EXPBUF,
        &[("v4l2", "different")],
        |target| {
            target.v4l2(|queue| {
                let [first, second] = queue.export_twice()?;
                same_inode(&first, &second)
            })
        },
    ),
    required(
        "create.v4l2-whole-frame",
        "A frame fits into a buffer.",
        "VIDIOC_REQBUFS(2), VIDIOC_G_FMT(2): sizeimage",
        "it fits",
        |target| {
            target.v4l2(|queue| {
                whether(queue.frame()? <= target.buffer()?.size, "it fits", "too small")
            })
        },
    ),
    required(
        "create.served-once",
        "A served buffer gets its size once.",
        SERVE,
        "EINVAL",
        |target| {
            target.served(|served| {
                let (file, path) = served.file()?;
                let sized = rustix::fs::ftruncate(&file, page());
                let again = rustix::fs::ftruncate(&file, 2 * page());
                rustix::fs::unlink(path)?;
                sized?;
                saw(again)
            })
        },
    ),
    required(
        "create.served-unsized",
        "A served buffer without a size has no brackets.",
        SERVE,
        "EINVAL",
        |target| {
            target.served(|served| {
                let (file, path) = served.file()?;
                let answer = target::sync(&file, 1);
                rustix::fs::unlink(path)?;
                saw(answer)
            })
        },
    ),
];

fn zero(map: &sys::Map) -> Seen {
    whether(map.bytes(0, map.len()).iter().all(|&byte| byte == 0), "zero", "old bytes")
}

/// Only where the size can be chosen.
fn chosen(target: &Target) -> Result<(), Stop> {
    if target.exporter().has_fixed_size() {
        return Err(Stop::not_here("the device says the size"));
    }
    Ok(())
}

fn create(target: &Target, size: u64) -> Seen {
    chosen(target)?;
    saw(target.exporter().create(Wanted::of(size)))
}

fn sized(target: &Target, size: u64, rounded: &str) -> Seen {
    chosen(target)?;
    match target.exporter().create(Wanted::of(size)) {
        Ok(buffer) if buffer.size == size.next_multiple_of(page()) => Ok(rounded.to_owned()),
        Ok(buffer) => Ok(buffer.size.to_string()),
        Err(errno) => saw(Err::<(), _>(errno)),
    }
}

fn cloexec(target: &Target, cloexec: bool) -> Seen {
    let wanted = Wanted { cloexec, ..Wanted::of(PAGES * page()) };
    let flags = rustix::io::fcntl_getfd(target.exporter().create(wanted)?)?;
    whether(flags.contains(rustix::io::FdFlags::CLOEXEC), "set", "clear")
}

fn mode(buffer: &target::Buffer) -> Seen {
    let flags = rustix::fs::fcntl_getfl(buffer)?;
    Ok(match flags & OFlags::RWMODE {
        OFlags::RDONLY => "O_RDONLY",
        OFlags::WRONLY => "O_WRONLY",
        _ => "O_RDWR",
    }
    .to_owned())
}

fn same_inode(first: impl std::os::fd::AsFd, second: impl std::os::fd::AsFd) -> Seen {
    let (first, second) = (rustix::fs::fstat(first)?, rustix::fs::fstat(second)?);
    whether(first.st_ino == second.st_ino, "the same", "different")
}

fn list(target: &Target, count: u32) -> Seen {
    target.udmabuf(|udmabuf| {
        let memory = udmabuf.memory(page(), SealFlags::SHRINK)?;
        saw(udmabuf.make_list(memory, count, page()))
    })
}

fn request() -> DmaHeapAllocationData {
    let fd_flags = (OFlags::RDWR | OFlags::CLOEXEC).bits();
    DmaHeapAllocationData { len: page(), fd: 0, fd_flags, heap_flags: 0 }
}
