//! `dmabuf demo --camera`: a V4L2 driver fills our buffers, what the CPU draws on them is what an
//! output shows, and what is no camera is told with the next step. The driver is vivid, a camera and
//! an output without hardware.
#![allow(unsafe_code)]

mod common;

use std::fs::File;
use std::path::{Path, PathBuf};

use common::{dmabuf, stderr, stdout};
use dmabuf_uapi::*;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, ioctl};
use serde_json::Value;

/// A node of vivid's that can do this, for one test at a time, while the file is open; `None`, and it
/// is said, where there is none.
fn vivid(capability: u32) -> Option<(PathBuf, File)> {
    let nodes = std::fs::read_dir("/dev").expect("a folder").flatten();
    let mut paths: Vec<_> = nodes.map(|node| node.path()).collect();
    paths.retain(|path| path.to_string_lossy().starts_with("/dev/video"));
    paths.sort();
    let found = paths.into_iter().find_map(|path| {
        let node = File::options().read(true).write(true).open(&path).ok()?;
        let mut told = V4l2Capability::default();
        call::<{ VIDIOC_QUERYCAP as Opcode }, _>(&node, &mut told).ok()?;
        let is_it = told.driver.starts_with(b"vivid\0") && told.device_caps & capability != 0;
        is_it.then_some((path, node))
    });
    if let Some((_, node)) = &found {
        flock(node, FlockOperation::LockExclusive).unwrap();
    }
    if found.is_none() {
        println!("skipped: the module vivid is not loaded");
    }
    found
}

fn camera() -> Option<(PathBuf, File)> {
    vivid(V4L2_CAP_VIDEO_CAPTURE)
}

fn call<const NUMBER: Opcode, T>(node: &File, argument: &mut T) -> Result<(), Errno> {
    // SAFETY: Each number given here encodes the struct that it is given with, which is of integers.
    unsafe { ioctl(node, Updater::<NUMBER, T>::new(argument)) }
}

/// Presses the button of this name among a node's controls.
fn press(node: &File, button: &str) {
    let mut control = V4l2QueryCtrl { id: V4L2_CTRL_FLAG_NEXT_CTRL, ..Default::default() };
    loop {
        call::<{ VIDIOC_QUERYCTRL as Opcode }, _>(node, &mut control).expect("it has the button");
        if control.name.starts_with(button.as_bytes()) {
            let mut pressed = V4l2Control { id: control.id, value: 1 };
            call::<{ VIDIOC_S_CTRL as Opcode }, _>(node, &mut pressed).expect("it can be pressed");
            return;
        }
        let id = control.id | V4L2_CTRL_FLAG_NEXT_CTRL;
        control = V4l2QueryCtrl { id, ..Default::default() };
    }
}

/// What the demo says of a node with which it can do nothing.
fn refused(node: &Path) -> String {
    let output = dmabuf().args(["demo", "--out", "-", "--camera"]).arg(node).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    let told = stderr(&output);
    assert_eq!(told.lines().count(), 1, "{told}");
    told
}

#[test]
fn the_camera_fills_buffers_of_every_heap_and_the_output_shows_what_was_drawn() {
    let Some((node, _file)) = camera() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = dmabuf()
        .args(["demo", "--json", "--camera"])
        .arg(node)
        .arg("--out")
        .arg(folder.path())
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!((&told["right"], &told["shown_as_sent"]), (&true.into(), &true.into()), "{told:#}");
    let heaps = told["heaps"].as_array().expect("heaps");
    let names: Vec<_> = heaps.iter().map(|heap| heap["heap"].as_str().unwrap()).collect();
    assert_eq!(names, ["system", "udmabuf"]);
    assert!(heaps.iter().all(|heap| heap["frames"] == 8 && heap["wrong_bytes"] == 0), "{told:#}");

    let picture = |name: &str| image::open(folder.path().join(name)).expect(name).into_rgb8();
    for heap in names {
        let captured = picture(&format!("{heap}-captured.png"));
        let drawn = picture(&format!("{heap}-drawn.png"));
        let (width, height) = captured.dimensions();
        assert_eq!((width, height), (1280, 720));
        for (x, y, was) in captured.enumerate_pixels() {
            let inside = (320..960).contains(&x) && (180..540).contains(&y);
            let expected = if inside { was.0.map(|colour| 255 - colour) } else { was.0 };
            assert_eq!(drawn.get_pixel(x, y).0, expected, "{heap}: {x}, {y}");
        }
        let first = captured.get_pixel(0, 719);
        assert!(captured.pixels().any(|pixel| pixel != first), "a picture of something");
    }
    assert_eq!(picture("shown.png").dimensions(), (1280, 720));
    assert!(picture("camera.png").width() > 500);
}

#[test]
fn what_is_no_camera_is_told_with_what_is_one() {
    assert!(refused(Path::new("/dev/video99")).contains("there is no camera at /dev/video99: "));
    let null = refused(Path::new("/dev/null"));
    assert!(null.contains("/dev/null is no V4L2 node: "), "{null}");
    let camera = camera();
    let next = if camera.is_some() { "/dev/video0 captures video" } else { "modprobe vivid" };
    assert!(null.contains(next), "{null}");

    let Some((output, _file)) = vivid(V4L2_CAP_VIDEO_OUTPUT) else { return };
    let told = refused(&output);
    let expected = "(vivid) puts video out and captures none: /dev/video0 captures video";
    assert!(told.contains(expected), "{told}");
    let metadata = refused(Path::new("/dev/video2"));
    assert!(metadata.contains("/dev/video2 (vivid) captures no video: "), "{metadata}");
}

#[test]
fn a_format_in_which_nobody_can_draw_is_told_with_those_that_can() {
    let Some(_camera) = camera() else { return };
    let told = refused(Path::new("/dev/v4l-touch0"));
    assert!(told.contains("captures TD16, and this demo draws on XR24, YUYV: choose "), "{told}");
}

#[test]
fn a_camera_that_does_not_start_or_is_used_is_told_with_the_next_step() {
    let Some((node, file)) = camera() else { return };
    press(&file, "Inject VIDIOC_STREAMON Error");
    let told = refused(&node);
    assert!(told.contains("does not start (VIDIOC_STREAMON): Invalid argument"), "{told}");
    assert!(told.contains("dmesg"), "{told}");

    press(&file, "Inject VIDIOC_REQBUFS Error");
    let told = refused(&node);
    assert!(told.contains("imports no dma-bufs (V4L2_MEMORY_DMABUF)"), "{told}");

    let mut request = V4l2RequestBuffers {
        count: 2,
        kind: V4L2_BUF_TYPE_VIDEO_CAPTURE,
        memory: V4L2_MEMORY_MMAP,
        ..Default::default()
    };
    call::<{ VIDIOC_REQBUFS as Opcode }, _>(&file, &mut request).unwrap();
    let told = refused(&node);
    assert!(told.contains("is used by another program: end that (fuser -v /dev/video0"), "{told}");
}
