//! Where the story is played: what it needs of a home for buffers.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use dmabuf_serve::export::HeapKind;
use serde::{Deserialize, Serialize};

use super::contract::Way;
use super::picture::Picture;

/// A home that exports the buffers, with the devices and clients that share them there.
pub trait Stage {
    /// The home's name.
    fn name(&self) -> &'static str;

    /// What the home is, for people.
    fn describe(&self) -> &'static str;

    /// The names of the clients that bracket, rightly or wrongly.
    fn clients(&self) -> Vec<&'static str>;

    /// Allocates a buffer for `picture` in a heap, under a name that is free there.
    fn allocate<'a>(
        &'a self,
        heap: HeapKind,
        name: &str,
        picture: &'a Picture,
    ) -> Result<Box<dyn Shared + 'a>>;
}

/// A buffer for one picture, shared by a camera, a client and a display. It is freed when dropped.
pub trait Shared {
    /// A device writes the picture.
    fn camera(&self) -> Result<()>;

    /// The named client inverts the picture's rectangle, bracketed in a way.
    fn edit(&self, client: &str, way: Way) -> Result<Edited>;

    /// A client of the crate `dmabuf` does, by whatever route leads to the bytes.
    fn edit_by_route(&self) -> Result<Edit>;

    /// A device reads the picture and writes it to a PNG file.
    fn display(&self, png: &Path) -> Result<()>;

    /// What the exporter counted and found.
    fn report(&self) -> Result<Report>;
}

/// How an edit went.
pub enum Edited {
    /// It was done.
    Done(Edit),
    /// The exporter refused mmap, for this reason.
    Refused(String),
}

/// An edit that was done.
#[derive(Clone, Copy, Debug)]
pub struct Edit {
    /// The process that did it.
    pub pid: u32,
    /// How many brackets it took.
    pub brackets: u64,
    /// The time in them, or without any, in the accesses.
    pub time: Duration,
}

/// What an exporter tells of one buffer: an element of `buffers` in the service's `stats.json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Report {
    pub heap: String,
    /// The file's name; the service forgets it when that is unlinked.
    pub file: Option<String>,
    pub stats: Stats,
    pub violations: Vec<Violation>,
}

/// Counts of one buffer.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Stats {
    pub brackets: u64,
    pub bytes_cleaned: u64,
    pub bytes_invalidated: u64,
    pub bytes_elided: u64,
    pub faults: u64,
    pub violations: u64,
}

impl Stats {
    /// Bytes that went from one side to the other.
    pub fn bytes_synced(&self) -> u64 {
        self.bytes_cleaned + self.bytes_invalidated
    }
}

impl std::ops::AddAssign for Stats {
    fn add_assign(&mut self, other: Stats) {
        self.brackets += other.brackets;
        self.bytes_cleaned += other.bytes_cleaned;
        self.bytes_invalidated += other.bytes_invalidated;
        self.bytes_elided += other.bytes_elided;
        self.faults += other.faults;
        self.violations += other.violations;
    }
}

/// Something that a checked buffer reports.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Violation {
    /// What it is, for people.
    pub what: String,
    /// Whose it is, if that is known.
    pub pid: Option<u32>,
    /// `read`, `write` or `read-write`.
    pub access: Option<String>,
    /// The bytes it is about.
    pub offset: Option<u64>,
    pub len: Option<u64>,
}
