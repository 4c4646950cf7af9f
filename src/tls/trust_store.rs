//! The system's trust store: putting the root of an authority into it, and taking it out again.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::authority::certificate_pem;

/// A kind of system by where it keeps certificates that its administrator trusts.
struct Layout {
    /// Below the root of the file system.
    folder: &'static str,
    extension: &'static str,
    /// What takes note of a change there.
    refresh: &'static [&'static str],
}

/// The first whose folder is there counts.
const LAYOUTS: &[Layout] = &[
    // RHEL, Fedora
    Layout {
        folder: "etc/pki/ca-trust/source/anchors",
        extension: "pem",
        refresh: &["update-ca-trust", "extract"],
    },
    // Debian, Ubuntu, Alpine
    Layout {
        folder: "usr/local/share/ca-certificates",
        extension: "crt",
        refresh: &["update-ca-certificates"],
    },
    // Arch
    Layout {
        folder: "etc/ca-certificates/trust-source/anchors",
        extension: "crt",
        refresh: &["trust", "extract-compat"],
    },
    // openSUSE
    Layout { folder: "usr/share/pki/trust/anchors", extension: "crt", refresh: &["update-ca-certificates"] },
];

/// Why a trust store was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Nothing that is known here.
    #[error("this system's trust store is not known; add the certificate by hand")]
    UnknownSystem,
    /// The certificate can't be read.
    #[error("unreadable certificate: {0}")]
    Certificate(String),
    /// A file can't be written or removed.
    #[error("{}: {source}{}", path.display(), hint(source))]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The system's command can't be run, or fails.
    #[error("running {command}: {problem}")]
    Refresh {
        /// The command.
        command: String,
        /// What is wrong.
        problem: String,
    },
}

fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => " (run `trust` as root to install the certificate)",
        _ => "",
    }
}

/// The trust store of a system.
pub struct TrustStore {
    root: PathBuf,
    run: fn(&[&str]) -> Result<(), TrustError>,
}

impl TrustStore {
    /// That of this system.
    pub fn of_system() -> Self {
        Self { root: PathBuf::from("/"), run }
    }

    /// Makes the system trust what `root` vouches for. Tells whether that is new.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn install(&self, root: &CertificateDer<'static>) -> Result<bool, TrustError> {
        let layout = self.layout()?;
        let path = self.path(layout, root)?;
        let pem = certificate_pem(&[root]);
        if fs::read(&path).is_ok_and(|installed| installed == pem.as_bytes()) {
            return Ok(false);
        }
        let written = fs::write(&path, pem).and_then(|()| {
            // Everybody must be able to read it, whatever our umask.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644))
        });
        written.map_err(|source| TrustError::File { path, source })?;
        (self.run)(layout.refresh)?;
        Ok(true)
    }

    /// Takes `root` out again. Tells whether it was there.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn uninstall(&self, root: &CertificateDer<'static>) -> Result<bool, TrustError> {
        let layout = self.layout()?;
        let path = self.path(layout, root)?;
        match fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(TrustError::File { path, source }),
        }
        (self.run)(layout.refresh)?;
        Ok(true)
    }

    fn layout(&self) -> Result<&'static Layout, TrustError> {
        LAYOUTS.iter().find(|layout| self.root.join(layout.folder).is_dir()).ok_or(TrustError::UnknownSystem)
    }

    /// Caddy's name for the file, so that either can uninstall what the other has installed.
    fn path(&self, layout: &Layout, root: &CertificateDer<'static>) -> Result<PathBuf, TrustError> {
        let (_, parsed) =
            X509Certificate::from_der(root).map_err(|error| TrustError::Certificate(error.to_string()))?;
        let name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        let name = format!("{} {}", name.unwrap_or_default(), parsed.tbs_certificate.serial);
        // A common name is somebody's text, and must not lead elsewhere.
        let name = name.replace([' ', '/'], "_");
        Ok(self.root.join(layout.folder).join(format!("{name}.{}", layout.extension)))
    }
}

/// Runs a command of the system, quietly.
fn run(command: &[&str]) -> Result<(), TrustError> {
    let failed = |problem: String| TrustError::Refresh { command: command.join(" "), problem };
    let (program, args) = command.split_first().ok_or_else(|| failed("nothing to run".into()))?;
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim())))
}

#[cfg(test)]
mod tests {
    use super::super::certificate::testing::certificate;
    use super::super::{Authorities, FileStorage};
    use super::*;

    /// A store below a folder of its own, in which a system of that kind seems to be.
    fn store(folder: &str) -> (tempfile::TempDir, TrustStore) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(folder)).unwrap();
        let store = TrustStore { root: root.path().to_owned(), run: |_| Ok(()) };
        (root, store)
    }

    fn files(root: &tempfile::TempDir, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(root.path().join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_root_is_installed_once_and_uninstalled() {
        let keys = tempfile::tempdir().unwrap();
        let authority = Authorities::provision(
            None,
            &FileStorage::shared(keys.path()),
            &std::collections::HashMap::new(),
        )
        .unwrap()
        .get("")
        .unwrap();
        for (folder, extension) in
            [("usr/local/share/ca-certificates", "crt"), ("etc/pki/ca-trust/source/anchors", "pem")]
        {
            let (root, store) = store(folder);
            assert!(store.install(&authority.root()).unwrap());
            assert!(!store.install(&authority.root()).unwrap());
            let files_now = files(&root, folder);
            let [name] = files_now.as_slice() else { panic!("{files_now:?}") };
            assert!(name.starts_with("Tollgate_Local_Authority_-_20") && name.ends_with(extension), "{name}");
            let path = root.path().join(folder).join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), authority.root_pem());
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
            assert!(store.uninstall(&authority.root()).unwrap());
            assert!(!store.uninstall(&authority.root()).unwrap());
            assert!(files(&root, folder).is_empty());
        }
    }

    #[test]
    fn a_name_does_not_lead_elsewhere() {
        let (root, store) = store("usr/local/share/ca-certificates");
        let named = certificate(&["a.test"], &[]);
        store.install(&named.chain()[0]).unwrap();
        assert_eq!(files(&root, "usr/local/share/ca-certificates").len(), 1);
    }

    #[test]
    fn what_fails_is_said() {
        let nothing = tempfile::tempdir().unwrap();
        let store = TrustStore { root: nothing.path().to_owned(), run: |_| Ok(()) };
        let root = certificate(&["a.test"], &[]).chain()[0].clone();
        assert!(matches!(store.install(&root), Err(TrustError::UnknownSystem)));
        let error = run(&["sh", "-c", "echo no luck >&2; exit 3"]).unwrap_err().to_string();
        assert!(error.contains("no luck") && error.contains('3'), "{error}");
        assert!(run(&["/no/such/command"]).is_err());
        assert!(run(&["true"]).is_ok());
    }
}
