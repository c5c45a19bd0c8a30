//! Findings for code hosts: SARIF 2.1.0 (docs.oasis-open.org/sarif/sarif/v2.1.0).

use std::path::Path;

use serde_json::{Value, json};

use super::{Finding, Frame, Report, below};
use crate::rules::{ALL, Severity};

/// The document. Paths below `root` are told relative to it, and every result has a place, as code
/// hosts want them: where nobody can tell another, that is the program.
pub fn document(report: &Report, program: &Path, root: &Path) -> Value {
    let rules: Vec<_> = ALL
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": { "text": rule.explanation },
                "help": { "text": rule.fix },
                "defaultConfiguration": { "level": level(rule.severity) },
            })
        })
        .collect();
    let results: Vec<_> =
        report.findings.iter().map(|finding| result(finding, program, root)).collect();
    json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "dmabuf check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    })
}

fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Note | Severity::Performance => "note",
    }
}

fn result(finding: &Finding, program: &Path, root: &Path) -> Value {
    let rule = ALL.iter().position(|rule| rule.id == finding.id);
    let mut result = json!({
        "ruleId": finding.id,
        "ruleIndex": rule,
        "level": level(finding.severity),
        "occurrenceCount": finding.count,
        "message": { "text": format!("{} {}", finding.explanation, finding.fix) },
        "properties": {
            "engine": finding.engine,
            "exporter": finding.buffer.exporter,
        },
    });
    let place = finding.place.as_ref().and_then(|place| location(place, root));
    let program = || json!({ "physicalLocation": artifact(&program.to_string_lossy(), root) });
    result["locations"] = json!([place.unwrap_or_else(program)]);
    let frames: Vec<_> = finding
        .backtrace
        .iter()
        .filter_map(|frame| location(frame, root).map(|location| json!({ "location": location })))
        .collect();
    if !frames.is_empty() {
        result["stacks"] = json!([{ "frames": frames }]);
    }
    result
}

/// In a source file, or else in a program or library.
fn location(frame: &Frame, root: &Path) -> Option<Value> {
    let file = frame.file.as_deref().or(frame.object.as_deref())?;
    let mut location = json!({ "physicalLocation": artifact(file, root) });
    if let Some(line) = frame.line {
        location["physicalLocation"]["region"] = json!({ "startLine": line });
    }
    if let Some(function) = &frame.function {
        location["logicalLocations"] = json!([{ "fullyQualifiedName": function }]);
    }
    Some(location)
}

/// A file: of the sources, which are wherever the reader has them, or of this machine.
fn artifact(file: &str, root: &Path) -> Value {
    let path = below(root, file);
    let uri = encode(&path.to_string_lossy());
    if path.is_absolute() {
        json!({ "artifactLocation": { "uri": format!("file://{uri}") } })
    } else {
        json!({ "artifactLocation": { "uri": uri, "uriBaseId": "%SRCROOT%" } })
    }
}

/// A path as a part of a URI: RFC 3986.
fn encode(path: &str) -> String {
    let mut uri = String::new();
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' | b'+' => {
                uri.push(byte.into());
            }
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_relative_to_the_root() {
        let frame =
            Frame { file: Some("/src/my app/draw.c".into()), line: Some(7), ..Frame::default() };
        let below = location(&frame, Path::new("/src")).unwrap();
        assert_eq!(below["physicalLocation"]["artifactLocation"]["uri"], "my%20app/draw.c");
        assert_eq!(below["physicalLocation"]["region"]["startLine"], 7);
        let elsewhere = location(&frame, Path::new("/other")).unwrap();
        let uri = &elsewhere["physicalLocation"]["artifactLocation"]["uri"];
        assert_eq!(uri, "file:///src/my%20app/draw.c");
        let everywhere = location(&frame, Path::new("/")).unwrap();
        assert_eq!(everywhere, elsewhere);
        for path in ["./draw.c", "/src/build/../draw.c"] {
            let artifact = artifact(path, Path::new("/src"));
            let expected = json!({ "uri": "draw.c", "uriBaseId": "%SRCROOT%" });
            assert_eq!(artifact["artifactLocation"], expected);
        }
    }
}
