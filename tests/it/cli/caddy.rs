//! Caddy's commands that do their work on files: every flag is there, and storage, completion and manual work.

use std::collections::BTreeSet;
use std::fs;

use super::Place;

const COMMANDS: &str = include_str!("caddy_commands.txt");

/// The flags that a help text lists: `-c, --config <path>` gives `-c/--config`.
fn listed(help: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for line in help.lines().map(str::trim_start).filter(|line| line.starts_with('-')) {
        let names: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.split(['=', '[']).next().unwrap_or_default().trim_end_matches([',', '.']))
            .take_while(|word| word.starts_with('-'))
            .collect();
        flags.insert(names.join("/"));
    }
    flags
}

#[test]
fn every_command_and_flag_of_caddy_is_there() {
    let place = Place::new();
    let mut missing = Vec::new();
    let mut commands = 0;
    for line in COMMANDS.lines().filter(|line| !line.starts_with('#')) {
        let (command, flags) = line.split_once(':').unwrap();
        commands += 1;
        let args: Vec<&str> = ["help"].into_iter().chain(command.split(' ')).collect();
        let args = if command == "help" { vec!["help"] } else { args };
        let listed = listed(&place.ok(&args));
        let names = flags.split_whitespace().map(|flag| flag.split('=').next().unwrap());
        missing.extend(names.filter(|flag| !listed.contains(*flag)).map(|flag| format!("{command} {flag}")));
    }
    assert_eq!(commands, 27);
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(
        listed("  -c, --config <path>\n      --json\n"),
        ["--json", "-c/--config"].map(str::to_owned).into()
    );
}

#[test]
fn what_would_fetch_another_binary_is_refused_plainly() {
    let place = Place::new();
    for args in [&["add-package", "github.com/a/b"][..], &["remove-package", "github.com/a/b"], &["upgrade"]]
    {
        let error = place.refused(args);
        assert!(error.contains("not possible") && error.contains("list-modules"), "{error}");
    }
    assert!(place.refused(&["add-package"]).contains("at least one package name"));
}

#[test]
fn shells_complete_under_the_name_that_was_called() {
    let place = Place::new();
    std::os::unix::fs::symlink(crate::support::gateway_binary(), place.path("caddy")).unwrap();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let output =
            std::process::Command::new(place.path("caddy")).args(["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["caddy", "hash-password", "pidfile"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    assert!(place.refused(&["completion", "tcsh"]).contains("tcsh"));
    assert!(place.refused(&["completion"]).contains("accepts 1 arg(s), received 0"));
}

#[test]
fn there_is_a_page_of_the_manual_for_each_command() {
    let place = Place::new();
    assert!(place.refused(&["manpage"]).contains("--directory"));
    place.ok(&["manpage", "--directory", place.path("man").to_str().unwrap()]);
    let page = |name: &str| fs::read_to_string(place.path(&format!("man/{name}.8"))).unwrap();
    let all = page("tollgate");
    assert!(all.contains(".TH") && all.contains("hash"), "{all}");
    assert!(page("tollgate-run").contains("pidfile"));
    assert!(page("tollgate-storage-export").contains("output"));
    for line in COMMANDS.lines().filter(|line| !line.starts_with('#')) {
        let command = line.split(':').next().unwrap().replace(' ', "-");
        assert!(command == "help" || page(&format!("tollgate-{command}")).contains(".SH"), "{command}");
    }
}

/// A Caddyfile whose storage is a folder.
fn with_storage(place: &Place, name: &str) -> String {
    let root = place.path(&format!("{name}.storage"));
    let caddyfile = format!("{{\n\tstorage file_system {}\n}}\n:80 {{\n\trespond hi\n}}\n", root.display());
    place.write(&format!("{name}.caddyfile"), &caddyfile);
    place.path(&format!("{name}.caddyfile")).to_str().unwrap().to_owned()
}

#[test]
fn storage_moves_through_an_archive() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = Place::new();
    let (old, new) = (with_storage(&place, "old"), with_storage(&place, "new"));
    let key = "certificates/local/a.test/a.test.key";
    let file = place.path("old.storage").join(key);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, [0, 159, 146, 150]).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.path("old.storage/link")).unwrap();
    let archive = place.path("storage.tar");
    let archive = archive.to_str().unwrap();
    place.ok(&["storage", "export", "--config", &old, "--output", archive]);
    assert_eq!(fs::metadata(archive).unwrap().permissions().mode() & 0o777, 0o600, "keys are their owner's");
    let said = place.ok(&["storage", "import", "-c", &new, "-i", archive]);
    assert!(said.contains("Successfully imported"), "{said}");
    assert_eq!(fs::read(place.path("new.storage").join(key)).unwrap(), [0, 159, 146, 150]);
    assert!(!place.path("new.storage/link").exists(), "links are not followed");
    assert!(place.refused(&["storage", "export", "--config", &old]).contains("--output is required"));
    assert!(place.refused(&["storage", "import"]).contains("--config is required"));
    assert!(place.ok(&["storage"]).contains("export"));
}

/// One entry of a tar archive.
fn entry(archive: &mut tar::Builder<Vec<u8>>, name: &str, kind: tar::EntryType) {
    let mut header = tar::Header::new_gnu();
    let field = &mut header.as_gnu_mut().unwrap().name;
    field[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(1);
    header.set_cksum();
    archive.append(&header, &b"x"[..]).unwrap();
}

#[test]
fn an_archive_never_writes_outside_of_the_storage() {
    let place = Place::new();
    let config = with_storage(&place, "new");
    for (name, kind) in [
        ("../out.txt", tar::EntryType::Regular),
        ("/tmp/out.txt", tar::EntryType::Regular),
        ("a/../../out.txt", tar::EntryType::Regular),
        ("link", tar::EntryType::Symlink),
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        entry(&mut archive, name, kind);
        fs::write(place.path("bad.tar"), archive.into_inner().unwrap()).unwrap();
        let archive = place.path("bad.tar");
        let error =
            place.refused(&["storage", "import", "--config", &config, "--input", archive.to_str().unwrap()]);
        assert!(error.contains("reading archive"), "{name}: {error}");
        assert!(!place.path("out.txt").exists() && !place.path("new.storage/out.txt").exists(), "{name}");
    }
}
