//! Help, completions and manual pages come out; bad arguments are answered with what to do.

mod common;

use common::{dmabuf, stderr, stdout};

#[test]
fn help_names_every_command_and_no_hidden_one() {
    let output = dmabuf().arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = stdout(&output);
    for command in ["demo", "serve", "info", "completions", "man"] {
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
        assert!(stdout(&output).contains(mark), "{shell}");
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
    let out = text.join("out");
    let (text, out) = (text.to_str().unwrap(), out.to_str().unwrap());
    for (arguments, words) in [
        (vec!["demo", text], ["cannot read the picture", "give PNG or JPEG files"]),
        (vec!["demo", "--out", out], ["cannot create", "--out"]),
        (vec!["info", "/nowhere/at/all"], ["cannot open /nowhere/at/all", "No such file"]),
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
fn nothing_is_coloured_that_is_not_for_a_terminal() {
    for arguments in [vec!["--help"], vec!["info", "/nowhere"]] {
        let output = dmabuf().args(arguments).output().unwrap();
        assert!(!stdout(&output).contains('\x1b') && !stderr(&output).contains('\x1b'));
    }
}
