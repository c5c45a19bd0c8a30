//! What can be found: the one list of ids, with what each means and what to do about it.

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// A mistake: on some machine the picture is wrong.
    Error,
    /// Worth knowing.
    Note,
    /// Right, and slower than it has to be.
    Performance,
}

/// A kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its stable id.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one sentence.
    pub explanation: &'static str,
    /// What to do, in one sentence.
    pub fix: &'static str,
}

macro_rules! rules {
    ($($name:ident = $id:literal, $severity:ident, $explanation:literal, $fix:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u64)]
        #[allow(missing_docs)]
        /// The rules by name, as [`ALL`] has them.
        pub enum Id { $($name),* }

        /// Every rule, in the order of the ids.
        pub const ALL: &[Rule] = &[$(Rule {
            id: $id,
            severity: Severity::$severity,
            explanation: $explanation,
            fix: $fix,
        }),*];
    };
}

rules! {
    OutsideRead = "outside-read", Error,
        "The CPU reads the buffer and no bracket for reading is open: it may see what the device \
         wrote last time, or half of it.",
        "Begin a bracket with DMA_BUF_SYNC_READ before the first load, and end it after the last.";
    OutsideWrite = "outside-write", Error,
        "The CPU writes the buffer and no bracket for writing is open: the device may never see the \
         bytes.",
        "Begin a bracket with DMA_BUF_SYNC_WRITE before the first store, and end it after the last.";
    WriteInReadBracket = "write-in-read-bracket", Error,
        "The CPU writes in a bracket that was begun for reading: END will not write the bytes back.",
        "Begin the bracket with DMA_BUF_SYNC_RW, or with DMA_BUF_SYNC_WRITE if nothing is read.";
    EndWithoutStart = "end-without-start", Error,
        "END, and no bracket is open: some exporters answer EINVAL, others write back what they \
         should not.",
        "End each bracket once, and only after its START has succeeded.";
    StartWithoutEnd = "start-without-end", Error,
        "A bracket was begun and never ended: what the CPU wrote in it may never reach the device.",
        "End the bracket on every way out, the early ones and the failing ones too.";
    EndOtherDirection = "end-other-direction", Error,
        "END names another direction than the START that it closes: it does the wrong half of the \
         work.",
        "Give END the direction of its START.";
    FailedStartIgnored = "failed-start-ignored", Error,
        "START failed and the pixels were used all the same: nobody prepared them for the CPU.",
        "Look at what START returns, and touch the buffer only if that is 0.";
    NotRestarted = "not-restarted", Error,
        "The call was interrupted (EINTR) or the exporter was busy (EAGAIN), and it was not called \
         again: the bracket was not begun, or not ended.",
        "Call DMA_BUF_IOCTL_SYNC again for as long as it fails with EINTR or EAGAIN.";
    MemfdBehindUdmabuf = "memfd-behind-udmabuf", Error,
        "The CPU uses the memfd that a udmabuf was made of: no bracket of the buffer is about it.",
        "Map the dma-buf itself and bracket that; fill the memfd only before UDMABUF_CREATE.";
    UnmappedInBracket = "unmapped-in-bracket", Error,
        "The mapping is taken away inside of a bracket: what END is about can no longer be seen.",
        "End the bracket, then unmap.";
    ClosedInBracket = "closed-in-bracket", Error,
        "The last descriptor is closed inside of a bracket: nobody can end it any more.",
        "End the bracket, then close.";
    MapFailedUsed = "map-failed-used", Error,
        "mmap failed, and what it returned is used as if it were the buffer.",
        "Compare what mmap returns with MAP_FAILED; it is never NULL.";
    SyncWithoutEffect = "sync-without-effect", Note,
        "This exporter syncs only for devices that are attached to the buffer and have mapped it: \
         without one, brackets do nothing.",
        "Nothing, if a device is attached by the time it matters; else attach one first.";
    NothingTouched = "nothing-touched", Performance,
        "Nothing was touched in this bracket: it cost cache maintenance and protected nothing.",
        "Leave the bracket out, or put it around the accesses that it was meant for.";
    FewPagesOfWhole = "few-pages-of-whole", Performance,
        "The bracket is about the whole buffer, and few of its pages were touched.",
        "Name the range, with DMA_BUF_IOCTL_SYNC_RANGE or SYNC_PARTIAL where the exporter has it.";
    RwWhereOneWouldDo = "rw-where-one-would-do", Performance,
        "The bracket is for reading and writing, and nothing was written: END cleans for nothing.",
        "Begin and end it with DMA_BUF_SYNC_READ.";
    UncachedReads = "uncached-reads", Performance,
        "The buffer is mapped uncached, and read: each load goes to memory, many times slower.",
        "Copy it out once, with streaming loads and in order, or allocate from a cached heap.";
}

impl Id {
    /// The rule.
    pub fn rule(self) -> &'static Rule {
        &ALL[self as usize]
    }
}

/// The rule with this id.
pub fn by_id(id: &str) -> Option<&'static Rule> {
    ALL.iter().find(|rule| rule.id == id)
}
