//! Drawing on a picture: filled boxes, frames and lines of text.

use std::convert::Infallible;

use embedded_graphics::draw_target::DrawTarget;
use embedded_graphics::geometry::{OriginDimensions, Point, Size};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyle};
use embedded_graphics::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics::text::{Alignment, Baseline, Text, TextStyleBuilder};
use embedded_graphics::{Drawable, Pixel};
use image::{Rgb, RgbImage};

/// A colour: red, green, blue.
pub type Colour = [u8; 3];

/// How text looks.
#[derive(Clone, Copy)]
pub struct Style {
    pub font: &'static MonoFont<'static>,
    /// How many pixels a dot of the font is wide and high.
    pub scale: u32,
    pub colour: Colour,
}

/// Fills a box, as far as it is inside of the image.
pub fn fill(image: &mut RgbImage, x: u32, y: u32, width: u32, height: u32, colour: Colour) {
    for row in y..(y + height).min(image.height()) {
        for column in x..(x + width).min(image.width()) {
            image.put_pixel(column, row, Rgb(colour));
        }
    }
}

/// Draws a line of text whose middle, in both directions, is at `x`, `y`.
pub fn text_centred(image: &mut RgbImage, x: u32, y: u32, style: Style, text: &str) {
    draw(image, x, y, style, Alignment::Center, text);
}

/// Draws a line of text that begins at `x`; its middle is at the height `y`.
pub fn text(image: &mut RgbImage, x: u32, y: u32, style: Style, text: &str) {
    draw(image, x, y, style, Alignment::Left, text);
}

fn draw(image: &mut RgbImage, x: u32, y: u32, style: Style, alignment: Alignment, text: &str) {
    let Style { font, scale, colour: [red, green, blue] } = style;
    let character = MonoTextStyle::new(font, Rgb888::new(red, green, blue));
    let layout = TextStyleBuilder::new().alignment(alignment).baseline(Baseline::Middle).build();
    let mut dots = Dots { image, x: i64::from(x), y: i64::from(y), scale };
    let Ok(_) = Text::with_text_style(text, Point::zero(), character, layout).draw(&mut dots);
}

/// An image whose dots, around `x`, `y`, are several pixels wide.
struct Dots<'a> {
    image: &'a mut RgbImage,
    x: i64,
    y: i64,
    scale: u32,
}

impl OriginDimensions for Dots<'_> {
    fn size(&self) -> Size {
        Size::new(self.image.width(), self.image.height())
    }
}

impl DrawTarget for Dots<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(point, colour) in pixels {
            let x = self.x + i64::from(point.x) * i64::from(self.scale);
            let y = self.y + i64::from(point.y) * i64::from(self.scale);
            if let (Ok(x), Ok(y)) = (x.try_into(), y.try_into()) {
                let colour = [colour.r(), colour.g(), colour.b()];
                fill(self.image, x, y, self.scale, self.scale, colour);
            }
        }
        Ok(())
    }
}
