//! Tests that fail with what they did to a buffer outside of brackets; with the feature `check`, on
//! x86-64.
//!
//! Between [`begin`] and [`end`](Check::end) this process is looked at as `dmabuf check` looks at a
//! program: every buffer that is mapped meanwhile, by this crate or by any other code, its brackets,
//! and the loads and stores of every thread.
//!
//! ```no_run
//! # fn draw(_: &dmabuf::DmaBuf) {}
//! # #[test]
//! # fn drawing() {}
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let buffer = dmabuf::DmaBuf::open("/run/dmabuf/bounce/frame")?;
//! let check = dmabuf::check::begin()?;
//! draw(&buffer);
//! check.end()?; // fails with each finding: what, where in the code, and what to do
//! # Ok(()) }
//! ```
//!
//! What it can miss is told in the project's `docs/check.md`.

pub use dmabuf_check::report::session::{Check, Findings, begin};
pub use dmabuf_check::report::{Buffer, Finding, Frame, Report};
pub use dmabuf_check::rules::Severity;
