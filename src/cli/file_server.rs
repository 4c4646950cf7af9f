//! `file-server`: serve a folder.

use serde_json::{Map, Value, json};

use super::{Command, Failure, print, process};
use crate::modules::handlers::browse_template;

/// The flags of `file-server`.
#[derive(clap::Args)]
pub(super) struct FileServer {
    #[command(subcommand)]
    what: Option<What>,
    /// Domain name at which to serve the files, over HTTPS
    #[arg(long, short, value_name = "name", default_value = "")]
    domain: String,
    /// The folder; the working directory if none is named
    #[arg(long, short, value_name = "path", default_value = "")]
    root: String,
    /// The address to listen at
    #[arg(long, short, value_name = "address", default_value = "")]
    listen: String,
    /// Enable directory browsing
    #[arg(long, short)]
    browse: bool,
    /// Show where symlinks lead when browsing
    #[arg(long)]
    reveal_symlinks: bool,
    /// Enable template rendering
    #[arg(long, short)]
    templates: bool,
    /// Enable the access log
    #[arg(long, short)]
    access_log: bool,
    /// Log at debug level
    #[arg(long, short = 'v')]
    debug: bool,
    /// So many entries of a folder are listed
    #[arg(long, short, value_name = "number", default_value_t = 10_000)]
    file_limit: u32,
    /// Disable compression
    #[arg(long)]
    no_compress: bool,
    /// Encodings of files that lie compressed beside others, best first
    #[arg(long, short, value_name = "encoding", value_delimiter = ',')]
    precompressed: Vec<String>,
}

#[derive(clap::Subcommand)]
enum What {
    /// Exports the default file browser template
    ///
    /// Writes the page that --browse shows as a template, for `browse <template>` of a Caddyfile.
    ExportTemplate,
}

impl Command for FileServer {
    const NAME: &'static str = "file-server";
    const ABOUT: &'static str = "Spins up a file server";
    const DETAILS: &'static str = "\
Serves the files of a folder, compressed if the client likes. With --domain it does so over HTTPS.";

    fn run(self) -> Result<(), Failure> {
        if let Some(What::ExportTemplate) = self.what {
            return print(&browse_template());
        }
        process::serve(self.apps(), self.debug, async |_| {
            tracing::info!(target: "", address = self.address(), "serving static files");
            Ok(())
        })
    }
}

impl FileServer {
    fn address(&self) -> &str {
        match (self.listen.as_str(), self.domain.as_str()) {
            ("", "") => ":80",
            ("", _) => ":443",
            (listen, _) => listen,
        }
    }

    fn apps(&self) -> Value {
        let mut handlers = Vec::new();
        if !self.no_compress {
            handlers.push(json!({
                "handler": "encode", "encodings": {"gzip": {}, "zstd": {}}, "prefer": ["zstd", "gzip"],
            }));
        }
        if self.templates {
            handlers.push(json!({"handler": "templates", "file_root": self.root}));
        }
        let mut files = json!({"handler": "file_server"});
        if !self.root.is_empty() {
            files["root"] = json!(self.root);
        }
        if !self.precompressed.is_empty() {
            let encodings: Map<String, Value> =
                self.precompressed.iter().map(|encoding| (encoding.clone(), json!({}))).collect();
            files["precompressed"] = Value::Object(encodings);
            files["precompressed_order"] = json!(self.precompressed);
        }
        if self.browse {
            files["browse"] = json!({"file_limit": self.file_limit});
            if self.reveal_symlinks {
                files["browse"]["reveal_symlinks"] = json!(true);
            }
        }
        handlers.push(files);
        let mut route = json!({"handle": handlers});
        if !self.domain.is_empty() {
            route["match"] = json!([{"host": [self.domain]}]);
        }
        let mut server = json!({"listen": [self.address()], "routes": [route]});
        if self.access_log {
            server["logs"] = json!({});
        }
        json!({"http": {"servers": {"static": server}}})
    }
}
