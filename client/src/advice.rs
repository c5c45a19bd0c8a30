//! The next step, for messages: what would make a path openable or a heap allocate.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::io::Errno;

/// What may help when `path` does not open. It ends a message, so it is empty or begins with `; `.
pub(crate) fn opening(path: &Path, error: &io::Error) -> String {
    let is_heap = path.starts_with("/dev/dma_heap");
    let is_udmabuf = path == Path::new("/dev/udmabuf");
    match error.kind() {
        io::ErrorKind::NotFound if is_heap => {
            let offered = std::fs::read_dir("/dev/dma_heap").into_iter().flatten().flatten();
            let offered = offered.map(|entry| entry.file_name().to_string_lossy().into_owned());
            no_heap(path, &offered.collect::<Vec<_>>())
        }
        io::ErrorKind::NotFound if is_udmabuf => {
            "; modprobe udmabuf loads it, if the kernel was built with CONFIG_UDMABUF".to_owned()
        }
        io::ErrorKind::PermissionDenied if is_heap || is_udmabuf => {
            let group = path.metadata().ok().filter(|node| node.mode() & 0o040 != 0);
            let group = group.and_then(|node| {
                group_of(&std::fs::read_to_string("/etc/group").ok()?, node.gid())
            });
            forbidden(path, group.as_deref())
        }
        io::ErrorKind::PermissionDenied => "; the file's permissions decide: see ls -l".to_owned(),
        io::ErrorKind::NotConnected => {
            "; the service behind the mount is gone: start it again".to_owned()
        }
        _ => String::new(),
    }
}

/// What may help when a heap does not allocate.
pub(crate) fn allocating(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOMEM) => {
            "; free memory, or ask for less: a heap has no more than the machine, and a CMA heap only \
             its region (cma=SIZE on the kernel's command line)"
        }
        Some(Errno::MFILE | Errno::NFILE) => "; too many files are open: ulimit -n",
        Some(Errno::DQUOT | Errno::NOSPC) => "; the service's quota for this user is used up",
        Some(Errno::NOTCONN | Errno::CONNABORTED) => "; the service of the heap is gone",
        _ => "",
    }
}

/// What may help when a buffer cannot be named.
pub(crate) fn naming(error: &io::Error) -> &'static str {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::INVAL) => {
            "; a name has at most 31 bytes (a served buffer's 7) and no NUL or line's end in it"
        }
        Some(Errno::NOTTY) => "; only dma-bufs have names, since Linux 5.3",
        Some(Errno::BUSY) => "; older kernels take a name only while no device is attached",
        _ => "",
    }
}

fn no_heap(path: &Path, offered: &[String]) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let get = match &*name {
        "system" => "CONFIG_DMABUF_HEAPS_SYSTEM",
        name if name.starts_with("protected") => {
            "CONFIG_TEE_DMABUF_HEAPS and a TEE that offers one"
        }
        name if name.contains("cma") || name == "reserved" || name == "default-pool" => {
            "CONFIG_DMABUF_HEAPS_CMA, and a region: cma=64M on the kernel's command line"
        }
        _ => "a kernel that has it",
    };
    if offered.is_empty() {
        format!("; this kernel offers no heap: it takes {get}")
    } else {
        format!("; this kernel offers {}: it takes {get}", offered.join(" and "))
    }
}

fn forbidden(path: &Path, group: Option<&str>) -> String {
    if let Some(group) = group {
        return format!(
            "; it is for the group {group}: usermod -aG {group} USER, and log in again"
        );
    }
    let (subsystem, name) = match path.strip_prefix("/dev/dma_heap") {
        Ok(name) => ("dma_heap", name),
        Err(_) => ("misc", Path::new("udmabuf")),
    };
    format!(
        "; this line in /etc/udev/rules.d/70-dmabuf.rules gives it to the group video: \
         SUBSYSTEM==\"{subsystem}\", KERNEL==\"{}\", GROUP=\"video\", MODE=\"0660\" (then udevadm \
         control --reload; udevadm trigger {})",
        name.display(),
        path.display()
    )
}

/// The name of a group in the text of group(5); root's, which is no way in, has none.
fn group_of(groups: &str, gid: u32) -> Option<String> {
    let mut fields = groups.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let group = fields.find(|fields| fields.get(2).and_then(|id| id.parse().ok()) == Some(gid))?;
    (gid != 0).then(|| group[0].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_told_with_what_would_bring_it() {
        let heap = |name: &str, offered: &[&str]| {
            let offered: Vec<_> = offered.iter().map(|&name| name.to_owned()).collect();
            no_heap(&Path::new("/dev/dma_heap").join(name), &offered)
        };
        assert!(heap("linux,cma", &["system"]).contains("offers system: it takes CONFIG_DMABUF"));
        assert!(heap("default_cma_region", &[]).contains("cma=64M"));
        assert!(heap("system", &[]).contains("CONFIG_DMABUF_HEAPS_SYSTEM"));
        let udmabuf = opening(Path::new("/dev/udmabuf"), &io::ErrorKind::NotFound.into());
        assert!(udmabuf.contains("modprobe udmabuf"));
    }

    #[test]
    fn what_is_forbidden_is_told_with_the_group_or_the_rule() {
        let heap = Path::new("/dev/dma_heap/linux,cma");
        assert!(forbidden(heap, Some("video")).contains("usermod -aG video"));
        let rule = "SUBSYSTEM==\"dma_heap\", KERNEL==\"linux,cma\", GROUP=\"video\"";
        assert!(forbidden(heap, None).contains(rule));
        let rule = "SUBSYSTEM==\"misc\", KERNEL==\"udmabuf\"";
        assert!(forbidden(Path::new("/dev/udmabuf"), None).contains(rule));
        let groups = "root:x:0:\nvideo:x:44:me\n";
        assert_eq!(group_of(groups, 44).as_deref(), Some("video"));
        assert_eq!(group_of(groups, 0), None);
        assert_eq!(group_of(groups, 45), None);
    }
}
