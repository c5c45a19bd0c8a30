//! Programs whose runtimes take SIGSEGV for themselves say the same under the checker as alone, and
//! end alike: those of languages, where they are installed, and those of sanitizers.

#![cfg(target_arch = "x86_64")]

mod common;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output};

use common::{dmabuf, stderr, stdout};

/// Null pointers are found by a trap, and so is the end of a stack; a child runs as well.
const JAVA: &str = r#"
public class Traps {
    int field;
    static int probe(Traps traps) {
        try { return traps.field; } catch (NullPointerException e) { return 1; }
    }
    static int deeper(int depth) { return deeper(depth + 1) + 1; }
    public static void main(String[] arguments) throws Exception {
        int sum = 0;
        for (int i = 0; i < 200000; i++) sum += probe(i % 3 == 0 ? null : new Traps());
        System.out.println(sum);
        try { deeper(0); } catch (StackOverflowError e) { System.out.println("deep"); }
        System.gc();
        System.out.println(new ProcessBuilder("true").start().waitFor());
    }
}"#;

/// The same in Go, whose scheduler sends its threads signals besides.
const GO: &str = r#"
package main

import ("fmt"; "os/exec"; "sync")

type traps struct{ field int }

func probe(t *traps) (found int) {
	defer func() {
		if recover() != nil { found = 1 }
	}()
	return t.field
}

func main() {
	sum := 0
	for i := 0; i < 100000; i++ {
		if i%3 == 0 { sum += probe(nil) }
	}
	fmt.Println(sum)
	var threads sync.WaitGroup
	for i := 0; i < 16; i++ {
		threads.Add(1)
		go func() {
			defer threads.Done()
			for j := 0; j < 10000000; j++ { sum := j; _ = sum }
		}()
	}
	threads.Wait()
	fmt.Println(exec.Command("true").Run())
}
"#;

/// A handler that prints where it crashed, and processes made in each way.
const PYTHON: &str = r#"
import ctypes, faulthandler, multiprocessing, os, signal, subprocess

def square(x):
    return x * x

if __name__ == "__main__":
    for method in "fork", "spawn", "forkserver":
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(method, sum(pool.map(square, range(100))))
    print(subprocess.run(["sh", "-c", "exit 3"]).returncode, flush=True)
    signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    print(sum(range(1000000)), flush=True)
    signal.setitimer(signal.ITIMER_REAL, 0)
    faulthandler.enable()
    ctypes.string_at(0)
"#;

const NODE: &str = r#"
const { execSync } = require('child_process');
const { Worker, isMainThread, parentPort } = require('worker_threads');
const count = () => { let sum = 0; for (let i = 0; i < 1e6; i++) sum += i % 5; return sum; };
if (isMainThread) {
    console.log(count(), execSync('echo child').toString().trim());
    new Worker(__filename).on('message', sum => console.log(sum));
} else {
    parentPort.postMessage(count());
}"#;

/// Runs it alone and under the checker, which has to be the same but for the words on stderr: how it
/// was alone, and those words. `None`, and it is said, where there is no such program.
fn run_twice(program: &str, arguments: &[&str], folder: &Path) -> Option<(Output, String)> {
    let alone = Command::new(program).args(arguments).current_dir(folder).output();
    let alone = match alone {
        Ok(alone) => alone,
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            return None;
        }
    };
    let mut check = dmabuf();
    check.args(["check", "--", program]).args(arguments).current_dir(folder);
    let checked = check.output().unwrap();
    let words = stderr(&checked);
    assert_eq!(stdout(&alone), stdout(&checked), "{words}");
    assert_eq!(status(&alone), status(&checked), "{words}");
    assert!(words.contains("dmabuf check: 0 errors, 0 notes, 0 performance notes"), "{words}");
    Some((alone, words))
}

/// The same of a program in a file of this text, which has to print what is expected.
#[track_caller]
fn says(program: &str, file: &str, text: &str, expected: &str) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(file), text).unwrap();
    let Some((alone, _)) = run_twice(program, &[file], folder.path()) else { return };
    assert_eq!(stdout(&alone), expected);
}

/// The status, as a shell tells it.
fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap())
}

#[test]
fn java_finds_its_null_pointers() {
    says("java", "Traps.java", JAVA, "66667\ndeep\n0\n");
}

#[test]
fn go_finds_its_null_pointers() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("traps.go"), GO).unwrap();
    // Of one that is not static, since nothing is preloaded into others.
    let mut build = Command::new("go");
    build.args(["build", "-buildmode=pie", "-ldflags=-linkmode=external", "traps.go"]);
    match build.current_dir(folder.path()).status() {
        Ok(built) if built.success() => {}
        failed => return eprintln!("skipped: go build: {failed:?}"),
    }
    let Some((alone, _)) = run_twice("./traps", &[], folder.path()) else { return };
    assert_eq!(stdout(&alone), "33334\n<nil>\n");
}

#[test]
fn python_tells_where_it_crashed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("crash.py"), PYTHON).unwrap();
    let python = "/usr/bin/python3";
    let Some((alone, words)) = run_twice(python, &["crash.py"], folder.path()) else { return };
    assert_eq!(status(&alone), 128 + libc::SIGSEGV);
    assert!(words.contains("Fatal Python error: Segmentation fault"), "{words}");
    assert!(words.contains("crash.py\", line 17 in <module>"), "{words}");
}

#[test]
fn node_runs_its_workers() {
    says("node", "workers.js", NODE, "2000000 child\n2000000\n");
}

#[test]
fn sanitizers_find_what_is_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("crash.c");
    fs::write(
        &source,
        "int main(int count, char **words) { return *(volatile int *)(long)(count - 1); }",
    )
    .unwrap();
    for sanitizer in ["address", "thread", "undefined"] {
        let program = folder.path().join(sanitizer);
        let mut cc = Command::new("cc");
        cc.arg(format!("-fsanitize={sanitizer}")).arg("-o").arg(&program).arg(&source);
        if !cc.status().is_ok_and(|status| status.success()) {
            eprintln!("skipped: cc -fsanitize={sanitizer}");
            continue;
        }
        let program = program.to_str().unwrap();
        let Some((alone, words)) = run_twice(program, &[], folder.path()) else { return };
        let told = |words: &str| words.contains("Sanitizer") || words.contains("runtime error");
        assert!(told(&stderr(&alone)) && told(&words), "{sanitizer}: {words}");
    }
}
