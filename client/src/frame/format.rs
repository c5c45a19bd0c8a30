//! Pixel formats: `drm/drm_fourcc.h`.

use std::fmt;

/// A pixel format's four characters, as `drm/drm_fourcc.h` writes them: `XR24`, `NV12`.
///
/// Any number is one, known or not. With the feature `drm-fourcc` it is made of that crate's enum.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fourcc(pub u32);

impl Fourcc {
    /// The format of these characters.
    pub const fn new(characters: [u8; 4]) -> Fourcc {
        Fourcc(u32::from_le_bytes(characters))
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match str::from_utf8(&self.0.to_le_bytes()) {
            Ok(text) if !text.contains(|c: char| c.is_control()) => f.write_str(text),
            _ => write!(f, "{:#x}", self.0),
        }
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How pixels lie in memory: `DRM_FORMAT_MOD_*` of `drm/drm_fourcc.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Modifier(pub u64);

impl Modifier {
    /// Row by row.
    pub const LINEAR: Modifier = Modifier(0);
    /// Known to the driver alone.
    pub const INVALID: Modifier = Modifier(0x00ff_ffff_ffff_ffff);
}

#[cfg(feature = "drm-fourcc")]
mod conversions {
    use drm_fourcc::{DrmFourcc, DrmModifier, UnrecognizedFourcc};

    use super::{Fourcc, Modifier};

    impl From<DrmFourcc> for Fourcc {
        fn from(fourcc: DrmFourcc) -> Fourcc {
            Fourcc(fourcc as u32)
        }
    }

    impl TryFrom<Fourcc> for DrmFourcc {
        type Error = UnrecognizedFourcc;

        fn try_from(fourcc: Fourcc) -> Result<DrmFourcc, UnrecognizedFourcc> {
            DrmFourcc::try_from(fourcc.0)
        }
    }

    impl From<DrmModifier> for Modifier {
        fn from(modifier: DrmModifier) -> Modifier {
            Modifier(modifier.into())
        }
    }

    impl From<Modifier> for DrmModifier {
        fn from(modifier: Modifier) -> DrmModifier {
            DrmModifier::from(modifier.0)
        }
    }
}

/// A plane of a format: `bytes` for each block of `across` by `down` pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlaneFormat {
    bytes: u64,
    across: u32,
    down: u32,
}

impl PlaneFormat {
    /// The bytes of a row that has pixels.
    pub fn row(self, width: u32) -> u64 {
        u64::from(width.div_ceil(self.across)) * self.bytes
    }

    /// The number of rows.
    pub fn rows(self, height: u32) -> u64 {
        height.div_ceil(self.down).into()
    }
}

const fn plane(bytes: u64, across: u32, down: u32) -> PlaneFormat {
    PlaneFormat { bytes, across, down }
}

const BYTE: PlaneFormat = plane(1, 1, 1);

/// The planes of a format that lies in memory row by row; `None` for a format that is not known
/// here.
pub(super) fn planes(fourcc: Fourcc) -> Option<&'static [PlaneFormat]> {
    Some(match &fourcc.0.to_le_bytes() {
        b"R8  " => &[BYTE],
        b"RG16" | b"BG16" | b"GR88" | b"RG88" | b"R16 " => const { &[plane(2, 1, 1)] },
        b"RG24" | b"BG24" => const { &[plane(3, 1, 1)] },
        b"XR24" | b"AR24" | b"XB24" | b"AB24" | b"RX24" | b"RA24" | b"BX24" | b"BA24" | b"XR30"
        | b"AR30" | b"XB30" | b"AB30" => const { &[plane(4, 1, 1)] },
        b"XR4H" | b"AR4H" | b"XB4H" | b"AB4H" => const { &[plane(8, 1, 1)] },
        b"YUYV" | b"YVYU" | b"UYVY" | b"VYUY" => const { &[plane(4, 2, 1)] },
        b"NV12" | b"NV21" => const { &[BYTE, plane(2, 2, 2)] },
        b"NV16" | b"NV61" => const { &[BYTE, plane(2, 2, 1)] },
        b"NV24" | b"NV42" => const { &[BYTE, plane(2, 1, 1)] },
        b"P010" | b"P012" | b"P016" => const { &[plane(2, 1, 1), plane(4, 2, 2)] },
        b"YU12" | b"YV12" => const { &[BYTE, plane(1, 2, 2), plane(1, 2, 2)] },
        b"YU16" | b"YV16" => const { &[BYTE, plane(1, 2, 1), plane(1, 2, 1)] },
        b"YU24" | b"YV24" => &[BYTE, BYTE, BYTE],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_of_odd_sizes_are_rounded_up() {
        let [luma, chroma] = planes(Fourcc::new(*b"NV12")).unwrap() else { panic!() };
        assert_eq!((luma.row(5), luma.rows(3)), (5, 3));
        assert_eq!((chroma.row(5), chroma.rows(3)), (6, 2));
        assert_eq!(planes(Fourcc::new(*b"YUYV")).unwrap()[0].row(3), 8);
        assert_eq!(planes(Fourcc(0)), None);
    }

    #[test]
    fn a_fourcc_prints_its_characters() {
        assert_eq!(Fourcc::new(*b"NV12").to_string(), "NV12");
        assert_eq!(Fourcc(7).to_string(), "0x7");
    }

    #[test]
    fn the_other_crates_formats_are_the_same() {
        use drm_fourcc::{DrmFourcc, DrmModifier};
        assert_eq!(Fourcc::from(DrmFourcc::Nv12), Fourcc::new(*b"NV12"));
        assert_eq!(DrmFourcc::try_from(Fourcc::new(*b"XR24")), Ok(DrmFourcc::Xrgb8888));
        assert!(DrmFourcc::try_from(Fourcc(7)).is_err());
        assert_eq!(Modifier::from(DrmModifier::Linear), Modifier::LINEAR);
        assert_eq!(Modifier::from(DrmModifier::Invalid), Modifier::INVALID);
        assert_eq!(DrmModifier::from(Modifier(0)), DrmModifier::Linear);
    }
}
