//! `reverse_proxy`: passes requests on to other servers, and their answers back.

mod address;
mod balance;
mod cookie;
mod fields;
mod hosts;
mod json;
mod policy;
mod random;
mod request;
mod upstreams;
mod xxhash;
