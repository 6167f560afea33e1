//! What the compiler does not check: who may depend on whom, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

use aqueduct_tests::repository;

/// Lines that a source file may have.
const LINES: usize = 800;

/// Each crate, and those of ours that it may use. Nothing else is allowed.
const MAY_USE: [(&str, &[&str]); 6] = [
    ("protocol", &[]),
    ("schema-registry-client", &[]),
    ("engine", &["protocol", "schema-registry"]),
    ("connectors", &["protocol", "engine"]),
    ("broker", &["protocol"]),
    ("cli", &["protocol", "engine", "connectors", "broker"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn dependencies_point_one_way() {
    for (member, allowed) in MAY_USE {
        let manifest = fs::read_to_string(repository().join(member).join("Cargo.toml")).unwrap();
        // what tests use is free
        let shipped = manifest.split("[dev-dependencies]").next().unwrap();
        for other in ["protocol", "schema-registry", "engine", "connectors", "broker", "tests", "benches"] {
            let uses = shipped.lines().any(|line| line.starts_with(&format!("aqueduct-{other}")));
            assert!(
                !uses || allowed.contains(&other),
                "{member}/Cargo.toml uses {other}; it may use {allowed:?}"
            );
        }
        assert!(
            !shipped.contains("path ="),
            "{member}/Cargo.toml: crates of ours are named in the workspace's manifest"
        );
    }
}

#[test]
fn the_wire_half_does_no_io() {
    let mut files = Vec::new();
    sources(&repository().join("protocol/src/wire"), &mut files);
    assert!(files.len() > 10);
    for file in files {
        if file.file_name().is_some_and(|name| name == "tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for word in ["tokio::", "std::net", "std::fs", "Instant::now", "SystemTime::now"] {
            assert!(!code.contains(word), "{}: {word} in the half without I/O and clock", file.display());
        }
    }
}

#[test]
fn files_stay_short() {
    let mut files = Vec::new();
    sources(repository(), &mut files);
    assert!(files.len() > 100);
    for file in files {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= LINES, "{} has {lines} lines, more than {LINES}: split it by idea", file.display());
    }
}

#[test]
fn nothing_is_left_open() {
    let mut files = Vec::new();
    sources(repository(), &mut files);
    let words =
        [concat!("FIX", "ME"), concat!("XX", "X:"), concat!("todo", "!("), concat!("unimplemented", "!(")];
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for word in words {
            assert!(!text.contains(word), "{}: {word}", file.display());
        }
    }
}
