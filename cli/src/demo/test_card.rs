//! The default picture: a television test card of our own.

use embedded_graphics::mono_font::ascii::{FONT_6X10, FONT_10X20};
use image::{Rgb, RgbImage};

use super::canvas::{self, Style};
use super::picture::Picture;

const WIDTH: u32 = 640;
const HEIGHT: u32 = 360;

/// Every pixel is the mean of as many points, squared.
const SAMPLES: u32 = 3;

/// The circle in the middle, in pixels.
const CENTRE: (f32, f32) = (WIDTH as f32 / 2.0, HEIGHT as f32 / 2.0);
const RADIUS: f32 = 140.0;
/// The lines of the grid and of the circles' rims.
const LINE: f32 = 1.2;
const CELL: f32 = 40.0;

type Colour = [f32; 3];

const WHITE: Colour = [0.96, 0.96, 0.94];
const BLACK: Colour = [0.05, 0.05, 0.07];
const BARS: [Colour; 7] = [
    [0.92, 0.92, 0.90],
    [0.93, 0.79, 0.20],
    [0.19, 0.73, 0.79],
    [0.25, 0.68, 0.33],
    [0.75, 0.30, 0.66],
    [0.82, 0.22, 0.22],
    [0.18, 0.29, 0.70],
];

/// Draws the card.
pub fn draw() -> Picture {
    let mut image = RgbImage::from_fn(WIDTH, HEIGHT, |x, y| Rgb(pixel(x, y)));
    let (middle, white) = (WIDTH / 2, [246, 246, 240]);
    let title = Style { font: &FONT_10X20, scale: 2, colour: white };
    canvas::text_centred(&mut image, middle, 70, title, "dmabuf");
    let small = Style { font: &FONT_6X10, scale: 1, colour: white };
    canvas::text_centred(&mut image, middle, 285, small, "ONE BUFFER, TWO SIDES");
    canvas::text_centred(&mut image, middle, 298, small, "640 x 360 XRGB8888");
    Picture::from_rgb(&image)
}

fn pixel(x: u32, y: u32) -> [u8; 3] {
    let mut sum = [0.0; 3];
    for sample in 0..SAMPLES * SAMPLES {
        let offset = |index: u32| (index as f32 + 0.5) / SAMPLES as f32;
        let point = (x as f32 + offset(sample % SAMPLES), y as f32 + offset(sample / SAMPLES));
        for (sum, colour) in sum.iter_mut().zip(colour_at(point)) {
            *sum += colour;
        }
    }
    sum.map(|sum| (sum / (SAMPLES * SAMPLES) as f32 * 255.0).round() as u8)
}

/// What is to be seen at a point: the first of these that covers it.
fn colour_at(point: (f32, f32)) -> Colour {
    border(point)
        .or_else(|| circle(point))
        .or_else(|| corner(point))
        .or_else(|| grid(point))
        .unwrap_or_else(|| sky(point))
}

/// Black and white blocks along the edges.
fn border((x, y): (f32, f32)) -> Option<Colour> {
    const THICK: f32 = 10.0;
    let horizontal = y < THICK || y > HEIGHT as f32 - THICK;
    let vertical = x < THICK || x > WIDTH as f32 - THICK;
    let along = if horizontal { x } else { y };
    let block = ((along + CELL / 2.0) / CELL) as u32;
    (horizontal || vertical).then_some(if block.is_multiple_of(2) { WHITE } else { BLACK })
}

/// The circle: a title, colour bars, gratings, a rainbow, a grey wedge and a caption.
fn circle(point: (f32, f32)) -> Option<Colour> {
    let distance = distance(point, CENTRE);
    if distance > RADIUS {
        return None;
    }
    if distance > RADIUS - 3.0 * LINE {
        return Some(WHITE);
    }
    let (x, y) = (point.0 - CENTRE.0, point.1 - CENTRE.1);
    let across = (x + RADIUS) / (2.0 * RADIUS);
    Some(match y {
        ..-90.0 => [0.10, 0.11, 0.18],
        ..-4.0 => BARS[((across * 7.0) as usize).min(6)],
        ..0.0 => BLACK,
        ..26.0 => grating(x),
        ..30.0 => BLACK,
        ..58.0 => hue(across),
        ..90.0 => {
            let step = (across * 9.0).floor() / 8.0;
            [step, step, step]
        }
        _ => [0.10, 0.11, 0.18],
    })
}

/// Vertical lines, finer and finer from left to right.
fn grating(x: f32) -> Colour {
    let period = match x {
        ..-78.0 => 24.0,
        ..-26.0 => 16.0,
        ..26.0 => 10.0,
        ..78.0 => 6.0,
        _ => 4.0,
    };
    if (x + RADIUS).rem_euclid(period) < period / 2.0 { WHITE } else { BLACK }
}

/// A small target in each corner.
fn corner((x, y): (f32, f32)) -> Option<Colour> {
    let near = (x.min(WIDTH as f32 - x), y.min(HEIGHT as f32 - y));
    match distance(near, (60.0, 60.0)) {
        ..8.0 => Some([0.95, 0.62, 0.22]),
        ..20.0 => Some([0.10, 0.11, 0.18]),
        ..30.0 => Some([0.36, 0.62, 0.80]),
        ..32.0 => Some(WHITE),
        _ => None,
    }
}

/// Fine lines, a cell apart.
fn grid((x, y): (f32, f32)) -> Option<Colour> {
    let off_line = |along: f32| {
        let inside = (along + CELL / 2.0).rem_euclid(CELL);
        inside.min(CELL - inside)
    };
    (off_line(x).min(off_line(y)) < LINE / 2.0).then_some([0.62, 0.67, 0.76])
}

/// Dusk: from blue, over violet, to orange.
fn sky((x, y): (f32, f32)) -> Colour {
    const STOPS: [Colour; 4] =
        [[0.09, 0.14, 0.33], [0.28, 0.26, 0.52], [0.62, 0.36, 0.50], [0.93, 0.58, 0.38]];
    let down = (y + 0.12 * x) / (HEIGHT as f32 + 0.12 * WIDTH as f32) * 3.0;
    let stop = (down as usize).min(2);
    mix(STOPS[stop], STOPS[stop + 1], down - stop as f32)
}

/// The rainbow's colour at `turn` of it, from 0 to 1.
fn hue(turn: f32) -> Colour {
    [0.0, 1.0 / 3.0, 2.0 / 3.0].map(|shift| {
        let angle = (turn - shift) * std::f32::consts::TAU;
        0.5 + 0.42 * angle.cos()
    })
}

fn mix(from: Colour, to: Colour, part: f32) -> Colour {
    std::array::from_fn(|index| from[index] + (to[index] - from[index]) * part)
}

fn distance(from: (f32, f32), to: (f32, f32)) -> f32 {
    (from.0 - to.0).hypot(from.1 - to.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_has_its_parts_where_they_belong() {
        let image = draw().to_rgb();
        assert_eq!(image.dimensions(), (WIDTH, HEIGHT));
        let at = |x, y| image.get_pixel(x, y).0;
        let bar = |colour: Colour| colour.map(|part| (part * 255.0).round() as u8);
        assert_eq!(at(320, 140), bar(BARS[3]), "the bar in the middle");
        assert_eq!(at(320, 42), bar(WHITE), "the circle's rim");
        assert_eq!(at(2, 2), bar(WHITE), "the border begins in white");
        let colours: std::collections::HashSet<_> = image.pixels().map(|pixel| pixel.0).collect();
        assert!(colours.len() > 1_000, "gradients, not {} flat colours", colours.len());
    }
}
