//! `untrust`: take the root of an authority out of the system's trust store.

use std::path::PathBuf;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::trust::Authority;
use super::{Command, Failure};
use crate::tls::TrustStore;

/// The flags of `untrust`.
#[derive(clap::Args)]
pub(super) struct Untrust {
    /// The file of the certificate, instead of asking a running instance
    #[arg(long, short = 'p', value_name = "path")]
    cert: Option<PathBuf>,
    #[command(flatten)]
    authority: Authority,
}

impl Command for Untrust {
    const NAME: &'static str = "untrust";
    const ABOUT: &'static str = "Takes an authority's certificate out of the system's trust store";
    const DETAILS: &'static str = "\
Undoes what `trust` does. The certificate is that of --cert, else the root certificate of a running instance, \
which is found as by `trust`. Keys and certificates of the authority itself stay where they are.";

    fn run(self) -> Result<(), Failure> {
        let root = match &self.cert {
            Some(_) if self.authority.is_said() => {
                return Err(Failure::other("--cert can't be combined with other flags"));
            }
            Some(file) => CertificateDer::from_pem_file(file)
                .map_err(|error| Failure::other(format!("{}: {error:?}", file.display())))?,
            None => self.authority.root()?,
        };
        let was_there = TrustStore::of_system().uninstall(&root).map_err(Failure::other)?;
        eprintln!("{}", if was_there { "certificate uninstalled" } else { "certificate was not installed" });
        Ok(())
    }
}
