//! Bounds on what one configuration may make this crate do.
//!
//! They are far above any real configuration, and exist so that a hostile one (an import that doubles itself, a huge
//! file) ends in an error instead of taking all memory.

/// Bytes of one file.
pub const FILE_BYTES_MAX: usize = 16 << 20;
/// Characters of one file after its environment variables are pasted.
pub const EXPANDED_CHARS_MAX: usize = 32 << 20;
/// Blocks inside one another. What reads nested blocks by recursion relies on it.
pub const NESTING_MAX: usize = 100;
/// How many `import`s are carried out.
pub const IMPORTS_MAX: usize = 100_000;
/// How many tokens all imports together may bring in.
pub const IMPORTED_TOKENS_MAX: usize = 1_000_000;
/// How many bytes of text the arguments of imports may produce.
pub const ARGUMENT_BYTES_MAX: usize = 64 << 20;
/// Files that one glob may match.
pub const GLOB_MATCHES_MAX: usize = 10_000;
/// Steps that the search for import cycles may take in all.
pub const GRAPH_STEPS_MAX: usize = 20_000_000;

/// Imports of one another that an error names.
pub const TRAIL_MAX: usize = 10;
