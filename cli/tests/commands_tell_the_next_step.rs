//! Help, completions and manual pages come out; bad arguments are answered with what to do.

mod common;

use std::process::Command;

use common::{dmabuf, stderr, stdout};

#[test]
fn help_names_every_command_and_no_hidden_one() {
    let output = dmabuf().arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = stdout(&output);
    for command in ["demo", "serve", "info", "bench", "completions", "man"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command} is missing in\n{help}");
    }
    assert!(!help.contains("\n  role"));
}

#[test]
fn without_a_command_the_usage_is_shown() {
    let output = dmabuf().output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("Usage: dmabuf <COMMAND>"));
}

#[test]
fn completions_are_for_the_shell_that_was_named() {
    for (shell, mark) in
        [("bash", "_dmabuf()"), ("zsh", "#compdef dmabuf"), ("fish", "complete -c")]
    {
        let output = dmabuf().args(["completions", shell]).output().unwrap();
        assert!(output.status.success());
        let script = stdout(&output);
        assert!(script.contains(mark) && script.contains("serve"), "{shell}");
        assert!(script.contains("user-bytes") && script.contains("version"), "{shell}");
        for hidden in ["role", "edit-by-route", "measured", "computing"] {
            assert!(!script.contains(hidden), "{hidden} is offered in {shell}");
        }
    }
    let output = dmabuf().args(["completions", "csh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("possible values: bash"));
}

#[test]
fn manual_pages_are_written_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    assert!(dmabuf().arg("man").arg(dir.path()).status().unwrap().success());
    for page in ["dmabuf.1", "dmabuf-demo.1", "dmabuf-serve.1", "dmabuf-info.1"] {
        let text = std::fs::read_to_string(dir.path().join(page)).unwrap();
        assert!(text.contains(".TH dmabuf"), "{page}");
    }
    assert!(!dir.path().join("dmabuf-role.1").exists());
}

#[test]
fn failures_name_the_path_and_the_next_step() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text.png");
    std::fs::write(&text, "no picture").unwrap();
    let (out, huge) = (text.join("out"), dir.path().join("huge.png"));
    std::fs::write(&huge, png_header(100_000, 100_000)).unwrap();
    let [text, out, huge] = [&text, &out, &huge].map(|path| path.to_str().unwrap());
    for (arguments, words) in [
        (vec!["demo", text], ["cannot read the picture", "give PNG or JPEG files"]),
        (
            vec!["demo", huge],
            ["100000x100000 pixels are 4 GiB or more", "choose a smaller picture"],
        ),
        (vec!["demo", "--out", out], ["cannot create", "--out"]),
        (vec!["info", "/nowhere/at/all"], ["cannot open /nowhere/at/all", "No such file"]),
        (vec!["info", "/tmp"], ["/tmp is a directory", "give a file in it"]),
        (vec!["info", text], ["is no dma-buf", "/proc/PID/fd/N"]),
        (vec!["man", "/nowhere/at/all"], ["cannot write manual pages", "No such file"]),
    ] {
        let output = dmabuf().args(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let message = stderr(&output);
        assert!(message.starts_with("dmabuf: ") && message.lines().count() == 1, "{message}");
        for word in words {
            assert_eq!(message.matches(word).count(), 1, "{word:?} once in {message}");
        }
    }
}

#[test]
fn a_service_that_cannot_mount_says_so_once() {
    let hide = "mount -t tmpfs none /dev && exec \"$0\" \"$@\"";
    let without_fuse = |program| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--map-root-user", "sh", "-c", hide, program]);
        unshare.env_remove("RUST_LOG");
        unshare
    };
    if !without_fuse("true").output().is_ok_and(|output| output.status.success()) {
        println!("not tested: no mount namespace can be made to hide /dev in");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut serve = without_fuse(env!("CARGO_BIN_EXE_dmabuf"));
    let output = serve.args(["serve", "--exit-with-parent"]).arg(dir.path()).output().unwrap();
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(message.starts_with("dmabuf: ") && message.lines().count() == 1, "{message}");
}

/// The beginning of a PNG file in RGB, up to where its pixels would follow.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let size = [width.to_be_bytes(), height.to_be_bytes()].concat();
    for (name, body) in [(b"IHDR", [&size[..], &[8, 2, 0, 0, 0]].concat()), (b"IDAT", vec![])] {
        let chunk = [&name[..], &body].concat();
        file.extend((body.len() as u32).to_be_bytes());
        file.extend(&chunk);
        file.extend(crc32(&chunk).to_be_bytes());
    }
    file
}

/// The checksum of PNG: ISO 3309, least significant bit first.
fn crc32(bytes: &[u8]) -> u32 {
    let shift = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), shift))
}

#[test]
fn nothing_is_coloured_that_is_not_for_a_terminal() {
    for arguments in [vec!["--help"], vec!["info", "/nowhere"]] {
        let output = dmabuf().args(arguments).output().unwrap();
        assert!(!stdout(&output).contains('\x1b') && !stderr(&output).contains('\x1b'));
    }
}
