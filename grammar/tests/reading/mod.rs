//! Reading a text in every way there is. The fuzzer and the tests share this.

use tollgate_grammar::{Env, Files, Parsed, format, parse};

/// Reads a text in every way there is; what comes of it does not matter, as long as nothing panics.
pub fn read_in_every_way(text: &str, env: &dyn Env, files: &dyn Files) {
    let _ = format(text);
    match parse("Caddyfile", text, env, files) {
        Ok(parsed) => {
            let _ = parsed.to_string();
            check_places(&parsed);
        }
        Err(error) => {
            let _ = (error.render(true), error.render(false), error.to_string());
        }
    }
}

/// Every token lies in its file, and says where.
fn check_places(parsed: &Parsed) {
    for block in &parsed.server_blocks {
        for token in block.keys.iter().chain(block.segments.iter().flatten()) {
            let file = parsed.source_map.file(token.span.file).expect("the file is known");
            let span = token.span.start as usize..token.span.end as usize;
            assert!(file.text.get(span.clone()).is_some_and(|text| !text.is_empty()), "{token:?}");
            for piece in token.env() {
                assert!(token.text.get(piece.range.clone()).is_some(), "{token:?}");
            }
        }
    }
}
