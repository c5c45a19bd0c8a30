//! The parts that are processes of their own: the devices, and the clients in Rust.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use dmabuf::{DmaBuf, Route};

use super::picture::{self, Picture, Rectangle};

/// The unmodified client. It shares a binary with the demo, and nothing else.
#[path = "../../../examples/edit.rs"]
#[expect(dead_code, reason = "its main is for when it is a program of its own")]
mod edit;

/// Which part to play.
#[derive(Subcommand)]
pub enum Role {
    /// Writes a frame into a buffer, as a device.
    Camera { device: PathBuf, frame: PathBuf },
    /// Reads a picture from a buffer, as a device, and writes it to a PNG file.
    Display { device: PathBuf, width: u32, height: u32, png: PathBuf },
    /// examples/edit.rs
    #[command(disable_help_flag = true)]
    Edit {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Does what examples/edit.rs does, by whatever route leads to the bytes.
    EditByRoute(EditByRoute),
}

/// The picture that a buffer holds, and the rectangle to invert.
#[derive(Args)]
pub struct EditByRoute {
    path: PathBuf,
    width: u32,
    height: u32,
    x: u32,
    y: u32,
    rect_width: u32,
    rect_height: u32,
}

/// Plays a part.
pub fn play(role: Role) -> Result<ExitCode> {
    match role {
        Role::Camera { device, frame } => camera(&device, &frame)?,
        Role::Display { device, width, height, png } => display(&device, width, height, &png)?,
        Role::Edit { arguments } => return Ok(edit::run(arguments)),
        Role::EditByRoute(job) => edit_by_route(&job)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A write to the device side is a DMA write.
fn camera(device: &Path, frame: &Path) -> Result<()> {
    let frame = std::fs::read(frame)?;
    let context = || format!("the camera cannot write to {}", device.display());
    let mut device = OpenOptions::new().write(true).open(device).with_context(context)?;
    device.write_all(&frame).with_context(context)
}

/// A read of the device side is a DMA read.
fn display(device: &Path, width: u32, height: u32, png: &Path) -> Result<()> {
    let mut bytes = vec![0; width as usize * height as usize * picture::BYTES_PER_PIXEL as usize];
    File::open(device)
        .and_then(|mut device| device.read_exact(&mut bytes))
        .with_context(|| format!("the display cannot read {}", device.display()))?;
    Picture::from_bytes(width, height, bytes).save_png(png)
}

fn edit_by_route(job: &EditByRoute) -> Result<()> {
    let &EditByRoute { ref path, width, height, x, y, rect_width, rect_height } = job;
    let rectangle = Rectangle { x, y, width: rect_width, height: rect_height };
    let mut pixels = vec![0; width as usize * height as usize * picture::BYTES_PER_PIXEL as usize];
    let start = Instant::now();
    let mut bytes = DmaBuf::open(path)?.bytes(Route::standard())?;
    bytes.read_at(0, &mut pixels)?;
    picture::invert(&mut pixels, width, rectangle);
    bytes.write_at(0, &pixels)?;
    let time = start.elapsed();
    println!("brackets=0 nanoseconds={}", time.as_nanos());
    Ok(())
}
