//! The OpenTelemetry Collector: filelog with the container operator → otlphttp with a queue in files.

use anyhow::Result;

use super::sender::{Place, Sender};
use super::{Installed, Job, Shipper, cached, configure, version};
use crate::process::Spec;

/// filelog → otlphttp.
pub const OTLP: Shipper = Shipper { name: "OpenTelemetry Collector", find, spec };

/// The same for row 11: every file of a container, and nothing is ever given up.
pub const SENDER: Sender = Sender { name: "otelcol", find, spec: sender };

fn find() -> Result<Installed> {
    let program = cached("otelcol", "otelcol")?;
    let version = version(&program, "--version", &[])?;
    Ok(Installed { program, version })
}

fn spec(installed: &Installed, job: &Job<'_>) -> Result<Spec> {
    let storage = job.dir.join("storage");
    std::fs::create_dir_all(&storage)?;
    let (input, storage) = (job.input.display().to_string(), storage.display().to_string());
    let endpoint = format!("http://{}", job.sink.otlp_address());
    let values = [("INPUT", &*input), ("STORAGE", &storage), ("ENDPOINT", &endpoint)];
    let configuration = configure(job.configurations, "otelcol/config.yaml", &values, job.dir)?;
    Ok(Spec::new("otelcol", &installed.program).arg("--config").arg(configuration))
}

fn sender(installed: &Installed, place: &Place<'_>) -> Result<Spec> {
    let storage = place.dir.join("storage");
    std::fs::create_dir_all(&storage)?;
    let (logs, storage) = (place.logs.display().to_string(), storage.display().to_string());
    let endpoint = format!("http://127.0.0.1:{}", place.port);
    let values = [("LOGS", &*logs), ("STORAGE", &storage), ("ENDPOINT", &endpoint)];
    let configuration = configure(place.configurations, "otelcol/row11.yaml", &values, place.dir)?;
    Ok(Spec::new("otelcol", &installed.program).arg("--config").arg(configuration))
}
