//! nats-server: a `JetStream` that syncs before each acknowledgement.

use std::net::TcpStream;

use anyhow::Result;

use super::load::{self, Acknowledged, Load, Store};
use super::{Installed, cached, version};
use crate::limits::READY;
use crate::process::{Core, Process, Spec, eventually};
use crate::world::free_address;

/// A stream on disk.
pub const STREAM: Store = Store { name: "nats-server", find, load };

const CONNECTIONS: &str = "4";

fn find() -> Result<Installed> {
    let program = cached("nats", "nats-server")?;
    let version = version(&program, "--version", &[])?;
    Ok(Installed { version: version.trim_start_matches("nats-server: ").to_owned(), program })
}

fn load(installed: &Installed, load: &Load<'_>) -> Result<Acknowledged> {
    let address = free_address()?;
    let text = std::fs::read_to_string(load.configurations.join("nats/server.conf"))?;
    let text = text.replace("@PORT@", &address.port().to_string());
    let file = load.dir.join("server.conf");
    std::fs::write(&file, text.replace("@STORE@", &load.dir.join("store").display().to_string()))?;
    let spec = Spec::new("nats-server", &installed.program).on(Core::Measured).arg("--config").arg(file);
    let server = Process::start(&spec, load.dir)?;
    eventually("nats-server listens", READY, || {
        server.goes_on()?;
        Ok(TcpStream::connect(address).ok())
    })?;
    let url = format!("nats://{address}");
    load::run(&cached("nats", "load")?, load, Core::Others, &["-server", &url, "-connections", CONNECTIONS])
}
