//! `completion`: what a shell needs to complete our command line.

use clap_complete::Shell;

use super::{Command, Failure, program_name, root, write_out};

/// The arguments of `completion`.
#[derive(clap::Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_name = "bash|zsh|fish|powershell")]
    shells: Vec<String>,
}

impl Command for Completion {
    const NAME: &'static str = "completion";
    const ABOUT: &'static str = "Generates a completion script";
    const DETAILS: &'static str = "\
Prints a script that makes a shell complete commands and flags.

  bash        source <(tollgate completion bash)
  zsh         tollgate completion zsh > \"${fpath[1]}/_tollgate\"
  fish        tollgate completion fish > ~/.config/fish/completions/tollgate.fish
  powershell  tollgate completion powershell | Out-String | Invoke-Expression

The script is for the name that it was asked of: called as `caddy`, it completes `caddy`.";

    fn run(self) -> Result<(), Failure> {
        let [shell] = self.shells.as_slice() else {
            return Err(Failure::other(format!("accepts 1 arg(s), received {}", self.shells.len())));
        };
        let shell = match shell.as_str() {
            "bash" => Shell::Bash,
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            "powershell" => Shell::PowerShell,
            other => {
                return Err(Failure::other(format!(
                    "invalid argument {other:?} for \"completion\": bash, zsh, fish or powershell"
                )));
            }
        };
        let args: Vec<_> = std::env::args_os().take(1).collect();
        let name = program_name(&args);
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut root(name.clone()), name, &mut script);
        write_out(&script)
    }
}
