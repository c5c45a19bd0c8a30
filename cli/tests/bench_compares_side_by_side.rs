//! `dmabuf bench` runs each thing both ways, gives each a ratio, and ends with 0 whatever that is; what
//! it cannot measure it says at once.

#![cfg(target_arch = "x86_64")]

mod common;
#[path = "common/service.rs"]
mod service;

use std::path::Path;

use common::{dmabuf, stderr, stdout};
use serde_json::Value;
use service::Service;

#[test]
fn each_row_has_a_ratio_of_what_was_measured() {
    let Some(service) = Service::start(tempfile::tempdir().unwrap()) else { return };
    let mut bench = dmabuf();
    bench.args(["bench", "check", "--short", "--rounds", "1", "--json", "--heap"]);
    let output = bench.arg(service.heap("bounce")).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let document: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(document["commands"], serde_json::json!(["alone", "checked"]));
    let rows = document["rows"].as_array().unwrap();
    assert!(rows.len() > 1, "{document:#}");
    for row in rows {
        assert!(row["name"].as_str().is_some_and(|name| !name.is_empty()), "{row:#}");
        assert!(row["goal"].as_f64().unwrap() > 1.0, "{row:#}");
        let seconds = [0, 1].map(|way| row["seconds"][way].as_f64().unwrap());
        let ratio = row["ratio"].as_f64().unwrap();
        // Of one round, the ratio is that of the times.
        assert!((ratio - seconds[1] / seconds[0]).abs() < 1e-6, "{row:#}");
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let served = ["bench", "check", "--short", "--heap", "/nowhere"];
    let no_round = ["bench", "check", "--short", "--rounds", "0"];
    let kernel = ["bench", "kernel"];
    for (arguments, words) in [(&served[..], "/nowhere"), (&no_round, "without a round")] {
        let output = dmabuf().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    if !Path::new(dmabuf_uapi::DMABUF_DEVICE).exists() {
        let output = dmabuf().args(kernel).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).starts_with("dmabuf: "), "{}", stderr(&output));
    }
    let output = dmabuf().args(["bench", "something"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("something"), "{}", stderr(&output));
}
