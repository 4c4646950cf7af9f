//! `log`: in a site, an access log; among the global options, a log of any kind.
//!
//! ```caddyfile
//! :8080 {
//! 	log {
//! 		output file access.log
//! 		format json
//! 	}
//! 	respond "Hello"
//! }
//! ```

use std::collections::HashSet;

use crate::adapt::{
    ConfigValue, Cursor, Directive, Error, GlobalOption, Helper, NamedLog, OptionReader, Parse,
    SubmoduleSyntax, Vocabulary,
};
use crate::config::ModuleJson;
use crate::config::logging::{CORE_TAG, CustomLog, DEFAULT_LOG, ENCODER_TAG, LogSampling, WRITER_TAG};
use crate::module::Module;
use crate::modules::{log_encoder, log_output};

pub(super) static MODULE: Module = Module {
    directives: &[Directive { name: "log", syntax: SYNTAX, parse: Parse::Site(parse_directive) }],
    options: &[GlobalOption { name: "log", syntax: OPTION_SYNTAX, parse: parse_option }],
    submodules: &[SubmoduleSyntax {
        namespace: CORES,
        name: "mock",
        syntax: "mock",
        parse: |_| Ok(serde_json::json!({})),
    }],
    ..Module::EMPTY
};

const SYNTAX: &str = "log [<logger_name>] {
	hostnames <hostnames...>
	no_hostname
	output <writer_module> ...
	format <encoder_module> ...
	level <level>
	sampling {
		interval <duration>
		first <number>
		thereafter <number>
	}
}";
const OPTION_SYNTAX: &str = "log [name] {
	output <writer_module> ...
	format <encoder_module> ...
	level <level>
	include <namespaces...>
	exclude <namespaces...>
	sampling {
		interval <duration>
		first <number>
		thereafter <number>
	}
}";
const CORES: &str = "caddy.logging.cores";
/// What the loggers of access logs are called, before the log's own name.
const ACCESS_LOGGERS: &str = "http.log.access.";

fn parse_directive(helper: &mut Helper<'_>) -> Result<Vec<ConfigValue>, Error> {
    let vocabulary = helper.vocabulary();
    // An empty name is none.
    let name = name(&mut helper.cursor)?.filter(|name| !name.is_empty());
    let mut block = Block::new(&mut helper.cursor, vocabulary, false);
    block.read()?;
    let Block { mut log, hostnames, no_hostname, .. } = block;
    let said = log != CustomLog::default();
    let name = match name {
        Some(name) => name,
        None if said => helper.next_log_name(),
        None => String::new(),
    };
    if !name.is_empty() {
        log.include = vec![format!("{ACCESS_LOGGERS}{name}")];
    }
    Ok(vec![ConfigValue::Log(NamedLog { name, hostnames, log: said.then_some(log), no_hostname })])
}

fn parse_option(reader: &mut OptionReader<'_>) -> Result<(), Error> {
    let vocabulary = reader.vocabulary();
    let name = name(&mut reader.cursor)?.unwrap_or_else(|| DEFAULT_LOG.to_owned());
    if reader.options.logs.iter().any(|log| log.name == name) {
        return Err(reader.cursor.err(format!("duplicate global log option for: {name}")));
    }
    let mut block = Block::new(&mut reader.cursor, vocabulary, true);
    block.read()?;
    let Block { log, no_hostname, .. } = block;
    let log = (log != CustomLog::default()).then_some(log);
    reader.options.logs.push(NamedLog { name, hostnames: Vec::new(), log, no_hostname });
    Ok(())
}

/// The name behind `log`, if there is one.
fn name(cursor: &mut Cursor) -> Result<Option<String>, Error> {
    cursor.next();
    let name = cursor.next_arg().then(|| cursor.val().to_owned());
    if cursor.next_arg() { Err(cursor.arg_err()) } else { Ok(name) }
}

/// The block behind `log`, as it is read.
struct Block<'a> {
    cursor: &'a mut Cursor,
    vocabulary: &'a Vocabulary,
    /// Whether this is the global option.
    global: bool,
    /// What may stand there once and did.
    seen: HashSet<String>,
    log: CustomLog,
    hostnames: Vec<String>,
    no_hostname: bool,
}

impl<'a> Block<'a> {
    fn new(cursor: &'a mut Cursor, vocabulary: &'a Vocabulary, global: bool) -> Self {
        Self {
            cursor,
            vocabulary,
            global,
            seen: HashSet::new(),
            log: CustomLog::default(),
            hostnames: Vec::new(),
            no_hostname: false,
        }
    }

    fn read(&mut self) -> Result<(), Error> {
        while self.cursor.next_block(0) {
            let option = self.cursor.val().to_owned();
            match option.as_str() {
                "hostnames" | "include" | "exclude" => self.read_list(&option)?,
                "output" | "sampling" | "core" | "format" | "level" | "no_hostname" => {
                    if self.seen.contains(&option) {
                        return Err(self.cursor.err(format!(
                            "'{option}' subdirective specified more than once in the same log block"
                        )));
                    }
                    self.read_once(&option)?;
                    self.seen.insert(option);
                }
                _ => return Err(self.cursor.err(format!("unrecognized subdirective: {option}"))),
            }
        }
        Ok(())
    }

    fn read_list(&mut self, option: &str) -> Result<(), Error> {
        let of_sites = option == "hostnames";
        if of_sites == self.global {
            let place = if of_sites { "log global options" } else { "log directive" };
            return Err(self.cursor.err(format!("{option} is not allowed in the {place}")));
        }
        let names = self.cursor.remaining_args();
        if of_sites && names.is_empty() {
            return Err(self.cursor.arg_err());
        }
        match option {
            "hostnames" => self.hostnames.extend(names),
            "include" => self.log.include.extend(names),
            _ => self.log.exclude.extend(names),
        }
        Ok(())
    }

    fn read_once(&mut self, option: &str) -> Result<(), Error> {
        match option {
            "output" => self.log.writer = Some(self.output()?),
            "format" => self.log.encoder = Some(self.submodule(log_encoder::NAMESPACE, ENCODER_TAG)?),
            "core" => self.log.core = Some(self.submodule(CORES, CORE_TAG)?),
            "level" => [self.log.level] = self.cursor.last_args()?,
            "sampling" => self.log.sampling = Some(sampling(&mut self.cursor.new_from_next_segment())?),
            _ => {
                let [] = self.cursor.last_args()?;
                self.no_hostname = true;
            }
        }
        Ok(())
    }

    fn output(&mut self) -> Result<ModuleJson, Error> {
        let [name] = self.cursor.args()?;
        if log_output::is_standard(&name) {
            return Ok(ModuleJson::new(WRITER_TAG, &name, &serde_json::json!({})));
        }
        self.vocabulary.submodule(self.cursor, log_output::NAMESPACE, WRITER_TAG)
    }

    fn submodule(&mut self, namespace: &'static str, tag: &'static str) -> Result<ModuleJson, Error> {
        let [_] = self.cursor.args()?;
        self.vocabulary.submodule(self.cursor, namespace, tag)
    }
}

fn sampling(cursor: &mut Cursor) -> Result<LogSampling, Error> {
    let mut sampling = LogSampling::default();
    let mut seen = HashSet::new();
    // What stands on the line itself means nothing.
    while cursor.next_arg() {}
    let nesting = cursor.nesting();
    while cursor.next_block(nesting) {
        let option = cursor.val().to_owned();
        if !seen.insert(option.clone()) {
            let message = format!("'{option}' specified more than once in the same sampling block");
            return Err(cursor.err(message));
        }
        if !["interval", "first", "thereafter"].contains(&option.as_str()) {
            return Err(cursor.err(format!("unrecognized subdirective: {option}")));
        }
        let [value] = cursor.args()?;
        let failed =
            |cursor: &Cursor, problem: String| cursor.err(format!("failed to parse {option}: {problem}"));
        match option.as_str() {
            "interval" => {
                sampling.interval = value.parse().map_err(|error| failed(cursor, format!("{error}")))?;
            }
            "first" => sampling.first = number(&value).map_err(|error| failed(cursor, error))?,
            _ => sampling.thereafter = number(&value).map_err(|error| failed(cursor, error))?,
        }
    }
    Ok(sampling)
}

fn number(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
}
