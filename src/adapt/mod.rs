//! Caddyfile blocks to [`crate::config`]; knows no runtime.
