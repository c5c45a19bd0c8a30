//! The types that a view loads and stores.

/// A number of which every bit pattern is a value, without padding.
pub trait Plain: sealed::Sealed + Copy + Send + Sync + 'static {}

macro_rules! plain {
    ($($number:ident)*) => {
        $(
            impl Plain for $number {}
            impl sealed::Sealed for $number {}
        )*
    };
}

plain!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);

mod sealed {
    pub trait Sealed {}
}
