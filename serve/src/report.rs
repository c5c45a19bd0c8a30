//! `stats.json`.

use std::sync::Arc;

use dmabuf_export::{Buffer, Violation};
use serde::Serialize;

use crate::owner;
use crate::tree::Node;

/// The document.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    buffers: Vec<BufferReport>,
}

#[derive(Debug, Serialize)]
struct BufferReport {
    heap: &'static str,
    /// The file's name; nothing once it is unlinked.
    file: Option<String>,
    /// The name that was given with `DMA_BUF_SET_NAME`.
    name: String,
    inode: u64,
    uid: u32,
    size: u64,
    stats: StatsReport,
    violations: Vec<ViolationReport>,
}

#[derive(Debug, Serialize)]
struct StatsReport {
    brackets: u64,
    bytes_cleaned: u64,
    bytes_invalidated: u64,
    bytes_elided: u64,
    faults: u64,
    violations: u64,
    device_read: u64,
    device_written: u64,
}

#[derive(Debug, Serialize)]
struct ViolationReport {
    what: String,
    pid: Option<u32>,
    access: Option<String>,
    /// Which mistake it is, where it is no access: the words of the kernel module's device.
    mistake: Option<&'static str>,
    offset: Option<u64>,
    len: Option<u64>,
    count: u64,
}

impl Report {
    pub(crate) fn new<'a>(nodes: impl Iterator<Item = &'a Arc<Node>>) -> Report {
        let mut buffers: Vec<_> = nodes
            .filter_map(|node| node.buffer().map(|buffer| BufferReport::new(node, &buffer)))
            .collect();
        buffers.sort_by_key(|report| report.inode);
        Report { buffers }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a report has string keys only");
        json.push(b'\n');
        json
    }
}

impl BufferReport {
    fn new(node: &Node, buffer: &Buffer) -> BufferReport {
        let stats = buffer.stats();
        let (file, uid) = {
            let state = node.state();
            (state.name.as_ref().map(|name| name.to_string_lossy().into_owned()), state.uid)
        };
        BufferReport {
            heap: node.heap.name(),
            file,
            name: buffer.name(),
            inode: node.cpu_inode(),
            uid,
            size: buffer.size(),
            stats: StatsReport {
                brackets: stats.brackets,
                bytes_cleaned: stats.bytes_cleaned,
                bytes_invalidated: stats.bytes_invalidated,
                bytes_elided: stats.bytes_elided,
                faults: stats.faults,
                violations: stats.violations,
                device_read: stats.device_read,
                device_written: stats.device_written,
            },
            violations: buffer.violations().iter().map(ViolationReport::new).collect(),
        }
    }
}

impl ViolationReport {
    fn new(violation: &Violation) -> ViolationReport {
        ViolationReport {
            what: violation.to_string(),
            pid: violation.owner().and_then(owner::pid),
            access: violation.access().map(|access| access.to_string()),
            mistake: violation.mistake(),
            offset: violation.range().map(|range| range.start()),
            len: violation.range().map(|range| range.len()),
            count: match violation {
                Violation::Mistake { count, .. } => *count,
                _ => 1,
            },
        }
    }
}
