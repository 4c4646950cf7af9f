//! What holds for every text.

mod ebnf;
mod reading;
mod world;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use tollgate_grammar::{Cursor, NoFiles, decode, format, keeps_tokens, parse};
use world::{Shelf, env};

/// Texts made of what means something in a Caddyfile, in no sensible order.
fn odd_text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "{",
        "}",
        "{\n",
        "\n}\n",
        "\n",
        "\r\n",
        "\r",
        " ",
        "\t",
        "\\",
        "\\\n",
        "\"",
        "`",
        "<<E\n",
        "<<",
        "E",
        "\n\tE",
        "#",
        ",",
        "a",
        "é",
        "\u{a0}",
        "\u{feff}",
        "@m ",
        "(s) {\n",
        "(s)",
        "&(r) {\n",
        "import s ",
        "import imported/*.site\n",
        "import",
        "{$HOST}",
        "{$KEY}",
        "{$LINES}",
        "{$EMPTY}",
        "{$OPEN}",
        "{$NO:d e}",
        "{$",
        "{args[0]}",
        "{args[:]}",
        "{args[1:",
        "{block}",
        "{blocks.a}",
        "\\{",
        "\\}",
        ":80 ",
        "{}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn read_in_every_way(text: &str) {
    reading::read_in_every_way(text, &env, &Shelf);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        read_in_every_way(&text);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>()) {
        read_in_every_way(&decode(&bytes));
    }

    #[test]
    fn no_odd_text_makes_it_panic(text in odd_text()) {
        read_in_every_way(&text);
    }

    #[test]
    fn however_a_cursor_is_moved_it_stays_within_its_tokens(text in odd_text(), moves in any::<Vec<u8>>()) {
        let Ok(mut cursor) = Cursor::from_text("Caddyfile", &text, &env) else { return Ok(()) };
        let all = cursor.len();
        for which in moves {
            let before = cursor.position();
            match which % 9 {
                0 => prop_assert_eq!(cursor.next(), cursor.position() > before),
                1 => prop_assert_eq!(cursor.prev(), cursor.position() > 0),
                2 => prop_assert_eq!(cursor.next_arg(), cursor.position() > before),
                3 => prop_assert_eq!(cursor.next_line(), cursor.position() > before),
                4 => drop(cursor.next_block(usize::from(which / 9) % 3)),
                5 => {
                    let count = cursor.count_remaining_args();
                    prop_assert_eq!(cursor.remaining_args().len(), count);
                }
                6 => drop(cursor.next_segment()),
                7 => drop((cursor.arg_err(), cursor.syntax_err("x"), cursor.val_raw(), cursor.scalar_val())),
                _ => drop(cursor.all_args::<2>()),
            }
            prop_assert_eq!(cursor.len(), all);
            prop_assert!(cursor.position() <= all);
        }
    }

    #[test]
    fn fmt_is_idempotent_and_keeps_the_meaning(seed in any::<u64>()) {
        let text = ebnf::Grammar::of_the_caddyfile().tidy_sentence(seed);
        let laid_out = format(&text);
        prop_assert_eq!(format(&laid_out), laid_out.as_str());
        prop_assert!(keeps_tokens(&text, &laid_out));
        let tree = |text: &str| parse("Caddyfile", text, &|_: &str| Some("set".to_owned()), &NoFiles);
        if let Ok(before) = tree(&text) {
            prop_assert_eq!(before.to_string(), tree(&laid_out).expect("still a Caddyfile").to_string());
        }
    }
}

#[test]
fn fmt_that_changes_the_meaning_is_noticed() {
    for text in ["a< \"b\"\n", "a<\n", "a b"] {
        assert_eq!(keeps_tokens(text, &format(text)), !text.contains("< "), "{text}");
    }
}

/// Far more than a linear pass needs, far less than a quadratic one.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn hostile_texts_take_linear_time() {
    const TIMES: usize = 100_000;
    let many = |piece: &str| piece.repeat(TIMES);
    let texts = [
        many("{"),
        many("}"),
        many("\""),
        many("`"),
        many("\\"),
        many("\\\n"),
        many("#\\\n"),
        many("a\n"),
        many("a, "),
        many("<<A\n"),
        many("{$"),
        many("{$}"),
        many("{$HOST}"),
        format!("\"{}\"", many("{$HOST}{")),
        many("import nothing*\n"),
        many("(a) {\n}\n"),
        format!("<<{}b\n{}", many("a"), many("a")),
        format!("<<{}b\n{}", many("a"), many("a a\n")),
        format!("(s) {{\n\"{}\"\n}}\n:80 {{\nimport s x\n}}\n", many("{")),
        format!("(s) {{\n\"{}\"\n}}\n:80 {{\nimport s x\n}}\n", many("{\\}")),
        format!("(s) {{\n\"{}\"\n}}\n:80 {{\nimport s x\n}}\n", many("{args[0]}")),
        format!("(s) {{\n\"{}\"\n}}\n:80 {{\nimport s {{$LIST}}\n}}\n", many("{$HOST}{args[0]}")),
        format!("(s) {{\n{}\n}}\n:80 {{\n{}}}\n", many("a "), "import s\n".repeat(3)),
        format!(":80 {{\nimport s {{\n{}}}\n}}\n", many("a {\n")),
    ];
    for text in texts {
        let began = Instant::now();
        read_in_every_way(&text);
        assert!(began.elapsed() < PATIENCE, "{:?} for {:.40}", began.elapsed(), text);
    }
}

#[test]
fn imports_that_multiply_end_in_an_error() {
    let doubled = |what: &str, body: &str| {
        let mut text = format!("(s0) {{\n{body}\n}}\n");
        for number in 1..60 {
            text += &format!("(s{number}) {{\n{}\n}}\n", what.replace("NEXT", &format!("s{}", number - 1)));
        }
        text + ":80 {\nimport s59 x {\nblock\n}\n}\n"
    };
    let began = Instant::now();
    for (text, expected) in [
        (doubled("import NEXT\nimport NEXT", "a"), "imports"),
        (doubled("import NEXT\nimport NEXT", ""), "more than 100000 imports"),
        (doubled("import NEXT {args[:]} {args[:]}", "{args[:]}"), "bring in more than"),
        (doubled("import NEXT {args[0]}{args[0]}", "{args[0]}"), "grow beyond 64 MiB"),
        (doubled("import NEXT {\n{block}\n{block}\n}", "{block}"), "bring in more than"),
    ] {
        let error = parse("Caddyfile", &text, &env, &Shelf).expect_err("it has no end").to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
}

#[test]
fn long_chains_of_imports_need_no_stack() {
    let mut text = "(s0) {\n{args[0]}\n}\n".to_owned();
    for number in 1..20_000 {
        text += &format!("(s{number}) {{\nimport s{} {{args[0]}}\n}}\n", number - 1);
    }
    text += ":80 {\nimport s19999 deep\n}\n";
    let parsed = parse("Caddyfile", &text, &env, &Shelf).expect("it ends");
    assert_eq!(parsed.to_string(), "block :80 (braces)\n  deep\n");
}
