//! All pictures on one sheet: a row for each heap, a column for each way to bracket.

use std::path::Path;

use anyhow::{Context, Result};
use dmabuf_serve::export::HeapKind;
use embedded_graphics::mono_font::ascii::{FONT_7X13, FONT_9X18_BOLD, FONT_10X20};
use image::codecs::png::CompressionType;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};

use super::canvas::{self, Colour, Style};
use super::contract::{Outcome, Promise, Row, Way};
use super::picture::{self, Picture};
use super::report::{caption, grouped};
use super::story;

pub const BACKGROUND: Colour = [22, 24, 31];
const SLOT: Colour = [34, 37, 47];
const WHITE: Colour = [238, 240, 245];
pub const GREY: Colour = [150, 156, 172];
pub const GREEN: Colour = [72, 199, 116];
pub const RED: Colour = [240, 82, 82];
const AMBER: Colour = [236, 180, 70];

pub const TITLE: Style = Style { font: &FONT_10X20, scale: 2, colour: WHITE };
pub const HEAD: Style = Style { font: &FONT_9X18_BOLD, scale: 1, colour: WHITE };
pub const SMALL: Style = Style { font: &FONT_7X13, scale: 1, colour: GREY };

/// The box that a picture is scaled into, and the frame around it.
pub const PICTURE: (u32, u32) = (256, 144);
pub const FRAME: u32 = 4;
/// From a picture to the next.
pub const PITCH: (u32, u32) = (PICTURE.0 + 2 * FRAME + 16, PICTURE.1 + 2 * FRAME + 58);
/// Where the first picture's frame begins.
const ORIGIN: (u32, u32) = (206, 262);
pub const MARGIN: u32 = 24;
const FOOT: u32 = 44;

/// The sheet's file.
pub const NAME: &str = "contact-sheet.png";

/// Draws the sheet of `rows`, whose pictures are in `out`, and writes it there. Above them it
/// shows `frame` as it was and as it is to be.
pub fn save(rows: &[Row], frame: &Picture, out: &Path) -> Result<()> {
    let width = ORIGIN.0 + Way::ALL.len() as u32 * PITCH.0 - 16 + MARGIN;
    let height = ORIGIN.1 + HeapKind::ALL.len() as u32 * PITCH.1 + FOOT;
    let mut sheet = RgbImage::from_pixel(width, height, Rgb(BACKGROUND));
    draw_heads(&mut sheet);
    draw_model(&mut sheet, 3, frame, "what the camera wrote");
    draw_model(&mut sheet, 4, &frame.inverted(frame.rectangle()), "what the client makes of it");
    for row in rows {
        draw_row(&mut sheet, row, out)?;
    }
    draw_legend(&mut sheet, height - FOOT / 2 - 6);
    picture::save_png(&sheet, CompressionType::Best, &out.join(NAME))
}

fn draw_heads(sheet: &mut RgbImage) {
    canvas::text(sheet, MARGIN, 52, TITLE, "dmabuf demo: five heaps,");
    canvas::text(sheet, MARGIN, 92, TITLE, "five ways to bracket");
    let what = [
        "A camera writes a frame into a buffer. A client maps the buffer,",
        "brackets, and inverts the colours of the middle half.",
        "Below are the pictures that a display then reads from it.",
    ];
    for (index, text) in what.into_iter().enumerate() {
        canvas::text(sheet, MARGIN, 134 + index as u32 * 20, Style { colour: GREY, ..HEAD }, text);
    }
    for (column, way) in Way::ALL.into_iter().enumerate() {
        let x = ORIGIN.0 + column as u32 * PITCH.0 + FRAME + PICTURE.0 / 2;
        canvas::text_centred(sheet, x, ORIGIN.1 - 38, HEAD, way.title());
        canvas::text_centred(sheet, x, ORIGIN.1 - 18, SMALL, how(way));
    }
    for (line, heap) in HeapKind::ALL.into_iter().enumerate() {
        let y = ORIGIN.1 + line as u32 * PITCH.1 + PICTURE.1 / 2;
        canvas::text(sheet, MARGIN, y - 22, HEAD, heap.name());
        for (index, text) in about(heap).into_iter().enumerate() {
            canvas::text(sheet, MARGIN, y + index as u32 * 17, SMALL, text);
        }
    }
}

/// Draws a picture to compare with, above a column.
fn draw_model(sheet: &mut RgbImage, column: u32, picture: &Picture, caption: &str) {
    let x = ORIGIN.0 + column * PITCH.0;
    draw_picture(sheet, x, MARGIN, GREY, Some(&picture.to_rgb()));
    let (middle, y) = (x + FRAME + PICTURE.0 / 2, MARGIN + PICTURE.1 + 2 * FRAME + 15);
    canvas::text_centred(sheet, middle, y, SMALL, caption);
}

/// Draws a framed picture, or its place.
pub fn draw_picture(
    sheet: &mut RgbImage,
    x: u32,
    y: u32,
    frame: Colour,
    picture: Option<&RgbImage>,
) {
    canvas::fill(sheet, x, y, PICTURE.0 + 2 * FRAME, PICTURE.1 + 2 * FRAME, frame);
    canvas::fill(sheet, x + FRAME, y + FRAME, PICTURE.0, PICTURE.1, SLOT);
    if let Some(picture) = picture.map(scaled) {
        let left = x + FRAME + (PICTURE.0 - picture.width()) / 2;
        let top = y + FRAME + (PICTURE.1 - picture.height()) / 2;
        imageops::replace(sheet, &picture, left.into(), top.into());
    }
}

fn draw_row(sheet: &mut RgbImage, row: &Row, out: &Path) -> Result<()> {
    let column = Way::ALL.into_iter().position(|way| row.way == Some(way)).unwrap_or(0) as u32;
    let line = HeapKind::ALL.into_iter().position(|heap| heap == row.heap).unwrap_or(0) as u32;
    let (x, y) = (ORIGIN.0 + column * PITCH.0, ORIGIN.1 + line * PITCH.1);
    let (width, height) = (PICTURE.0 + 2 * FRAME, PICTURE.1 + 2 * FRAME);
    let colour = colour(row);
    let picture = match row.outcome() {
        Some(_) => {
            let path = story::png(out, row);
            let opened = image::open(&path);
            Some(opened.with_context(|| format!("cannot read {}", path.display()))?.into_rgb8())
        }
        None => None,
    };
    draw_picture(sheet, x, y, colour, picture.as_ref());
    let middle = x + width / 2;
    canvas::text_centred(sheet, middle, y + height + 15, Style { colour, ..HEAD }, &caption(row));
    canvas::text_centred(sheet, middle, y + height + 34, SMALL, &numbers(row));
    if row.way.is_none() {
        draw_refusal(sheet, row, x + PITCH.0, y, height);
    }
    Ok(())
}

/// Fills the places of the pictures that there are not.
fn draw_refusal(sheet: &mut RgbImage, row: &Row, x: u32, y: u32, height: u32) {
    let width = (Way::ALL.len() as u32 - 1) * PITCH.0 - 16;
    canvas::fill(sheet, x, y, width, height, SLOT);
    let middle = (x + width / 2, y + height / 2);
    let ways = "Without a mapping there is nothing to bracket: each of the five ways ends at mmap.";
    canvas::text_centred(sheet, middle.0, middle.1 - 24, HEAD, ways);
    let on = "The client goes on to the next route to the bytes: the buffer's device side.";
    canvas::text_centred(sheet, middle.0, middle.1 + 2, Style { colour: GREY, ..HEAD }, on);
    let refusals = format!("{} times refused", row.refusals.len());
    canvas::text_centred(sheet, middle.0, middle.1 + 28, SMALL, &refusals);
}

fn draw_legend(sheet: &mut RgbImage, y: u32) {
    let entries = [
        (GREEN, "right: the edit reached the device"),
        (RED, "stale: it did not, or not all of it"),
        (AMBER, "nothing is promised without a right bracket: shown as it came out"),
    ];
    let mut x = ORIGIN.0;
    for (colour, text) in entries {
        canvas::fill(sheet, x, y - 6, 12, 12, colour);
        canvas::text(sheet, x + 20, y, SMALL, text);
        x += 20 + text.len() as u32 * 7 + 36;
    }
}

fn how(way: Way) -> &'static str {
    match way {
        Way::Whole => "SYNC, read-write",
        Way::Ranged => "SYNC_PARTIAL, the rows it edits",
        Way::None => "no ioctl at all",
        Way::WrongDirection => "SYNC, read: though it writes",
        Way::TooSmall => "SYNC_PARTIAL, half of the rows",
    }
}

fn about(heap: HeapKind) -> [&'static str; 2] {
    match heap {
        HeapKind::Coherent => ["one memory for", "CPU and devices"],
        HeapKind::Bounce => ["two memories, copied", "only in brackets"],
        HeapKind::Tracked => ["copies only what", "was really touched"],
        HeapKind::Checked => ["as tracked; reports", "stray accesses"],
        HeapKind::Unmappable => ["devices only:", "mmap is refused"],
    }
}

fn colour(row: &Row) -> Colour {
    match (row.promise(), row.outcome()) {
        _ if !row.objections().is_empty() => RED,
        (Promise::Nothing, _) => AMBER,
        (_, Some(Outcome::Right)) => GREEN,
        _ => RED,
    }
}

fn numbers(row: &Row) -> String {
    let violations = match row.stats().violations {
        0 => String::new(),
        1 => ", 1 violation".into(),
        more => format!(", {} violations", grouped(more)),
    };
    format!("{} bytes synced{violations}", grouped(row.stats().bytes_synced()))
}

/// The picture, as large as fits.
fn scaled(picture: &RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let factor =
        (f64::from(PICTURE.0) / f64::from(width)).min(f64::from(PICTURE.1) / f64::from(height));
    let scale = |length: u32, limit| ((f64::from(length) * factor) as u32).clamp(1, limit);
    let (width, height) = (scale(width, PICTURE.0), scale(height, PICTURE.1));
    if factor < 1.0 {
        imageops::thumbnail(picture, width, height)
    } else {
        imageops::resize(picture, width, height, FilterType::Nearest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_of_all_shapes_fit_into_their_place() {
        for size in [(640, 360), (1, 2), (3000, 2), (2, 3000), (256, 144), (17, 900)] {
            let (width, height) = scaled(&RgbImage::new(size.0, size.1)).dimensions();
            assert!(width <= PICTURE.0 && height <= PICTURE.1, "{size:?}");
            assert!(width == PICTURE.0 || height >= PICTURE.1 - 1, "{size:?} could be larger");
        }
    }
}
