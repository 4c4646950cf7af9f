use super::*;
use crate::source::SourceMap;

/// The tokens of `text`; every variable in `values` is set.
fn tokens_with(text: &str, values: &[(&str, &str)]) -> Result<Vec<Token>, Error> {
    let file = SourceMap::new().add("Caddyfile", text);
    let origin = Arc::new(Origin { file, snippet: None, chain: Vec::new(), trail: Vec::new() });
    let env = |name: &str| values.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    tokenize(&origin, &env)
}

fn texts_with(text: &str, value: &str) -> Vec<String> {
    let tokens = tokens_with(text, &[("V", value)]).expect("tokens");
    tokens.iter().map(|token| token.text.to_string()).collect()
}

fn texts(text: &str) -> Vec<String> {
    texts_with(text, "")
}

fn error(text: &str, value: &str) -> String {
    tokens_with(text, &[("V", value)]).expect_err("an error").to_string()
}

#[test]
fn words_end_at_white_space() {
    assert_eq!(texts("a b\tc\nd\u{a0}e\r\nf"), ["a", "b", "c", "d", "e", "f"]);
    assert_eq!(texts("\u{feff}a"), ["a"]);
    assert_eq!(texts("a\rb"), ["ab"], "a carriage return alone is nothing");
    assert_eq!(texts("a\"b {c}`d"), ["a\"b", "{c}`d"], "quotes count only at the start of a word");
}

#[test]
fn comments_begin_at_the_start_of_a_word() {
    assert_eq!(texts("a # b \"c\nd#e"), ["a", "d#e"]);
    let lines = tokens_with("a # b\\\nc # d\\e\nf", &[]).expect("tokens");
    let lines: Vec<_> = lines.iter().map(|token| token.line).collect();
    assert_eq!(lines, [1, 1, 3], "a backslash that ends a comment continues the line, one inside does not");
}

#[test]
fn only_quotes_can_be_escaped_in_quotes() {
    assert_eq!(texts(r#""a \"b\" \n \\" c"#), [r#"a "b" \n \\"#, "c"]);
    assert_eq!(texts("`a \\`b"), ["a \\", "b"]);
    assert_eq!(texts("\"a\nb\" \"\""), ["a\nb", ""]);
    assert_eq!(texts(r#"\"a""#), [r"\a"], "a backslash before an opening quote stays inside it");
}

#[test]
fn a_backslash_before_white_space_vanishes_and_before_a_line_break_continues_the_line() {
    assert_eq!(texts(r"a\ b"), ["a", "b"]);
    assert_eq!(texts(r"\ a \\b \<c d\"), [r"\a", r"\\b", "<c", "d"]);
    let tokens = tokens_with("a \\\n b\\\n c\nd", &[]).expect("tokens");
    assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 1, 1, 4]);
    assert!(!tokens[0].is_followed_on_new_line_by(&tokens[2]));
    assert!(tokens[2].is_followed_on_new_line_by(&tokens[3]));
}

#[test]
fn quotes_that_the_end_cuts_off_are_words() {
    assert_eq!(texts("a \"b c"), ["a", "b c"]);
    assert_eq!(texts("a `"), ["a"]);
}

#[test]
fn heredocs_lose_the_indentation_of_their_marker() {
    assert_eq!(texts("<<END\n\t\ta\n\t\t  b\n\n\t\tEND c"), ["a\n  b\n", "c"]);
    assert_eq!(texts("<<END\r\n\ta\r\n\r\n\tEND"), ["a\n"]);
    assert_eq!(
        texts("<<E\nx END"),
        ["", "ND"],
        "the marker may stand anywhere; text before it on its line is lost"
    );
    assert_eq!(texts("<<E E <<a\tb c\\<<E"), ["<<E", "E", "<<a\tb", "c<<E"], "a space makes it a word");
    assert_eq!(texts("\\<<E\na"), ["<<E", "a"]);
}

#[test]
fn heredocs_are_checked() {
    assert_eq!(
        error("\n<<<E\nE", ""),
        "too many '<' for heredoc on line #2; only use two, for example <<END"
    );
    let rule = "must contain only alphanumeric characters, dashes and underscores; got";
    assert_eq!(error("<<\nE", ""), format!("missing opening heredoc marker on line #1; {rule} empty string"));
    assert_eq!(error("<<É\nÉ", ""), format!("heredoc marker on line #1 {rule} 'É'"));
    assert_eq!(error("<<E\na\n", ""), "incomplete heredoc <<E on line #3, expected ending marker E");
    assert_eq!(
        error("<<E\n\t\ta\n\tb\n\t\tE", ""),
        "mismatched leading whitespace in heredoc <<E on line #3 [\tb], expected whitespace [\t\t] to match the \
         closing marker"
    );
}

#[test]
fn a_bare_value_is_read_like_the_text_around_it() {
    assert_eq!(texts_with("a {$V} b", "x \"y z\"\n{ #c"), ["a", "x", "y z", "{", "b"]);
    assert_eq!(texts_with("a{$V}b", "1 2"), ["a1", "2b"]);
    assert_eq!(texts_with("a {$V} b", ""), ["a", "b"]);
    assert_eq!(texts_with("a {$V} {$U} {$U:d e}", "{$V}"), ["a", "{$V}", "d", "e"]);
    assert_eq!(texts_with("{$V}", "<<E\n\ta\n\tE"), ["a"]);
}

#[test]
fn a_value_in_quotes_means_exactly_itself() {
    let odd = "a\" {\n\\ \\\" `x` #y {$V} E \r";
    assert_eq!(texts_with("\"Bearer {$V}\" b", odd), [format!("Bearer {odd}"), "b".to_owned()]);
    assert_eq!(texts_with("`{$V}` b", odd), [odd, "b"]);
    assert_eq!(texts_with("\"{$V}\" b", "\\"), ["\\", "b"]);
    assert_eq!(texts_with("<<E\n\t{$V}z\n\tE b", odd), [format!("{odd}z"), "b".to_owned()]);
}

#[test]
fn a_value_cannot_reach_beyond_itself() {
    let unclosed = "the value of {$V} opens a quote that it does not close";
    assert_eq!(error("a {$V}\nb \"c\"", "\"x"), unclosed);
    assert_eq!(error("a {$V}`", "`x"), unclosed);
    assert_eq!(error("a {$V}", "\"x"), unclosed);
    assert_eq!(texts_with("a {$V} {\nb", "#x"), ["a", "{", "b"], "its comment ends with it");
    assert_eq!(texts_with("# {$V}\nb", "x\ny"), ["b"], "it cannot end a comment");
    assert_eq!(texts_with("a {$V}\nb", "x\\"), ["a", "x\\", "b"]);
    assert_eq!(texts_with("{$V}\"b\"", "\\"), ["\\", "b"]);
    assert_eq!(texts_with("{$V}\nb", "<<E"), ["<<E", "b"], "it cannot open a heredoc it does not close");
    let tokens = tokens_with("a {$V}\nb", &[("V", "\\")]).expect("tokens");
    assert!(tokens[1].is_followed_on_new_line_by(&tokens[2]));
}

#[test]
fn tokens_know_what_a_variable_brought() {
    let tokens = tokens_with("\"a{$V}*{$U:*}\" {$V}x", &[("V", "v*")]).expect("tokens");
    let [quoted, bare] = tokens.as_slice() else { panic!("two tokens") };
    assert_eq!(&*quoted.text, "av***");
    assert!(quoted.is_written(0..1) && !quoted.is_written(2..3) && quoted.is_written(3..5));
    assert_eq!(quoted.shown(), "a{$V}**");
    assert_eq!(bare.env(), [EnvPiece { range: 0..2, name: "V".into() }]);
    assert!(tokens_with("a", &[]).expect("tokens")[0].env().is_empty());
    let empty = &tokens_with("\"x{$V}\"", &[("V", "")]).expect("tokens")[0];
    assert!(empty.has_env() && empty.is_written(0..1), "an empty value is noticed, too");
}

#[test]
fn spans_point_at_the_text_as_written() {
    let text = "\u{feff}é \"b {$V}\" {$V}c {$U:d}";
    let tokens = tokens_with(text, &[("V", "1 2")]).expect("tokens");
    let covered: Vec<_> = tokens.iter().map(|t| &text[t.span.start as usize..t.span.end as usize]).collect();
    assert_eq!(covered, ["é", "\"b {$V}\"", "{$V}", "{$V}c", "d"]);
}

#[test]
fn lines_count_as_written_whatever_a_value_brings() {
    let tokens = tokens_with("a {$V}\nb", &[("V", "x\ny")]).expect("tokens");
    assert_eq!(tokens.iter().map(|token| token.line).collect::<Vec<_>>(), [1, 1, 1, 2]);
    assert!(tokens[1].is_followed_on_new_line_by(&tokens[2]));
}

#[test]
fn edits_keep_what_a_variable_brought_marked() {
    let token = &tokens_with("\"a{$V}b\"", &[("V", "vv")]).expect("tokens")[0];
    let edited = token.edited(&[(0..1, "long"), (3..4, "")]);
    assert_eq!((&*edited.text, edited.env()[0].range.clone()), ("longvv", 4..6));
    let touched = token.edited(&[(2..4, "xyz")]);
    assert_eq!((&*touched.text, touched.shown().as_str()), ("avxyz", "a{$V}"));
}
