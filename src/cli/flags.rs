//! Flags as Caddy's command line takes them (Go's pflag): `--flag`, `--flag=true`, `-f`, `-f=0`,
//! `--name value`, `--name=value`, `-nvalue`, `-n=value`; of several values the last one counts.

use std::path::PathBuf;

use clap::{Arg, ArgAction};

/// Where a configuration comes from: the two flags that many commands share.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Source {
    /// Configuration file; - is stdin
    #[arg(long, short, value_name = "path")]
    pub config: Option<PathBuf>,
    /// Name of the config adapter to apply
    #[arg(long, short, value_name = "name")]
    pub adapter: Option<String>,
}

/// The environment files of a command.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct EnvFiles {
    /// Environment file to load; may be given several times
    #[arg(long = "envfile", value_name = "path", value_delimiter = ',')]
    pub files: Vec<PathBuf>,
}

/// Makes every flag of a command, and of those below it, read its value as Go's flag packages do.
pub(super) fn as_go_reads_them(command: clap::Command) -> clap::Command {
    let command = command.mut_subcommands(as_go_reads_them);
    command.args_override_self(true).mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => switch(arg),
        // Words that stand alone are never flags; `-` is one of them.
        _ if arg.is_positional() => arg,
        _ => arg.allow_hyphen_values(true),
    })
}

/// A flag without a value, which may yet be given one after `=`.
fn switch(arg: Arg) -> Arg {
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_value("false")
        .default_missing_value("true")
        .hide_default_value(true)
        .value_name("bool")
        .value_parser(boolean)
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("expected true or false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_are_go_s() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        for odd in ["yes", "", "tRue", "2"] {
            assert!(boolean(odd).is_err(), "{odd}");
        }
    }

    #[derive(Debug, clap::Parser)]
    struct Example {
        #[command(flatten)]
        source: Source,
        #[command(flatten)]
        env: EnvFiles,
        #[arg(long, short)]
        watch: bool,
        #[arg(long, short)]
        resume: bool,
    }

    fn example(args: &[&str]) -> Result<Example, clap::Error> {
        use clap::{CommandFactory, FromArgMatches};
        let command = as_go_reads_them(Example::command()).no_binary_name(true);
        Example::from_arg_matches(&command.try_get_matches_from(args)?)
    }

    #[test]
    fn a_value_may_stand_anywhere() {
        for args in [
            &["--config", "x", "-a", "y"][..],
            &["--config=x", "--adapter=y"],
            &["-cx", "-a=y"],
            &["-c=z", "--adapter", "z", "-c", "x", "-ay"],
        ] {
            let got = example(args).unwrap().source;
            assert_eq!(got.config, Some(PathBuf::from("x")), "{args:?}");
            assert_eq!(got.adapter.as_deref(), Some("y"), "{args:?}");
        }
        assert_eq!(example(&["--config", "-"]).unwrap().source.config, Some(PathBuf::from("-")));
        assert!(example(&["--config"]).is_err());
        assert!(example(&["--conf", "x"]).is_err());
    }

    #[test]
    fn switches_take_a_value_after_an_equals_sign_only() {
        let both = example(&["-rw"]).unwrap();
        assert!(both.resume && both.watch);
        let one = example(&["-r", "--watch=t", "--resume=false"]).unwrap();
        assert!(!one.resume && one.watch);
        assert!(example(&["--watch=maybe"]).is_err());
    }

    #[test]
    fn environment_files_add_up() {
        let files = example(&["--envfile", "a,b", "--envfile=c"]).unwrap().env.files;
        assert_eq!(files, [PathBuf::from("a"), PathBuf::from("b"), PathBuf::from("c")]);
    }
}
