//! The Caddyfile language.
