//! The language as a whole. What is expected here is what Go answers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::*;

struct Plain;

impl Host for Plain {
    fn knows(&self, name: &str) -> bool {
        matches!(name, "list" | "map" | "fresh" | "put" | "upper" | "again")
    }

    fn call(&self, name: &str, arguments: &[Value], templates: &Templates) -> Result<Value, Error> {
        match name {
            "list" => Ok(arguments.to_vec().into()),
            "map" => Ok(Map::new().into()),
            // A list with a text of its own.
            "fresh" => Ok(vec![Value::from("a".repeat(1_000_000))].into()),
            "put" => {
                let Value::Map(map) = &arguments[0] else { panic!("no map") };
                map.borrow_mut().insert(arguments[1].text().into_owned(), arguments[2].clone());
                Ok(arguments[0].clone())
            }
            "again" => {
                templates.read(arguments[0].text().as_bytes(), self)?;
                Ok("".into())
            }
            _ => Ok(arguments[0].text().to_uppercase().into()),
        }
    }
}

fn render_with(text: &str, delimiters: &Delimiters) -> Result<String, String> {
    let inner = Map::from([("b".to_owned(), Value::from("deep"))]);
    let dot = Map::from([
        ("name".to_owned(), Value::from("Bob")),
        ("n".to_owned(), Value::Int(3)),
        ("items".to_owned(), Value::from(vec![Value::from("x"), Value::from("y")])),
        ("a".to_owned(), Value::from(inner)),
    ]);
    let templates = Templates::new("t", delimiters);
    let budget = Budget::new(Arc::new(AtomicBool::new(false)));
    templates
        .read(text.as_bytes(), &Plain)
        .and_then(|()| Run::render(&templates, &Plain, &budget, &Value::from(dot)))
        .map(|bytes| String::from_utf8(bytes).unwrap())
        .map_err(|error| error.to_string())
}

fn render(text: &str) -> Result<String, String> {
    render_with(text, &Delimiters::default())
}

#[track_caller]
fn same(text: &str, expected: &str) {
    assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
}

#[track_caller]
fn fails(text: &str, says: &str) {
    let error = render(text).unwrap_err();
    assert!(error.contains(says), "{text}: {error}");
}

#[test]
fn text_and_values() {
    same("plain", "plain");
    same("{{.name}} {{.a.b}} {{.none}} {{$.n}}", "Bob deep <no value> 3");
    same(
        r#"{{"a\tb"}} {{`raw\n`}} {{'a'}} {{0x10}} {{1_000}} {{-1.50}} {{1e3}} {{1e21}} {{0.00001}}"#,
        "a\tb raw\\n 97 16 1000 -1.5 1000 1e+21 1e-05",
    );
    same("{{true}} {{.items}} {{.a}}", "true [x y] map[b:deep]");
    same("{{/* no */}}{{- /* no */ -}}  x", "x");
    same("a  {{- 1 -}}  b {{2 -}} \n c", "a1b 2c");
    same("{{3 -}} x {{- .n}}", "3x3");
}

#[test]
fn conditions() {
    same("{{if .none}}a{{else if eq .n 3}}b{{else}}c{{end}}", "b");
    same("{{if not .items}}a{{else}}b{{end}}", "b");
    same("{{with .a}}{{.b}}{{$.n}}{{end}}{{with .none}}x{{else}}y{{end}}", "deep3y");
    same("{{with .none}}x{{else with .n}}{{.}}{{end}}", "3");
    same("{{and 1 0}} {{or 0 .name}} {{and 1 2}} {{or 0 0}}", "0 Bob 2 0");
    same("{{and false (index .items 9)}}", "false");
}

#[test]
fn loops() {
    same("{{range .items}}<{{.}}>{{end}}", "<x><y>");
    same("{{range $i, $e := .items}}{{$i}}{{$e}}{{end}}", "0x1y");
    same("{{range $k, $v := .a}}{{$k}}={{$v}}{{end}}", "b=deep");
    same("{{range .none}}x{{else}}none{{end}}", "none");
    same(
        "{{range $i := 4}}{{if eq $i 1}}{{continue}}{{end}}{{if eq $i 3}}{{break}}{{end}}{{$i}}{{end}}",
        "02",
    );
    same("{{$last := 0}}{{range list 1 2 3}}{{$last = .}}{{end}}{{$last}}", "3");
}

#[test]
fn pipelines_and_functions() {
    same("{{.name | upper | printf \"%s-%s\" \"x\"}}", "x-BOB");
    same("{{(list 1 (list 2 3)) | len}} {{index (list 1 (list 2 3)) 1 0}}", "2 2");
    same(
        "{{printf \"%05.2f|%-4d|%4s|%q|%x|%v|%t|%c\" 3.14159 7 \"ab\" \"c\" 255 (list 1 \"a\") true 'z'}}",
        "03.14|7   |  ab|\"c\"|ff|[1 a]|true|z",
    );
    same(
        "{{printf \"%d\" \"x\"}} {{printf \"%d\"}} {{printf \"a\" 1}}",
        "%!d(string=x) %!d(MISSING) a%!(EXTRA int=1)",
    );
    same("{{print 1 2 \"a\" 3}} {{println 1 \"b\"}}", "1 2a3 1 b\n");
    same(
        "{{html \"<a b='c'>\"}} {{js \"it's <b>\"}} {{urlquery \"a b&c\"}}",
        "&lt;a b=&#39;c&#39;&gt; it\\'s \\u003Cb\\u003E a+b%26c",
    );
    same(
        "{{eq 1 2 1}} {{ne \"a\" \"b\"}} {{lt 1 2}} {{ge \"b\" \"a\"}} {{len \"häh\"}}",
        "true true true true 4",
    );
    same("{{slice \"abcdef\" 1 3}} {{(index .items 1)}}", "bc y");
}

#[test]
fn templates_call_templates() {
    same("{{define \"x\"}}[{{.}}]{{end}}{{template \"x\" .name}}{{template \"x\"}}", "[Bob][<no value>]");
    same("{{block \"x\" .n}}<{{.}}>{{end}}", "<3>");
    same("{{again `{{define \"x\"}}new{{end}}`}}{{template \"x\"}}", "new");
    same("{{define \"t\"}}other{{end}}mine", "mine");
}

#[test]
fn delimiters_may_be_others() {
    let other = Delimiters { open: "[[".into(), close: "]]".into() };
    assert_eq!(render_with("{{.name}} [[.name]] [[- /* x */ -]] y", &other), Ok("{{.name}} Boby".into()));
}

#[test]
fn mistakes_are_told_with_their_line() {
    fails("a\n{{.name", "t:2: unclosed action");
    fails("{{if 1}}x", "unexpected EOF");
    fails("{{end}}", "unexpected {{end}}");
    fails("{{nope 1}}", "function \"nope\" not defined");
    fails("{{$x}}", "undefined variable \"$x\"");
    fails("{{if 1}}{{$x := 1}}{{end}}{{$x}}", "undefined variable \"$x\"");
    fails("{{\"a}}", "unterminated quoted string");
    fails("{{break}}", "outside {{range}}");
    fails("{{1 | 2}}", "non executable command");
    fails("{{(1}}", "unclosed left paren");
    fails("{{\"a\"\"b\"}}", "unexpected token in operand");
    fails("{{| upper}}", "empty command");
    fails("\n{{.name.x}}", "2: can't evaluate field x in type string");
    fails("{{.none.x}}", "nil pointer evaluating interface {}.x");
    fails("{{index .items 5}}", "error calling index: index out of range: 5");
    fails("{{eq 1 \"a\"}}", "incompatible types for comparison");
    fails("{{template \"none\"}}", "template \"none\" not defined");
    fails("{{eq 1 1.0}}", "incompatible types");
    fails("{{3 4}}", "can't give argument to non-function");
    fails("{{/* x }}", "unclosed comment");
}

#[test]
fn nothing_is_without_end() {
    fails("{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}", "nested too deeply");
    fails("{{range 100000000}}{{end}}", "too many steps");
    fails("{{$x := \"aaaaaaaaaaaaaaaa\"}}{{range 100}}{{$x = print $x $x}}{{end}}", "too much text");
    fails(&"{{if 1}}".repeat(500), "nested too deeply");
    fails(&format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)), "nested too deeply");
    fails("{{printf \"%99999999d\" 1}}", "the width is too large");
    fails(&format!("{{{{printf \"{}\"}}}}", "%9999[1]d".repeat(1000)).replace("\"}}", "\" 1}}"), "too long");
    fails("{{$x := list 1}}{{range 10}}{{$x = list $x $x}}{{end}}{{printf \"%.9999d\" $x}}", "too long");
    let budget = Budget::new(Arc::new(AtomicBool::new(true)));
    let templates = Templates::new("t", &Delimiters::default());
    templates.read(b"{{range 100000}}{{end}}", &Plain).unwrap();
    assert!(Run::render(&templates, &Plain, &budget, &Value::Nil).is_err());
}

#[test]
fn values_are_neither_too_deep_nor_too_large() {
    let deep =
        |levels: u32| format!("{{{{$x := list}}}}{{{{range {levels}}}}}{{{{$x = list $x}}}}{{{{end}}}}");
    assert!(render(&deep(49)).is_ok());
    fails(&deep(50), "nested too deeply");
    // Each list holds the one before twice, and printed it would be as long as 2 to the power of 40.
    fails("{{$x := list 1}}{{range 40}}{{$x = list $x $x}}{{end}}{{$x}}", "too many items");
    fails(
        "{{$x := list 1}}{{range 18}}{{$x = list $x $x}}{{end}}{{range 100}}{{$_ := print $x}}{{end}}",
        "too many items",
    );
    // A long text, a million times.
    let long = "a".repeat(100_000);
    fails(
        &format!("{{{{$x := list \"{long}\"}}}}{{{{range 15}}}}{{{{$x = list $x $x}}}}{{{{end}}}}{{{{$x}}}}"),
        "too much text",
    );
}

#[test]
fn texts_within_values_are_paid_for_once() {
    fails("{{range 100}}{{$x := fresh}}{{end}}", "too much text");
    let long = "a".repeat(1_000_000);
    same(&format!("{{{{$x := \"{long}\"}}}}{{{{range 100}}}}{{{{$y := list $x $x}}}}{{{{end}}}}"), "");
    let keys = "{{$m := map}}{{$_ := put $m (index fresh 0) 1}}";
    fails(&format!("{keys}{{{{range 100}}}}{{{{range $m}}}}{{{{end}}}}{{{{end}}}}"), "too much text");
}

#[test]
fn maps_may_hold_themselves_and_long_chains() {
    fails("{{$x := map}}{{$y := map}}{{put $x \"y\" $y}}{{$y = put $y \"x\" $x}}", "nested too deeply");
    // A chain grows at its end. Dropping it must not take the stack of a level for each of its members.
    let chain = "{{$first := map}}{{$last := $first}}{{range 50000}}{{$next := map}}\
                 {{$_ := put $last \"n\" $next}}{{$last = $next}}{{end}}";
    let small_stack = std::thread::Builder::new().stack_size(1 << 20);
    let small_stack = small_stack.spawn(move || {
        same(chain, "");
        fails(&format!("{chain}{{{{$first}}}}"), "nested too deeply");
        fails(&format!("{chain}{{{{put $first \"x\" $first}}}}"), "nested too deeply");
    });
    small_stack.unwrap().join().unwrap();
}

/// Something of the host's that holds a value, and tells whether it is still there.
#[derive(Debug)]
struct Holder(Value, #[expect(dead_code, reason = "counts")] std::rc::Rc<()>);

impl Object for Holder {
    fn type_name(&self) -> &'static str {
        "holder"
    }

    fn member(&self, _: &str, _: &[Value]) -> Option<Result<Value, Error>> {
        None
    }

    fn holds(&self) -> Option<&Value> {
        Some(&self.0)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[test]
fn a_budget_that_ends_lets_go_of_what_holds_itself() {
    let count = std::rc::Rc::new(());
    let map = Value::from(Map::new());
    let holder = Value::Object(std::rc::Rc::new(Holder(map.clone(), count.clone())));
    let budget = Budget::new(Arc::new(AtomicBool::new(false)));
    assert!(budget.admit(&[map.clone(), holder.clone()]).is_ok());
    let Value::Map(inner) = &map else { panic!("no map") };
    inner.borrow_mut().insert("holder".into(), holder.clone());
    let error = budget.admit(&[holder]).unwrap_err().to_string();
    assert!(error.contains("nested too deeply"), "{error}");
    drop(map);
    assert_eq!(std::rc::Rc::strong_count(&count), 2);
    budget.end();
    assert_eq!(std::rc::Rc::strong_count(&count), 1);
}
