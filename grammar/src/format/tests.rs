use super::format;

#[test]
fn blocks_are_indented_by_tabs_and_words_stand_one_space_apart() {
    assert_eq!(format("a.com{\n respond   \"hi\"\n}"), "a.com {\n\trespond \"hi\"\n}\n");
    assert_eq!(
        format("a.com {\n  handle   /x/* {\n respond  \"a  b\"   200\n  }\n}\n\n\n"),
        "a.com {\n\thandle /x/* {\n\t\trespond \"a  b\" 200\n\t}\n}\n"
    );
}

#[test]
fn a_brace_moves_up_to_its_line() {
    assert_eq!(format("a.com\n{\nrespond ok\n}\nb.com\n\n\n{\n}"), "a.com {\n\trespond ok\n}\nb.com {\n}\n");
}

#[test]
fn an_import_keeps_its_line_from_the_brace_below() {
    assert_eq!(format("import x\n{\n debug\n}"), "import x\n{\n\tdebug\n}\n");
}

#[test]
fn one_empty_line_is_kept_more_are_not() {
    assert_eq!(
        format("a.com {\n\n\n\n  one\n\n\n\n  two\n\n}\nb.com {\n}"),
        "a.com {\n\tone\n\n\ttwo\n}\nb.com {\n}\n"
    );
}

#[test]
fn comments_stay_as_they_are() {
    assert_eq!(
        format("#a\na.com { # b  c {\n#d\n  one # \"e\n}  # f\n# g"),
        "#a\na.com {\n\t# b  c {\n\t#d\n\tone # \"e\n}\n\n# f\n# g\n"
    );
}

#[test]
fn quotes_backquotes_and_escapes_stay_as_they_are() {
    assert_eq!(
        format("a \"b   \\\" {  c\" `d  {  \"` \\{ e\\ f\n"),
        "a \"b   \\\" {  c\" `d  {  \"` \\{ e\\ f\n"
    );
}

#[test]
fn heredocs_stay_as_they_are() {
    assert_eq!(
        format("a {\nrespond <<END\n  x {\n y  z\n  END   200\n b\n}"),
        "a {\n\trespond <<END\n  x {\n y  z\n  END 200\n\tb\n}\n"
    );
}

#[test]
fn a_heredoc_needs_a_marker() {
    assert_eq!(format("a <<\n b   c\n d < <e  \\<<F\n g"), "a <<\nb c\nd <<e \\<<F\ng\n");
}

#[test]
fn placeholders_and_variables_stay_words() {
    assert_eq!(format("a {$B}   {c}  {d.e}{f} {$G:h i}"), "a {$B} {c} {d.e}{f} {$G:h i}\n");
}

#[test]
fn a_brace_at_the_end_opens_a_block() {
    assert_eq!(format("a {"), "a {\n");
}

#[test]
fn line_endings_become_line_feeds() {
    assert_eq!(format("a {\r\n\tb\r\n}\r\n"), "a {\n\tb\n}\n");
}

#[test]
fn nothing_becomes_an_empty_line() {
    assert_eq!(format("  \n\t"), "\n");
}

#[test]
fn lines_that_go_on_keep_their_indentation() {
    assert_eq!(format("a {\n b \\\n   c\n}"), "a {\n\tb \\\n c\n}\n");
}

#[test]
fn the_tenth_block_is_the_last_to_be_indented() {
    assert_eq!(
        format(
            "a {\na {\na {\na {\na {\na {\na {\na {\na {\na {\na {\na {\nb\n}\n}\n}\n}\n}\n}\n}\n}\n}\n}\n}\n}\n"
        ),
        "a {\n\ta {\n\t\ta {\n\t\t\ta {\n\t\t\t\ta {\n\t\t\t\t\ta {\n\t\t\t\t\t\ta {\n\t\t\t\t\t\t\ta {\n\t\t\t\t\t\t\t\ta {\n\t\t\t\t\t\t\t\t\ta {\n\t\t\t\t\t\t\t\t\t\ta {\n\t\t\t\t\t\t\t\t\t\ta {\n\t\t\t\t\t\t\t\t\t\tb\n\t\t\t\t\t\t\t\t\t}\n\t\t\t\t\t\t\t\t}\n\t\t\t\t\t\t\t}\n\t\t\t\t\t\t}\n\t\t\t\t\t}\n\t\t\t\t}\n\t\t\t}\n\t\t}\n\t}\n}\n}\n}\n"
    );
}
