//! The OpenTelemetry Collector: filelog with the container operator → otlphttp with a queue in files.

use anyhow::Result;

use super::{Installed, Job, Shipper, cached, configure, version};
use crate::process::Spec;

/// filelog → otlphttp.
pub const OTLP: Shipper = Shipper { name: "OpenTelemetry Collector", find, spec };

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
    let configuration = configure(job, "otelcol/config.yaml", &values)?;
    Ok(Spec::new("otelcol", &installed.program).arg("--config").arg(configuration))
}
