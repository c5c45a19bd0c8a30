//! What the demo with a camera says in the end.

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use dmabuf::frame::Fourcc;
use dmabuf_uapi::V4l2PixFormat;
use serde::Serialize;

use super::super::out::Out;
use super::device::Device;
use super::sheet;
use super::shot::Shot;
use super::shown::Shown;

/// A heap, and what came of its buffers; or why nothing did.
pub struct Row {
    pub heap: String,
    pub shot: Result<Shot, String>,
}

/// The end of the story.
pub struct Report<'a> {
    pub camera: &'a Device,
    pub format: &'a V4l2PixFormat,
    pub rows: &'a [Row],
    pub display: Option<&'a Device>,
    pub shown: Option<&'a Result<Shown, String>>,
    pub out: &'a Out,
}

const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const BOLD: Style = Style::new().bold();

impl Report<'_> {
    /// Whether no picture came out wrong. A heap whose buffers this camera does not take, and an
    /// output that does not take this camera's frames, are no mistakes.
    pub fn is_right(&self) -> bool {
        let shots = self.rows.iter().filter_map(|row| row.shot.as_ref().ok());
        let shown = self.shown.and_then(|shown| shown.as_ref().ok());
        shots.into_iter().all(|shot| shot.wrong_bytes == 0)
            && shown.is_none_or(|shown| shown.came_back.is_none() || shown.is_as_sent)
    }

    /// For people.
    pub fn text(&self) -> String {
        let V4l2PixFormat { width, height, pixelformat, .. } = *self.format;
        let (camera, fourcc) = (self.camera, Fourcc(pixelformat));
        let mut text = format!(
            "{BOLD}dmabuf demo{BOLD:#}, camera {camera}: frames of {width}x{height} pixels, {fourcc}, \
             in buffers of\n"
        );
        for Row { heap, shot } in self.rows {
            text += &match shot {
                Ok(shot) => format!("  {BOLD}{heap:<10}{BOLD:#} {}\n", outcome(shot)),
                Err(why) => {
                    format!("  {BOLD}{heap:<10}{BOLD:#} {YELLOW}not used:{YELLOW:#} {why}\n")
                }
            };
        }
        text += &match (self.display, self.shown) {
            (Some(display), Some(Ok(shown))) => format!("output {display}: {}\n", fate(shown)),
            (Some(display), Some(Err(why))) => {
                format!("output {display}: {YELLOW}not used:{YELLOW:#} {why}\n")
            }
            _ => "output: none, the device only captures\n".to_owned(),
        };
        text + &format!("Pictures: {}\n", self.out.name_of(sheet::NAME))
    }

    /// As one JSON document.
    pub fn json(&self) -> Result<String> {
        let V4l2PixFormat { width, height, pixelformat, .. } = *self.format;
        let shown = self.shown.and_then(|shown| shown.as_ref().ok());
        let document = Document {
            camera: self.camera.path.display().to_string(),
            driver: &self.camera.driver,
            format: Fourcc(pixelformat).to_string(),
            width,
            height,
            heaps: self.rows.iter().map(RowDocument::new).collect(),
            output: self.display.map(|display| display.path.display().to_string()),
            sent: shown.map_or(0, |shown| shown.sent),
            shown_as_sent: shown.and_then(|s| s.came_back.is_some().then_some(s.is_as_sent)),
            not_sent: self.shown.and_then(|shown| shown.as_ref().err()),
            right: self.is_right(),
            pictures: self.out.name_of(sheet::NAME),
        };
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }
}

fn outcome(shot: &Shot) -> String {
    let Shot { frames, damaged, wrong_bytes, .. } = shot;
    let damaged = if *damaged > 0 { format!(", {damaged} damaged") } else { String::new() };
    let drawn = match wrong_bytes {
        0 => format!("{GREEN}drawn on, and so seen by another mapping{GREEN:#}"),
        wrong => format!("{RED}{wrong} BYTES ARE NOT AS THEY WERE DRAWN{RED:#}"),
    };
    format!("{frames} frames captured{damaged}, {drawn}; {:.0} µs a bracket", median(shot))
}

fn fate(shown: &Shown) -> String {
    let seen = match (&shown.came_back, shown.is_as_sent) {
        (None, _) => format!("{YELLOW}nothing here sees whether it showed them{YELLOW:#}"),
        (Some(_), true) => {
            format!("{GREEN}the camera saw one come back, every byte as it was sent{GREEN:#}")
        }
        (Some(_), false) => format!("{RED}THE CAMERA SAW NONE COME BACK AS IT WAS SENT{RED:#}"),
    };
    format!("{} frames sent from those buffers; {seen}", shown.sent)
}

/// The median time of a bracket, in microseconds.
fn median(shot: &Shot) -> f64 {
    let mut times = shot.brackets.clone();
    times.sort();
    times.get(times.len() / 2).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// What is told; null is what there is not.
#[derive(Serialize)]
struct Document<'a> {
    camera: String,
    driver: &'a str,
    format: String,
    width: u32,
    height: u32,
    heaps: Vec<RowDocument<'a>>,
    output: Option<String>,
    sent: u32,
    shown_as_sent: Option<bool>,
    not_sent: Option<&'a String>,
    right: bool,
    pictures: String,
}

#[derive(Serialize)]
struct RowDocument<'a> {
    heap: &'a str,
    frames: u32,
    damaged: u32,
    bracket_us: Option<f64>,
    wrong_bytes: Option<usize>,
    not_used: Option<&'a String>,
}

impl<'a> RowDocument<'a> {
    fn new(row: &'a Row) -> RowDocument<'a> {
        let shot = row.shot.as_ref();
        RowDocument {
            heap: &row.heap,
            frames: shot.map_or(0, |shot| shot.frames),
            damaged: shot.map_or(0, |shot| shot.damaged),
            bracket_us: shot.ok().map(median),
            wrong_bytes: shot.ok().map(|shot| shot.wrong_bytes),
            not_used: shot.err(),
        }
    }
}
