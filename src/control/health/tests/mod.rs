//! Health as a whole: sequences on virtual time, random ones, and probes of real servers.

mod checks;
mod driver;
mod grpc;
mod machine;
mod pool_tls;
mod seeds;
mod server;
mod stage;
