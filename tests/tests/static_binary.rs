//! The static binary: it needs nothing of the machine it runs on.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aqueduct_tests::{env, free_port, http, run, wait_for};

/// What an image of the binary may take, in bytes.
const LARGEST: u64 = 20 << 20;

#[test]
fn it_is_static_and_small() {
    let binary = env("AQ_STATIC_BIN");
    let header = fs::read(&binary).unwrap();
    assert_eq!(header[..4], *b"\x7fELF");
    // the program headers: none asks for an interpreter
    let number = |at: usize, size: usize| {
        header[at..at + size].iter().rev().fold(0_usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    let kinds: Vec<usize> = (0..count).map(|index| number(start + index * size, 4)).collect();
    const INTERPRETER: usize = 3;
    assert!(count > 0 && !kinds.contains(&INTERPRETER), "{kinds:?}");
    let bytes = fs::metadata(&binary).unwrap().len();
    assert!(bytes <= LARGEST, "{bytes} bytes");
}

/// Nothing but the binary, CA certificates and `/etc/hosts`. Only root may make such a root: elsewhere this is run in a user
/// namespace of its own.
#[test]
fn the_quickstart_runs_in_an_empty_root() {
    let root = tempfile::tempdir().unwrap();
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(root.path().join("etc/ssl/certs")).unwrap();
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
    let certificates = Path::new("/etc/ssl/certs/ca-certificates.crt");
    fs::copy(certificates, root.path().join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    fs::copy(env("AQ_STATIC_BIN"), root.path().join("aqueduct")).unwrap();
    let inside = |arguments: &[&str]| {
        let mut command = if run(Command::new("id").arg("-u"), b"").trim() == "0" {
            let mut command = Command::new("chroot");
            command.arg(root.path());
            command
        } else {
            let mut command = Command::new("unshare");
            command.arg("--map-root-user").arg("--user").arg("chroot").arg(root.path());
            command
        };
        command.arg("/aqueduct").args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command
    };
    let version = run(&mut inside(&["--version"]), b"");
    assert!(version.starts_with("aqueduct "), "{version}");

    let port = free_port();
    let arguments = ["quickstart", "--rest-port", &port.to_string(), "--records", "3000", "--duration", "60"];
    let child = inside(&arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap();
    wait_for("REST", Duration::from_secs(20), || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    assert_eq!(http(port, "GET", "/connectors", &[], None).status, 200);
    let output = child.wait_with_output().unwrap();
    let (shown, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{shown}\n{log}");
    assert!(shown.contains("arrived 3000 rows"), "{shown}\n{log}");
}
