//! Markdown with GitHub's extensions and footnotes, as HTML.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::Mutex;

use comrak::adapters::{HeadingAdapter, HeadingMeta};
use comrak::nodes::Sourcepos;

/// Markdown as HTML; HTML within it stays as it is.
pub(super) fn to_html(text: &str) -> String {
    let mut options = comrak::Options::default();
    options.extension.table = true;
    options.extension.strikethrough = true;
    options.extension.autolink = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    options.render.r#unsafe = true;
    let headings = Headings::default();
    let mut plugins = comrak::options::Plugins::default();
    plugins.render.heading_adapter = Some(&headings);
    comrak::markdown_to_html_with_plugins(text, &options, &plugins)
}

/// Gives headings an id each, made of what they say.
#[derive(Default)]
struct Headings {
    used: Mutex<HashSet<String>>,
}

impl Headings {
    fn id(&self, text: &str) -> String {
        let mut id = String::with_capacity(text.len());
        for character in text.trim().chars() {
            match character {
                'a'..='z' | '0'..='9' => id.push(character),
                'A'..='Z' => id.push(character.to_ascii_lowercase()),
                ' ' | '\t' | '-' | '_' => id.push('-'),
                _ => {}
            }
        }
        if id.is_empty() {
            id.push_str("heading");
        }
        let mut used = self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut unique = id.clone();
        let mut number = 1;
        while !used.insert(unique.clone()) {
            unique = format!("{id}-{number}");
            number += 1;
        }
        unique
    }
}

impl HeadingAdapter for Headings {
    fn enter(&self, output: &mut dyn Write, heading: &HeadingMeta, _: Option<Sourcepos>) -> fmt::Result {
        write!(output, "<h{} id=\"{}\">", heading.level, self.id(&heading.content))
    }

    fn exit(&self, output: &mut dyn Write, heading: &HeadingMeta) -> fmt::Result {
        writeln!(output, "</h{}>", heading.level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Caddy 2.11.7 answers to these.
    #[test]
    fn markdown_becomes_html() {
        for (text, expected) in [
            (
                "# Hello World\n## Hello World\n",
                "<h1 id=\"hello-world\">Hello World</h1>\n<h2 id=\"hello-world-1\">Hello World</h2>\n",
            ),
            (
                "a **b** ~~c~~ https://x.example",
                "<p>a <strong>b</strong> <del>c</del> <a href=\"https://x.example\">https://x.example</a></p>\n",
            ),
            ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
            ("<b>raw</b>", "<p><b>raw</b></p>\n"),
            ("```\nx < y\n```", "<pre><code>x &lt; y\n</code></pre>\n"),
        ] {
            assert_eq!(to_html(text), expected, "{text}");
        }
    }
}
