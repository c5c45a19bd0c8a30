//! Mapping a buffer, in every way that there is.

use super::super::row::{Row, Seen, Stop, may_differ, required, saw, whether};
use super::super::sys::{self, Map, Mmap, READ, RW, WRITE, page};
use super::super::target::{Buffer, Target, plain_file};

const MMAP: &str = "dma_buf_mmap_internal, drivers/dma-buf/dma-buf.c";
const DOC: &str = "Documentation/driver-api/dma-buf.rst, CPU access to DMA buffer objects";
const PAGES_OF: &str =
    "the exporter's mmap: system_heap_mmap, mmap_udmabuf, drm_gem_prime_mmap, vb2_vmalloc_mmap";

pub const ROWS: &[Row] = &[
    required(
        "mmap.refused",
        "A buffer that cannot be mapped says so when it is mapped, not when it is touched.",
        "dma_buf_mmap_internal: !dmabuf->ops->mmap; mmap(2)",
        "refused",
        |target| {
            let buffer = target.buffer()?;
            if !target.refuses_mmap(&buffer) {
                return Err(Stop::not_here("its buffers can be mapped"));
            }
            whether(Map::shared(&buffer, buffer.size, READ).is_err(), "refused", "mapped")
        },
    ),
    required(
        "mmap.read",
        "It can be mapped for loads, from its first byte to its last.",
        DOC,
        "ok",
        |target| {
            with(target, READ, libc::MAP_SHARED, |map| {
                map.load(0);
                map.load(map.len() - 1);
            })
        },
    ),
    required("mmap.write", "It can be mapped for stores.", DOC, "ok", |target| {
        with(target, WRITE, libc::MAP_SHARED, |map| {
            map.store(0, 1);
            map.store(map.len() - 1, 1);
        })
    }),
    required(
        "mmap.read-write",
        "It can be mapped for both, and shows what is stored.",
        DOC,
        "ok",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            map.fill(0, map.len(), 0x5a);
            let stored = map.bytes(0, map.len());
            buffer.sync(7)?;
            whether(stored.iter().all(|&byte| byte == 0x5a), "ok", "other bytes")
        },
    ),
    required("mmap.none", "It can be mapped for nothing.", "mmap(2): PROT_NONE", "ok", |target| {
        with(target, 0, libc::MAP_SHARED, |_| ())
    }),
    may_differ(
        "mmap.execute",
        "It can be mapped for execution only where its file system allows that.",
        "path_noexec, fs/exec.c; refused by Linux 7.3, allowed by 6.12",
        &[
            ("udmabuf", "EPERM"),
            ("heap", "EPERM"),
            ("drm", "EPERM"),
            ("v4l2", "EPERM"),
            ("served", "EPERM"),
        ],
        |target| with(target, READ | libc::PROT_EXEC, libc::MAP_SHARED, |_| ()),
    ),
    may_differ(
        "mmap.private-read",
        "A private mapping for loads is refused.",
        PAGES_OF,
        &[
            ("udmabuf", "EINVAL"),
            ("heap", "EINVAL"),
            ("drm", "EINVAL"),
            ("v4l2", "ok"),
            ("served", "ok"),
        ],
        |target| with(target, READ, libc::MAP_PRIVATE, |_| ()),
    ),
    may_differ(
        "mmap.private-write",
        "A private mapping for stores is refused.",
        PAGES_OF,
        &[
            ("udmabuf", "EINVAL"),
            ("heap", "EINVAL"),
            ("drm", "EINVAL"),
            ("v4l2", "ok"),
            ("served", "ok"),
        ],
        |target| with(target, RW, libc::MAP_PRIVATE, |_| ()),
    ),
    required(
        "mmap.validate",
        "It can be mapped with flags checked.",
        "mmap(2): MAP_SHARED_VALIDATE",
        "ok",
        |target| with(target, RW, libc::MAP_SHARED_VALIDATE, touch),
    ),
    required(
        "mmap.dax",
        "It is no persistent memory.",
        "mmap(2): MAP_SYNC",
        "EOPNOTSUPP",
        |target| with(target, RW, libc::MAP_SHARED_VALIDATE | libc::MAP_SYNC, |_| ()),
    ),
    required(
        "mmap.populate",
        "It can be mapped with all pages at once.",
        "mmap(2): MAP_POPULATE",
        "ok",
        |target| with(target, RW, libc::MAP_SHARED | libc::MAP_POPULATE, touch),
    ),
    required("mmap.locked", "It can be mapped locked.", "mmap(2): MAP_LOCKED", "ok", |target| {
        with(target, RW, libc::MAP_SHARED | libc::MAP_LOCKED, touch)
    }),
    required(
        "mmap.one-byte",
        "A byte can be mapped, which is a page.",
        "mmap(2)",
        "ok",
        |target| part(target, |_| (0, 1)),
    ),
    required("mmap.byte-less", "All but its last byte can be mapped.", "mmap(2)", "ok", |target| {
        part(target, |buffer| (0, buffer.size - 1))
    }),
    required("mmap.empty", "A mapping of nothing is refused.", "mmap(2)", "EINVAL", |target| {
        part(target, |_| (0, 0))
    }),
    required(
        "mmap.past-end",
        "A mapping of a page more than it has is refused.",
        MMAP,
        "EINVAL",
        |target| part(target, |buffer| (0, buffer.size + page())),
    ),
    required(
        "mmap.byte-past-end",
        "A mapping of a byte more than it has is refused.",
        MMAP,
        "EINVAL",
        |target| part(target, |buffer| (0, buffer.size + 1)),
    ),
    required("mmap.rest", "It can be mapped from its second page on.", MMAP, "ok", |target| {
        part(target, |buffer| (page() as i64, buffer.size - page()))
    }),
    required("mmap.last-page", "Its last page can be mapped alone.", MMAP, "ok", |target| {
        part(target, |buffer| (buffer.last_page() as i64, page()))
    }),
    required(
        "mmap.rest-past-end",
        "A mapping that starts inside and ends outside is refused.",
        MMAP,
        "EINVAL",
        |target| part(target, |buffer| (page() as i64, buffer.size)),
    ),
    required(
        "mmap.at-end",
        "A mapping that starts at the end is refused.",
        MMAP,
        "EINVAL",
        |target| part(target, |buffer| (buffer.size as i64, page())),
    ),
    required(
        "mmap.far-past-end",
        "A mapping that starts far behind the end is refused.",
        MMAP,
        "EINVAL",
        |target| part(target, |_| (1 << 62, page())),
    ),
    required(
        "mmap.negative",
        "A negative offset is refused.",
        "mmap(2); dma_buf_mmap_internal: overflow",
        "EOVERFLOW",
        |target| part(target, |_| (-(page() as i64), page())),
    ),
    required(
        "mmap.unaligned",
        "An offset inside of a page is refused.",
        "mmap(2)",
        "EINVAL",
        |target| part(target, |_| (1, page())),
    ),
    may_differ(
        "mmap.offset-shows",
        "A mapping at the second page shows the second page.",
        PAGES_OF,
        &[
            ("udmabuf", "page 1"),
            ("heap", "page 1"),
            ("drm", "page 0"),
            ("v4l2", "page 0"),
            ("served", "page 1"),
        ],
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            (0..map.len())
                .step_by(page() as usize)
                .for_each(|at| map.store(at, (at / page()) as u8));
            let (offset, len) = (page() as i64, page());
            let second =
                Map::new(&buffer, Mmap { offset, len, prot: READ, flags: libc::MAP_SHARED })?;
            let number = second.load(0);
            buffer.sync(7)?;
            Ok(format!("page {number}"))
        },
    ),
    required(
        "mmap.twice",
        "Two mappings of one process show the same bytes.",
        DOC,
        "the same",
        |target| {
            let (buffer, first) = target.mapped()?;
            let second = buffer.map()?;
            buffer.sync(3)?;
            first.store(page(), 0x77);
            let seen = second.load(page());
            buffer.sync(7)?;
            whether(seen == 0x77, "the same", "other bytes")
        },
    ),
    required(
        "mmap.read-only",
        "A descriptor for loads alone can be mapped for loads.",
        "mmap(2)",
        "ok",
        |target| {
            let buffer = target.read_only()?;
            saw(Map::shared(&buffer, buffer.size, READ))
        },
    ),
    required(
        "mmap.read-only-write",
        "A descriptor for loads alone cannot be mapped for stores.",
        "mmap(2): EACCES",
        "EACCES",
        |target| {
            let buffer = target.read_only()?;
            saw(Map::shared(&buffer, buffer.size, RW))
        },
    ),
    required(
        "mmap.read-only-protect",
        "Such a mapping cannot be made one for stores.",
        "mprotect(2): EACCES",
        "EACCES",
        |target| {
            let buffer = target.read_only()?;
            saw(Map::shared(&buffer, buffer.size, READ)?.protect(RW))
        },
    ),
    required(
        "mmap.store-to-read-only",
        "A store to a mapping for loads ends the program.",
        "mmap(2): SIGSEGV",
        "SIGSEGV",
        |target| with(target, READ, libc::MAP_SHARED, |map| map.store(0, 1)),
    ),
    required(
        "mmap.protect",
        "A mapping can be made one for loads, and back.",
        "mprotect(2)",
        "ok",
        |target| {
            let (_buffer, map) = target.mapped()?;
            saw(map.protect(READ).and_then(|()| map.protect(RW)))
        },
    ),
    may_differ(
        "mmap.protect-execute",
        "A mapping can be made one for execution only where its file system allows that.",
        "mprotect(2); path_noexec",
        &[
            ("udmabuf", "EACCES"),
            ("heap", "EACCES"),
            ("drm", "EACCES"),
            ("v4l2", "EACCES"),
            ("served", "EACCES"),
        ],
        |target| saw(target.mapped()?.1.protect(READ | libc::PROT_EXEC)),
    ),
    required(
        "mmap.grow",
        "A mapping cannot grow.",
        "mremap(2): VM_DONTEXPAND, set by the exporters",
        "EFAULT",
        |target| {
            let (_buffer, mut map) = target.mapped()?;
            saw(map.resize(map.len() + page()))
        },
    ),
    required("mmap.shrink", "A mapping can shrink.", "mremap(2)", "ok", |target| {
        let (_buffer, mut map) = target.mapped()?;
        saw(map.resize(page()).map(|()| touch(&map)))
    }),
    required(
        "mmap.shrunk-access",
        "No access past a mapping's end succeeds after it has shrunk.",
        "mremap(2)",
        "SIGSEGV",
        |target| {
            let (_buffer, mut map) = target.mapped()?;
            let beyond = map.address() + page() as usize;
            map.resize(page())?;
            sys::load_anywhere(beyond);
            Ok("mapped".to_owned())
        },
    ),
    required("mmap.lock", "It can be locked in memory.", "mlock(2)", "ok", |target| {
        saw(target.mapped()?.1.lock())
    }),
    may_differ(
        "mmap.msync",
        "msync is refused: a dma-buf is no file with a disk.",
        "vfs_fsync_range, fs/sync.c: no fsync",
        &[
            ("udmabuf", "EINVAL"),
            ("heap", "EINVAL"),
            ("drm", "EINVAL"),
            ("v4l2", "EINVAL"),
            ("coherent", "ok"),
            ("bounce", "ok"),
            ("served", "EINVAL"),
        ],
        |target| saw(target.mapped()?.1.sync()),
    ),
    may_differ(
        "mmap.dont-need",
        "Pages of a mapping can be given back only where they are not the device's own.",
        "madvise_dontneed_free, mm/madvise.c: VM_PFNMAP",
        &[
            ("udmabuf", "EINVAL"),
            ("heap", "EINVAL"),
            ("drm", "EINVAL"),
            ("v4l2", "ok"),
            ("served", "ok"),
        ],
        |target| saw(target.mapped()?.1.advise(libc::MADV_DONTNEED)),
    ),
    required(
        "mmap.dont-need-keeps",
        "What was stored is still there for a new mapping after such advice.",
        "madvise(2): MADV_DONTNEED",
        "kept",
        |target| {
            let (buffer, map) = target.mapped()?;
            buffer.sync(3)?;
            map.store(page(), 0x42);
            let _ = map.advise(libc::MADV_DONTNEED);
            let seen = buffer.map()?.load(page());
            buffer.sync(7)?;
            whether(seen == 0x42, "kept", "lost")
        },
    ),
    required(
        "mmap.remove",
        "Pages cannot be removed through a mapping.",
        "madvise(2): MADV_REMOVE",
        "refused",
        |target| {
            whether(target.mapped()?.1.advise(libc::MADV_REMOVE).is_err(), "refused", "removed")
        },
    ),
    required(
        "mmap.dont-fork",
        "A mapping can be kept from children.",
        "madvise(2): MADV_DONTFORK",
        "ok",
        |target| saw(target.mapped()?.1.advise(libc::MADV_DONTFORK)),
    ),
    may_differ(
        "mmap.do-fork",
        "That cannot be taken back where a mapping is the device's.",
        "madvise_behavior, mm/madvise.c: VM_SPECIAL",
        &[
            ("udmabuf", "EINVAL"),
            ("heap", "EINVAL"),
            ("drm", "EINVAL"),
            ("v4l2", "EINVAL"),
            ("served", "ok"),
        ],
        |target| saw(target.mapped()?.1.advise(libc::MADV_DOFORK)),
    ),
    may_differ(
        "mmap.populate-later",
        "Pages can be asked for later only where they are ordinary ones.",
        "faultin_page_range, mm/gup.c: VM_PFNMAP",
        &[
            ("udmabuf", "EINVAL"),
            ("heap", "EINVAL"),
            ("drm", "EINVAL"),
            ("v4l2", "ok"),
            ("served", "ok"),
        ],
        |target| saw(target.mapped()?.1.advise(libc::MADV_POPULATE_READ)),
    ),
    required(
        "mmap.in-core",
        "Which pages are in memory can be asked.",
        "mincore(2)",
        "ok",
        |target| saw(target.mapped()?.1.in_core()),
    ),
    required("mmap.write-from", "write can send its bytes.", "write(2)", "ok", |target| {
        let (_buffer, map) = target.mapped()?;
        let (_read, write) = rustix::pipe::pipe()?;
        saw(map.write_to(write, 16))
    }),
    required("mmap.read-into", "read can fill it.", "read(2)", "filled", |target| {
        let (buffer, map) = target.mapped()?;
        let (read, write) = rustix::pipe::pipe()?;
        rustix::io::write(write, &[9; 16])?;
        buffer.sync(3)?;
        map.read_from(read, 16)?;
        let bytes = map.bytes(0, 16);
        buffer.sync(7)?;
        whether(bytes == [9; 16], "filled", "other bytes")
    }),
    may_differ(
        "mmap.splice-from",
        "vmsplice can take its pages only where they are ordinary ones.",
        "check_vma_flags, mm/gup.c: VM_PFNMAP",
        &[
            ("udmabuf", "EFAULT"),
            ("heap", "EFAULT"),
            ("drm", "EFAULT"),
            ("v4l2", "ok"),
            ("served", "ok"),
        ],
        |target| {
            let (_buffer, map) = target.mapped()?;
            let (_read, write) = rustix::pipe::pipe()?;
            saw(map.splice_to(write, 16))
        },
    ),
    may_differ(
        "mmap.debugger",
        "A debugger can read it only where its pages are ordinary ones.",
        "process_vm_readv(2); check_vma_flags, mm/gup.c: VM_PFNMAP",
        &[
            ("udmabuf", "EFAULT"),
            ("heap", "EFAULT"),
            ("drm", "EFAULT"),
            ("v4l2", "ok"),
            ("served", "ok"),
        ],
        |target| saw(target.mapped()?.1.read_as_a_debugger(&mut [0; 8])),
    ),
    required("mmap.outside-write", "A file can be written from it.", "write(2)", "ok", |target| {
        let (_buffer, map) = target.mapped()?;
        saw(map.write_to(plain_file()?, page() as usize))
    }),
    required(
        "mmap.maps-line",
        "/proc/PID/maps tells that a mapping is a dma-buf's.",
        "dmabuffs_dname, drivers/dma-buf/dma-buf.c",
        "rw-s /dmabuf:",
        |target| {
            let (_buffer, map) = target.mapped()?;
            let maps = std::fs::read_to_string("/proc/self/maps")
                .map_err(|_| Stop::not_here("no /proc"))?;
            let start = format!("{:x}-", map.address());
            let line = maps.lines().find(|line| line.starts_with(&start)).unwrap_or_default();
            let parts: Vec<_> = line.split_whitespace().collect();
            let name = parts.get(5).copied().unwrap_or_default();
            let name = if name.starts_with("/dmabuf:") { "/dmabuf:" } else { "a path" };
            Ok(format!("{} {name}", parts.get(1).copied().unwrap_or_default()))
        },
    ),
];

fn with(target: &Target, prot: i32, flags: i32, then: impl FnOnce(&Map)) -> Seen {
    let buffer = target.mappable()?;
    saw(Map::new(&buffer, Mmap { offset: 0, len: buffer.size, prot, flags }).map(|map| then(&map)))
}

fn part(target: &Target, part: fn(&Buffer) -> (i64, u64)) -> Seen {
    let buffer = target.mappable()?;
    let (offset, len) = part(&buffer);
    let how = Mmap { offset, len, prot: RW, flags: libc::MAP_SHARED };
    saw(Map::new(&buffer, how).map(|map| touch(&map)))
}

fn touch(map: &Map) {
    for at in [0, map.len() - 1] {
        map.store(at, map.load(at));
    }
}
