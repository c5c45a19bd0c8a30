//! Where a file that FUSE serves cannot be as a kernel's dma-buf is, and why: cause by cause.

/// One cause, and what is seen for it.
pub struct Cause {
    /// Why, in a sentence without its full stop.
    pub why: &'static str,
    /// The heaps that it is about; none is all of them.
    pub heaps: &'static [&'static str],
    /// Ids of behaviours, and what is seen instead.
    pub seen: &'static [(&'static str, &'static str)],
}

const ALL: &[&str] = &[];

pub const CAUSES: &[Cause] = &[
    Cause {
        why: "it is a regular file on a FUSE file system, and says so",
        heaps: ALL,
        seen: &[
            ("file.stat-type", "100600"),
            ("file.statfs", "FUSE"),
            ("file.link", "a path"),
            ("name.in-link", "a path"),
            ("mmap.maps-line", "rw-s a path"),
        ],
    },
    Cause {
        why: "a file can be opened again, which is how programs share it by name",
        heaps: ALL,
        seen: &[("file.reopen", "ok")],
    },
    Cause {
        why: "the kernel moves a regular file's position, and counts the bytes behind it, without \
              asking the server",
        heaps: ALL,
        seen: &[
            ("file.seek-byte", "ok"),
            ("file.seek-page", "ok"),
            ("file.seek-current", "ok"),
            ("file.seek-before-end", "ok"),
            ("file.bytes-ready", "ok"),
        ],
    },
    Cause {
        why: "a read through the page cache arrives at the server as a page fault does, which it \
              cannot refuse",
        heaps: &["coherent", "bounce", "tracked", "checked"],
        seen: &[
            ("file.read", "ok"),
            ("file.pread", "ok"),
            ("file.splice", "ok"),
            ("file.sendfile", "ok"),
        ],
    },
    Cause {
        why: "where mappings pass through to the memory, so does advice about them",
        heaps: &["coherent", "bounce"],
        seen: &[("mmap.remove", "removed")],
    },
    Cause {
        why: "FUSE does not tell the server whether a read or a write was at the file's position",
        heaps: ALL,
        seen: &[("file.pread", "EINVAL"), ("file.pwrite", "EINVAL")],
    },
    Cause {
        why: "a splice that the server refuses may come out as another error (seen on Linux 7.3)",
        heaps: &["coherent", "bounce", "unmappable"],
        seen: &[("file.splice", "EIO"), ("file.sendfile", "EIO")],
    },
    Cause {
        why: "FUSE does not ask the server about a mapping: what lies past the end is found when it \
              is touched",
        heaps: ALL,
        seen: &[
            ("mmap.past-end", "SIGBUS"),
            ("mmap.byte-past-end", "SIGBUS"),
            ("mmap.rest-past-end", "SIGBUS"),
            ("mmap.at-end", "SIGBUS"),
            ("mmap.far-past-end", "SIGBUS"),
            ("mmap.grow", "ok"),
        ],
    },
    Cause {
        why: "fences are the kernel's: a server can neither make a sync_file nor look into one",
        heaps: ALL,
        seen: &[
            ("fence.export-read", "ENOTTY"),
            ("fence.export-write", "ENOTTY"),
            ("fence.export-both", "ENOTTY"),
            ("fence.export-nothing", "ENOTTY"),
            ("fence.export-end", "ENOTTY"),
            ("fence.export-unknown", "ENOTTY"),
            ("fence.import-no-file", "ENOTTY"),
            ("fence.import-other-file", "ENOTTY"),
            ("fence.import-itself", "ENOTTY"),
        ],
    },
    Cause {
        why: "the kernel's drivers import the kernel's dma-bufs and no files",
        heaps: ALL,
        seen: &[("visible.import", "EINVAL"), ("visible.camera", "EINVAL")],
    },
    Cause {
        why: "of a name FUSE hands the server as many bytes as the ioctl's number says, which is the \
              size of a pointer",
        heaps: ALL,
        seen: &[("name.longest", "EINVAL"), ("name.shown-longest", "EINVAL")],
    },
    Cause {
        why: "/proc/PID/fdinfo of a regular file is the kernel's alone; DMA_BUF_IOCTL_QUERY tells \
              size, exporter and name",
        heaps: ALL,
        seen: &[
            ("name.shown", "no line"),
            ("name.through-copy", "no line"),
            ("name.size-shown", "no line"),
            ("name.exporter-shown", "no line"),
            ("name.count-shown", "no line"),
        ],
    },
    Cause {
        why: "a buffer that the CPU cannot reach has no brackets",
        heaps: &["unmappable"],
        seen: &[
            ("sync.read", "EINVAL"),
            ("sync.write", "EINVAL"),
            ("sync.read-write", "EINVAL"),
            ("sync.every-low-flag", "EINVAL"),
        ],
    },
];

/// Why a served heap was seen to do this instead of what is required; none if that is a mistake.
pub fn why(heap: &str, id: &str, saw: &str) -> Option<&'static str> {
    let about = |cause: &&Cause| cause.heaps.is_empty() || cause.heaps.contains(&heap);
    let mut causes = CAUSES.iter().filter(about);
    causes.find(|cause| cause.seen.contains(&(id, saw))).map(|cause| cause.why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::row::Level;
    use crate::conform::rows;

    #[test]
    fn only_required_behaviours_differ_and_not_by_being_as_required() {
        for (id, saw) in CAUSES.iter().flat_map(|cause| cause.seen) {
            let row = rows::all().find(|row| row.id == *id).unwrap_or_else(|| panic!("{id}"));
            let Level::Required(expected) = row.level else { panic!("{id} may differ anyway") };
            assert_ne!(expected, *saw, "{id}");
        }
    }

    #[test]
    fn a_cause_may_be_one_heaps_alone() {
        assert!(why("unmappable", "sync.read", "EINVAL").is_some());
        assert!(why("bounce", "sync.read", "EINVAL").is_none());
        assert!(why("unmappable", "sync.read", "EIO").is_none());
    }
}
