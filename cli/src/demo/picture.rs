//! Pictures as a buffer holds them: XRGB8888, rows without gaps.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageDecoder, ImageReader, RgbImage};

/// Bytes of a pixel: blue, green, red, and one that means nothing.
pub const BYTES_PER_PIXEL: u32 = 4;

/// Buffers are whole pages.
const PAGE: u64 = 4096;

/// A frame as a camera delivers it.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: u32,
    height: u32,
    bytes: Vec<u8>,
}

/// The part of a picture that a client changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rectangle {
    pub x: u32,
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

impl Picture {
    /// Reads a PNG or JPEG file, the right way up.
    pub fn open(path: &Path) -> Result<Picture> {
        let read = || -> Result<DynamicImage> {
            let mut decoder = ImageReader::open(path)?.with_guessed_format()?.into_decoder()?;
            let orientation = decoder.orientation()?;
            let mut image = DynamicImage::from_decoder(decoder)?;
            image.apply_orientation(orientation);
            Ok(image)
        };
        let image = read().with_context(|| {
            format!("cannot read the picture {}: give PNG or JPEG files", path.display())
        })?;
        let picture = Picture::from_rgb(&image.into_rgb8());
        picture.check().with_context(|| format!("cannot use the picture {}", path.display()))?;
        Ok(picture)
    }

    /// The picture that `bytes` are.
    pub fn from_bytes(width: u32, height: u32, bytes: Vec<u8>) -> Picture {
        assert_eq!(bytes.len() as u64, byte_len(width, height), "bytes of {width}x{height} pixels");
        Picture { width, height, bytes }
    }

    /// The picture with the colours of `image`.
    pub fn from_rgb(image: &RgbImage) -> Picture {
        let bytes = image.pixels().flat_map(|pixel| {
            let [red, green, blue] = pixel.0;
            [blue, green, red, 0]
        });
        Picture { width: image.width(), height: image.height(), bytes: bytes.collect() }
    }

    /// The colours, without the bytes that mean nothing.
    pub fn to_rgb(&self) -> RgbImage {
        let colours = self.pixels().flat_map(|[blue, green, red, _]| [red, green, blue]);
        RgbImage::from_raw(self.width, self.height, colours.collect()).expect("one per pixel")
    }

    /// Writes a PNG file, soon rather than small.
    pub fn save_png(&self, path: &Path) -> Result<()> {
        save_png(&self.to_rgb(), CompressionType::Fast, path)
    }

    /// Pixels a row.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// What a device writes into the buffer.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes from a row to the next.
    pub fn stride(&self) -> u64 {
        u64::from(self.width) * u64::from(BYTES_PER_PIXEL)
    }

    /// The size of a buffer for it: whole pages.
    pub fn buffer_size(&self) -> u64 {
        (self.bytes.len() as u64).next_multiple_of(PAGE)
    }

    /// The middle half of the picture, in both directions; at least a column and two rows of it.
    pub fn rectangle(&self) -> Rectangle {
        let width = (self.width / 2).max(1);
        let height = (self.height / 2).max(2);
        Rectangle { x: (self.width - width) / 2, y: (self.height - height) / 2, width, height }
    }

    /// Whether the rectangle reaches a page on which its upper half's rows have no byte. Who watches
    /// pages cannot tell the two apart otherwise.
    pub fn leaves_pages_of_upper_half(&self) -> bool {
        let Rectangle { x, y, width, height } = self.rectangle();
        let upper_end = byte_len(self.width, y + height / 2);
        let end = byte_len(self.width, y + height - 1) + byte_len(x + width, 1);
        (end - 1) / PAGE > (upper_end - 1) / PAGE
    }

    /// The picture after a client did what it was told: the rectangle's colours are inverted.
    pub fn inverted(&self, rectangle: Rectangle) -> Picture {
        let mut picture = self.clone();
        invert(&mut picture.bytes, self.width, rectangle);
        picture
    }

    /// How many pixels differ from those of `other`, a picture of the same size.
    pub fn differing_pixels(&self, other: &Picture) -> u64 {
        assert_eq!((self.width, self.height), (other.width, other.height));
        self.pixels().zip(other.pixels()).filter(|(ours, theirs)| ours != theirs).count() as u64
    }

    /// A rectangle needs an upper half, and the vendors' ioctl names offsets in 32 bits.
    fn check(&self) -> Result<()> {
        ensure!(
            self.height >= 2,
            "{}x{} pixels are too few: the upper half of a rectangle in it must be a row, so choose a \
             picture of two rows or more",
            self.width,
            self.height
        );
        ensure!(
            u32::try_from(self.bytes.len()).is_ok(),
            "{}x{} pixels are 4 GiB or more, past what DMA_BUF_IOCTL_SYNC_PARTIAL can name: choose a \
             smaller picture",
            self.width,
            self.height
        );
        Ok(())
    }

    fn pixels(&self) -> impl Iterator<Item = [u8; 4]> {
        self.bytes.chunks_exact(4).map(|pixel| pixel.try_into().expect("four bytes"))
    }
}

/// Writes a PNG file.
pub fn save_png(image: &RgbImage, compression: CompressionType, path: &Path) -> Result<()> {
    let write = || -> Result<()> {
        let file = BufWriter::new(File::create(path)?);
        let encoder = PngEncoder::new_with_quality(file, compression, FilterType::Adaptive);
        Ok(image.write_with_encoder(encoder)?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Inverts the colours of a rectangle in rows of `width` pixels.
pub fn invert(bytes: &mut [u8], width: u32, rectangle: Rectangle) {
    let Rectangle { x, y, width: columns, height: rows } = rectangle;
    for row in y..y + rows {
        let start = byte_len(width, row) as usize + (x * BYTES_PER_PIXEL) as usize;
        let len = (columns * BYTES_PER_PIXEL) as usize;
        for pixel in bytes[start..start + len].chunks_exact_mut(4) {
            pixel[..3].iter_mut().for_each(|colour| *colour = 255 - *colour);
        }
    }
}

fn byte_len(width: u32, rows: u32) -> u64 {
    u64::from(width) * u64::from(rows) * u64::from(BYTES_PER_PIXEL)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture in which every byte differs from its neighbours.
    fn picture(width: u32, height: u32) -> Picture {
        let image = RgbImage::from_fn(width, height, |x, y| {
            image::Rgb([(x * 3) as u8, (y * 5) as u8, (x + y) as u8])
        });
        Picture::from_rgb(&image)
    }

    #[test]
    fn pixels_are_blue_green_red_and_a_byte_that_is_zero() {
        let image = RgbImage::from_pixel(1, 2, image::Rgb([1, 2, 3]));
        assert_eq!(Picture::from_rgb(&image).bytes(), [3, 2, 1, 0, 3, 2, 1, 0]);
        assert_eq!(Picture::from_rgb(&image).to_rgb(), image);
    }

    #[test]
    fn the_rectangle_is_inside_and_has_two_rows_for_every_size() {
        for width in 1..9 {
            for height in 2..9 {
                let Rectangle { x, y, width: w, height: h } = picture(width, height).rectangle();
                assert!(w >= 1 && h >= 2, "{width}x{height}");
                assert!(x + w <= width && y + h <= height, "{width}x{height}");
            }
        }
        let middle = Rectangle { x: 160, y: 90, width: 320, height: 180 };
        assert_eq!(picture(640, 360).rectangle(), middle);
    }

    #[test]
    fn inverting_changes_each_pixel_of_the_rectangle_and_no_other() {
        let before = picture(9, 7);
        let rectangle = Rectangle { x: 2, y: 3, width: 4, height: 2 };
        let after = before.inverted(rectangle);
        assert_eq!(before.differing_pixels(&after), 8);
        for (index, (was, is)) in before.pixels().zip(after.pixels()).enumerate() {
            let (column, row) = (index % 9, index / 9);
            let inside = (2..6).contains(&column) && (3..5).contains(&row);
            let [blue, green, red, nothing] = was;
            let inverted = [255 - blue, 255 - green, 255 - red, nothing];
            assert_eq!(is, if inside { inverted } else { was }, "column {column}, row {row}");
        }
        assert!(after.inverted(rectangle) == before);
    }

    #[test]
    fn halves_of_a_rectangle_are_told_apart_by_pages_if_they_have_some() {
        assert!(!picture(33, 21).leaves_pages_of_upper_half(), "it is on one page");
        assert!(picture(256, 8).leaves_pages_of_upper_half(), "the upper half ends with its page");
        assert!(picture(250, 10).leaves_pages_of_upper_half(), "bytes 2000..4000, to 6750");
        assert!(!picture(300, 10).leaves_pages_of_upper_half(), "bytes 2400..4800, to 8100");
    }

    #[test]
    fn buffers_are_whole_pages() {
        assert_eq!(picture(1, 2).buffer_size(), 4096);
        assert_eq!(picture(32, 32).buffer_size(), 4096);
        assert_eq!(picture(32, 33).buffer_size(), 8192);
    }

    #[test]
    fn a_png_comes_back_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("picture.png");
        picture(33, 20).save_png(&path).unwrap();
        assert!(Picture::open(&path).unwrap() == picture(33, 20));
    }

    #[test]
    fn what_cannot_be_used_is_told_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let (thin, text) = (dir.path().join("thin.png"), dir.path().join("text.png"));
        picture(5, 1).save_png(&thin).unwrap();
        std::fs::write(&text, "no picture").unwrap();
        for (path, reason) in [(thin, "5x1 pixels are too few"), (text, "give PNG or JPEG")] {
            let error = format!("{:#}", Picture::open(&path).err().unwrap());
            assert!(error.contains(reason) && error.contains(path.to_str().unwrap()), "{error}");
        }
    }
}
