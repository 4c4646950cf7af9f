//! The command line: one file for each command, one row for each file.
//!
//! Commands, flags, defaults and exit codes are Caddy's, whatever the name of the binary, so that
//! scripts and service files go on working. What a command says on stdout is its result alone;
//! everything else goes to stderr. Nothing here serves a request.

mod adapt;
mod admin_client;
mod build_info;
mod completion;
mod demo;
mod env_file;
mod environ;
mod explain;
mod failure;
mod file_server;
mod flags;
mod fmt;
mod hash_password;
mod list_modules;
mod manpage;
mod packages;
mod process;
mod reload;
mod respond;
mod reverse_proxy;
mod run;
mod schema;
mod start;
mod stop;
mod storage;
mod trust;
mod untrust;
mod validate;
mod version;

use std::ffi::OsString;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use failure::{Exit, Failure};

/// One command: its flags as fields, and what it does.
trait Command: clap::Args {
    /// What the user types.
    const NAME: &'static str;
    /// What it does, in a line.
    const ABOUT: &'static str;
    /// More about it; empty if the line says it all.
    const DETAILS: &'static str = "";

    /// Does it. Runs on the main thread before any other thread exists.
    fn run(self) -> Result<(), Failure>;
}

/// A row of [`COMMANDS`].
struct Row {
    name: &'static str,
    build: fn() -> clap::Command,
    run: fn(&ArgMatches) -> Result<(), Failure>,
}

impl Row {
    const fn of<C: Command>() -> Self {
        Self { name: C::NAME, build: build::<C>, run: run::<C> }
    }
}

/// Every command, by name; help lists them in this order.
static COMMANDS: &[Row] = &[
    Row::of::<adapt::Adapt>(),
    Row::of::<packages::AddPackage>(),
    Row::of::<build_info::BuildInfo>(),
    Row::of::<completion::Completion>(),
    Row::of::<demo::Demo>(),
    Row::of::<environ::Environ>(),
    Row::of::<file_server::FileServer>(),
    Row::of::<fmt::Fmt>(),
    Row::of::<hash_password::HashPassword>(),
    Row::of::<list_modules::ListModules>(),
    Row::of::<manpage::Manpage>(),
    Row::of::<reload::Reload>(),
    Row::of::<packages::RemovePackage>(),
    Row::of::<respond::Respond>(),
    Row::of::<reverse_proxy::ReverseProxy>(),
    Row::of::<run::Run>(),
    Row::of::<schema::Schema>(),
    Row::of::<start::Start>(),
    Row::of::<stop::Stop>(),
    Row::of::<storage::Storage>(),
    Row::of::<trust::Trust>(),
    Row::of::<untrust::Untrust>(),
    Row::of::<packages::Upgrade>(),
    Row::of::<validate::Validate>(),
    Row::of::<version::Version>(),
];

/// Runs the command that `args` name; the first of them is the program's own name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let run = move || match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    // Nothing else runs meanwhile, so that commands may still set environment variables.
    match std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run).map(std::thread::JoinHandle::join) {
        Ok(Ok(code)) => code,
        Ok(Err(panic)) => std::panic::resume_unwind(panic),
        Err(error) => Failure::io("starting a thread", error).report(),
    }
}

/// The stack of threads that read, provision and let go of configurations, which goes down by recursion: enough for
/// [`crate::config::DEPTH_MAX`] levels, of which each takes up to 6 KiB. What is not used takes no memory.
const STACK_BYTES: usize = 32 << 20;

fn dispatch(args: &[OsString]) -> Result<(), Failure> {
    let matches = match root(program_name(args)).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return tell(error),
    };
    if matches.get_flag("version") {
        return print(&version::line());
    }
    let Some((name, of_command)) = matches.subcommand() else {
        return print(&root(program_name(args)).render_long_help().to_string());
    };
    let row = COMMANDS.iter().find(|row| row.name == name);
    let row = row.expect("invariant: clap only knows the commands of the table");
    if of_command.try_contains_id(IGNORED).is_ok_and(|known| known) {
        for extra in of_command.get_many::<String>(IGNORED).into_iter().flatten() {
            failure::warn(&format!("ignoring the argument `{extra}`: `{name}` takes flags only"));
        }
    }
    (row.run)(of_command)
}

/// The name under which we were started, for help and usage.
fn program_name(args: &[OsString]) -> String {
    let path = args.first().map(Path::new);
    path.and_then(Path::file_name)
        .map_or_else(|| "tollgate".to_owned(), |name| name.to_string_lossy().into_owned())
}

fn root(name: String) -> clap::Command {
    clap::Command::new("tollgate")
        .bin_name(name)
        .about("A gateway for model servers that reads your Caddyfile")
        .long_about(LONG_ABOUT)
        .after_help(EXAMPLES)
        .disable_version_flag(true)
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::SetTrue)
                .help("Print the version"),
        )
        .subcommand_value_name("command")
        .subcommands(COMMANDS.iter().map(|row| (row.build)()))
}

/// The argument under which words that a command has no use for are gathered.
const IGNORED: &str = "ignored";

fn build<C: Command>() -> clap::Command {
    let details = if C::DETAILS.is_empty() { C::ABOUT } else { C::DETAILS };
    let command = C::augment_args(clap::Command::new(C::NAME));
    let takes_words = command.get_positionals().next().is_some();
    let command = command.about(C::ABOUT).long_about(details.trim());
    let command = flags::as_go_reads_them(command);
    if takes_words { command } else { command.arg(Arg::new(IGNORED).num_args(0..).hide(true)) }
}

fn run<C: Command>(matches: &ArgMatches) -> Result<(), Failure> {
    C::from_arg_matches(matches).map_err(Failure::usage)?.run()
}

/// Shows what clap has to say: help on stdout is a success, anything else a failure.
fn tell(error: clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(&error.render().to_string()),
        ErrorKind::InvalidSubcommand => {
            let word = match error.get(ContextKind::InvalidSubcommand) {
                Some(ContextValue::String(word)) => word.as_str(),
                _ => "",
            };
            let near = tollgate_grammar::nearest(word, COMMANDS.iter().map(|row| row.name));
            Err(Failure::UnknownCommand { word: word.to_owned(), near })
        }
        _ => Err(Failure::usage(error)),
    }
}

/// Writes a command's result to stdout, with one line break at its end. A reader that has gone away
/// (as in `| head`) is no failure.
fn print(text: &str) -> Result<(), Failure> {
    write_out(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
}

/// Writes `bytes` to stdout as they are.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| Failure::io("writing to stdout", error)),
    }
}

const LONG_ABOUT: &str = "\
Tollgate is a gateway for model servers. It reads the Caddyfile you already have, checks keys, proxies \
streams as they come, and serves TLS.

If the working directory holds a file named Caddyfile, it is used; otherwise name one with --config. \
Caddy's JSON is taken as well. A running instance listens on localhost:2019 for `reload` and `stop`, \
unless the configuration or CADDY_ADMIN says otherwise.";

const EXAMPLES: &str = "\
Examples:
  run                            serve the Caddyfile here
  run --config gate.caddyfile    serve another one
  reload                         give the running instance the changed file
  stop                           end it, once the requests under way are answered";

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(args: &[&str]) -> Result<ArgMatches, clap::Error> {
        root("tollgate".to_owned()).try_get_matches_from(args)
    }

    #[test]
    fn the_command_line_is_sound() {
        root("tollgate".to_owned()).debug_assert();
    }

    #[test]
    fn commands_stand_in_order() {
        let names: Vec<&str> = COMMANDS.iter().map(|row| row.name).collect();
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn extra_words_are_let_pass() {
        let matches = matches(&["tollgate", "version", "extra"]).unwrap();
        let (_, of_command) = matches.subcommand().unwrap();
        let extra: Vec<&String> = of_command.get_many(IGNORED).unwrap().collect();
        assert_eq!(extra, ["extra"]);
    }

    #[test]
    fn the_program_s_name_is_how_it_was_called() {
        assert_eq!(program_name(&["/usr/bin/caddy".into()]), "caddy");
        assert_eq!(program_name(&[]), "tollgate");
    }
}
