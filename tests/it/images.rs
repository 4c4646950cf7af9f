//! The images' recipes hold together: there is no container engine where the tests run.

use std::collections::BTreeSet;
use std::fs;

use crate::support::{repository, repository_text};

const SETUPS: [&str; 3] = ["ollama-bearer-auth", "ollama-bearer-auth-caddy", "ollama-auth"];

/// Every recipe: the set-up, the file, its text.
fn recipes() -> Vec<(&'static str, String, String)> {
    let mut recipes = Vec::new();
    for setup in SETUPS {
        for file in ["Dockerfile", "Dockerfile.ollama"] {
            let path = format!("docker/{setup}/{file}");
            let text = repository_text(&path);
            recipes.push((setup, path, text));
        }
    }
    recipes
}

/// The instructions of a stage, `FROM` first, without comments; continued lines joined.
fn stages(recipe: &str) -> Vec<Vec<String>> {
    let mut stages: Vec<Vec<String>> = Vec::new();
    let joined = recipe.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if line.starts_with("FROM ") {
            stages.push(Vec::new());
        }
        stages.last_mut().expect("a recipe begins with FROM").push(line);
    }
    stages
}

#[test]
fn each_setup_has_its_users_base_and_ollamas_own() {
    let base = |path: &str| {
        let stages = stages(&repository_text(path));
        assert_eq!(stages.len(), 2, "{path}");
        stages[1][0].clone()
    };
    for setup in SETUPS {
        assert_eq!(base(&format!("docker/{setup}/Dockerfile.ollama")), "FROM ollama/ollama:latest");
    }
    let cuda = "FROM nvidia/cuda:12.5.0-runtime-ubuntu22.04";
    assert_eq!(base("docker/ollama-bearer-auth/Dockerfile"), cuda);
    assert_eq!(base("docker/ollama-bearer-auth-caddy/Dockerfile"), cuda);
    assert_eq!(base("docker/ollama-auth/Dockerfile"), "FROM ubuntu:24.04");
}

#[test]
fn all_images_build_the_gateway_alike() {
    let recipes = recipes();
    let first = stages(&recipes[0].2).remove(0);
    for (_, path, text) in &recipes {
        assert_eq!(stages(text)[0], first, "{path}: its build stage differs");
    }
    assert_eq!(first[0], "FROM ubuntu:22.04 AS build");
    let minimum = repository_text("Cargo.toml");
    let minimum =
        minimum.lines().find_map(|line| line.strip_prefix("rust-version = \"")).expect("rust-version");
    let used = first.iter().find_map(|line| line.strip_prefix("ARG RUST_VERSION=")).expect("RUST_VERSION");
    let minor = |version: &str| version.split(['.', '"']).nth(1).and_then(|minor| minor.parse::<u32>().ok());
    assert!(minor(used) >= minor(minimum), "the images' Rust {used} is older than {minimum}");
}

#[test]
fn the_gateway_stands_in_caddys_place_and_no_key_is_built_in() {
    for (setup, path, text) in recipes() {
        let last = stages(&text).remove(1).join("\n");
        for part in [
            "COPY --from=build /usr/local/bin/tollgate /usr/bin/tollgate",
            "ln -s tollgate /usr/bin/caddy",
            "ln -s /usr/bin/tollgate /usr/local/bin/caddy",
            " /etc/caddy/Caddyfile",
            "ENTRYPOINT [\"/usr/local/bin/entrypoint.sh\"]",
        ] {
            assert!(last.contains(part), "{path}: no '{part}'");
        }
        assert!(!last.contains("OLLAMA_API_KEY"), "{path}");
        assert_eq!(last.contains("OLLAMA_HOST=127.0.0.1:11434"), path.ends_with(".ollama"), "{path}");
        let port = if setup == "ollama-auth" { "EXPOSE 80" } else { "EXPOSE 8081" };
        assert!(last.lines().any(|line| line == port), "{path}");
    }
    assert_eq!(repository_text("docker/ollama-bearer-auth-caddy/valid_keys.conf"), "");
}

#[test]
fn what_is_copied_is_there_and_within_the_context() {
    let ignored = repository_text(".dockerignore");
    let admitted: BTreeSet<&str> = ignored.lines().filter_map(|line| line.strip_prefix('!')).collect();
    for (_, path, text) in recipes() {
        for line in stages(&text).concat().iter().filter(|line| line.starts_with("COPY ")) {
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            if words[0].starts_with("--from=") {
                continue;
            }
            for source in &words[..words.len() - 1] {
                assert!(repository(source).exists(), "{path}: no {source}");
                let within =
                    admitted.iter().any(|entry| source == entry || source.starts_with(&format!("{entry}/")));
                assert!(within, "{path}: {source} is not in the context");
            }
        }
    }
}

#[test]
fn the_build_stage_gets_every_member_of_the_workspace() {
    let manifest = repository_text("Cargo.toml");
    let members = manifest.lines().find_map(|line| line.strip_prefix("members = [")).expect("members");
    let copied: Vec<String> = stages(&recipes()[0].2).remove(0);
    for member in members.trim_end_matches(']').split(", ").map(|member| member.trim_matches('"')) {
        assert!(copied.contains(&format!("COPY {member} {member}")), "{member} is not copied");
    }
}

/// A build that includes a file from elsewhere works here and fails there.
#[test]
fn what_the_sources_include_is_copied_too() {
    let copied: Vec<String> = stages(&recipes()[0].2).remove(0);
    let copied: Vec<&str> = copied
        .iter()
        .filter(|line| line.starts_with("COPY "))
        .flat_map(|line| line.split(' ').skip(1))
        .collect();
    let mut folders = vec![repository("src"), repository("grammar")];
    let mut included = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("text");
                for rest in text.split("include_str!(\"").skip(1) {
                    let target = folder.join(rest.split('"').next().unwrap_or_default());
                    let target = target.canonicalize().expect("what is included is there");
                    let within = target.strip_prefix(repository("").canonicalize().expect("the root"));
                    let within = within.expect("within the repository").to_string_lossy().into_owned();
                    let found =
                        copied.iter().any(|part| within == *part || within.starts_with(&format!("{part}/")));
                    assert!(found, "{}: {within} is not copied into the build", path.display());
                    included += 1;
                }
            }
        }
    }
    assert!(included > 0, "the Caddyfile at least is included");
}

#[test]
fn compose_files_start_the_recipe_beside_them() {
    for setup in SETUPS {
        let text = repository_text(&format!("docker/{setup}/docker-compose.yml"));
        let port = if setup == "ollama-auth" { "\"11435:80\"" } else { "\"8081:8081\"" };
        for part in [
            &format!("dockerfile: docker/{setup}/${{DOCKERFILE:-Dockerfile}}"),
            "context: ../..",
            "- .env.local",
            port,
            ":/root/.ollama",
        ] {
            assert!(text.contains(part), "{setup}: no '{part}'");
        }
        assert!(!text.contains("OLLAMA_HOST"), "{setup}: Ollama is to stay on loopback");
        let env = repository_text(&format!("docker/{setup}/.env.local"));
        assert!(env.lines().any(|line| line == "OLLAMA_API_KEY="), "{setup}: a key that everyone knows");
    }
}

/// The images are built on Ubuntu 22.04, whose C library is 2.35. Nothing in the binary may need a newer one,
/// wherever it was built.
#[test]
fn the_binary_runs_on_the_c_library_of_ubuntu_22_04() {
    let bytes = fs::read(env!("CARGO_BIN_EXE_tollgate")).expect("the binary");
    let needle = b"GLIBC_2.";
    let newest = memchr::memmem::find_iter(&bytes, needle)
        .map(|at| {
            let digits = bytes[at + needle.len()..].iter().take_while(|byte| byte.is_ascii_digit());
            digits.fold(0, |minor: u32, digit| minor * 10 + u32::from(digit - b'0'))
        })
        .max()
        .unwrap_or(0);
    assert!(newest > 0, "no version of the C library in the binary");
    assert!(newest <= 35, "the binary needs GLIBC_2.{newest}");
}
