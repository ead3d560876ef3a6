//! immudb: a key-value store with a Merkle log over its transactions, which syncs before it answers.

use std::net::TcpStream;

use anyhow::Result;

use super::load::{self, Acknowledged, Load, Store};
use super::{Installed, cached, version};
use crate::limits::READY;
use crate::process::{Core, Process, Spec, eventually};
use crate::world::free_address;

/// A server with one database.
pub const SERVER: Store = Store { name: "immudb", find, load };

const SESSIONS: &str = "8";

fn find() -> Result<Installed> {
    let program = cached("immudb", "immudb")?;
    let version = version(&program, "version", &[])?;
    Ok(Installed { version: version.trim_start_matches("immudb ").to_owned(), program })
}

fn load(installed: &Installed, load: &Load<'_>) -> Result<Acknowledged> {
    let address = free_address()?;
    let data = load.dir.join("data");
    let spec = Spec::new("immudb", &installed.program)
        .on(Core::Measured)
        .arg("--dir")
        .arg(data)
        .arg("--logdir")
        .arg(load.dir)
        .args(["--address", "127.0.0.1", "--port", &address.port().to_string()])
        // The default, and the point.
        .arg("--synced=true")
        .args(["--auth=true", "--metrics-server=false", "--web-server=false", "--pgsql-server=false"])
        .args(["--max-recv-msg-size", "33554432"]);
    let server = Process::start(&spec, load.dir)?;
    eventually("immudb listens", READY, || {
        server.goes_on()?;
        Ok(TcpStream::connect(address).ok())
    })?;
    let (port, state) = (address.port().to_string(), load.dir.join("client").display().to_string());
    let more = ["-port", &port, "-state", &state, "-connections", SESSIONS];
    load::run(&cached("immudb", "load")?, load, Core::Others, &more)
}
