//! The pictures: each as it came, and all on one sheet.

use std::path::Path;

use anyhow::Result;
use dmabuf_uapi::V4l2PixFormat;
use image::codecs::png::CompressionType;
use image::{Rgb, RgbImage};

use super::super::canvas::{self, Style};
use super::super::contact_sheet::{
    BACKGROUND, FRAME, GREEN, GREY, HEAD, MARGIN, PICTURE, PITCH, RED, SMALL, TITLE, draw_picture,
};
use super::super::picture::save_png;
use super::pixels;
use super::report::Row;
use super::shown::Shown;

/// The sheet's file.
pub const NAME: &str = "camera.png";

/// Where the first picture's frame begins.
const ORIGIN: (u32, u32) = (150, 110);

const COLUMNS: [&str; 3] = [
    "as the camera wrote it",
    "as the CPU drew on it, in a bracket",
    "as it came back from the output",
];

/// Writes each picture, and the sheet, into `folder`.
pub fn save_pictures(
    rows: &[Row],
    shown: Option<&Result<Shown, String>>,
    format: &V4l2PixFormat,
    folder: &Path,
) -> Result<()> {
    let shots: Vec<_> =
        rows.iter().filter_map(|row| Some((&row.heap, row.shot.as_ref().ok()?))).collect();
    let width = ORIGIN.0 + COLUMNS.len() as u32 * PITCH.0 - 16 + MARGIN;
    let height = ORIGIN.1 + shots.len() as u32 * PITCH.1;
    let mut sheet = RgbImage::from_pixel(width, height, Rgb(BACKGROUND));
    canvas::text(&mut sheet, MARGIN, 44, TITLE, "dmabuf demo --camera");

    let mut place = |column: usize, line: usize, frame, colour, file: &str| -> Result<()> {
        let (x, y) = (ORIGIN.0 + column as u32 * PITCH.0, ORIGIN.1 + line as u32 * PITCH.1);
        let picture = pixels::to_rgb(format, frame);
        draw_picture(&mut sheet, x, y, colour, Some(&picture));
        let (middle, below) = (x + FRAME + PICTURE.0 / 2, y + PICTURE.1 + 2 * FRAME + 15);
        canvas::text_centred(&mut sheet, middle, below, SMALL, COLUMNS[column]);
        save_png(&picture, CompressionType::Fast, &folder.join(file))
    };
    for (line, (heap, shot)) in shots.iter().enumerate() {
        let drawn = if shot.wrong_bytes == 0 { GREEN } else { RED };
        place(0, line, &shot.captured, GREY, &format!("{heap}-captured.png"))?;
        place(1, line, shot.last(), drawn, &format!("{heap}-drawn.png"))?;
    }
    if let Some(Ok(Shown { came_back: Some(frame), is_as_sent, .. })) = shown {
        let colour = if *is_as_sent { GREEN } else { RED };
        place(2, shots.len() - 1, frame, colour, "shown.png")?;
    }

    let V4l2PixFormat { width, height, .. } = format;
    let about = Style { colour: GREY, ..HEAD };
    let what = format!("frames of {width}x{height} pixels in dma-bufs of each heap");
    canvas::text(&mut sheet, MARGIN, 80, about, &what);
    for (line, (heap, _)) in shots.iter().enumerate() {
        let y = ORIGIN.1 + line as u32 * PITCH.1 + PICTURE.1 / 2;
        canvas::text(&mut sheet, MARGIN, y, HEAD, heap);
    }
    save_png(&sheet, CompressionType::Best, &folder.join(NAME))
}
