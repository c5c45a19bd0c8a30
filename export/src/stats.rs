//! What happened on a buffer.

/// Counts since the buffer was allocated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Brackets that began.
    pub brackets: u64,
    /// Bytes made visible to devices by brackets and device accesses.
    pub bytes_cleaned: u64,
    /// Bytes made visible to the CPU.
    pub bytes_invalidated: u64,
    /// Bytes that direction and range alone would have synced, and tracking did not.
    pub bytes_elided: u64,
    /// Page faults on mappings that the exporter saw.
    pub faults: u64,
    /// Accesses and mistakes that [`Violation`](crate::Violation) describes.
    pub violations: u64,
    /// Bytes that devices read.
    pub device_read: u64,
    /// Bytes that devices wrote.
    pub device_written: u64,
}
