use super::*;

fn cursor(text: &str) -> Cursor {
    let env = |name: &str| (name == "KEY").then(|| "sk-0123456789".to_owned());
    Cursor::from_text("Caddyfile", text, &env).expect("tokens")
}

#[test]
fn arguments_end_with_the_line_or_at_a_block() {
    let mut c = cursor("dir a \"b c\" {\n x y\n}\nnext");
    assert!(c.next());
    assert_eq!(c.count_remaining_args(), 2);
    assert_eq!(c.remaining_args_raw(), ["a", "\"b c\""]);
    assert!(!c.next_arg(), "a brace is no argument");
    assert!(c.next_block(0));
    assert_eq!((c.val(), c.nesting()), ("x", 1));
    assert_eq!(c.remaining_args(), ["y"]);
    assert!(!c.next_block(0));
    assert_eq!((c.val(), c.nesting()), ("}", 0));
    assert!(!c.next_arg() && c.next_line());
    assert_eq!((c.val(), c.line()), ("next", 4));
    assert!(!c.next() && !c.next_line() && !c.next_block(0));
    assert_eq!(c.val(), "next");
}

#[test]
fn a_quoted_brace_is_an_argument() {
    let mut c = cursor("dir \"{\" `}` {\n}");
    c.next();
    assert_eq!(c.remaining_args(), ["{", "}"]);
    assert!(!c.next_block(0), "an empty block has no tokens");
    assert_eq!(c.val(), "}");
}

#[test]
fn nested_blocks_are_left_at_their_own_end() {
    let mut c = cursor("dir {\n a {\n b\n }\n c\n}\nrest");
    c.next();
    let mut seen = Vec::new();
    while c.next_block(0) {
        seen.push(c.val().to_owned());
        let nesting = c.nesting();
        while c.next_block(nesting) {
            seen.push(format!(">{}", c.val()));
        }
    }
    assert_eq!(seen, ["a", ">b", "c"]);
    assert!(c.next());
    assert_eq!(c.val(), "rest");
}

#[test]
fn a_segment_holds_its_block_and_leaves_the_closing_brace_current() {
    let mut c = cursor("outer {\n in x {\n y\n }\n z\n}");
    c.next();
    assert!(c.next_block(0));
    let mut inner = c.new_from_next_segment();
    assert_eq!(inner.tokens().map(|t| &*t.text).collect::<Vec<_>>(), ["in", "x", "{", "y", "}"]);
    assert!(inner.next() && inner.next_arg() && inner.next_block(0));
    assert_eq!(inner.val(), "y");
    assert!(c.next_block(0));
    assert_eq!(c.val(), "z");
    assert!(!c.next_block(0));
}

#[test]
fn the_number_of_arguments_is_checked() {
    let mut c = cursor("dir a b\ndir a\ndir");
    c.next();
    assert_eq!(c.all_args().expect("two"), ["a", "b"]);
    c.next();
    let error = c.all_args::<2>().expect_err("one is missing");
    assert_eq!(error.to_string(), "wrong argument count or unexpected line ending after 'a', at Caddyfile:2");
    c.next();
    assert_eq!(c.args::<0>().expect("none wanted").len(), 0);
    c.reset();
    c.next();
    assert!(c.all_args::<1>().is_err(), "one too many");
}

#[test]
fn tokens_can_be_taken_out_and_put_in() {
    let mut c = cursor("dir a b c");
    c.next();
    c.next();
    assert_eq!(c.delete().map(|token| token.text.to_string()).as_deref(), Some("a"));
    let extra = c.token().expect("dir").with_text("x");
    c.insert_next([extra.clone(), extra]);
    assert_eq!(c.tokens().map(|t| &*t.text).collect::<Vec<_>>(), ["dir", "x", "x", "b", "c"]);
    while c.next() {}
    c.delete_n(2);
    assert_eq!((c.len(), c.val(), c.position()), (3, "x", 3));
    c.delete_n(99);
    assert_eq!(c.len(), 3);
    assert!(c.prev() && c.prev() && !c.prev());
    assert_eq!((c.val(), c.line(), c.file()), ("", 0, ""));
}

#[test]
fn scalars_look_like_numbers_and_booleans() {
    let mut c = cursor("7 -1.5 true F \"7\" abc 1e999 inf");
    let mut scalars = Vec::new();
    while c.next() {
        scalars.extend(c.scalar_val());
    }
    let text = |text: &str| Scalar::String(text.to_owned());
    let seven_to_false = [Scalar::Int(7), Scalar::Float(-1.5), Scalar::Bool(true), Scalar::Bool(false)];
    assert_eq!(scalars[..4], seven_to_false);
    assert_eq!(scalars[4..], [text("7"), text("abc"), text("1e999"), text("inf")]);
}

#[test]
fn an_error_never_shows_the_value_of_a_variable() {
    let mut c = cursor("header \"Bearer {$KEY}\" {$KEY}");
    c.next();
    c.remaining_args();
    let error = c.err(format!("cannot use {}", c.val()));
    assert_eq!(error.to_string(), "cannot use {$KEY}, at Caddyfile:1");
    assert_eq!(
        c.arg_err().to_string(),
        "wrong argument count or unexpected line ending after '{$KEY}', at Caddyfile:1"
    );
    assert!(!c.syntax_err("}").render(true).contains("sk-"));
}
