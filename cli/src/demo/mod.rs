//! The main job: a device, an unmodified client and a display share buffers, bracketed rightly and
//! wrongly, on every heap. And the same with a camera of the kernel's: [`camera`].
//!
//! | module | what it holds |
//! |---|---|
//! | [`contract`] | the ways to bracket, the rows, and what the contract says of each |
//! | [`story`] | the order of events: camera, client, display |
//! | [`stage`] | what the story needs of a home for buffers |
//! | [`served`], [`in_process`], [`kernel`] | the homes: the service, this process, the kernel module |
//! | [`roles`], [`clients`] | the devices and the clients, as processes |
//! | [`misused`] | the client in this process |
//! | [`child`] | starting processes, and never losing one |
//! | [`picture`], [`test_card`], [`canvas`] | pixels |
//! | [`report`], [`contact_sheet`], [`progress`], [`out`] | what people see, and where it goes |
//! | [`camera`] | another story: `--camera`, with buffers that a V4L2 driver fills |

mod camera;
mod canvas;
pub mod child;
mod clients;
mod contact_sheet;
mod contract;
mod in_process;
mod kernel;
mod misused;
mod out;
mod picture;
pub mod progress;
mod report;
mod roles;
mod served;
mod stage;
mod story;
mod test_card;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

pub use child::Interrupted;
pub use roles::{Role, play};

use crate::explain;
use in_process::InProcess;
use kernel::Kernel;
use out::Out;
use picture::Picture;
use report::Report;
use served::Served;
use stage::Stage;

/// What `dmabuf demo` takes.
#[derive(Args)]
pub struct Options {
    /// Pictures to use as frames, PNG or JPEG; without any, a test card
    #[arg(value_name = "IMAGE")]
    images: Vec<PathBuf>,
    /// Have this V4L2 camera fill buffers of the kernel's heaps instead, draw on them, and send them
    /// to its device's output
    #[arg(long, value_name = "NODE", conflicts_with = "images")]
    camera: Option<PathBuf>,
    /// Tell it on the heaps of the kernel module, with its emulated device, instead of a service
    #[arg(long, conflicts_with = "camera")]
    kernel: bool,
    /// Where the pictures go: one for each row of the table, and one with all of them,
    /// contact-sheet.png or camera.png; `-` writes that one to stdout, and the table to stderr
    #[arg(long, value_name = "DIR", default_value = "dmabuf-demo")]
    out: PathBuf,
    /// Print one JSON document instead of a table
    #[arg(long)]
    json: bool,
}

/// Tells the story; succeeds if every row came out as the contract says.
pub fn run(options: &Options) -> Result<ExitCode> {
    let Options { images, camera, kernel, out, json } = options;
    if let Some(node) = camera {
        return camera::run(node, out, *json);
    }
    let frames = match images.as_slice() {
        [] => vec![test_card::draw()],
        paths => paths.iter().map(|path| Picture::open(path)).collect::<Result<_>>()?,
    };
    let out = Out::open(out)?;
    child::catch_interrupts()?;

    let mut notes = Vec::new();
    let stage = if *kernel { Box::new(Kernel::open()?) } else { choose_stage(&mut notes)? };
    let rows = story::play(&*stage, &frames, out.folder())?;

    contact_sheet::save(&rows, &frames[0], out.folder())?;
    child::check_interrupt()?;
    let report = Report { stage: &*stage, notes: &notes, rows: &rows, out: &out };
    out.tell(&if *json { report.json()? } else { report.text() })?;
    out.deliver(contact_sheet::NAME)?;
    Ok(if report.kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The service where FUSE can be used, else this process. What is missing is noted.
fn choose_stage(notes: &mut Vec<String>) -> Result<Box<dyn Stage>> {
    match Served::start() {
        Ok(mut served) => {
            if let Err(reason) = served.compile_client() {
                notes.push(format!("the client in C is left out: {}", explain(&reason)));
            }
            Ok(Box::new(served))
        }
        Err(reason) => {
            child::check_interrupt()?;
            notes.push(format!("everything runs in one process, because {}", explain(&reason)));
            Ok(Box::new(InProcess))
        }
    }
}
