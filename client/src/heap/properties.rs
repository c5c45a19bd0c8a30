//! What a heap's memory is like, as far as the heap's name tells.

use std::fmt;

use super::Source;

/// What a heap's memory is like. `None`: its name does not tell, and nobody else does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// Whether each buffer is one run of physical memory, as a device without an IOMMU needs.
    pub contiguous: Option<bool>,
    /// Whether CPU mappings are cached, so that loads are fast.
    pub cached: Option<bool>,
    /// Whether the CPU is kept away from the memory, as for protected video.
    pub protected: Option<bool>,
}

/// What is known of heaps by name.
///
/// `system` and the CMA heaps: drivers/dma-buf/heaps/{system_heap,cma_heap}.c, which map as
/// cached, and `Documentation/userspace-api/dma-buf-heaps.rst`. A CMA heap has the name of its
/// region: `reserved` where the kernel's command line made it, the device tree node's where that
/// did (`linux,cma`, `default-pool`), and `default_cma_region` for either since Linux 6.17.
/// `protected,…`: drivers/tee/tee_heap.c. The last four are of this project's kernel module, all
/// others of Android's, Rockchip's, MediaTek's and Qualcomm's kernels.
const KNOWN: &[(&str, bool, Option<bool>, bool)] = &[
    ("system", false, Some(true), false),
    ("system-dma32", false, Some(true), false),
    ("mtk_mm", false, Some(true), false),
    ("qcom,system", false, Some(true), false),
    ("default_cma_region", true, Some(true), false),
    ("linux,cma", true, Some(true), false),
    ("reserved", true, Some(true), false),
    ("default-pool", true, Some(true), false),
    ("cma", true, Some(true), false),
    ("cma-dma32", true, Some(true), false),
    ("protected,secure-video", true, None, true),
    ("protected,trusted-ui", true, None, true),
    ("protected,secure-video-record", true, None, true),
    ("secure_mtk_cma", true, None, true),
    ("restricted_mtk_cma", true, None, true),
    ("coherent", false, Some(true), false),
    ("bounce", false, Some(true), false),
    ("tracked", false, Some(true), false),
    ("checked", false, Some(true), false),
];

/// The names that the default CMA region's heap has had, the newest first.
pub(super) const CMA: &[&str] =
    &["default_cma_region", "linux,cma", "reserved", "default-pool", "cma"];

/// Whether an exporter of this name is the kernel's system heap or a CMA heap.
pub(crate) fn is_kernel_heap(exporter: &str) -> bool {
    exporter == "system" || CMA.contains(&exporter)
}

impl Properties {
    pub(super) fn of(source: Source, name: &str) -> Properties {
        let memfd =
            Properties { contiguous: Some(false), cached: Some(true), protected: Some(false) };
        match source {
            Source::Kernel => Properties::of_kernel_heap(name),
            Source::Udmabuf => memfd,
            // The service's memory is memfds, but how it lets programs reach it differs by heap.
            Source::Served => Properties { cached: None, ..memfd },
        }
    }

    fn of_kernel_heap(name: &str) -> Properties {
        // Android's kernels and those after it have uncached twins of cached heaps.
        let (base, uncached) = match name.split_once("-uncached") {
            Some((base, rest)) => (format!("{base}{rest}"), true),
            None => (name.to_owned(), false),
        };
        // Rockchip's and others' further CMA regions.
        let base = if base.starts_with("cma-") { "cma" } else { &base };
        let Some((_, contiguous, cached, protected)) =
            KNOWN.iter().find(|(known, ..)| *known == base)
        else {
            return Properties { cached: uncached.then_some(false), ..Properties::default() };
        };
        Properties {
            contiguous: Some(*contiguous),
            cached: cached.map(|cached| cached && !uncached),
            protected: Some(*protected),
        }
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |known, yes, no, unknown| match known {
            Some(true) => yes,
            Some(false) => no,
            None => unknown,
        };
        let contiguous = word(self.contiguous, "contiguous", "scattered", "contiguous or not");
        let cached = word(self.cached, "cached", "uncached", "cached or not");
        let protected = word(self.protected, "protected", "open", "protected or not");
        write!(f, "{contiguous}, {cached}, {protected}")
    }
}

/// What a heap's memory has to be like. Without a call nothing is asked for but that the CPU may
/// reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    contiguous: bool,
    cached: Option<bool>,
    protected: bool,
}

impl Needs {
    /// Memory that the CPU may reach.
    pub fn new() -> Needs {
        Needs { contiguous: false, cached: None, protected: false }
    }

    /// Each buffer is one run of physical memory.
    pub fn contiguous(mut self) -> Needs {
        self.contiguous = true;
        self
    }

    /// CPU mappings are cached: for loads.
    pub fn cached(mut self) -> Needs {
        self.cached = Some(true);
        self
    }

    /// CPU mappings are not cached: for stores that a device is to see soon.
    pub fn uncached(mut self) -> Needs {
        self.cached = Some(false);
        self
    }

    /// The CPU is kept away from the memory.
    pub fn protected(mut self) -> Needs {
        self.protected = true;
        self
    }

    /// What the heap is not, or is not known to be.
    pub(super) fn unmet(&self, has: Properties) -> Option<&'static str> {
        let wants = |known: Option<bool>, wanted| known == Some(wanted);
        if self.contiguous && !wants(has.contiguous, true) {
            Some("contiguous")
        } else if self.protected && !wants(has.protected, true) {
            Some("protected")
        } else if !self.protected && !wants(has.protected, false) {
            Some("open to the CPU")
        } else {
            match self.cached {
                Some(true) if !wants(has.cached, true) => Some("cached"),
                Some(false) if !wants(has.cached, false) => Some("uncached"),
                _ => None,
            }
        }
    }
}

impl Needs {
    /// The name of a heap that meets the needs on most systems that have one.
    pub(super) fn typical(&self) -> &'static str {
        match self {
            Needs { protected: true, .. } => "protected,secure-video",
            Needs { contiguous: true, .. } => CMA[0],
            Needs { cached: Some(false), .. } => "system-uncached",
            _ => "system",
        }
    }
}

impl Default for Needs {
    fn default() -> Needs {
        Needs::new()
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any heap that is")?;
        if self.contiguous {
            f.write_str(" contiguous,")?;
        }
        match self.cached {
            Some(true) => f.write_str(" cached,")?,
            Some(false) => f.write_str(" uncached,")?,
            None => {}
        }
        f.write_str(if self.protected { " protected" } else { " open to the CPU" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> (Option<bool>, Option<bool>, Option<bool>) {
        let properties = Properties::of(Source::Kernel, name);
        (properties.contiguous, properties.cached, properties.protected)
    }

    #[test]
    fn every_historic_name_of_the_default_cma_region_is_known() {
        for name in CMA.iter().chain(&["cma-reserved@50000000"]) {
            assert_eq!(of(name), (Some(true), Some(true), Some(false)), "{name}");
        }
    }

    #[test]
    fn uncached_twins_are_uncached() {
        assert_eq!(of("system-uncached"), (Some(false), Some(false), Some(false)));
        assert_eq!(of("system-uncached-dma32"), (Some(false), Some(false), Some(false)));
        assert_eq!(of("linux,cma-uncached"), (Some(true), Some(false), Some(false)));
        assert_eq!(of("mystery-uncached"), (None, Some(false), None));
    }

    #[test]
    fn of_an_unknown_name_nothing_is_known_and_it_meets_no_need() {
        assert_eq!(of("mystery"), (None, None, None));
        assert_eq!(of("secure"), (None, None, None));
        let unknown = Properties::default();
        assert_eq!(Needs::new().unmet(unknown), Some("open to the CPU"));
        assert_eq!(Needs::new().contiguous().unmet(unknown), Some("contiguous"));
    }

    #[test]
    fn needs_are_met_by_what_is_known() {
        let system = Properties::of(Source::Kernel, "system");
        assert_eq!(Needs::new().cached().unmet(system), None);
        assert_eq!(Needs::new().contiguous().unmet(system), Some("contiguous"));
        assert_eq!(Needs::new().uncached().unmet(system), Some("uncached"));
        assert_eq!(Needs::new().protected().unmet(system), Some("protected"));
        let tee = Properties::of(Source::Kernel, "protected,secure-video");
        assert_eq!(Needs::new().protected().contiguous().unmet(tee), None);
        assert_eq!(Needs::new().unmet(tee), Some("open to the CPU"));
    }
}
