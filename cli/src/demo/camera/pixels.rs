//! Frames as rows of bytes without gaps: what is drawn on them, and which colours they are.

use std::ops::Range;

use dmabuf::frame::{Fourcc, FrameLayout, Modifier, PlaneLayout};
use dmabuf_uapi::{V4L2_PIX_FMT_XBGR32, V4L2_PIX_FMT_YUYV, V4l2PixFormat};
use image::{Rgb, RgbImage};

use super::super::picture::Rectangle;

/// What is asked for, from the best on. V4L2 and DRM have the same four characters for both.
pub const FORMATS: [u32; 2] = [V4L2_PIX_FMT_XBGR32, V4L2_PIX_FMT_YUYV];

/// Where the frame is in its buffer.
pub fn layout(format: &V4l2PixFormat) -> FrameLayout {
    FrameLayout {
        fourcc: Fourcc(format.pixelformat),
        modifier: Modifier::LINEAR,
        width: format.width,
        height: format.height,
        planes: vec![PlaneLayout { buffer: 0, offset: 0, stride: format.bytesperline.into() }],
    }
}

/// What is drawn on: the middle half in both directions, at a column that all formats begin a group
/// of pixels with.
pub fn middle(format: &V4l2PixFormat) -> Rectangle {
    let V4l2PixFormat { width, height, .. } = *format;
    Rectangle { x: width / 8 * 2, y: height / 4, width: width / 4 * 2, height: height / 2 }
}

/// The rectangle's bytes in the row at `y`; none in a row that it does not cross.
pub fn bytes_of(format: &V4l2PixFormat, rectangle: Rectangle, y: u32) -> Range<usize> {
    let Rectangle { x, y: top, width, height } = rectangle;
    if !(top..top + height).contains(&y) {
        return 0..0;
    }
    let pixel = if format.pixelformat == V4L2_PIX_FMT_YUYV { 2 } else { 4 };
    (x * pixel) as usize..((x + width) * pixel) as usize
}

/// Draws: the colours become their opposites, in either format.
pub fn invert(bytes: &mut [u8]) {
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
}

/// The colours of a frame.
pub fn to_rgb(format: &V4l2PixFormat, frame: &[u8]) -> RgbImage {
    let row = frame.len() / format.height as usize;
    RgbImage::from_fn(format.width, format.height, |x, y| {
        let row = &frame[y as usize * row..][..row];
        Rgb(match format.pixelformat {
            V4L2_PIX_FMT_YUYV => {
                let pair = &row[(x / 2 * 4) as usize..][..4];
                from_yuv(pair[(x % 2 * 2) as usize], pair[1], pair[3])
            }
            _ => {
                let pixel = &row[(x * 4) as usize..][..4];
                [pixel[2], pixel[1], pixel[0]]
            }
        })
    })
}

/// ITU-R BT.601, limited range: what V4L2 cameras mean by YUYV unless they say otherwise.
fn from_yuv(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let luma = 1.164 * (f32::from(luma) - 16.0);
    let (blue, red) = (f32::from(blue) - 128.0, f32::from(red) - 128.0);
    let colours = [luma + 1.596 * red, luma - 0.392 * blue - 0.813 * red, luma + 2.017 * blue];
    colours.map(|colour| colour.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(pixelformat: u32) -> V4l2PixFormat {
        V4l2PixFormat { width: 8, height: 4, pixelformat, ..V4l2PixFormat::default() }
    }

    #[test]
    fn the_middle_is_in_the_middle_of_a_row_of_either_format() {
        for (pixelformat, bytes) in [(V4L2_PIX_FMT_XBGR32, 8..24), (V4L2_PIX_FMT_YUYV, 4..12)] {
            let format = format(pixelformat);
            let rectangle = middle(&format);
            assert_eq!(bytes_of(&format, rectangle, 0), 0..0);
            assert_eq!(bytes_of(&format, rectangle, 1), bytes);
            assert_eq!(bytes_of(&format, rectangle, 3), 0..0);
        }
    }

    #[test]
    fn colours_are_read_from_either_format() {
        let frame = [1, 2, 3, 9].repeat(8 * 4);
        assert_eq!(to_rgb(&format(V4L2_PIX_FMT_XBGR32), &frame).get_pixel(7, 3).0, [3, 2, 1]);
        // Black, white; then a red pair, as BT.601 has it.
        let frame = [16, 128, 235, 128, 81, 90, 81, 240].repeat(2 * 4);
        let image = to_rgb(&format(V4L2_PIX_FMT_YUYV), &frame);
        assert_eq!([0, 1].map(|x| image.get_pixel(x, 2).0), [[0; 3], [255; 3]]);
        let [red, green, blue] = image.get_pixel(2, 0).0;
        assert!(red > 250 && green < 5 && blue < 5, "{red} {green} {blue}");
    }
}
