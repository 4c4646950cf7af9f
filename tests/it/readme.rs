//! What the README says is so.

use std::fs;
use std::process::{Child, Command, Stdio};

use crate::support::{ModelServer, eventually, free_port, gateway_binary, get, repository, repository_text};

const KEY: &str = "sk-readme-0f1e2d3c";

/// The README's fenced blocks in that language.
fn blocks(language: &str) -> Vec<String> {
    let text = repository_text("README.md");
    let fence = format!("```{language}\n");
    let blocks = text.split(fence.as_str()).skip(1);
    blocks.map(|rest| rest.split("```\n").next().unwrap_or_default().to_owned()).collect()
}

/// A gateway that ends with the test.
struct Gateway(Child);

impl Drop for Gateway {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[test]
fn its_caddyfiles_are_formatted_and_accepted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("Caddyfile");
    let all = blocks("caddyfile");
    assert!(all.len() >= 3, "{} Caddyfiles", all.len());
    for text in all.iter().chain([&repository_text("Caddyfile")]) {
        fs::write(&path, text).expect("write");
        for command in [&["adapt", "--config"][..], &["fmt", "--diff"][..]] {
            let output = Command::new(gateway_binary()).args(command).arg(&path).output().expect("it runs");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{command:?}: {said}\n{text}");
        }
    }
}

#[test]
fn its_caddyfiles_ask_for_the_key() {
    for text in blocks("caddyfile").iter().filter(|text| text.starts_with(":8081 {")) {
        let model = ModelServer::start();
        let port = free_port();
        let directory = tempfile::tempdir().expect("a directory");
        let text = text
            .replace(":8081 {", &format!(":{port} {{\n\tbind 127.0.0.1"))
            .replace("localhost:11434", &format!("127.0.0.1:{}", model.port));
        fs::write(directory.path().join("Caddyfile"), &text).expect("write");
        let child = Command::new(gateway_binary())
            .args(["run", "--config", "Caddyfile", "--adapter", "caddyfile"])
            .current_dir(&directory)
            .env("OLLAMA_API_KEY", KEY)
            .env("HOME", directory.path())
            .env("CADDY_ADMIN", format!("127.0.0.1:{}", free_port()))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let _gateway = Gateway(child.expect("it starts"));
        let right = format!("Authorization: Bearer {KEY}");
        let status = |headers: &[&str]| get(port, "/api/chat", headers).ok().map(|answer| answer.status);
        assert_eq!(eventually("the gateway answers", || status(&[&right])), 200, "{text}");
        assert_eq!(status(&[]), Some(401), "{text}");
        assert_eq!(status(&["Authorization: Bearer wrong"]), Some(401), "{text}");
        assert_eq!(model.heads().len(), 1, "{text}");
        let listed = get(port, "/api/tags", &[]).expect("an answer").status;
        assert_eq!(listed, if text.contains("@list") { 200 } else { 401 }, "{text}");
    }
}

#[test]
fn its_links_lead_somewhere() {
    for page in ["README.md", "docker/README.md", "docs/architecture.md", "docs/compatibility.md"] {
        let text = repository_text(page);
        let folder = repository(page).parent().expect("a folder").to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            assert!(path.is_empty() || folder.join(path).exists(), "{page}: {link} leads nowhere");
        }
    }
}
