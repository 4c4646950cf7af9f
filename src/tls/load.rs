//! Certificates that a configuration loads: modules of `tls.certificates`.

use std::fs;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::certificate::has_foreign_blocks;
use super::placeholder::expand;
use super::{Certificate, Storage, TlsError};
use crate::config;
use crate::config::schema::ModuleSchema;
use crate::config::tls::CertificateFiles;

/// The loader that names what to manage, and loads nothing.
pub(super) const AUTOMATE: &str = "automate";

/// How deep folders may be nested.
const FOLDER_DEPTH_MAX: usize = 16;

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct StorageJson {
    pairs: Vec<CertificateFiles>,
}

/// What can be said to each loader.
pub(super) const SCHEMAS: &[ModuleSchema] = &[
    ModuleSchema::of::<Vec<String>>(LOADERS, AUTOMATE),
    ModuleSchema::of::<Vec<CertificateFiles>>(LOADERS, "load_files"),
    ModuleSchema::of::<Vec<String>>(LOADERS, "load_folders"),
    ModuleSchema::of::<Vec<CertificateFiles>>(LOADERS, "load_pem"),
    ModuleSchema::of::<StorageJson>(LOADERS, "load_storage"),
];

const LOADERS: &str = "tls.certificates";

/// The certificates that one loader loads.
///
/// # Errors
/// [`TlsError`] that names the file if one can't be read, is no certificate or no key, or the two
/// don't belong together.
pub(super) fn load(loader: &str, json: &Value, storage: &dyn Storage) -> Result<Vec<Certificate>, TlsError> {
    match loader {
        AUTOMATE => Ok(Vec::new()),
        "load_files" => {
            let pairs: Vec<CertificateFiles> = decode(loader, json)?;
            pairs.iter().map(|pair| load_pair(pair, |file| read(Path::new(file)))).collect()
        }
        "load_storage" => {
            let StorageJson { pairs } = decode(loader, json)?;
            pairs.iter().map(|pair| load_pair(pair, |key| storage.load(key))).collect()
        }
        "load_folders" => {
            let folders: Vec<String> = decode(loader, json)?;
            let mut loaded = Vec::new();
            for folder in &folders {
                for file in pem_files(&expand(folder))? {
                    loaded.push(load_bundle(&file)?);
                }
            }
            Ok(loaded)
        }
        "load_pem" => {
            let pairs: Vec<CertificateFiles> = decode(loader, json)?;
            let load = |(index, pair): (usize, &CertificateFiles)| {
                let origin = format!("PEM pair {index}");
                let (certificate, key) = (expand(&pair.certificate), expand(&pair.key));
                Certificate::from_pem(certificate.as_bytes(), &origin, key.as_bytes(), &origin, tags(pair))
            };
            pairs.iter().enumerate().map(load).collect()
        }
        other => Err(TlsError::unknown_module("tls.certificates", other)),
    }
}

/// All files below `folder` whose names end with `.pem`, in order.
///
/// # Errors
/// [`TlsError::Read`] with the folder that can't be read.
pub(super) fn pem_files(folder: &str) -> Result<Vec<PathBuf>, TlsError> {
    let mut files = Vec::new();
    walk(Path::new(folder), FOLDER_DEPTH_MAX, &mut files)?;
    Ok(files)
}

fn walk(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), TlsError> {
    let failed = |source| TlsError::Read { path: folder.to_owned(), source };
    let mut entries =
        fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // Links to folders are not followed, so there are no cycles.
        if entry.file_type().map_err(failed)?.is_dir() {
            if depth > 0 {
                walk(&path, depth - 1, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("pem")) {
            files.push(path);
        }
    }
    Ok(())
}

fn load_pair(
    pair: &CertificateFiles,
    read: impl Fn(&str) -> Result<Vec<u8>, TlsError>,
) -> Result<Certificate, TlsError> {
    let format = expand(&pair.format);
    if !matches!(format.as_ref(), "" | "pem") {
        return Err(TlsError::Invalid(format!("unrecognized certificate/key encoding format: {format}")));
    }
    let (certificate, key) = (expand(&pair.certificate), expand(&pair.key));
    Certificate::from_pem(&read(&certificate)?, &certificate, &read(&key)?, &key, tags(pair))
}

/// A certificate whose chain and key are in one file.
fn load_bundle(file: &Path) -> Result<Certificate, TlsError> {
    let (text, origin) = (read(file)?, file.to_string_lossy());
    if has_foreign_blocks(&text) {
        return Err(TlsError::certificate(origin, "unrecognized PEM block"));
    }
    Certificate::from_pem(&text, &origin, &text, &origin, Vec::new())
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|source| TlsError::Read { path: file.to_owned(), source })
}

fn tags(pair: &CertificateFiles) -> Vec<String> {
    pair.tags.iter().map(|tag| expand(tag).into_owned()).collect()
}

fn decode<T: DeserializeOwned>(loader: &str, json: &Value) -> Result<T, TlsError> {
    config::decode(json.clone())
        .map_err(|error| TlsError::Invalid(format!("certificate loader {loader}: {error}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::FileStorage;
    use super::super::certificate::testing;
    use super::*;

    #[test]
    fn files_with_tags() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = testing::pem(&["a.test"]);
        fs::write(folder.path().join("a.crt"), certificate).unwrap();
        fs::write(folder.path().join("a.key"), key).unwrap();
        let storage = FileStorage::new(folder.path());
        let path = |name| folder.path().join(name).to_string_lossy().into_owned();
        let pair = json!([{"certificate": path("a.crt"), "key": path("a.key"), "tags": ["cert0"]}]);
        let loaded = load("load_files", &pair, &storage).unwrap();
        assert_eq!((loaded[0].tags.as_slice(), loaded.len()), (["cert0".to_owned()].as_slice(), 1));

        let stored = json!({"pairs": [{"certificate": "a.crt", "key": "a.key"}]});
        assert_eq!(load("load_storage", &stored, &storage).unwrap().len(), 1);

        let missing = json!([{"certificate": path("no.crt"), "key": path("a.key")}]);
        let error = load("load_files", &missing, &storage).unwrap_err().to_string();
        assert!(error.starts_with(&format!("reading {}: ", path("no.crt"))), "{error}");
        let swapped = json!([{"certificate": path("a.key"), "key": path("a.crt")}]);
        let error = load("load_files", &swapped, &storage).unwrap_err().to_string();
        assert!(error.starts_with(&path("a.key")), "{error}");
    }

    #[test]
    fn folders_hold_bundles() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = testing::pem(&["a.test"]);
        fs::create_dir(folder.path().join("deep")).unwrap();
        fs::write(folder.path().join("deep/a.PEM"), format!("{key}{certificate}")).unwrap();
        fs::write(folder.path().join("readme.txt"), "no").unwrap();
        let storage = FileStorage::new(folder.path());
        let json = json!([folder.path().to_str().unwrap()]);
        assert_eq!(load("load_folders", &json, &storage).unwrap().len(), 1);

        let bad = folder.path().join("b.pem");
        fs::write(&bad, &certificate).unwrap();
        let error = load("load_folders", &json, &storage).unwrap_err().to_string();
        assert_eq!(error, format!("{}: no PRIVATE KEY pem block found", bad.display()));
    }

    #[test]
    fn pem_in_the_configuration() {
        let (certificate, key) = testing::pem(&["a.test"]);
        let json =
            json!([{"certificate": certificate, "key": key}, {"certificate": certificate, "key": "x"}]);
        let error = load("load_pem", &json, &FileStorage::new("/no")).unwrap_err().to_string();
        assert_eq!(error, "PEM pair 1: no PRIVATE KEY pem block found");
    }

    #[test]
    fn unknown_loaders_are_refused() {
        let error = load("no", &json!([]), &FileStorage::new("/no")).unwrap_err().to_string();
        assert!(error.contains("tls.certificates.no"), "{error}");
    }
}
