//! `demo --camera`: a V4L2 camera fills our dma-bufs, the CPU draws on them in brackets, and a V4L2
//! output shows them.
//!
//! | module | what it holds |
//! |---|---|
//! | [`device`] | nodes, the format, and why a node is no camera |
//! | [`queue`] | our buffers in a node's queue |
//! | [`pixels`] | rows of bytes, what is drawn on them, and their colours |
//! | [`shot`] | one heap's buffers: filled by the camera, drawn on, looked at again |
//! | [`shown`] | the way back: into an output, and round to the camera where there is a loop |
//! | [`report`], [`sheet`] | what people see |

mod device;
mod pixels;
mod queue;
mod report;
mod sheet;
mod shot;
mod shown;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Error, Result, bail};
use dmabuf::heap::{self, Source};

use self::device::Device;
use self::queue::Queue;
use self::report::{Report, Row};
use super::{child, out::Out};
use crate::explain;

/// Has the camera at `path` fill buffers of every heap of the kernel's, draws on them, and sends
/// them to the output of the same device, if it has one. Succeeds if every picture came out right.
pub fn run(path: &Path, out: &Path, json: bool) -> Result<ExitCode> {
    let camera = Device::camera(path)?;
    let format = camera.choose_format()?;
    let out = &Out::open(out)?;
    child::catch_interrupts()?;

    let mut rows = Vec::new();
    let mut sent = None;
    for description in heap::list() {
        if description.source == Source::Served {
            continue;
        }
        let queue = Queue::new(&camera, &format, shot::BUFFERS)?;
        let loaded = description.open().map_err(Error::from);
        let loaded = loaded.and_then(|heap| Ok((shot::load(&queue, &format, &heap)?, heap)));
        let shot = match loaded {
            Ok((loaded, heap)) => {
                sent = Some((rows.len(), heap));
                Ok(shot::take(&queue, &format, loaded)?)
            }
            Err(error) => Err(explain(&error)),
        };
        rows.push(Row { heap: description.name, shot });
    }
    let Some((from, heap)) = sent else {
        bail!("{}", without_buffers(&camera, &rows));
    };

    let display = Device::output_beside(&camera);
    let shown = match (&display, &rows[from].shot) {
        (Some(display), Ok(shot)) => Some(shown::show(&camera, display, &format, &heap, shot)?),
        _ => None,
    };
    child::check_interrupt()?;

    sheet::save_pictures(&rows, shown.as_ref(), &format, out.folder())?;
    let report = Report {
        camera: &camera,
        format: &format,
        rows: &rows,
        display: display.as_ref(),
        shown: shown.as_ref(),
        out,
    };
    out.tell(&if json { report.json()? } else { report.text() })?;
    out.deliver(sheet::NAME)?;
    Ok(if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Why no heap gave buffers that the camera fills.
fn without_buffers(camera: &Device, rows: &[Row]) -> String {
    let reasons: Vec<_> = rows
        .iter()
        .filter_map(|row| row.shot.as_ref().err().map(|why| format!("{}: {why}", row.heap)))
        .collect();
    if reasons.is_empty() {
        return "this kernel has no /dev/dma_heap and no /dev/udmabuf to allocate buffers from: \
                modprobe udmabuf loads one, if the kernel was built with CONFIG_UDMABUF"
            .to_owned();
    }
    format!("{} fills no buffer of any heap; {}", camera.path.display(), reasons.join("; "))
}
