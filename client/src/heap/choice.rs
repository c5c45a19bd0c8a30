//! A chain of heaps to try, and what each of them said.

use std::fmt;
use std::path::{Path, PathBuf};

use super::properties::CMA;
use super::{Description, HEAPS, Heap, Needs, Source, UDMABUF};
use crate::Error;

/// One link of a chain for [`Heap::first_of`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The kernel's heap of the default CMA region, by whichever of its names it has here.
    Cma,
    /// The kernel's `system` heap.
    System,
    /// `/dev/udmabuf`.
    Udmabuf,
    /// The heap at this path: a node of `/dev/dma_heap`, or a served heap's directory.
    Path(PathBuf),
    /// Every heap that is known to be like this.
    Needs(Needs),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Choice::Cma => f.write_str("CMA heap"),
            Choice::System => f.write_str("system heap"),
            Choice::Udmabuf => f.write_str("udmabuf"),
            Choice::Path(path) => path.display().fmt(f),
            Choice::Needs(needs) => needs.fmt(f),
        }
    }
}

impl From<Needs> for Choice {
    fn from(needs: Needs) -> Choice {
        Choice::Needs(needs)
    }
}

/// Why one heap, or one [`Choice`], was not taken.
#[derive(Debug, thiserror::Error)]
#[error("{heap}: {error}")]
pub struct HeapFailure {
    /// The heap's name, or the choice.
    pub heap: String,
    /// Why it was not taken.
    #[source]
    pub error: Box<Error>,
}

/// The first of the choices that opens, among the heaps that are `there`.
pub(super) fn first_of(
    choices: impl IntoIterator<Item = Choice>,
    there: Vec<Description>,
) -> Result<Heap, Error> {
    let mut failures = Vec::new();
    let mut fail =
        |heap: String, error| failures.push(HeapFailure { heap, error: Box::new(error) });
    for choice in choices {
        let kernel = |name: &str| {
            there.iter().find(|heap| heap.source == Source::Kernel && heap.name == name)
        };
        let opened = match &choice {
            Choice::Cma => match CMA.iter().find_map(|name| kernel(name)) {
                Some(heap) => heap.open(),
                None => Err(absent(&Path::new(HEAPS).join(CMA[0]))),
            },
            Choice::System => match kernel("system") {
                Some(heap) => heap.open(),
                None => Err(absent(&Path::new(HEAPS).join("system"))),
            },
            Choice::Udmabuf => match there.iter().find(|heap| heap.source == Source::Udmabuf) {
                Some(heap) => heap.open(),
                None => Err(absent(Path::new(UDMABUF))),
            },
            Choice::Path(path) => Heap::open(path),
            Choice::Needs(needs) => {
                let found = there.iter().find_map(|heap| {
                    let opened = match needs.unmet(heap.properties) {
                        Some(what) => Err(Error::Unsuitable { what }),
                        None => heap.open(),
                    };
                    opened.map_err(|error| fail(heap.name.clone(), error)).ok()
                });
                match found {
                    Some(heap) => Ok(heap),
                    // Its message tells how to get one.
                    None => Err(absent(&Path::new(HEAPS).join(needs.typical()))),
                }
            }
        };
        match opened {
            Ok(heap) => return Ok(heap),
            Err(error) => fail(choice.to_string(), error),
        }
    }
    Err(Error::NoHeap(failures))
}

fn absent(path: &Path) -> Error {
    Error::Open { path: path.to_owned(), source: rustix::io::Errno::NOENT.into() }
}
